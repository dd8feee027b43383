"""docs/migrate.md: its code runs, and what it says of hpc_pytorch_loader's data and options holds."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

import imagemill

PAGE = Path(__file__).parents[2] / "docs" / "migrate.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- tested: (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL))


def run_block(name: str, folder: Path) -> str:
    (folder / "script.py").write_text(BLOCKS[name], "utf-8")
    shown = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_every_block_is_tested() -> None:
    assert TEXT.count("```python") == len(BLOCKS) == 2


def test_a_dataset_of_dicts(tmp_path: Path) -> None:
    assert run_block("dataset", tmp_path) == "(48, 32) [0 1 2 3 4] 0 40.5\n"
    assert imagemill.open(tmp_path / "cells", "train").classes == ["healthy", "ill"]
    assert imagemill.open(tmp_path / "cells", "train").splits == {"train": 16, "val": 4}


def test_arrays_in_a_file_of_ones_own(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 16, 3), np.uint8)
    with h5py.File(tmp_path / "plates.h5", "w") as file:
        file["images"], file["labels"] = images, np.arange(9)
    assert run_block("h5py", tmp_path) == "(16, 12) 0\n"
    dataset = imagemill.open(tmp_path / "plates")
    assert np.array_equal(np.stack([np.asarray(image) for image, _ in dataset]), images)
    assert [label for _, label in dataset] == list(range(9))


def test_links_inside_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
    for path in re.findall(r"\]\(([^#)]+)(?:#[^)]*)?\)", TEXT):
        assert (PAGE.parent / path).exists(), path


def test_options_and_functions_that_it_names_exist() -> None:
    names = set(re.findall(r"imagemill\.([A-Za-z]\w+)", TEXT))
    assert {name for name in names - set(imagemill.__all__) if find_spec(f"imagemill.{name}") is None} == set()
    shown = "".join(
        subprocess.run(
            [sys.executable, "-m", "imagemill", verb, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for verb in ("pack", "convert", "info", "export", "stage", "fetch", "tile", "embed", "train")
    )
    own = set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--input_path", "--output_dir"}
    own -= {"--input", "--output"}
    assert {option for option in own if option not in shown} == set()


@pytest.mark.parametrize(("layout", "size", "mode"), [("memmap", (64, 64), "RGB"), ("memmap_L", (32, 32), "L")])
def test_raw_pixels_are_what_the_converter_made(
    layout: str, size: tuple[int, int], mode: str, shared_data: Path, tmp_path: Path
) -> None:
    golden = shared_data / "golden" / "hpc"
    imagemill.pack(golden / "input", tmp_path / "new", format="memmap", pixels="raw", size=size, mode=mode, workers=0)
    imagemill.pack(golden / layout, tmp_path / "old", format="memmap", workers=0)
    new, old = imagemill.open(tmp_path / "new"), imagemill.open(tmp_path / "old")
    assert len(new) == len(old) == 11
    for (pixels, label), (old_pixels, old_label) in zip(new, old, strict=True):
        assert np.array_equal(np.asarray(pixels), np.asarray(old_pixels))
        assert label == old_label
    assert new.class_to_idx == old.class_to_idx == {"ant": 0, "bee": 1, "cat": 2}
