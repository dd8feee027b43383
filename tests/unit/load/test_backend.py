"""The two ways from bytes to a batch: the native core's and Python's give the same picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imagemill import native
from imagemill.codecs.image import read_header
from imagemill.core.schema import Field
from imagemill.load.backend import fill, fill_in_python, is_suited
from imagemill.testing.images import photo
from imagemill.transforms import (
    CenterCrop,
    Fit,
    HorizontalFlip,
    Pipeline,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    SampleRng,
    VerticalFlip,
)
from imagemill.transforms.view import View

IMAGE = Field("image", "image")


def encoded(format: str, seed: int, orientation: int = 1) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(150, 200, seed)).save(buffer, format, exif=exif)
    return buffer.getvalue()


def views(headers: list, *, transpose: bool = False) -> list[View]:
    """A crop of whole pixels, flipped, of each picture."""
    return [
        View.whole(*header.sides)
        .cropped(10, 20 + number, 100, 90)
        .resized(64, 64, "bilinear")
        .turned(flip_columns=number % 2 == 1, transpose=transpose)
        for number, header in enumerate(headers)
    ]


def filled(way, values: list[bytes], layout: str, *, transpose: bool = False):
    headers = [read_header(value) for value in values]
    shape = (len(values), 3, 64, 64) if layout == "NCHW" else (len(values), 64, 64, 3)
    batch = np.zeros(shape, np.uint8)
    out = batch.transpose(0, 2, 3, 1) if layout == "NCHW" else batch
    errors = way(IMAGE, values, headers, views(headers, transpose=transpose), "RGB", out)
    return out, errors


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("transpose", [False, True])
def test_both_ways_give_the_same_picture(layout: str, transpose: bool) -> None:
    values = [encoded("JPEG", seed, orientation) for seed, orientation in enumerate((1, 1, 6, 8, 3))]
    values.append(encoded("PNG", 9))
    ours, errors = filled(fill, values, layout, transpose=transpose)
    theirs, _ = filled(fill_in_python, values, layout, transpose=transpose)
    assert errors == [None] * len(values)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine.astype(int) - other).mean() < 2


PIPELINES = {
    "evaluation": [Resize(72), CenterCrop(64)],
    "cover": [Fit(64, "cover", "bicubic")],
    "large": [Fit((24, 20), "cover", "bilinear")],
    "turned": [RandomCrop(120), RandomRotate90(), Resize((64, 60)), VerticalFlip()],
    "twice": [RandomResizedCrop(90), RandomCrop(64, padding=0), HorizontalFlip(), RandomRotate90()],
}


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("orientation", [1, 5, 6, 7])
def test_any_geometry_gives_the_same_picture(pipeline: str, orientation: int) -> None:
    """Boxes that end between pixels, with surroundings that have a say, turned twice."""
    values = [encoded("JPEG", seed, orientation) for seed in range(6)]
    headers = [read_header(value) for value in values]
    steps = Pipeline(PIPELINES[pipeline])
    shown = [steps.draw(header.sides, SampleRng(number))[0] for number, header in enumerate(headers)]
    ours, theirs = (np.zeros((6, *shown[0].size, 3), np.uint8) for _ in range(2))
    assert all(is_suited(header, view, "RGB") for header, view in zip(headers, shown, strict=True))
    assert fill(IMAGE, values, headers, shown, "RGB", ours) == [None] * 6
    assert fill_in_python(IMAGE, values, headers, shown, "RGB", theirs) == [None] * 6
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(mine.astype(int) - other).mean() < 0.7


def test_a_damaged_image_is_named_and_the_others_are_there() -> None:
    good = encoded("JPEG", 1)
    bad = good[: len(good) // 2]
    _, errors = filled(fill, [good, bad, good], "NCHW")
    assert [error and error.reason for error in errors] == [None, "truncated", None]


def test_what_the_core_is_asked_for() -> None:
    header = read_header(encoded("JPEG", 1))
    whole = View.whole(*header.sides)
    crop = whole.cropped(1, 2, 30, 40).resized(8, 8, "bilinear")
    assert is_suited(header, crop, "RGB")
    assert is_suited(header, whole, "L")
    assert is_suited(header, crop.turned(transpose=True), "RGB")
    assert is_suited(header, whole.cropped(1, 2, 30, 40), "RGB"), "a box without its limit"
    assert not is_suited(header, whole.cropped(-1, 2, 30, 40), "RGB"), "padding"
    assert not is_suited(header, whole.resized(8, 8, "lanczos"), "RGB")
    assert not is_suited(header, crop, "RGBA")
    assert not is_suited(read_header(encoded("PNG", 1)), crop, "RGB")
    assert not is_suited(None, crop, "RGB")


@pytest.mark.skipif(not native.available(), reason=f"no native core: {native.why_not()}")
def test_the_core_is_used_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    whole = native.decode_batch
    monkeypatch.setattr(native, "decode_batch", lambda *a, **k: called.append(len(a[0])) or whole(*a, **k))
    filled(fill, [encoded("JPEG", 1), encoded("JPEG", 2)], "NCHW")
    assert called == [2]
