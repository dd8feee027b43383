"""Where images of a training data set come from: folders, chunked folders, packed datasets, all read alike."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagemill.codecs import image as images
from imagemill.core.manifest import MANIFEST_NAME
from imagemill.core.remote import place_of
from imagemill.core.sample import Encoded
from imagemill.datasets.base import Image
from imagemill.errors import ConfigError, SampleError
from imagemill.load.dataset import open as open_dataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp")
REFERENCE_MARK = "ref.jpg"
"""Files whose name contains it are references, not pictures."""


class Pictures(Protocol):
    """Images in a fixed order."""

    def __len__(self) -> int:
        """How many."""
        ...

    def read(self, index: int) -> Image:
        """float32 (H, W, 3) in 0–1; raises SampleError, naming the image."""
        ...

    def path(self, index: int) -> str:
        """Where it lies: a path, or the path it had in its source."""
        ...


class FolderPictures:
    """Every image below a folder, sorted by path.

    Raises:
        ConfigError: there is none.
    """

    def __init__(self, folder: str) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise ConfigError(f"{folder} is no folder")
        # One list of texts: a million paths take 100 MB, and workers share them.
        self._paths = np.array(sorted(_image_paths(root)), dtype=np.str_)
        if not len(self._paths):
            raise ConfigError(f"{folder} holds no images ({', '.join(SUFFIXES)})")

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> Image:
        """See `Pictures.read`."""
        return read_image(self.path(index))

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        return str(self._paths[index])


class PackedPictures:
    """The images of one split of a packed dataset: its field `image`, else its first image field."""

    def __init__(self, dataset: str, split: str | None = None) -> None:
        self.samples = open_dataset(dataset, split, returns="sample")
        fields = [field.name for field in self.samples.schema.of_kind("image")]
        if not fields:
            raise ConfigError(f"{dataset} has no image field")
        self._field = "image" if "image" in fields else fields[0]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Image:
        """See `Pictures.read`."""
        sample = self.samples[index]
        return as_floats(sample.values[self._field], sample.key)

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        sample = self.samples[index]
        return str(sample.origins.get(self._field) or sample.key)


class ManyPictures:
    """Several sets one after the other, each repeated so many times without being held twice."""

    def __init__(self, sets: Sequence[Pictures], weights: Sequence[int]) -> None:
        self._sets = sets
        self._ends = list(accumulate(len(pictures) * weight for pictures, weight in zip(sets, weights, strict=True)))

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, index: int) -> tuple[Pictures, int]:
        number = bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return self._sets[number], (index - start) % len(self._sets[number])

    def read(self, index: int) -> Image:
        """See `Pictures.read`."""
        pictures, place = self._place(index)
        return pictures.read(place)

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        pictures, place = self._place(index)
        return pictures.path(place)


def open_pictures(paths: Sequence[str], weights: Sequence[int], split: str | None = None) -> Pictures:
    """The images of folders and packed datasets.

    Raises:
        ConfigError: a path holds none.
    """
    sets: list[Pictures] = [PackedPictures(path, split) if is_packed(path) else FolderPictures(path) for path in paths]
    return sets[0] if len(sets) == 1 and weights[0] == 1 else ManyPictures(sets, weights)


def is_packed(path: str) -> bool:
    """Whether a path (or URL) is a packed dataset."""
    place = place_of(path)
    return not isinstance(place, Path) or (place / MANIFEST_NAME).is_file()


def read_image(path: str | os.PathLike[str]) -> Image:
    """An image file: float32 (H, W, 3) in 0–1, upright sRGB; grey ones have three equal channels.

    Raises:
        SampleError: it cannot be read, naming it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SampleError("unreadable", error.strerror or str(error), key=str(path), origin=str(path)) from None
    return as_floats(Encoded(content), str(path))


def as_floats(value: Any, name: str) -> Image:
    """Encoded bytes or an array of pixels as float32 (H, W, 3) in 0–1."""
    try:
        content = value.data if isinstance(value, Encoded) else images.encode_npy(np.asarray(value))
        return images.decode(content, mode="RGB").astype(np.float32) / np.float32(255)
    except SampleError as error:
        raise error.of(name, name) from None


def _image_paths(root: Path) -> list[str]:
    found = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        found += [
            os.path.join(folder, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and REFERENCE_MARK not in name
        ]
    return found
