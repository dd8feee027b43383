"""JPEGs of parts of a picture by the native core: byte by byte those of libjpeg-turbo, but quicker."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError
from imagemill.native import address, library

SUBSAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}
"""Name → samples of luma to one of chroma, (across, down); what the core can."""
_SIDE_LIMIT = 65_500


class _Request(ctypes.Structure):
    """`imagemill::jpeg::PartsRequest` of the core."""

    _fields_: ClassVar = [
        ("pixels", ctypes.c_void_p),
        ("row_bytes", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("channels", "quality", "across", "down")),
        ("count", ctypes.c_int64),
        ("boxes", ctypes.c_void_p),
    ]


class JpegParts:
    """Baseline JPEGs of parts of one picture, each made when it is asked for; not for several threads at once.

    What parts of sides that are multiples of 16 (of 8 in "444") have in common is coded once where they lie on one
    grid, as tiles with a step of such a multiple do; they are best asked for from the top down. Each file is that of
    `cv2.imencode` of the part alone.

    Args:
        pixels: uint8 (H, W, 1) or (H, W, 3) RGB, C order or rows of such; not to be changed as long as parts are made.
        boxes: (top, left, height, width) of each part.
        quality: 1 to 100.
        subsampling: of the colours, one of `SUBSAMPLINGS`.

    Raises:
        ConfigError: boxes outside the picture, another dtype, shape, quality or subsampling, or the core is not
            available.
        MemoryError: there is not enough.
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        boxes: Sequence[tuple[int, int, int, int]],
        quality: int,
        subsampling: str = "420",
    ) -> None:
        core = library()
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not 1 <= quality <= 100:
            raise ConfigError(f"no JPEG of {pixels.dtype} {pixels.shape} at quality {quality}")
        if subsampling not in SUBSAMPLINGS:
            raise ConfigError(f"unknown subsampling {subsampling!r}; known here: {', '.join(SUBSAMPLINGS)}")
        places = np.array(boxes, np.int64).reshape(-1, 4)
        ends = places[:, :2] + places[:, 2:]
        if len(places) and (
            places[:, :2].min() < 0
            or not 1 <= places[:, 2:].min() <= places[:, 2:].max() <= _SIDE_LIMIT
            or (ends > pixels.shape[:2]).any()
        ):
            raise ConfigError(
                f"boxes lie inside the picture of {pixels.shape[1]}x{pixels.shape[0]}, sides at most 65,500"
            )
        channels = pixels.shape[2]
        if pixels.strides[1:] != (channels, 1) or pixels.strides[0] < 0:
            pixels = np.ascontiguousarray(pixels)
        self._pixels, self._count = pixels, len(places)
        numbers = places.astype(np.int32)
        start = int(pixels.__array_interface__["data"][0])
        request = _Request(
            *(start, pixels.strides[0], channels, quality, *SUBSAMPLINGS[subsampling]),
            *(len(places), address(numbers)),
        )
        self._core, self._parts = core, core.imagemill_jpeg_parts_start(ctypes.byref(request))
        if not self._parts:
            raise MemoryError("no memory to write JPEGs")
        weakref.finalize(self, core.imagemill_jpeg_parts_end, self._parts)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: int) -> bytes:
        """The file of one part.

        Raises:
            IndexError: there is no such part.
            MemoryError: there is not enough.
        """
        if not 0 <= part < self._count:
            raise IndexError(f"part {part} of {self._count}")
        size = ctypes.c_size_t()
        data = self._core.imagemill_jpeg_part(self._parts, part, ctypes.byref(size))
        if not data:
            raise MemoryError("no memory to write a JPEG")
        return ctypes.string_at(data, size.value)
