"""The pixel policy against arithmetic written down independently, or Pillow's own conversion."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from imagemill.codecs.image import decode, decode_pil, read_header
from imagemill.codecs.policy import scale_to_uint8
from imagemill.codecs.profile import plainly_srgb
from imagemill.errors import ConfigError, SampleError
from imagemill.testing.images import (
    HEIGHT,
    WIDTH,
    deep_png,
    nasty_images,
    npy,
    photo,
    saved,
    wide_gamut_profile,
    with_alpha,
)

PICTURE = photo(HEIGHT, WIDTH, 9)
GREY = PICTURE[:, :, 0]
SRGB_TO_XYZ = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
WIDE_TO_XYZ = np.array([[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])


def to_linear(levels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    x = levels / 255.0
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def from_linear(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def over_white(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    alpha = rgba[:, :, 3:] / 255
    return rgba[:, :, :3] * alpha + 255 * (1 - alpha)


def test_a_wide_gamut_profile_is_turned_into_srgb() -> None:
    expected = from_linear(to_linear(PICTURE) @ WIDE_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T)
    pixels = decode(saved(PICTURE, "PNG", icc_profile=wide_gamut_profile()))
    assert np.abs(pixels - expected).max() < 3
    assert np.abs(pixels.astype(int) - PICTURE).max() > 10


def test_a_profile_leaves_alpha_alone() -> None:
    data = saved(with_alpha(PICTURE), "PNG", icc_profile=wide_gamut_profile())
    opaque = decode(saved(PICTURE, "PNG", icc_profile=wide_gamut_profile()))
    rgba = decode(data, mode="RGBA")
    assert np.array_equal(rgba[:, :, :3], opaque)
    assert np.array_equal(rgba[:, :, 3], with_alpha(PICTURE)[:, :, 3])
    assert np.abs(decode(data) - over_white(rgba)).max() <= 1


@pytest.mark.parametrize("name", ["jpeg-icc-broken", "jpeg-icc-garbage", "jpeg-icc-srgb", "jpeg-cmyk-icc-rgb"])
def test_a_broken_ill_fitting_or_plain_profile_changes_nothing(name: str) -> None:
    data = nasty_images()[name][0]
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data), np.asarray(image.convert("RGB")))


def test_a_grey_profile_applies_to_grey() -> None:
    data = saved(GREY, "PNG", icc_profile=grey_profile(1.8))
    assert read_header(data).notes() == ("icc", "grey")
    expected = from_linear((GREY / 255.0) ** 1.8)
    assert np.abs(decode(data)[:, :, 0] - expected).max() < 3


def grey_profile(gamma: float) -> bytes:
    """A grey ICC profile of that gamma, made from the parts of the wide-gamut one."""
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    white = b"XYZ " + bytes(4) + b"".join(round(v * 65536).to_bytes(4, "big") for v in (0.9642, 1.0, 0.82491))
    text = b"desc" + bytes(4) + (5).to_bytes(4, "big") + b"grey\0" + bytes(79)
    tags = {b"desc": text, b"wtpt": white, b"kTRC": curve, b"cprt": b"text" + bytes(4) + b"none"}
    start, table, body = 132 + 12 * len(tags), len(tags).to_bytes(4, "big"), b""
    for name, value in tags.items():
        table += name + (start + len(body)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        body += value
    head = wide_gamut_profile()[:128]
    return (start + len(body)).to_bytes(4, "big") + head[4:16] + b"GRAY" + head[20:] + table + body


def test_which_profiles_count_as_srgb() -> None:
    assert plainly_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert not plainly_srgb(wide_gamut_profile())
    assert not plainly_srgb(grey_profile(1.8))
    assert not plainly_srgb(grey_profile(1.0))
    assert plainly_srgb(b"")
    for length in range(0, 400, 7):
        plainly_srgb(wide_gamut_profile()[:length])


def test_cmyk_is_what_pillow_makes_of_it() -> None:
    for name in ("jpeg-cmyk", "jpeg-cmyk-progressive", "tiff-cmyk"):
        data = nasty_images()[name][0]
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(decode(data), np.asarray(image.convert("RGB")))
            assert np.array_equal(decode(data, mode="CMYK"), np.asarray(image.convert("RGB").convert("CMYK")))


def test_transparency_of_every_kind_lies_over_white() -> None:
    for name in (
        "png-alpha", "png-grey-alpha", "png-palette-transparent", "png-palette-alpha", "png-grey-transparent",
        "png-rgb-transparent", "gif-transparent", "webp-alpha", "tiff-alpha",
    ):  # fmt: skip
        data = nasty_images()[name][0]
        with Image.open(io.BytesIO(data)) as image:
            rgba = np.asarray(image.convert("RGBA"))
        assert (rgba[:, :, 3] < 255).any()
        assert np.abs(decode(data) - over_white(rgba)).max() <= 1, name
        assert np.array_equal(decode(data, mode="RGBA"), rgba), name


def test_one_transparent_value_of_deep_and_of_few_bits() -> None:
    grey = photo(HEIGHT, WIDTH, 1)[:, :, 0]
    deep = decode(nasty_images()["png-16-bit-transparent"][0], mode="RGBA")
    assert np.array_equal(deep[:, :, 3] == 0, grey == grey[0, 0])
    few = decode(nasty_images()["png-4-bit-transparent"][0], mode="RGBA")
    assert np.array_equal(few[:, :, 3] == 0, grey // 16 == grey[0, 0] // 16)
    assert np.array_equal(few[:, :, 0], grey // 16 * 17)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(format: str) -> None:
    values = np.array([[0, 1, 128, 129, 256, 257, 32767, 32896, 65406, 65407, 65534, 65535]], np.uint16)
    expected = np.floor(values / 257 + 0.5)
    assert np.array_equal(decode(saved(values, format), mode="L")[:, :, 0], expected)


def test_16_bit_colour_keeps_its_upper_byte() -> None:
    deep = PICTURE.astype(np.uint16) * 257
    assert np.array_equal(decode(deep_png(deep)), PICTURE)


def test_32_bits_and_floats_are_stretched_from_their_own_range() -> None:
    ramp = np.linspace(-3.0, 5.0, 9, dtype=np.float32)[None, :]
    expected = np.floor(np.linspace(0, 255, 9) + 0.5)
    assert np.array_equal(decode(saved(ramp, "TIFF"), mode="L")[0, :, 0], expected)
    assert np.array_equal(decode(npy(ramp), mode="L")[0, :, 0], expected)
    whole = np.array([[-1000, 0, 1000]], np.int32)
    assert decode(saved(whole, "TIFF"), mode="L")[0, :, 0].tolist() == [0, 128, 255]


def test_scaling_of_odd_numbers() -> None:
    assert scale_to_uint8(np.array([np.nan, -np.inf, 0.0, 1.0, np.inf]), None).tolist() == [0, 0, 0, 255, 255]
    assert scale_to_uint8(np.array([np.nan, np.inf]), None).tolist() == [0, 0]
    assert scale_to_uint8(np.array([7.0, 7.0]), None).tolist() == [7, 7]
    assert scale_to_uint8(np.array([1e308, -1e308]), None).tolist() == [255, 0]
    assert scale_to_uint8(np.array([0, 2048, 4095]), 12).tolist() == [0, 128, 255]
    assert scale_to_uint8(np.array([2**63 - 1, -(2**63)]), None).tolist() == [255, 0]


def test_palettes_and_single_bits_become_colours() -> None:
    for name in (
        "png-palette",
        "png-palette-4-bit",
        "gif-still",
        "tiff-palette",
        "bmp-palette",
        "png-1-bit",
        "pbm",
        "xbm",
    ):
        data = nasty_images()[name][0]
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(decode(data), np.asarray(image.convert("RGB"))), name


def test_of_an_animation_the_first_frame_is_shown() -> None:
    first = photo(HEIGHT, WIDTH, 0)
    for name, tolerance in (("png-animated", 0), ("gif-animated", 60), ("webp-animated", 60), ("avif-animated", 60)):
        data, _ = nasty_images().get(name, (b"", ""))
        if data:
            assert read_header(data).frames == 3
            assert np.abs(decode(data).astype(int) - first).mean() <= tolerance / 5


def test_lab_is_turned_into_srgb() -> None:
    pixels = decode(nasty_images()["tiff-lab"][0])
    assert np.abs(pixels.astype(int) - photo(HEIGHT, WIDTH, 2)).mean() < 3


def test_arrays_count_as_images() -> None:
    assert np.array_equal(decode(npy(PICTURE)), PICTURE)
    assert np.array_equal(decode(npy(GREY), mode="L")[:, :, 0], GREY)
    assert np.array_equal(decode(npy(GREY[:, :, None]), mode="L")[:, :, 0], GREY)
    assert np.array_equal(decode(npy(GREY > 100), mode="L")[:, :, 0], np.where(GREY > 100, 255, 0))
    assert np.array_equal(decode(npy(PICTURE.astype(">u2") * 257)), PICTURE)
    with pytest.raises(SampleError, match="5 channels"):
        decode(npy(np.zeros((4, 4, 5), np.uint8)))


def test_a_region_is_cut_before_it_is_resized() -> None:
    data = saved(PICTURE, "PNG")
    part = Image.fromarray(PICTURE[4:30, 10:50]).resize((20, 13), Image.Resampling.LANCZOS)
    assert np.array_equal(decode(data, roi=(4, 10, 26, 40), size=(13, 20), filter="lanczos"), np.asarray(part))


@pytest.mark.parametrize("roi", [(-1, 0, 4, 4), (0, 0, HEIGHT + 1, 4), (0, WIDTH - 3, 4, 4), (0, 0, 0, 4)])
def test_a_region_outside_the_image_is_an_error_of_the_caller(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="not inside"):
        decode(saved(PICTURE, "PNG"), roi=roi)


def test_unknown_modes_and_filters_are_errors_of_the_caller() -> None:
    for function in (decode, decode_pil):
        with pytest.raises(ConfigError, match="RGB"):
            function(saved(PICTURE, "PNG"), mode="rgb")
    with pytest.raises(ConfigError, match="lanczos"):
        decode(saved(PICTURE, "PNG"), size=(4, 4), filter="cubic")
