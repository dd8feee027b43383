"""torch's DataLoader over files, decoded by Pillow or by OpenCV in worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peers.base import SIDE, Box, Peer, Pixels, Place, augment, torch_loader


class PillowFiles:
    """What torchvision's ImageFolder does, without looking for files."""

    def __init__(self, place: Place) -> None:
        self.root, self.files = place.pile.root, place.pile.files
        self.transform = augment()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        name, label = self.files[index]
        with Image.open(self.root / name) as image:
            return self.transform(image.convert("RGB")), label


class PillowWorkers(Peer):
    name, package, modes = "torch workers, Pillow", "torch", ("original", "resized")

    def batches(self, place: Place) -> Iterable[int]:
        return torch_loader(PillowFiles(place), place.workers, shuffle=True)

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> str:
        return "the reference"


class OpenCvFiles:
    """imdecode, crop, resize by area, flip."""

    def __init__(self, root: Path, files: Sequence[tuple[str, int]]) -> None:
        self.root, self.files = root, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import torch

        name, label = self.files[index]
        return torch.from_numpy(random_crop((self.root / name).read_bytes())), label


def random_crop(data: bytes) -> Pixels:
    """A RandomResizedCrop, perhaps flipped, by OpenCV."""
    import cv2
    from decode import draw_box

    cv2.setNumThreads(0)
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    random = _random()
    top, left, height, width = draw_box(*full.shape[:2], (0.08, 1.0), random)
    cut = full[top : top + height, left : left + width]
    pixels = cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.flip(pixels, 1) if random.random() < 0.5 else pixels


def _random(made: dict[int, np.random.Generator] = {}) -> np.random.Generator:  # noqa: B006
    """A generator a process and thread."""
    import threading

    ident = threading.get_ident()
    if ident not in made:
        made[ident] = np.random.default_rng()
    return made[ident]


class OpenCvWorkers(Peer):
    name, package, modes = "torch workers, OpenCV", "opencv-python-headless", ("original", "resized")

    def batches(self, place: Place) -> Iterable[int]:
        return torch_loader(OpenCvFiles(place.pile.root, place.pile.files), place.workers, shuffle=True)

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        from decode import with_opencv

        return np.stack([with_opencv(file, box, SIDE) for file, box in zip(files, boxes, strict=True)])
