"""Where the CPU time of a sample goes: each part measured by itself, in one thread, on a few samples in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from imagemill import native
from imagemill.codecs import image as images
from imagemill.codecs.batch import decode_batch
from imagemill.codecs.recoded import recode
from imagemill.core.recipe import FILE_PIXELS
from imagemill.core.sample import Buffer, Row, digest
from imagemill.core.schema import Field
from imagemill.errors import SampleError
from imagemill.load.backend import put
from imagemill.load.dataset import ImageDataset
from imagemill.load.decode import image_pixels, mask_array
from imagemill.load.order import permute
from imagemill.native import FILTERS
from imagemill.transforms.geometry import resize
from imagemill.transforms.pipeline import Pipeline
from imagemill.transforms.render import render_image, render_mask
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import View

_REPEATS = 3
_STORED_SIDE, _STORED_QUALITY = 256, 90
"""What `pack --pixels resized --size 256` makes."""


@dataclass(frozen=True)
class Costs:
    """CPU seconds a sample, in one thread.

    Args:
        digest: checking the digest of every value; only in a process's first epoch.
        decode: from the bytes of image files to the pixels that the crop needs: entropy decoding, transform, colours.
        resize: from those pixels to the size asked for.
        copy: raw pixels into the batch, channels parted.
        masks: decoding and cutting masks.
        bytes: of a sample as stored.
        resized: decode and resize, were the images stored at short side 256; None where that says nothing.
        recoded: decode and resize, were the JPEGs recoded; None where they are, or cannot be.
    """

    digest: float
    decode: float
    resize: float
    copy: float
    masks: float
    bytes: float
    resized: float | None
    recoded: float | None

    @property
    def known(self) -> float:
        """Everything that comes again in every epoch."""
        return self.decode + self.resize + self.copy + self.masks


@dataclass(frozen=True)
class _Picture:
    """An image of the sample, and what is seen of it."""

    value: Buffer
    view: View


def sample_costs(dataset: ImageDataset, pipeline: Pipeline, *, samples: int = 64) -> Costs:
    """Measures the parts on some samples, drawn at random, the same ones each time.

    Args:
        dataset: opened with verify="never", or digests are checked once more than they are counted.
        pipeline: transforms of samples.
        samples: at most so many; each costs about ten decodes.
    """
    count = min(samples, len(dataset))
    ids = permute(np.arange(count), len(dataset), seed=0, epoch=0)
    rows = dataset.rows(ids.tolist())
    decode = resized_decode = recoded_decode = scale = copy = masks = 0.0
    for field in dataset.schema.of_kind("image"):
        pictures = _pictures(field, rows, pipeline)
        if field.storage != "bytes":
            copied, scaled = _raw(field, pictures, dataset.field_mode(field))
            copy, scale = copy + copied, scale + scaled
            continue
        decoded, both = _encoded(pictures, dataset.field_mode(field))
        decode, scale = decode + decoded, scale + both - decoded
        resized_decode += _encoded(_stored_smaller(pictures, pipeline), dataset.field_mode(field))[1]
        if field.codec == "encoded" and native.available():
            recoded_decode += _encoded(_recoded(pictures), dataset.field_mode(field))[1]
    for field in dataset.schema.of_kind("mask"):
        masks += _masks(field, rows, pipeline)
    return Costs(
        digest=_seconds(lambda: [digest(value) for row in rows for value in row.values.values()]) / count,
        decode=decode / count,
        resize=scale / count,
        copy=copy / count,
        masks=masks / count,
        bytes=sum(len(value) for row in rows for value in row.values.values()) / count,
        resized=resized_decode / count if decode and dataset.store.manifest.pixels in FILE_PIXELS else None,
        recoded=recoded_decode / count or None,
    )


def _pictures(field: Field, rows: Sequence[Row], pipeline: Pipeline) -> list[_Picture]:
    """The field's images that can be read, each with the view that the transforms draw."""
    pictures = []
    for number, row in enumerate(rows):
        try:
            sides = images.read_header(row.values[field.name]).sides if field.storage == "bytes" else _sides(field)
        except SampleError:
            continue  # the loop names it
        view, _ = pipeline.draw(sides, SampleRng(0, number))
        pictures.append(_Picture(row.values[field.name], view))
    return pictures


def _sides(field: Field) -> tuple[int, int]:
    height, width, *_ = (side or 0 for side in field.shape or (0, 0))
    return height, width


def _encoded(pictures: Sequence[_Picture], mode: str) -> tuple[float, float]:
    """(decoding alone, decoding and resizing) of all pictures: CPU seconds.

    Decoding alone is the same box at its own size; where a large image is decoded at a
    fraction of its sides that takes longer than both, and then both count as decoding.
    """
    if mode not in ("L", "RGB"):
        alone = _seconds(lambda: [images.decode(picture.value, mode=mode) for picture in pictures])
        pixels = [(images.decode(picture.value, mode=mode), picture.view) for picture in pictures]
        return alone, alone + _seconds(lambda: [render_image(*each) for each in pixels])
    call = _call_seconds(mode)
    decode = both = 0.0
    for picture in pictures:
        resized = max(_seconds(_decode(picture, mode, resized=True)) - call, 0.0)
        decode += min(resized, max(_seconds(_decode(picture, mode, resized=False)) - call, 0.0))
        both += resized
    return decode, both


def _call_seconds(mode: str) -> float:
    """What a call with next to nothing to decode costs: the loop makes one a batch, this measurement one an image."""
    tiny = images.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    picture = _Picture(tiny, View.whole(8, 8))
    return min(_seconds(_decode(picture, mode, resized=False)) for _ in range(5))


def _decode(picture: _Picture, mode: str, *, resized: bool) -> Callable[[], object]:
    """A call that decodes what the view sees, at its own size or resized."""
    view = picture.view
    first_row, first_column, last_row, last_column = view.limit
    top = min(max(first_row, round(view.top)), last_row - 1)
    left = min(max(first_column, round(view.left)), last_column - 1)
    sides = (min(max(1, round(view.height)), last_row - top), min(max(1, round(view.width)), last_column - left))
    box = np.array([(top, left, *sides)], np.int32)
    out = np.empty((1, *(view.out if resized else sides), 1 if mode == "L" else 3), np.uint8)
    filter = view.filter if view.filter in FILTERS else "bicubic"
    return lambda: decode_batch([picture.value], box, out, filter=filter, layout="NHWC")


def _recoded(pictures: Sequence[_Picture]) -> list[_Picture]:
    """The pictures with JPEGs recoded; others as they are."""
    return [_Picture(recode(picture.value)[0] or picture.value, picture.view) for picture in pictures]


def _stored_smaller(pictures: Sequence[_Picture], pipeline: Pipeline) -> list[_Picture]:
    """The pictures re-encoded at short side 256, with the views that the same draws give; small ones as they are."""
    smaller = []
    for number, picture in enumerate(pictures):
        if min(picture.view.picture) <= _STORED_SIDE:
            smaller.append(picture)
            continue
        try:
            pixels = images.decode(picture.value)
        except SampleError:
            continue
        pixels = resize(pixels, (_STORED_SIDE, _STORED_SIDE), fit="short")
        view, _ = pipeline.draw(pixels.shape[:2], SampleRng(0, number))
        smaller.append(_Picture(images.encode_jpeg(pixels, quality=_STORED_QUALITY), view))
    return smaller


def _raw(field: Field, pictures: Sequence[_Picture], mode: str) -> tuple[float, float]:
    """(copying, resizing) of raw arrays: CPU seconds."""
    if not pictures:
        return 0.0, 0.0
    made = [render_image(image_pixels(field, picture.value, mode), picture.view) for picture in pictures]
    resized = [picture for picture in pictures if not picture.view.is_whole]
    scale = 0.0
    if resized:
        scale = _seconds(lambda: [render_image(image_pixels(field, each.value, mode), each.view) for each in resized])
    height, width, channels = made[0].shape
    out = np.empty((len(made), channels, height, width), np.uint8).transpose(0, 2, 3, 1)

    def copy() -> None:
        for place, pixels in zip(out, made, strict=True):
            put(place, pixels)

    return _seconds(copy), scale


def _masks(field: Field, rows: Sequence[Row], pipeline: Pipeline) -> float:
    """Decoding and cutting of masks: CPU seconds."""

    def all_of_them() -> None:
        for number, row in enumerate(rows):
            ids = mask_array(field, row.values[field.name])
            render_mask(ids, pipeline.draw(ids.shape[:2], SampleRng(0, number))[0])

    try:
        return _seconds(all_of_them)
    except SampleError:
        return 0.0  # the loop names such a sample


def _seconds(function: Callable[[], object]) -> float:
    """CPU time of a call in this thread: the least of a few."""
    times = []
    for _ in range(_REPEATS):
        started = time.thread_time()
        function()
        times.append(time.thread_time() - started)
    return min(times)
