"""Parts of pictures as floats, at two resolutions, many in one call: what training data sets are made of."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError
from imagemill.native import Profiles, address

MOST_SCALE = 256


class PairView(NamedTuple):
    """What is seen of a picture.

    Args:
        box: (top, left, height, width) in upright pixels, inside the picture.
        size: (height, width) that the box is brought to.
        kept: (height, width) of that, from its top left corner on.
        mirrored: left and right change places, before anything is cut off.
        scale: of the low resolution, whose sides are those kept over the scale; 0 makes none.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    kept: tuple[int, int]
    mirrored: bool = False
    scale: int = 0

    def is_within(self, sides: tuple[int, int]) -> bool:
        """Whether the core can show this of a picture of these sides: nothing grows, scales divide what is kept."""
        top, left, height, width = self.box
        rows, columns = self.kept
        return (
            min(top, left) >= 0 < min(rows, columns)
            and (top + height <= sides[0] and left + width <= sides[1])
            and (rows <= self.size[0] <= height and columns <= self.size[1] <= width)
            and (self.scale == 0 or (0 < self.scale <= MOST_SCALE and rows % self.scale == columns % self.scale == 0))
        )


Place: TypeAlias = str | Buffer | npt.NDArray[np.uint8]
"""Where a picture is: the path of a file, the bytes of one, or pixels (H, W, 3)."""

_SOURCE = struct.Struct("=qQqqq")
"""`imagemill::PairSource` of the core."""
_PAIR = struct.Struct("@10iQQ")
"""`imagemill::Pair` of the core."""
_FOUND = 3
"""Numbers of `imagemill::PairFound` of the core."""


class PictureBatch:
    """Pictures that the core has opened; a context manager.

    Args:
        places: where they are; pixels in C order.
        profiles: that are known.

    Attributes:
        sides: upright (height, width) of each, None of what is not for the core.
        profiles: for each of those the core's hash of its colour profile, 0 where it has none.

    Raises:
        ConfigError: the core is not available.
        MemoryError: there is not enough.
    """

    def __init__(self, places: Sequence[Place], profiles: Profiles) -> None:
        core = native.library()
        sources, names, alive = _written(places)
        found = (ctypes.c_uint64 * (_FOUND * len(places)))()
        known = (address(profiles.table), len(profiles)) if len(profiles) else (None, 0)
        self._alive = alive, profiles  # what the core has addresses of
        self._handle = core.imagemill_pairs_open(sources, len(places), names, native.MAX_PIXELS, *known, found)
        if not self._handle:
            raise MemoryError("no memory to open pictures")
        heights, widths, self.profiles = found[::_FOUND], found[1::_FOUND], found[2::_FOUND]
        self.sides = [(height, width) if height else None for height, width in zip(heights, widths, strict=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        native.library().imagemill_pairs_end(self._handle)

    def show(self, wanted: Sequence[tuple[PairView, int, int] | None]) -> list[bool]:
        """The parts of pictures that views name, by area as `cv2.INTER_AREA` to within a level; once.

        Written are float32, R, G and B in 0-1, one plane after the other: the high resolution, (3, H, W), and means of
        its squares of `scale` pixels, (3, H / scale, W / scale).

        Args:
            wanted: for each picture a view that lies in it (see `PairView.is_within`, which the caller has asked), and
                the addresses of both resolutions, 0 of a low one that is not wanted; None leaves the picture out.

        Returns:
            Whether each was shown; where it was not, another decoder must judge the file.

        Raises:
            MemoryError: there is not enough.
        """
        pairs = b"".join([_NO_PAIR if each is None else _packed(*each) for each in wanted])
        statuses = (ctypes.c_int32 * len(wanted))()
        native.library().imagemill_pairs_show(self._handle, pairs, statuses)
        found = statuses[:]
        if native.Status.NO_MEMORY in found:
            raise MemoryError("no memory to make pixels")
        return [status == native.Status.DONE for status in found]


_NO_PAIR = bytes(_PAIR.size)


def _packed(view: PairView, high: int, low: int) -> bytes:
    return _PAIR.pack(*view.box, *view.size, *view.kept, view.mirrored, view.scale, high, low if view.scale else 0)


def _written(places: Sequence[Place]) -> tuple[bytes, bytes, list[Any]]:
    """(the sources for the core, the names of files one after the other, what must stay alive)."""
    sources: list[bytes] = []
    names: list[bytes] = []
    alive: list[Any] = []
    end = 0
    for place in places:
        if isinstance(place, str):
            name = os.fsencode(place)
            sources.append(_SOURCE.pack(end, 0, 0, 0, 0))
            names.append(name)
            end += len(name) + 1
            continue
        if isinstance(place, np.ndarray) and place.ndim == 3:
            if not place.flags.c_contiguous or place.shape[2] != 3 or place.dtype != np.uint8:
                raise ConfigError("pixels are uint8 (H, W, 3) in C order")
            sources.append(_SOURCE.pack(-1, address(place), place.size, *place.shape[:2]))
            alive.append(place)
            continue
        content = np.frombuffer(place, np.uint8)
        sources.append(_SOURCE.pack(-1, address(content) if content.size else 0, content.size, 0, 0))
        alive.append(content)
    return b"".join(sources), b"\0".join(names), alive
