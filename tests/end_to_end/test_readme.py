"""The blocks of README.md and docs/guide.md, run as a reader would run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.testing.piles import class_folders

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "photos", classes=2, per_class=40, bad=False)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == language]


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        arguments, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_quickstart_in_python(photos: Path) -> None:
    script = photos.parent / "quickstart.py"
    script.write_text(blocks("README.md", "python")[0])
    assert "torch.Size([32, 3, 224, 224]) torch.Size([32])" in run([sys.executable, str(script)], photos.parent)


def test_the_commands_of_the_quickstart(photos: Path) -> None:
    lines = [line for block in blocks("README.md", "") for line in block.splitlines() if line.startswith("imagemill ")]
    assert len(lines) == 4
    for line in lines:
        run(shlex.split(line, comments=True), photos.parent)
    assert "<html" in (photos.parent / "report.html").read_text()


def test_the_commands_of_the_guide(photos: Path) -> None:
    lines = [line for block in blocks("docs/guide.md", "") for line in block.splitlines()]
    assert len(lines) >= 7
    for line in lines:
        run(shlex.split(line, comments=True), photos.parent)


def test_the_loops_of_the_guide(photos: Path) -> None:
    run([sys.executable, "-m", "imagemill", "pack", "photos", "dataset"], photos.parent)
    drop_in, own, *others = blocks("docs/guide.md", "python")
    head = (
        "import numpy, torch\n"
        "my_transform = lambda image: torch.from_numpy(numpy.asarray(image.resize((32, 32))).copy())\n"
        "def step(images, labels): print(images.shape)\n"
        "checkpoint = {}\n"
        "resume = False\n"
    )
    own = own.replace("range(90)", "range(1)")
    drop_in = drop_in.replace("num_workers=4", "num_workers=0") + "print(next(iter(loader))[0].shape)\n"
    output = run([sys.executable, "-c", head + drop_in + own], photos.parent)
    assert "torch.Size([64, 32, 32, 3])" in output
    assert "torch.Size([64, 3, 224, 224])" in output
    *others, of_a_model = others
    assert "load_model(" in of_a_model  # run by test_train.py, where there is a model
    assert len(others) == 3
    output = run([sys.executable, "-c", "".join([head, "import imagemill\n", *others])], photos.parent)
    assert "torch.Size([64, 3, 224, 224])" in output
    assert "torch.Size([16, 3, 64, 64])" in output
    output = run(
        [sys.executable, "-c", head.replace("False", "True") + "import imagemill\n" + others[-1]], photos.parent
    )
    assert output.count("torch.Size([16, 3, 64, 64])") == 5
