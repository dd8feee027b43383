"""BasicSR's own files, run as they are; its package as a whole cannot be imported beside a current PyTorch.

`basicsr/__init__.py` imports all of it, and with it `torchvision.transforms.functional_tensor`, which torchvision has
no longer. So the few modules that `PairedImageDataset` needs are loaded from the unpacked source distribution
(`make bench-sr` fetches it), their packages without their `__init__`. Where there is no torchvision that works, its one
function that they import, and that is called with a mean only, is left out.

`extract_subimages` is no part of the distribution: it is a script of the repository
(scripts/data_preparation/extract_subimages.py). What it does to an image is written down here again, without its pool
of processes and its progress bar.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

NAMES = {
    "file_client": ("FileClient",),
    "img_util": ("imfrombytes", "img2tensor"),
    "color_util": ("bgr2ycbcr",),
    "misc": ("scandir",),
}
"""Modules of `basicsr.utils` → what is taken from each."""


def paired_image_dataset(root: Path) -> Any:
    """The class `PairedImageDataset`, from the folder that holds `basicsr/`."""
    for name in ("basicsr", "basicsr.data", "basicsr.utils"):
        package = ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    try:
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError):  # none, or one that was made for another torch
        _without_torchvision()
    for module, names in NAMES.items():
        loaded = importlib.import_module(f"basicsr.utils.{module}")
        for name in names:
            setattr(sys.modules["basicsr.utils"], name, getattr(loaded, name))
    return importlib.import_module("basicsr.data.paired_image_dataset").PairedImageDataset


def _without_torchvision() -> None:
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.utils"):
        sys.modules[name] = ModuleType(name)
    sys.modules["torchvision.transforms.functional"].normalize = None  # type: ignore[attr-defined]
    sys.modules["torchvision.utils"].make_grid = None  # type: ignore[attr-defined]


def extract_subimages(
    source: Path, out: Path, *, crop: int, step: int, threshold: int = 0, compression: int = 3
) -> int:
    """Cuts every image of a folder into overlapping squares, files of the same kind; how many."""
    out.mkdir(parents=True)
    count = 0
    for path in sorted(source.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        rows, columns = (_starts(length, crop, step, threshold) for length in image.shape[:2])
        options = [cv2.IMWRITE_PNG_COMPRESSION, compression] if path.suffix == ".png" else []
        number = 0
        for top in rows:
            for left in columns:
                number += 1
                tile = np.ascontiguousarray(image[top : top + crop, left : left + crop])
                cv2.imwrite(str(out / f"{path.stem}_s{number:03d}{path.suffix}"), tile, options)
        count += number
    return count


def _starts(length: int, crop: int, step: int, threshold: int) -> list[int]:
    starts = list(range(0, length - crop + 1, step))
    return [*starts, length - crop] if length - (starts[-1] + crop) > threshold else starts
