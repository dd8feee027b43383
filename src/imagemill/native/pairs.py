"""Parts of pictures as floats, at two resolutions in one call: what training data sets are made of."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple, Self

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


class _Pair(ctypes.Structure):
    """`imagemill::Pair` of the core."""

    _fields_: ClassVar = [
        *((name, ctypes.c_int32) for name in ("top", "left", "height", "width")),
        *((name, ctypes.c_int32) for name in ("out_height", "out_width", "kept_height", "kept_width")),
        *((name, ctypes.c_int32) for name in ("is_mirrored", "scale")),
        *((name, ctypes.c_void_p) for name in ("high", "low")),
    ]


class Picture:
    """A picture in memory that the core can show; a context manager.

    Attributes:
        sides: upright (height, width).
    """

    def __init__(self, handle: int, sides: tuple[int, int], alive: Any) -> None:
        self.sides = sides
        self._handle = handle
        self._alive = alive  # what the core has addresses of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        native.library().imagemill_picture_end(self._handle)

    def show(
        self, view: PairView, *, planes: int = 3
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None] | None:
        """The part of a picture that a view names, by area as `cv2.INTER_AREA` to within a level; once.

        Args:
            view: inside the picture; the scale divides the sides kept and is at most `MOST_SCALE`; nothing grows.
            planes: of the arrays; beyond the first three their values mean nothing.

        Returns:
            Float32, R, G and B in 0–1: the high resolution, (planes, H, W), and means of its squares of `scale` pixels,
            (planes, H / scale, W / scale), or None without a scale. None where another decoder must judge the file.

        Raises:
            ConfigError: another view.
            MemoryError: there is not enough.
        """
        if not view.is_within(self.sides):
            raise ConfigError(f"a picture of {self.sides[1]}x{self.sides[0]} cannot be shown as {view}")
        height, width = view.kept
        high, low = np.empty((planes, height, width), np.float32), None
        if view.scale:
            low = np.empty((planes, height // view.scale, width // view.scale), np.float32)
        places = address(high), None if low is None else address(low)
        pair = _Pair(*view.box, *view.size, *view.kept, view.mirrored, view.scale, *places)
        status = native.library().imagemill_picture_pair(self._handle, ctypes.byref(pair))
        if status == native.Status.NO_MEMORY:
            raise MemoryError(f"no memory to make {width}x{height} pixels")
        return (high, low) if status == native.Status.DONE else None


def open_picture(data: Buffer, profiles: Profiles) -> Picture | int:
    """A file, opened; else the core's hash of its colour profile if that is not known yet, or 0: not for the core.

    Raises:
        ConfigError: the core is not available.
    """
    core, sides, profile = native.library(), (ctypes.c_int32 * 2)(), ctypes.c_uint64()
    content = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
    start = content if isinstance(content, bytes) else address(content)
    known = (address(profiles.table), len(profiles)) if len(profiles) else (None, 0)
    handle = core.imagemill_picture_open(start, len(content), native.MAX_PIXELS, *known, sides, ctypes.byref(profile))
    if not handle:
        return 0 if profile.value in profiles else profile.value
    return Picture(handle, (sides[0], sides[1]), (content, profiles))


def open_pixels(pixels: npt.NDArray[np.uint8]) -> Picture:
    """Pixels in memory, uint8 (H, W, 3).

    Raises:
        ConfigError: the core is not available.
        MemoryError: there is not enough.
    """
    pixels = np.ascontiguousarray(pixels)
    sides = (ctypes.c_int32 * 2)(*pixels.shape[:2])
    handle = native.library().imagemill_picture_open(
        address(pixels), pixels.size, 0, None, 0, sides, ctypes.byref(ctypes.c_uint64())
    )
    if not handle:
        raise MemoryError("no memory to begin with")
    return Picture(handle, (sides[0], sides[1]), pixels)
