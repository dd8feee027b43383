"""Where images of a training data set come from: folders, chunked folders, packed datasets, all read alike."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from imagemill.codecs import image as images
from imagemill.codecs.recoded import as_file
from imagemill.codecs.region import decode_region
from imagemill.core.manifest import MANIFEST_NAME
from imagemill.core.remote import place_of
from imagemill.core.sample import Array, Buffer, Encoded
from imagemill.core.schema import Field
from imagemill.curate.limits import Limits, check_pixels
from imagemill.datasets.base import Image, Pixels
from imagemill.errors import ConfigError, SampleError
from imagemill.load.dataset import open as open_dataset
from imagemill.load.decode import raw_view

LIMITS = Limits()
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp")
REFERENCE_MARK = "ref.jpg"
"""Files whose name contains it are references, not pictures."""


@dataclass(frozen=True, slots=True)
class File:
    """An image file that was not read yet."""

    path: str


class Pictures(Protocol):
    """Images in a fixed order."""

    def __len__(self) -> int:
        """How many."""
        ...

    def read(self, indices: Sequence[int]) -> list[tuple[Any, str]]:
        """(value, path) of images as they are stored: a file, encoded bytes or an array, and what `path` says.

        Raises:
            SampleError: one cannot be read, by its name.
        """
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

    def read(self, indices: Sequence[int]) -> list[tuple[Any, str]]:
        """See `Pictures.read`."""
        return [(File(path), path) for path in self._paths[list(indices)].tolist()]

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        return str(self._paths[index])


class PackedPictures:
    """The images of one split of a packed dataset: its field `image`, else its first image field."""

    def __init__(self, dataset: str, split: str | None = None) -> None:
        self.samples = open_dataset(dataset, split, returns="sample")
        fields = self.samples.schema.of_kind("image")
        if not fields:
            raise ConfigError(f"{dataset} has no image field")
        self._field = next((field for field in fields if field.name == "image"), fields[0])

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, indices: Sequence[int]) -> list[tuple[Any, str]]:
        """See `Pictures.read`."""
        name = self._field.name
        return [
            (stored_image(self._field, row.values[name]), row.origins.get(name) or row.key)
            for row in self.samples.rows(indices, [name])
        ]

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        return self.read([index])[0][1]


def stored_image(field: Field, value: Buffer) -> Encoded | Array:
    """An image of a packed dataset as it is stored, encoded bytes or an array; nothing is copied."""
    return Encoded(value) if field.storage == "bytes" else raw_view(field, value)


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

    def read(self, indices: Sequence[int]) -> list[tuple[Any, str]]:
        """See `Pictures.read`."""
        places = [self._place(index) for index in indices]
        return [pictures.read([place])[0] for pictures, place in places]

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


def read_pixels(pictures: Pictures, index: int, mode: str = "RGB") -> Pixels:
    """One of the images, as `as_pixels` has it; raises SampleError, naming it."""
    return as_pixels(*pictures.read([index])[0], mode)


def read_file(path: str) -> Encoded:
    """The bytes of an image file.

    Raises:
        SampleError: it cannot be read, naming it.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return Encoded(file.read())
    except OSError as error:
        raise SampleError("unreadable", error.strerror or str(error), key=path, origin=path) from None


def as_pixels(value: Any, name: str, mode: str = "RGB") -> Pixels:
    """A file, encoded bytes or an array of pixels as uint8 (H, W, 3), upright sRGB; grey ones have equal channels.

    Args:
        name: for messages.
        mode: "RGB", or "RGBA" for a fourth channel, the opacity.

    Raises:
        SampleError: it cannot be read or decoded, or has more pixels than `LIMITS` allow; by this name.
    """
    value = read_file(value.path) if isinstance(value, File) else value
    try:
        if not isinstance(value, Encoded):
            array = np.asarray(value)
            if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == len(mode):
                return array
            return images.decode(images.encode_npy(array), mode=mode)
        data = as_file(value.data)
        header = images.read_header(data)
        check_pixels(header, LIMITS)  # a folder may hold anything, and nobody has looked at it
        if mode != "RGB":
            return images.decode(data, mode=mode, header=header)
        return decode_region(data, header, (0, 0, *header.sides))
    except SampleError as error:
        raise error.of(name, name) from None


def as_floats(pixels: Pixels) -> Image:
    """uint8 pixels as float32 in 0–1, of the same shape, C order."""
    # Rows that lie apart are copied first: NumPy converts them four times as slowly.
    return np.asarray(np.multiply(np.ascontiguousarray(pixels), np.float32(1 / 255), dtype=np.float32))


def as_planes(pixels: Pixels) -> Image:
    """What `as_floats` gives, as a view of three planes: what `chw` and `resized` are quickest with."""
    height, width, channels = pixels.shape
    planes = np.empty((channels, height, width), np.float32)
    levels = pixels.transpose(2, 0, 1)
    for level, plane in zip(levels if levels.flags.c_contiguous else cv2.split(pixels), planes, strict=True):
        np.multiply(level, np.float32(1 / 255), out=plane, dtype=np.float32)
    return planes.transpose(1, 2, 0)


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
