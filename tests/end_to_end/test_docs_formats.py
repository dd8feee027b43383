"""The code blocks of docs/formats.md run, each on a dataset of the format and pixels that its comment names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import imagemill
from imagemill.testing.images import photo, saved

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "formats.md"
BLOCKS = re.findall(r"<!-- tested: (\S+) (\S+) -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def tensorflow_python() -> str | None:
    """The Python of another environment that has TensorFlow."""
    for python in (os.environ.get("IMAGEMILL_TF_PYTHON"), str(REPOSITORY / ".venv-tf" / "bin" / "python")):
        if python and Path(python).exists():
            return python
    return None


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders of a few JPEGs."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        place = folder / ("cat", "dog")[number % 2]
        place.mkdir(exist_ok=True)
        (place / f"{number}.jpg").write_bytes(saved(photo(40 + number, 60, seed=number), "JPEG"))
    return folder


def test_every_block_is_tested() -> None:
    assert PAGE.read_text(encoding="utf-8").count("```python") == len(BLOCKS)
    assert {form for form, _, _ in BLOCKS} >= {"arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord"}


@pytest.mark.parametrize(("form", "pixels", "code"), BLOCKS, ids=[f"{form}-{kind}" for form, kind, _ in BLOCKS])
def test_block(form: str, pixels: str, code: str, photos: Path, tmp_path: Path) -> None:
    size = {"size": 32} if pixels == "raw" else {}
    imagemill.pack(photos, tmp_path / "dataset", format=form, pixels=pixels, workers=0, **size)
    python = sys.executable
    if "tensorflow" in code:
        found = tensorflow_python()
        if found is None:
            pytest.skip("no TensorFlow: neither IMAGEMILL_TF_PYTHON nor .venv-tf/bin/python in the repository")
        python = found
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
