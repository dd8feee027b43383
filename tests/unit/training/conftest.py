"""Small datasets to train on: a few seconds of CPU for all tests here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill

SMALL: dict[str, Any] = {
    "network_options": {"width": 8, "levels": 2, "middle_blocks": 0},
    "batch_size": 8,
    "epochs": 2,
    "workers": 0,
    "sheets": 0,
    "device": "cpu",
    "write_page": False,
}
"""Options of a run of a second."""
COUNTS = {"train": 24, "val": 8, "test": 8}


def picture(number: int, side: int = 16) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth colour picture of its own."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def write_pairs(folder: Path, counts: dict[str, int] = COUNTS, side: int = 16) -> Path:
    """Colour pictures as `after`, their luma as `before`."""
    number = 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            image = Image.fromarray(picture(number, side))
            image.save(folder / split / f"p{number:03d}_after.png")
            image.convert("L").save(folder / split / f"p{number:03d}_before.png")
            number += 1
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    imagemill.pack(write_pairs(folder / "in"), folder / "out", workers=0)
    return folder / "out"


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of images and masks: class 1 is where red is above the middle; 255 is unlabelled."""
    folder = tmp_path_factory.mktemp("masks")
    for number in range(24):
        split = "train" if number < 16 else "val"
        for kind in ("images", "masks"):
            (folder / "in" / kind / split).mkdir(parents=True, exist_ok=True)
        pixels = picture(number)
        mask = (pixels[..., 0] > 127).astype(np.uint8)
        mask[0] = 255
        Image.fromarray(pixels).save(folder / "in" / "images" / split / f"p{number}.png")
        Image.fromarray(mask).save(folder / "in" / "masks" / split / f"p{number}.png")
    imagemill.pack(folder / "in", folder / "out", images="images", masks="masks", workers=0)
    return folder / "out"


@pytest.fixture
def train_small(tmp_path: Path) -> Callable[..., Any]:
    """`imagemill.train` into a folder of the test, with small options."""

    def run(source: Path, name: str = "run", **options: Any) -> Any:
        return imagemill.train(source, tmp_path / name, **{**SMALL, **options})

    return run
