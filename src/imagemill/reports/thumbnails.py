"""A few samples as small pictures inside the page: data URIs of lossy JPEGs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.codecs.image import encode_jpeg
from imagemill.core.sample import Array, Row
from imagemill.core.schema import Schema
from imagemill.errors import SampleError
from imagemill.formats.store import Store
from imagemill.load.decode import image_pixels, mask_array, plain_value
from imagemill.load.order import permute
from imagemill.transforms.geometry import resize, resize_mask

SHOWN = 60
SIDE = 160
QUALITY = 72
MOST_BYTES = 1_300_000
"""Of all pictures together, before base64 adds a third: the page stays below 2 MB."""

_GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True)
class Picture:
    """One small picture: what it shows, a data URI, and its sides on the page in pixels."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Thumbnail:
    """One sample: its key, split, pictures, and lines of text on its label, size, caption."""

    key: str
    split: str
    pictures: tuple[Picture, ...]
    lines: tuple[str, ...]


def thumbnails(store: Store, shown: int = SHOWN) -> list[Thumbnail]:
    """Samples drawn from all splits, always the same ones; fewer where they would be too many bytes.

    Raises:
        DamageError: a drawn sample is damaged.
    """
    if not store.schema.of_kind("image", "mask"):
        return []
    result: list[Thumbnail] = []
    size_bytes = 0
    for split, place in drawn(store, shown):
        thumbnail = _thumbnail(store.schema, split, store.read(split, [place])[0])
        size_bytes += sum(len(picture.uri) * 3 // 4 for picture in thumbnail.pictures)
        if result and size_bytes > MOST_BYTES:
            break
        result.append(thumbnail)
    return result


def drawn(store: Store, shown: int) -> Iterator[tuple[str, int]]:
    """(split, position) of the samples to show: every split has its share, at least one."""
    total = store.manifest.count()
    for split in store.splits:
        count = store.count(split)
        share = min(count, max(1, round(shown * count / max(total, 1))))
        for place in np.sort(permute(np.arange(share, dtype=np.int64), count, seed=0, epoch=0)).tolist():
            yield split, place


def _thumbnail(schema: Schema, split: str, row: Row) -> Thumbnail:
    try:
        pictures = tuple(_pictures(schema, row))
    except SampleError as error:
        return Thumbnail(row.key, split, (), (f"cannot be decoded: {error.reason}",))
    return Thumbnail(row.key, split, pictures, tuple(_lines(schema, row)))


def _pictures(schema: Schema, row: Row) -> Iterator[Picture]:
    """Each image, and each mask of class ids laid over the first image, or alone."""
    base: npt.NDArray[np.uint8] | None = None
    for field in schema.of_kind("image"):
        pixels = small(image_pixels(field, row.values[field.name], "RGB"))
        base = pixels if base is None else base
        yield _picture(field.name, pixels)
    for field in schema.of_kind("mask"):
        ids = mask_array(field, row.values[field.name])
        if ids.ndim == 2 and ids.dtype.kind in "iub":
            yield _picture(field.name, overlaid(base, ids))


def small(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture with a longer side of `SIDE` pixels at most."""
    if max(pixels.shape[:2]) <= SIDE:
        return pixels
    return resize(pixels, (SIDE, SIDE), fit="long", filter="box")


def overlaid(base: npt.NDArray[np.uint8] | None, ids: Array) -> npt.NDArray[np.uint8]:
    """Class ids as colours, half transparent over the picture where there is one.

    Args:
        base: uint8 RGB, the small picture.
        ids: integers, shape (H, W); each id has the same colour on every thumbnail.
    """
    if base is None:
        return colours(resize_mask(ids, (SIDE, SIDE), fit="long") if max(ids.shape) > SIDE else ids)
    fitted = colours(resize_mask(ids, (base.shape[0], base.shape[1])))
    return np.asarray((base.astype(np.uint16) + fitted) // 2, np.uint8)


def colours(ids: Array) -> npt.NDArray[np.uint8]:
    """A colour for every class id: hues a golden angle apart, so that neighbours differ most."""
    hue = (ids.astype(np.float64) * _GOLDEN_RATIO) % 1.0
    corners = (hue[..., None] * 6 + np.array([0.0, 4.0, 2.0])) % 6
    return np.asarray(np.clip(np.abs(corners - 3) - 1, 0, 1) * 215 + 20, np.uint8)


def _picture(title: str, pixels: npt.NDArray[np.uint8]) -> Picture:
    encoded = base64.b64encode(encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY)).decode("ascii")
    return Picture(title, f"data:image/jpeg;base64,{encoded}", pixels.shape[1], pixels.shape[0])


def _lines(schema: Schema, row: Row) -> Iterator[str]:
    for field in schema.of_kind("label", "text"):
        value: Any = plain_value(field, row.values[field.name])
        if field.kind == "label" and field.class_names and 0 <= value < len(field.class_names):
            value = field.class_names[value]
        yield str(value) if len(str(value)) <= 80 else f"{str(value)[:79]}…"
    sizes = _sizes(row.sides)
    if sizes:
        yield sizes


def _sizes(sides: Mapping[str, tuple[int, int]]) -> str:
    known = [f"{width}x{height}" for height, width in sides.values() if height and width]
    return " → ".join(dict.fromkeys(known))
