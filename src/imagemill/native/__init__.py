"""The C++ core: batches of image files to pixels on threads of its own, without the interpreter lock.

It is built where a C++ compiler and libjpeg-turbo's headers are at hand when imagemill is installed; `available()`
says whether. Nothing depends on it: `imagemill.codecs.batch` does the same without, more slowly, and takes over
whatever the core hands back. The core judges no image: it decodes JPEGs and PNGs that are in perfect order and says
of all others why not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError
from imagemill.native.signatures import declare

__all__ = [
    "AREA",
    "COLOUR_MAP_SIZE",
    "DECODERS",
    "FILTERS",
    "LIBRARY",
    "MAX_PIXELS",
    "SHRINK_GAP",
    "Outcome",
    "Profiles",
    "Status",
    "available",
    "build",
    "decode_batch",
    "library",
    "prove_jpeg",
    "read_jpeg",
    "read_rgb",
    "why_not",
    "xxh3_64",
]

LIBRARY = Path(__file__).with_name("_core.so")
"""Where the build puts the core; a plain shared library, of this name on every system."""
FILTERS = ("box", "bilinear", "bicubic")
"""Resampling filters of Pillow, in the order of the core's own list; all widen with the reduction."""
AREA = "area"
"""The core's last filter: a pixel weighs what is covered of it, as in OpenCV's INTER_AREA where that shrinks."""
DECODERS = ("any", "libjpeg", "own")
"""Ways to decode a JPEG, in the order of the core's own list; "any" is our own where it can, else libjpeg."""
INTERFACE = 9
MAX_PIXELS = 178_956_970
SHRINK_GAP = 2.0
"""A reduced decode leaves at least so many times the target's sides; below 2 it is faster, and some pictures differ
by more than 2 levels on average from a resize of all pixels."""
COLOUR_MAP_SIZE = 3 * 256 + 9
GREY_MAP_SIZE = 256
_MAP_SHAPES = ((COLOUR_MAP_SIZE,), (GREY_MAP_SIZE,))
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
    DAMAGED = 7
    ELSEWHERE = 8


class Profiles:
    """What is known of ICC profiles, by the core's hash of them. Immutable.

    Args:
        maps: hash → None where the profile says what is assumed anyway, sRGB; else the way from its colours to sRGB,
            float32 of shape (`COLOUR_MAP_SIZE`,): for each level of R, G and B its linear value, then a matrix, row
            by row, to linear sRGB; or of shape (`GREY_MAP_SIZE`,): the linear value of each level of grey.
    """

    def __init__(self, maps: Mapping[int, npt.NDArray[np.float32] | None] | None = None) -> None:
        self.maps = dict(sorted((maps or {}).items()))
        for colours in self.maps.values():
            if colours is not None and (
                colours.dtype != np.float32 or colours.shape not in _MAP_SHAPES or not colours.flags.c_contiguous
            ):
                raise ConfigError(f"a colour map is float32 of one of the shapes {_MAP_SHAPES}, got {colours.shape}")
        self.table = np.array(
            [
                (number, 0, 0) if colours is None else (number, address(colours), map_channels(colours))
                for number, colours in self.maps.items()
            ],
            [("hash", "u8"), ("map", "u8"), ("channels", "i8")],
        )

    def __len__(self) -> int:
        return len(self.maps)

    def __contains__(self, number: object) -> bool:
        return number in self.maps


def map_channels(colours: npt.NDArray[np.float32]) -> int:
    """Channels of the pictures that a map of `Profiles` is for: 1 or 3."""
    return 1 if colours.shape == (GREY_MAP_SIZE,) else 3


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
        declare(library)
    except (OSError, AttributeError) as error:
        return None, f"it cannot be loaded: {error}"
    return library, ""


class _Batch(ctypes.Structure):
    """`imagemill::Batch` of the core."""

    _fields_: ClassVar = [
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("data", "sizes", "boxes", "limits", "turns", "orientations", "out")),
        *((name, ctypes.c_int32) for name in ("height", "width", "channels")),
        ("channels_last", ctypes.c_bool),
        ("filter", ctypes.c_int32),
        ("shrink_gap", ctypes.c_double),
        ("max_pixels", ctypes.c_int64),
        ("known", ctypes.c_void_p),
        ("known_count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("statuses", "profiles", "texts")),
    ]


def library() -> ctypes.CDLL:
    """The core.

    Raises:
        ConfigError: it is not available; says why.
    """
    found, reason = _load()
    if found is None:
        raise ConfigError(f"the native core is not available: {reason}; imagemill.codecs.batch does without it")
    return found


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's first element lies."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))  # a fifth of the time of what follows
    except (TypeError, ValueError, BufferError):  # read-only, empty or in pieces
        return int(array.__array_interface__["data"][0])


def available() -> bool:
    """Whether the core is there and works."""
    return _load()[0] is not None


def why_not() -> str:
    """Why the core is not available; empty where it is."""
    return _load()[1]


def build() -> str:
    """What the core was built with and which instructions it uses: "libjpeg-turbo 2.1.5, avx2"; empty without it."""
    core = _load()[0]
    if core is None:
        return ""
    parts: list[bytes] = [core.imagemill_build(), core.imagemill_kernel()]
    return b", ".join(parts).decode()


def xxh3_64(content: bytes) -> int:
    """The core's own xxh3-64, with which it checks values; for tests."""
    return int(library().imagemill_xxh3(content, len(content)))


def prove_jpeg(data: Buffer) -> bool:
    """Whether every code of a JPEG is there and nothing whatever is to be remarked of the file.

    The entropy-coded data of all scans are decoded and no pixels made of them: an inverse transform cannot fail. False
    says nothing: another decoder must judge, also where the core is not available. The interpreter lock is released.

    Args:
        data: the whole file.
    """
    core = _load()[0]
    if core is None:
        return False
    content = np.frombuffer(data, np.uint8)
    return bool(core.imagemill_prove(address(content), content.size)) if content.size else False


def read_jpeg(
    content: bytes, box: tuple[int, int, int, int], *, shrink: int = 1, decoder: str = "any"
) -> tuple[Status, npt.NDArray[np.uint8]]:
    """A part of one JPEG as it lies in the file, neither turned nor resized nor its colours looked at; for tests and
    benchmarks of the decoders.

    Args:
        content: the whole file.
        box: top, left, height, width in the picture shrunk by `shrink`.
        shrink: 1, 2, 4 or 8.
        decoder: one of `DECODERS`; "own" gives `Status.ELSEWHERE` where only libjpeg can.

    Returns:
        What became of it, and the pixels where that is DONE: uint8, shape (height, width, 4), R, G, B and an unused
        byte.

    Raises:
        ConfigError: a box without pixels, another shrink or decoder, or the core is not available.
    """
    if (
        shrink not in (1, 2, 4, 8)
        or decoder not in DECODERS
        or min(box) < 0
        or not all(0 < n <= _SIDE_LIMIT for n in box[2:])
    ):
        raise ConfigError(f"cannot read {box} shrunk by {shrink} by {decoder!r}; decoders are {', '.join(DECODERS)}")
    out = np.empty((box[2], box[3], 4), np.uint8)
    numbers = np.array(box, np.int32)
    status = library().imagemill_read_jpeg(
        *(content, len(content), address(numbers), shrink, DECODERS.index(decoder), address(out))
    )
    return Status(status), out


def read_rgb(content: bytes, box: tuple[int, int, int, int]) -> tuple[Status, npt.NDArray[np.uint8]]:
    """A part of one JPEG as `read_jpeg` gives it, its pixels uint8 of shape (height, width, 3).

    Raises:
        ConfigError: a box without pixels, or the core is not available.
    """
    if min(box) < 0 or not all(0 < n <= _SIDE_LIMIT for n in box[2:]):
        raise ConfigError(f"cannot read {box}: top and left are 0 or more, height and width 1 or more")
    out, numbers = np.empty((box[2], box[3], 3), np.uint8), np.array(box, np.int32)
    status = library().imagemill_read_rgb(content, len(content), address(numbers), address(out))
    return Status(status), out


def decode_batch(
    data: Sequence[Buffer],
    boxes: npt.NDArray[Any],
    out: npt.NDArray[np.uint8],
    *,
    limits: npt.NDArray[np.int32] | None = None,
    turns: npt.NDArray[np.uint8] | None = None,
    orientations: npt.NDArray[np.uint8] | None = None,
    filter: str = "bilinear",
    layout: str = "NCHW",
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    shrink_gap: float = SHRINK_GAP,
    profiles: Profiles | None = None,
) -> Outcome:
    """Cuts, resizes, turns and flips a batch of JPEGs into `out`; one call, the interpreter lock released.

    Only the rows and columns that a box needs are transformed. Pixels are those of a full decode (slow integer
    transform, smooth chroma); boxes much larger than the target are decoded at 1/2, 1/4 or 1/8 first.

    Args:
        data: N encoded images, whole files.
        boxes: int32, or float64 where they end between pixels, shape (N, 4): top, left, height, width in upright
            coordinates, inside the limit.
        out: uint8, C order, writable; shape (N, C, height, width) or (N, height, width, C), C 3 (RGB) or 1 (grey).
        limits: int32, shape (N, 4): top, left, bottom, right of the pixels that may have a say, inside the image;
            None is those that the box touches.
        turns: uint8, shape (N,), after the resize: bit 2 swaps rows and columns, bit 1 then turns upside down, bit 0
            then mirrors left and right; None does nothing.
        orientations: uint8, shape (N,): EXIF orientation 1 to 8, or 0 for what the file says; None is all 0.
        filter: one of `FILTERS`, or `AREA`.
        layout: "NCHW" or "NHWC".
        threads: working threads.
        max_pixels: images of more are not decoded.
        shrink_gap: see `SHRINK_GAP`.
        profiles: what is known of ICC profiles; images with others are handed back.

    Returns:
        What became of each image.

    Raises:
        ConfigError: arrays of other shapes or types, an unknown filter or layout, or the core is not available.
        MemoryError: not even the work could be begun.
    """
    core = library()
    count = len(data)
    height, width, channels = check_batch(count, boxes, out, turns, orientations, filter, layout, threads)
    views = [np.frombuffer(item, np.uint8) for item in data]
    pointers = np.array([address(view) for view in views], np.uintp)
    sizes = np.array([view.size for view in views], np.uintp)
    turns = np.zeros(count, np.uint8) if turns is None else np.ascontiguousarray(turns)
    orientations = np.zeros(count, np.uint8) if orientations is None else np.ascontiguousarray(orientations)
    boxes = np.ascontiguousarray(boxes, np.float64)
    limits = _touched(boxes) if limits is None else np.ascontiguousarray(limits, np.int32)
    if limits.shape != (count, 4):
        raise ConfigError(f"limits must be int32 of shape ({count}, 4), got {limits.shape}")
    known = profiles or Profiles()
    statuses, found = np.zeros(count, np.int32), np.zeros(count, np.uint64)
    texts = np.zeros((count, _TEXT_BYTES), np.uint8)
    given: list[npt.NDArray[Any]] = [pointers, sizes, boxes, limits, turns, orientations, out]
    written: list[npt.NDArray[Any]] = [statuses, found, texts]
    batch = _Batch(
        *(count, *map(address, given)),
        *(height, width, channels, layout == "NHWC", (*FILTERS, AREA).index(filter), shrink_gap, max_pixels),
        *(address(known.table), len(known), *map(address, written)),
    )
    if core.imagemill_decode_batch(ctypes.byref(batch), threads) != 0:
        raise MemoryError("the native core had no memory to begin with")
    return Outcome(statuses, found, texts)


def _touched(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Limits (top, left, bottom, right) of the pixels that boxes touch; what is beyond every picture stays so."""
    starts, stops = np.floor(boxes[:, :2]), np.ceil(boxes[:, :2] + boxes[:, 2:])
    return np.concatenate([starts, stops], axis=1).clip(-1, _SIDE_LIMIT + 1).astype(np.int32)


_MOST_THREADS = 1024
_SIDE_LIMIT = 65_535


def check_batch(
    count: int,
    boxes: npt.NDArray[Any],
    out: npt.NDArray[np.uint8],
    turns: npt.NDArray[np.uint8] | None,
    orientations: npt.NDArray[np.uint8] | None,
    filter: str,
    layout: str,
    threads: int,
) -> tuple[int, int, int]:
    """(height, width, channels) of the pictures in `out`.

    Raises:
        ConfigError: arrays whose addresses the core must not be given.
    """
    if filter not in (*FILTERS, AREA):
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
    if boxes.dtype not in (np.int32, np.float64) or boxes.shape != (count, 4):
        raise ConfigError(f"boxes must be int32 or float64 of shape ({count}, 4), got {boxes.dtype} {boxes.shape}")
    for name, values in (("turns", turns), ("orientations", orientations)):
        if values is not None and (values.dtype != np.uint8 or values.shape != (count,)):
            raise ConfigError(f"{name} must be uint8 of shape ({count},), got {values.dtype} {values.shape}")
    return sides[0], sides[1], channels
