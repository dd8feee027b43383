"""Samples as small pictures inside the page: data URIs of lossy WebPs that keep to a budget of bytes.

JPEGs are decoded at a fraction of their sides where the native core is there. The side of all pictures follows from the
budget and their number; a picture that comes out larger than its share is encoded again, coarser, and then smaller.
"""

from __future__ import annotations

import base64
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from imagemill.codecs.batch import decode_batch
from imagemill.codecs.image import encode_webp, read_header
from imagemill.core.imagenet import class_title
from imagemill.core.sample import Array, Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import SampleError
from imagemill.load.decode import image_pixels, mask_array, plain_value
from imagemill.transforms.geometry import resize, resize_mask

SIDES = (256, 64)
"""Longest and shortest longer side of a picture, in pixels of the file; the page shows it at up to 170."""
QUALITIES = (62, 40, 20)
PICTURES_A_SAMPLE = 4
SHOWN_IDS = 24

_BYTES_A_SQUARE_PIXEL = 0.145
"""WebP of quality 62, over the square of the longer side: what 100 ImageNet photographs take at sides 144 to 256."""
_BATCH = 32
_PALETTE = np.frombuffer(
    bytes.fromhex(
        "0080aa ff8000 aa00ff 00ffd4 55552a aad480 aa80ff 802a55 ffaaff 552aaa d48080 ffd400 aa5500 ff0055 aa0080 "
        "ffd4ff 558055 00aaaa 80d455 aa55ff 0000ff 5555aa d42a80 ff00d4 aa00d4 55d4aa ff80d4 8080d4 802a00 80ff80 "
        "800080 ffaaaa"
    ),
    np.uint8,
).reshape(-1, 3)
"""Colours of class ids: each the farthest in CIELAB from those before it, as seen by normal eyes and by the three
kinds of colour-blind ones (Machado et al., "A physiologically-based model for simulation of color vision deficiency",
2009)."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One small picture: the field it shows, a data URI, and its sides in pixels."""

    field: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """One sample on the page: its pictures, and lines of text on label, caption, size.

    Args:
        compared: whether there are exactly two pictures of equal sides, which lie on top of each other.
        error: why there is no picture, else "".
    """

    key: str
    pictures: tuple[Picture, ...]
    lines: tuple[str, ...]
    compared: bool = False
    error: str = ""


@dataclass(frozen=True)
class Album:
    """All samples that a page shows.

    Args:
        samples: by key.
        ids: (class id, colour as #rrggbb, share of the pixels of the masks shown), the most frequent first.
        more_ids: class ids beside those.
    """

    samples: dict[str, Shown]
    ids: tuple[tuple[int, str, float], ...]
    more_ids: int


@dataclass(frozen=True)
class _Small:
    """A row made small: pixels a field, text, and how many pixels each class id has."""

    key: str
    pixels: tuple[tuple[str, Pixels], ...]
    lines: tuple[str, ...]
    ids: Counter[int]
    error: str = ""


def album(schema: Schema, rows: Iterable[tuple[str, Row | SampleError]], uses: Counter[str], budget: int) -> Album:
    """Pictures of some samples.

    Args:
        schema: of the rows.
        rows: key and row, or why there is none; each key once.
        uses: how often the page shows each key.
        budget: bytes of all data URIs on the page together.
    """
    a_sample = min(len(schema.of_kind("image", "mask")), PICTURES_A_SAMPLE)
    left, remaining = max(uses.total() * a_sample, 1), budget
    side = side_for(budget * 3 / 4 / left)
    samples: dict[str, Shown] = {}
    ids: Counter[int] = Counter()
    for small in _made_small(schema, rows, side):
        pictures = []
        for field, pixels in small.pixels:
            share = min(1.5, max(left / uses[small.key], 1)) * remaining / left
            picture = _picture(field, pixels, share)
            pictures.append(picture)
            remaining -= len(picture.uri) * uses[small.key]
            left -= uses[small.key]
        left -= (a_sample - len(small.pixels)) * uses[small.key]
        ids.update(small.ids)
        samples[small.key] = Shown(small.key, tuple(pictures), small.lines, _compared(pictures), small.error)
    total = ids.total()
    shown = sorted(ids.items(), key=lambda entry: (-entry[1], entry[0]))[:SHOWN_IDS]
    return Album(
        samples,
        tuple((number, _hex(number), count / total) for number, count in shown),
        len(ids) - len(shown),
    )


def side_for(size_bytes: float) -> int:
    """The longer side, in pixels, of pictures that take so many bytes as WebP, a multiple of 8 within `SIDES`."""
    side = math.sqrt(size_bytes / _BYTES_A_SQUARE_PIXEL) // 8 * 8
    return int(min(max(side, SIDES[1]), SIDES[0]))


def _made_small(schema: Schema, rows: Iterable[tuple[str, Row | SampleError]], side: int) -> Iterator[_Small]:
    """Rows decoded on threads, a few at a time, in their order."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), "imagemill-report") as pool:
        waiting: list[tuple[str, Row | SampleError]] = []
        for entry in rows:
            waiting.append(entry)
            if len(waiting) == _BATCH:
                yield from pool.map(partial(_small, schema, side), waiting)
                waiting = []
        yield from pool.map(partial(_small, schema, side), waiting)


def _small(schema: Schema, side: int, entry: tuple[str, Row | SampleError]) -> _Small:
    key, row = entry
    if isinstance(row, SampleError):
        return _Small(key, (), (), Counter(), row.reason)
    ids: Counter[int] = Counter()
    try:
        pixels = tuple(_pixels(schema, row, side, ids))[:PICTURES_A_SAMPLE]
    except SampleError as error:
        return _Small(key, (), (), Counter(), error.reason)
    return _Small(key, pixels, tuple(_lines(schema, row)), ids)


def _pixels(schema: Schema, row: Row, side: int, ids: Counter[int]) -> Iterator[tuple[str, Pixels]]:
    """Each image, and each mask of class ids laid over the first image, or alone; counts class ids."""
    base: Pixels | None = None
    for field in schema.of_kind("image"):
        pixels = small_image(field, row.values[field.name], side)
        base = pixels if base is None else base
        yield field.name, pixels
    for field in schema.of_kind("mask"):
        mask = mask_array(field, row.values[field.name])
        if mask.ndim == 2 and mask.dtype.kind in "iub":
            height, width = mask.shape if base is None else base.shape[:2]
            fitted = resize_mask(mask, _sides(height, width, side))
            numbers, counts = np.unique(fitted, return_counts=True)
            ids.update(dict(zip(map(int, numbers), map(int, counts), strict=True)))
            yield field.name, overlaid(base, fitted)


def small_image(field: Field, value: Buffer, side: int) -> Pixels:
    """An image value, upright RGB, with a longer side of so many pixels at most.

    Raises:
        SampleError: the bytes are no whole image.
    """
    if field.storage != "bytes":
        pixels = image_pixels(field, value, "RGB")
        return resize(pixels, _sides(pixels.shape[0], pixels.shape[1], side), filter="box")
    height, width = read_header(value).sides
    out = np.empty((1, *_sides(height, width, side), 3), np.uint8)
    errors = decode_batch([value], np.array([[0, 0, height, width]], np.int32), out, filter="box", layout="NHWC")
    if errors:
        raise errors[0]
    return np.asarray(out[0])


def _sides(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) with a longer side of `side` at most, never enlarged."""
    scale = min(1.0, side / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def overlaid(base: Pixels | None, ids: Array) -> Pixels:
    """Class ids as colours over a greyed picture of the same sides, or alone where there is none.

    Args:
        base: uint8 RGB, (H, W, 3).
        ids: integers, (H, W); each id has the same colour on every picture.
    """
    tinted = colours(ids)
    if base is None:
        return tinted
    return np.asarray((base.astype(np.uint16) * 2 + tinted.astype(np.uint16) * 3) // 5, np.uint8)


def colours(ids: Array) -> Pixels:
    """A colour for every class id, 32 of them in turn.

    Returns:
        uint8 RGB, the shape of `ids` and a last axis of 3.
    """
    tinted: Pixels = _PALETTE[ids.astype(np.int64) % len(_PALETTE)]
    return tinted


def _hex(number: int) -> str:
    return "#" + "".join(f"{part:02x}" for part in colours(np.array([number]))[0].tolist())


def _picture(field: str, pixels: Pixels, most_bytes: float) -> Picture:
    """The picture in at most so many bytes of data URI, as far as a few steps bring it there."""
    for quality in QUALITIES:
        uri = _uri(pixels, quality)
        if len(uri) <= most_bytes:
            return Picture(field, uri, pixels.shape[1], pixels.shape[0])
    height, width = pixels.shape[:2]
    if max(height, width) <= 16:
        return Picture(field, uri, width, height)
    return _picture(field, resize(pixels, _sides(height, width, max(height, width) // 2), filter="box"), most_bytes)


def _uri(pixels: Pixels, quality: int) -> str:
    encoded = encode_webp(np.ascontiguousarray(pixels), quality, effort=2)
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode('ascii')}"


def _compared(pictures: list[Picture]) -> bool:
    return len(pictures) == 2 and (pictures[0].width, pictures[0].height) == (pictures[1].width, pictures[1].height)


def _lines(schema: Schema, row: Row) -> Iterator[str]:
    for field in schema.of_kind("label", "text"):
        value = plain_value(field, row.values[field.name])
        if field.kind == "label" and value == -1:
            continue
        if field.kind == "label" and field.class_names and isinstance(value, int) and value < len(field.class_names):
            value = class_title(field.class_names[value])
        yield str(value) if len(str(value)) <= 80 else f"{str(value)[:79]}…"
    known = [f"{width}x{height}" for height, width in row.sides.values() if height and width]
    if known:
        yield " → ".join(dict.fromkeys(known))
