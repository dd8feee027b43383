"""Sizes, resizing, and masks that stay aligned with their images."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagemill.codecs.image import FILTERS
from imagemill.errors import ConfigError
from imagemill.testing.images import photo
from imagemill.transforms.geometry import FITS, Placement, fit_size, parse_size, resize, resize_mask

sides = st.integers(1, 200)


@pytest.mark.parametrize(
    ("text", "size"),
    [("256x384", (384, 256)), ("256", (256, 256)), ("1X2", (2, 1)), (" 640 x 480 ", (480, 640)), ("3×4", (4, 3))],
)
def test_sizes_are_typed_width_first(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "256x", "x256", "0", "0x5", "-3x4", "1.5", "256*384", "9999999", "1x2x3", "٣x4x"]
)
def test_other_sizes_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="256x384|sides are 1 to"):
        parse_size(text)


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("exact", Placement((30, 60), (30, 60))),
        ("contain", Placement((30, 40), (30, 60), 0, 10)),
        ("cover", Placement((45, 60), (30, 60), -7, 0)),
        ("short", Placement((30, 40), (30, 40))),
        ("long", Placement((45, 60), (45, 60))),
    ],
)
def test_each_fit_of_a_300x400_picture_in_30x60(fit: str, expected: Placement) -> None:
    assert fit_size(300, 400, (30, 60), fit) == expected


def test_sides_round_to_the_nearest_with_halves_up_and_never_vanish() -> None:
    assert fit_size(2, 5, (1, 1), "short").out == (1, 3)  # 2.5
    assert fit_size(5, 2, (1, 1), "short").out == (3, 1)
    assert fit_size(1, 1000, (10, 10), "long").out == (1, 10)  # 0.01
    assert fit_size(500, 375, (224, 224), "short").out == (299, 224)  # 298.67


@given(height=sides, width=sides, tall=sides, wide=sides)
def test_contain_lies_inside_and_cover_outside_the_box(height: int, width: int, tall: int, wide: int) -> None:
    size = (tall, wide)
    inside, outside = fit_size(height, width, size, "contain"), fit_size(height, width, size, "cover")
    for place in (inside, outside):
        assert place.out == size
        assert any(scaled == side for scaled, side in zip(place.scaled, size, strict=True))
    for axis, offset in ((0, inside.top), (1, inside.left)):
        gap = size[axis] - inside.scaled[axis]
        assert gap >= 0
        assert offset == gap // 2
    for axis, offset in ((0, outside.top), (1, outside.left)):
        overlap = outside.scaled[axis] - size[axis]
        assert overlap >= 0
        assert offset == -(overlap // 2)


@given(height=sides, width=sides, side=sides)
def test_short_and_long_set_that_side_and_keep_the_aspect(height: int, width: int, side: int) -> None:
    small, large = min(height, width), max(height, width)
    short = fit_size(height, width, (side, side), "short").out
    long = fit_size(height, width, (side, side), "long").out
    assert (min(short), max(short)) == (side, half_up(side * large, small))
    assert (min(long), max(long)) == (max(1, half_up(side * small, large)), side)
    for out in (short, long):
        assert (out[0] <= out[1]) == (height <= width) or out[0] == out[1]


def half_up(numerator: int, denominator: int) -> int:
    return int(Fraction(numerator, denominator) + Fraction(1, 2))


@pytest.mark.parametrize("filter", sorted(FILTERS))
def test_exact_is_what_pillow_makes_of_it(filter: str) -> None:
    picture = photo(41, 67)
    expected = np.asarray(Image.fromarray(picture).resize((29, 53), FILTERS[filter]))
    assert np.array_equal(resize(picture, (53, 29), filter=filter), expected)


def test_contain_pads_with_the_colour_said() -> None:
    picture = np.full((10, 20, 3), 7, np.uint8)
    out = resize(picture, (20, 20), fit="contain", pad=(1, 2, 3))
    assert out.shape == (20, 20, 3)
    assert (out[5:15] == 7).all()
    assert (out[:5] == (1, 2, 3)).all()
    assert (out[15:] == (1, 2, 3)).all()


def test_cover_cuts_the_middle() -> None:
    columns = np.repeat(np.arange(40, dtype=np.uint8)[None, :], 10, axis=0)
    assert np.array_equal(resize(columns, (10, 10), fit="cover"), columns[:, 15:25])


@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 1), (9, 14, 3), (9, 14, 4)])
@pytest.mark.parametrize("fit", FITS)
def test_every_number_of_channels_keeps_its_shape(shape: tuple[int, ...], fit: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    out = resize(picture, (6, 21), fit=fit, pad=(255,))
    assert out.shape == (*fit_size(9, 14, (6, 21), fit).out, *shape[2:])
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


def test_nothing_to_do_gives_the_array_back() -> None:
    picture = photo(8, 9)
    assert resize(picture, (8, 9)) is picture
    assert resize_mask(picture, (8, 9)) is picture


def test_unknown_names_and_wrong_pads_are_refused() -> None:
    picture = photo(8, 9)
    with pytest.raises(ConfigError, match="bicubic"):
        resize(picture, (4, 4), filter="cubic")
    with pytest.raises(ConfigError, match="contain"):
        resize(picture, (4, 4), fit="fill")
    with pytest.raises(ConfigError, match="3 channels"):
        resize(picture, (4, 9), fit="contain", pad=(1, 2))
    with pytest.raises(ConfigError, match="float32"):
        resize(picture.astype(np.float32), (4, 4))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least 1"):
        fit_size(0, 5, (4, 4), "exact")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "bool"])
@pytest.mark.parametrize("fit", FITS)
def test_masks_keep_their_values_and_dtype(dtype: str, fit: str) -> None:
    mask = (np.arange(7 * 11).reshape(7, 11) * 0.5).astype(dtype)
    for size in ((3, 5), (20, 9)):
        out = resize_mask(mask, size, fit=fit, pad=0)
        assert out.dtype == mask.dtype
        assert out.shape == fit_size(7, 11, size, fit).out
        assert set(out.ravel().tolist()) <= {*mask.ravel().tolist(), 0}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(3, 5), (20, 9), (64, 64)])
@pytest.mark.parametrize("shape", [(7, 11), (40, 30), (1, 9)])
def test_masks_stay_aligned_with_their_image(fit: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    ids = np.random.default_rng(1).integers(0, 200, shape, np.uint8)
    as_image = resize(ids, size, fit=fit, filter="nearest", pad=(255,))
    assert np.array_equal(resize_mask(ids, size, fit=fit, pad=255), as_image)


def test_the_pixel_under_the_centre_is_taken() -> None:
    row = np.arange(10)[None, :]
    assert resize_mask(row, (1, 4)).tolist() == [[1, 3, 6, 8]]  # centres 1.25, 3.75, 6.25, 8.75
    assert resize_mask(row, (1, 5)).tolist() == [[1, 3, 5, 7, 9]]  # centres on borders: the pixel behind
    assert resize_mask(np.arange(2)[None, :], (1, 5)).tolist() == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(100, 30), (40, 64), (99, 250), (130, 70)])
def test_a_class_border_stays_where_the_picture_has_it(fit: str, size: tuple[int, int]) -> None:
    for region in (np.s_[:, 50:], np.s_[30:, :]):
        ids = np.zeros((100, 120), np.uint8)
        ids[region] = 1
        mask = resize_mask(ids, size, fit=fit)
        picture = resize(ids * 255, size, fit=fit, filter="bilinear", pad=(0,))
        assert mask.shape == picture.shape
        assert mask[picture > 155].all()
        assert not mask[picture < 100].any()


def test_several_channels_of_a_mask_move_together() -> None:
    mask = np.random.default_rng(2).integers(0, 9, (7, 5, 3)).astype(np.int32)
    out = resize_mask(mask, (10, 10), fit="contain", pad=-1)
    for channel in range(3):
        assert np.array_equal(out[:, :, channel], resize_mask(mask[:, :, channel], (10, 10), fit="contain", pad=-1))


@pytest.mark.parametrize("filter", ["bicubic", "nearest"])
def test_a_strip_of_one_row_is_covered_without_being_made_large(filter: str) -> None:
    strip = np.arange(20_000, dtype=np.int64)[None, :, None] % 251
    pixels = np.repeat(strip, 3, axis=2).astype(np.uint8)
    covered = resize(pixels, (512, 512), fit="cover", filter=filter)
    assert covered.shape == (512, 512, 3)
    assert np.abs(covered[0].astype(int) - pixels[0, 10_000]).max() <= 1
    assert resize_mask(pixels[..., 0], (512, 512), fit="cover").shape == (512, 512)
