"""What `check` wants to know of the pixels of a JPEG: decoded, proven whole and measured by one call of the core."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.native import address, available, library

SIDE = 32
"""Of thumbnails that the core makes."""
_LEVELS = 256


class Look(NamedTuple):
    """What was found.

    Args:
        pixels: uint8, shape (height, width, 3), as stored; grey files have three equal channels.
        spread: largest difference between the channels of a pixel, in levels.
        levels: histogram of halved luma, int64, shape (256,).
        edges: histogram of the absolute Laplacian of it, at most 255, int64, shape (256,).
        thumbnail: uint8, shape (side, side): mean luma of equal parts.
    """

    pixels: npt.NDArray[np.uint8]
    spread: int
    levels: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]
    thumbnail: npt.NDArray[np.uint8]


class _Look(ctypes.Structure):
    """`imagemill::Look` of the core."""

    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        *((name, ctypes.c_int32) for name in ("height", "width", "halved_from", "grid", "no_colour", "spread")),
        *((name, ctypes.c_void_p) for name in ("pixels", "levels", "edges", "thumbnail")),
    ]


def look_at_jpeg(data: Buffer, sides: tuple[int, int], *, halved_from: int, grid: int, no_colour: int) -> Look | None:
    """Looks at a JPEG of one or three channels; the interpreter lock is released.

    `curate.quality.measure` says what the numbers are, and of an upright picture the two agree bit by bit.

    Args:
        data: the whole file.
        sides: (height, width) that its header says.
        halved_from: shorter side from which luma is halved, again and again.
        grid, no_colour: all pixels are looked at for colour where a grid of so many rows and columns has less spread.

    Returns:
        None where another decoder must judge: anything is to be remarked of the file, or there is no core.
    """
    if not available():
        return None
    content = np.frombuffer(data, np.uint8)
    pixels = np.empty((*sides, 3), np.uint8)
    levels, edges = np.empty(_LEVELS, np.int64), np.empty(_LEVELS, np.int64)
    thumbnail = np.empty((SIDE, SIDE), np.uint8)
    found: list[npt.NDArray[Any]] = [pixels, levels, edges, thumbnail]
    look = _Look(address(content), content.size, *sides, halved_from, grid, no_colour, 0, *map(address, found))
    if not library().imagemill_look(ctypes.byref(look)):
        return None
    return Look(pixels, look.spread, levels, edges, thumbnail)
