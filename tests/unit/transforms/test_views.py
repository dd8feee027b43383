"""Geometry: composed views give the pixels that the steps give one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
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
    View,
)
from imagemill.transforms.geometry import resize
from imagemill.transforms.render import render_image, render_mask

IMAGE = Field("image", "image")
MASK = Field("mask", "mask")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("crop"), st.integers(-3, 9), st.integers(-3, 9), st.integers(1, 12), st.integers(1, 12)),
        st.tuples(st.just("turn"), st.booleans(), st.booleans(), st.booleans()),
    ),
    max_size=6,
)


def naive_crop(array: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    padded = np.pad(array, 40)
    return padded[40 + top :, 40 + left :][:height, :width]


@given(height=st.integers(1, 12), width=st.integers(1, 12), steps=steps)
@settings(deadline=None)
def test_crops_and_turns_compose_exactly(height: int, width: int, steps: list[Any]) -> None:
    ids = np.arange(1, height * width + 1, dtype=np.uint16).reshape(height, width)
    picture = np.stack([ids % 251, ids // 251, ids % 7], axis=2).astype(np.uint8)
    view, expected, expected_picture = View.whole(height, width), ids, np.pad(picture, ((0, 0), (0, 0), (0, 0)))
    for name, *values in steps:
        if name == "crop":
            view = view.cropped(*values)
            expected = naive_crop(expected, *values)
            expected_picture = np.stack([naive_crop(expected_picture[:, :, c], *values) for c in range(3)], axis=2)
            continue
        view = view.turned(transpose=values[0], flip_rows=values[1], flip_columns=values[2])
        for axes, on in (((1, 0), values[0]),):
            expected = expected.transpose(axes) if on else expected
            expected_picture = expected_picture.transpose(*axes, 2) if on else expected_picture
        rows, columns = (slice(None, None, -1 if on else 1) for on in values[1:])
        expected, expected_picture = expected[rows, columns], expected_picture[rows, columns]
    assert view.size == expected.shape
    assert np.array_equal(render_mask(ids, view), expected)
    assert np.array_equal(render_image(picture, view), expected_picture)


@pytest.mark.parametrize("turns", range(4))
def test_rotations_are_numpys(turns: int) -> None:
    picture = noise(5, 8)
    each = RandomRotate90()
    assert np.array_equal(render_image(picture, each.view(View.whole(5, 8), turns)), np.rot90(picture, turns))
    assert {each.draw((5, 8), SampleRng(n)) for n in range(40)} == {0, 1, 2, 3}


def pillow(picture: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int], filter: int) -> np.ndarray:
    top, left, height, width = box
    crop = Image.fromarray(picture).crop((left, top, left + width, top + height))
    return np.asarray(crop.resize(size[::-1], filter))


@pytest.mark.parametrize("filter", ["bilinear", "bicubic", "box", "lanczos"])
def test_a_random_resized_crop_is_pillows_resize_of_the_crop(filter: str) -> None:
    picture = noise(90, 120)
    each = RandomResizedCrop(32, filter=filter)
    for number in range(20):
        box = each.draw((90, 120), SampleRng(number))
        shown = render_image(picture, each.view(View.whole(90, 120), box))
        assert np.array_equal(shown, pillow(picture, box, (32, 32), Image.Resampling[filter.upper()]))


def test_resize_then_crop_is_the_crop_of_the_resized() -> None:
    picture = noise(75, 100)
    view, _ = Pipeline([Resize(64), CenterCrop(56), HorizontalFlip(1.0)]).draw((75, 100), SampleRng(0))
    whole = np.asarray(Image.fromarray(picture).resize((85, 64), Image.Resampling.BILINEAR))
    top, left = 4, round((85 - 56) / 2)
    expected = whole[top : top + 56, left : left + 56][:, ::-1]
    assert np.abs(render_image(picture, view).astype(int) - expected).max() <= 1


def test_what_a_crop_cut_off_does_not_shine_through() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    view = View.whole(40, 40).cropped(0, 0, 40, 20).resized(10, 5, "lanczos")
    assert render_image(picture, view).max() == 0
    padded = View.whole(40, 40).cropped(0, 0, 40, 20).cropped(-2, -2, 44, 24, (7,), 3)
    shown = render_image(picture, padded)
    assert (shown[:, 22:] == 7).all()
    assert (shown[2:-2, 2:22] == 0).all()
    assert (render_mask(picture[:, :, 0], padded)[:, 22:] == 3).all()


@pytest.mark.parametrize("fit", ["exact", "contain", "cover", "short", "long"])
@pytest.mark.parametrize("sides", [(60, 90), (90, 61), (24, 24)])
def test_fit_is_that_of_pack(fit: str, sides: tuple[int, int]) -> None:
    picture = noise(*sides)
    each = Fit((24, 32), fit)
    shown = render_image(picture, each.view(View.whole(*sides), None))
    expected = resize(picture, (24, 32), fit=fit)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).max() <= 1


def test_resize_sides() -> None:
    for size, sides, expected in [
        (256, (375, 500), (256, 341)),
        (256, (500, 375), (341, 256)),
        (256, (300, 300), (256, 256)),
        ((8, 9), (300, 200), (8, 9)),
    ]:
        assert Resize(size).view(View.whole(*sides), None).size == expected
    assert Resize(100, max_size=150).view(View.whole(100, 400), None).size == (37, 150)
    with pytest.raises(ConfigError, match="max_size"):
        Resize((4, 4), max_size=9)


def test_center_crop_pads_what_is_smaller() -> None:
    shown = CenterCrop(5, fill=9).apply(np.ones((2, 4, 3), np.uint8), IMAGE, None)
    assert shown[:, :, 0].tolist() == [[9] * 5, [1, 1, 1, 1, 9], [1, 1, 1, 1, 9], [9] * 5, [9] * 5]


def test_random_crop() -> None:
    each = RandomCrop(32, padding=4)
    boxes = [each.draw((32, 32), SampleRng(number)) for number in range(600)]
    assert {box[0] for box in boxes} == {box[1] for box in boxes} == set(range(-4, 5))
    assert all(box[2:] == (32, 32) for box in boxes)
    with pytest.raises(ConfigError, match="pad_if_needed"):
        RandomCrop(32).draw((31, 40), SampleRng(0))
    tops = {RandomCrop(32, pad_if_needed=True).draw((30, 40), SampleRng(n))[0] for n in range(60)}
    assert tops == {-2, -1, 0}


def test_random_resized_crop_keeps_its_bounds() -> None:
    each = RandomResizedCrop(8, scale=(0.2, 0.5), ratio=(0.5, 2.0))
    boxes = np.array([each.draw((300, 400), SampleRng(number)) for number in range(2000)])
    share = boxes[:, 2] * boxes[:, 3] / (300 * 400)
    aspect = boxes[:, 3] / boxes[:, 2]
    assert 0.19 < share.min() < 0.21 < 0.45 < share.max() < 0.51
    assert 0.48 < aspect.min() < 0.53
    assert 1.9 < aspect.max() < 2.05
    # log(aspect) is even about 0 (where no try was thrown away): half of the boxes are wider than high.
    assert abs((aspect > 1).mean() - 0.5) < 0.06
    assert (boxes[:, 0] + boxes[:, 2] <= 300).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 400).all()
    assert boxes.min() >= 0


@pytest.mark.parametrize(("sides", "expected"), [((10, 200), (0, 94, 10, 13)), ((200, 10), (94, 0, 13, 10))])
def test_random_resized_crop_falls_back_to_the_centre(
    sides: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    boxes = [RandomResizedCrop(8, scale=(0.9, 1.0)).draw(sides, SampleRng(number)) for number in range(5)]
    assert all(box[2:] == expected[2:] for box in boxes)
    assert all(abs(box[axis] - expected[axis]) <= 1 for box in boxes for axis in (0, 1))


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
def test_flips(flip: Any) -> None:
    picture, ids = noise(3, 4), np.arange(12).reshape(3, 4)
    drawn = [flip().draw((3, 4), SampleRng(number)) for number in range(1000)]
    assert 420 < sum(drawn) < 580
    axis = 1 if flip is HorizontalFlip else 0
    assert np.array_equal(flip().apply(picture, IMAGE, True), np.flip(picture, axis))
    assert np.array_equal(flip().apply(ids, MASK, True), np.flip(ids, axis))
    assert flip().apply(5, Field("label", "label", "int64", (), "raw"), True) == 5


def test_a_partner_of_other_sides_shows_the_same_part() -> None:
    small = View.whole(20, 30).cropped(5, 10, 8, 8)
    large = small.on(80, 120)
    assert (large.box, large.size) == ((20, 40, 32, 32), (32, 32))
    assert small.resized(16, 16, "bilinear").on(80, 120).size == (16, 16)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Resize(0), "above 0"),
        (lambda: Resize(8, filter="sharp"), "bicubic"),
        (lambda: CenterCrop((1, 2, 3)), "height, width"),
        (lambda: CenterCrop(4, fill=300), "0 to 255"),
        (lambda: RandomCrop(4, padding=-1), "padding"),
        (lambda: RandomResizedCrop(4, scale=(0.5, 0.1)), "scale"),
        (lambda: RandomResizedCrop(4, ratio=(0, 1)), "ratio"),
        (lambda: HorizontalFlip(1.5), "probability"),
        (lambda: Fit(4, "crop"), "cover"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_random_stream_is_frozen() -> None:
    """A resumed run of another version must go on with the same draws."""
    rng = SampleRng(1, 2, 3)
    assert [rng.bits() for _ in range(2)] == [5599761356037880284, 8181524549064395780]
    assert rng.permutation(6) == [2, 1, 4, 3, 5, 0]
    assert RandomResizedCrop(8).draw((300, 400), SampleRng(0, 0, 0)) == (47, 46, 150, 187)


def test_random_numbers_are_even() -> None:
    numbers = np.array([SampleRng(0, epoch, index).random() for epoch in range(30) for index in range(300)])
    assert abs(numbers.mean() - 0.5) < 5 * 0.2887 / np.sqrt(len(numbers))
    assert np.histogram(numbers, 16, (0, 1))[0].min() > 460
    assert len(np.unique(numbers)) == len(numbers)
    counts = np.bincount([SampleRng(7, n).integer(0, 5) for n in range(5000)])
    assert len(counts) == 5
    assert counts.min() > 850
