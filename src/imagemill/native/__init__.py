"""The C++ core: batches of JPEGs to pixels on threads of its own, without the interpreter lock.

It is built where a C++ compiler and libjpeg-turbo's headers are at hand when imagemill is installed; `available()`
says whether. Nothing depends on it: `imagemill.codecs.batch` does the same without, more slowly, and takes over
whatever the core hands back. The core judges no image: it decodes JPEGs that are in perfect order and says of
all others why not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError

__all__ = ["FILTERS", "LIBRARY", "Outcome", "Status", "available", "build", "decode_batch", "why_not"]

LIBRARY = Path(__file__).with_name("_core.so")
"""Where the build puts the core; a plain shared library, of this name on every system."""
FILTERS = ("box", "bilinear", "bicubic")
"""Resampling filters, in the order of the core's own list; all widen with the reduction."""
INTERFACE = 1
_TEXT_BYTES = 256


class Status(IntEnum):
    """What became of one image; the numbers are those of the core."""

    DONE = 0
    NOT_JPEG = 1
    PROFILE = 2
    DOUBTFUL = 3
    TOO_LARGE = 4
    BAD_BOX = 5
    NO_MEMORY = 6


class Outcome(NamedTuple):
    """What became of each image of a batch.

    Args:
        statuses: `Status` values, int32, shape (N,); pictures that are not DONE are all zero.
        profiles: a hash of each image's ICC profile, 0 where it has none or was not looked at, uint64, shape (N,).
        texts: what the core has to say of images that are not DONE, shape (N, 256) of bytes; see `text`.
    """

    statuses: npt.NDArray[np.int32]
    profiles: npt.NDArray[np.uint64]
    texts: npt.NDArray[np.uint8]

    def text(self, position: int) -> str:
        """The core's words on one image, for a message; may be empty."""
        words: bytes = self.texts[position].tobytes().partition(b"\0")[0]
        return words.decode("utf-8", "replace")


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """(the core, "") or (None, why there is none)."""
    if not LIBRARY.is_file():
        return None, "it was not built"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.imagemill_interface.restype = ctypes.c_int32
        found = library.imagemill_interface()
        if found != INTERFACE:
            return None, f"it was built from other sources (interface {found}, not {INTERFACE})"
        library.imagemill_build.restype = library.imagemill_kernel.restype = ctypes.c_char_p
        library.imagemill_decode_batch.argtypes = _ARGUMENTS
        library.imagemill_decode_batch.restype = ctypes.c_int32
    except (OSError, AttributeError) as error:
        return None, f"it cannot be loaded: {error}"
    return library, ""


_POINTER, _NUMBER, _LONG = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_ARGUMENTS: Sequence[Any] = [
    *(_LONG, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER),  # count, data … out
    *(_NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, ctypes.c_double, _LONG),  # height … max_pixels
    *(_POINTER, _LONG, _NUMBER, _POINTER, _POINTER, _POINTER),  # trusted, trusted_count, threads, results
]


def available() -> bool:
    """Whether the core is there and works."""
    return _load()[0] is not None


def why_not() -> str:
    """Why the core is not available; empty where it is."""
    return _load()[1]


def build() -> str:
    """What the core was built with and which instructions it uses: "libjpeg-turbo 2.1.5, avx2"; empty without it."""
    library = _load()[0]
    if library is None:
        return ""
    parts: list[bytes] = [library.imagemill_build(), library.imagemill_kernel()]
    return b", ".join(parts).decode()


def decode_batch(
    data: Sequence[Buffer],
    boxes: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
    *,
    flips: npt.NDArray[np.uint8] | None = None,
    orientations: npt.NDArray[np.uint8] | None = None,
    filter: str = "bilinear",
    layout: str = "NCHW",
    threads: int = 1,
    max_pixels: int = 178_956_970,
    shrink_gap: float = 2.0,
    trusted: Collection[int] = (),
) -> Outcome:
    """Cuts, resizes, turns and flips a batch of JPEGs into `out`; one call, the interpreter lock released.

    Only the rows and columns that a box needs are transformed. Pixels are those of a full decode (slow integer
    transform, smooth chroma); boxes much larger than the target are decoded at 1/2, 1/4 or 1/8 first.

    Args:
        data: N encoded images, whole files.
        boxes: int32, shape (N, 4): top, left, height, width in upright coordinates, inside the image.
        out: uint8, C order, writable; shape (N, C, height, width) or (N, height, width, C), C 3 (RGB) or 1 (grey).
        flips: uint8, shape (N,): bit 0 mirrors left and right, bit 1 turns upside down, after the resize; None flips
            nothing.
        orientations: uint8, shape (N,): EXIF orientation 1 to 8, or 0 for what the file says; None is all 0.
        filter: one of `FILTERS`.
        layout: "NCHW" or "NHWC".
        threads: working threads, the calling one included.
        max_pixels: images of more are not decoded.
        shrink_gap: the reduced decode leaves at least this many times the target's sides; below 2 it is faster, and
            some pictures differ by more than 2 levels on average from a resize of all pixels.
        trusted: hashes, as in `Outcome.profiles`, of ICC profiles that need no conversion.

    Returns:
        What became of each image.

    Raises:
        ConfigError: arrays of other shapes or types, an unknown filter or layout, or the core is not available.
        MemoryError: not even the work could be begun.
    """
    library, reason = _load()
    if library is None:
        raise ConfigError(f"the native core is not available: {reason}; imagemill.codecs.batch does without it")
    count = len(data)
    height, width, channels = check_batch(count, boxes, out, flips, orientations, filter, layout, threads)
    views = [np.frombuffer(item, np.uint8) for item in data]
    pointers = np.array([view.__array_interface__["data"][0] for view in views], np.uintp)
    sizes = np.array([view.size for view in views], np.uintp)
    flips = np.zeros(count, np.uint8) if flips is None else np.ascontiguousarray(flips)
    orientations = np.zeros(count, np.uint8) if orientations is None else np.ascontiguousarray(orientations)
    boxes = np.ascontiguousarray(boxes)
    known = np.array(sorted(trusted), np.uint64)
    statuses, profiles = np.zeros(count, np.int32), np.zeros(count, np.uint64)
    texts = np.zeros((count, _TEXT_BYTES), np.uint8)
    code = library.imagemill_decode_batch(
        *(count, pointers.ctypes.data, sizes.ctypes.data, boxes.ctypes.data, flips.ctypes.data),
        *(orientations.ctypes.data, out.ctypes.data, height, width, channels, layout == "NHWC"),
        *(FILTERS.index(filter), shrink_gap, max_pixels, known.ctypes.data, len(known), threads),
        *(statuses.ctypes.data, profiles.ctypes.data, texts.ctypes.data),
    )
    if code != 0:
        raise MemoryError("the native core had no memory to begin with")
    return Outcome(statuses, profiles, texts)


_MOST_THREADS = 1024
_SIDE_LIMIT = 65_535


def check_batch(
    count: int,
    boxes: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
    flips: npt.NDArray[np.uint8] | None,
    orientations: npt.NDArray[np.uint8] | None,
    filter: str,
    layout: str,
    threads: int,
) -> tuple[int, int, int]:
    """(height, width, channels) of the pictures in `out`.

    Raises:
        ConfigError: arrays whose addresses the core must not be given.
    """
    if filter not in FILTERS:
        raise ConfigError(f"unknown filter {filter!r}; a batch knows {', '.join(FILTERS)}")
    if layout not in ("NCHW", "NHWC"):
        raise ConfigError(f"layout is NCHW or NHWC, got {layout!r}")
    if not 1 <= threads <= _MOST_THREADS:
        raise ConfigError(f"threads is 1 to {_MOST_THREADS}, got {threads}")
    if out.dtype != np.uint8 or out.ndim != 4 or not (out.flags.c_contiguous and out.flags.writeable):
        raise ConfigError(f"out must be a writable uint8 array of four axes in C order, got {out.dtype} {out.shape}")
    sides = out.shape[2:] if layout == "NCHW" else out.shape[1:3]
    channels = out.shape[1] if layout == "NCHW" else out.shape[3]
    if len(out) != count or channels not in (1, 3) or not all(1 <= side <= _SIDE_LIMIT for side in sides):
        raise ConfigError(
            f"out holds one picture an image, of 1 or 3 channels and sides 1 to {_SIDE_LIMIT}: "
            f"got {out.shape} as {layout} for {count} images"
        )
    if boxes.dtype != np.int32 or boxes.shape != (count, 4):
        raise ConfigError(f"boxes must be int32 of shape ({count}, 4), got {boxes.dtype} {boxes.shape}")
    for name, values in (("flips", flips), ("orientations", orientations)):
        if values is not None and (values.dtype != np.uint8 or values.shape != (count,)):
            raise ConfigError(f"{name} must be uint8 of shape ({count},), got {values.dtype} {values.shape}")
    return sides[0], sides[1], channels
