"""Where images of a training data set come from: folders, chunked folders, packed datasets, all read alike."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np

from imagemill.codecs import image as images
from imagemill.codecs.recoded import as_file
from imagemill.codecs.region import Region, decode_region
from imagemill.core.manifest import MANIFEST_NAME
from imagemill.core.remote import place_of
from imagemill.core.sample import Encoded, Sample
from imagemill.datasets.base import Image, Pixels
from imagemill.errors import ConfigError, SampleError
from imagemill.load.dataset import open as open_dataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp")
REFERENCE_MARK = "ref.jpg"
"""Files whose name contains it are references, not pictures."""
Look: TypeAlias = Callable[[int, int], Region]
"""What is wanted of an image of this height and width."""


class Pictures(Protocol):
    """Images in a fixed order."""

    def __len__(self) -> int:
        """How many."""
        ...

    def read(self, index: int, look: Look | None = None) -> Pixels:
        """uint8 (H, W, 3), upright sRGB, as `as_pixels` has it; raises SampleError, naming the image."""
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

    def read(self, index: int, look: Look | None = None) -> Pixels:
        """See `Pictures.read`."""
        return read_pixels(self.path(index), look)

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
        self._last: tuple[int, Sample] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def _sample(self, index: int) -> Sample:
        """A sample; the last is kept, since whoever reads an image asks for its path too."""
        last = self._last
        if last is None or last[0] != index:
            self._last = last = index, self.samples[index]
        return last[1]

    def read(self, index: int, look: Look | None = None) -> Pixels:
        """See `Pictures.read`."""
        sample = self._sample(index)
        return as_pixels(sample.values[self._field], sample.key, look)

    def path(self, index: int) -> str:
        """See `Pictures.path`."""
        sample = self._sample(index)
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

    def read(self, index: int, look: Look | None = None) -> Pixels:
        """See `Pictures.read`."""
        pictures, place = self._place(index)
        return pictures.read(place, look)

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


def read_pixels(path: str, look: Look | None = None) -> Pixels:
    """An image file: uint8 (H, W, 3), upright sRGB, as `as_pixels` has it; grey ones have three equal channels.

    Raises:
        SampleError: it cannot be read, naming it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise SampleError("unreadable", error.strerror or str(error), key=path, origin=path) from None
    return as_pixels(Encoded(content), path, look)


def as_pixels(value: Any, name: str, look: Look | None = None) -> Pixels:
    """Encoded bytes or an array of pixels as uint8 (H, W, 3); an array of that type is the result itself.

    Args:
        name: for messages.
        look: says what part of the image is wanted; None is all of it. The part has the size of its box, or the size
            that the look says where the decoder made it smaller on the way.

    Raises:
        SampleError: it cannot be decoded, by this name.
    """
    try:
        if isinstance(value, Encoded):
            data = as_file(value.data)
            header = images.read_header(data)
            return decode_region(data, header, _whole(*header.sides) if look is None else look(*header.sides))
        array = np.asarray(value)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            array = images.decode(images.encode_npy(array), mode="RGB")
    except SampleError as error:
        raise error.of(name, name) from None
    if look is None:
        return array
    region = look(*array.shape[:2])
    top, left, height, width = region.box
    part = array[top : top + height, left : left + width]
    return np.asarray(cv2.flip(part, 1), np.uint8) if region.mirrored else part


def _whole(height: int, width: int) -> Region:
    return Region((0, 0, height, width), (height, width))


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
