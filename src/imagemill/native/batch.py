"""Pictures and batches of them, from image files to pixels by the native core."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError
from imagemill.native import AREA, DECODERS, FILTERS, MAX_PIXELS, SHRINK_GAP, Status, address, library

COLOUR_MAP_SIZE = 3 * 256 + 9
GREY_MAP_SIZE = 256

_MAP_SHAPES = ((COLOUR_MAP_SIZE,), (GREY_MAP_SIZE,))
_TEXT_BYTES = 256
_MOST_THREADS = 1024
_SIDE_LIMIT = 65_535


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
