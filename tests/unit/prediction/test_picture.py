"""What of a picture's file comes through a model: format, sides, EXIF without a second turn, transparency."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from imagemill.codecs.image import decode_mask, read_header
from imagemill.errors import SampleError
from imagemill.prediction.picture import Picture, class_colours, encode_mask, encode_picture, read_picture
from imagemill.testing.images import photo

EXIF, GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo


def file_of(image: Image.Image, format: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def exif_block() -> Image.Exif:
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = 6
    block[ExifTags.Base.Artist] = "A. Painter"
    block[EXIF] = {
        ExifTags.Base.ExifImageWidth: 40,
        ExifTags.Base.ISOSpeedRatings: 200,
        ExifTags.Base.MakerNote: b"x" * 40,
    }
    block[GPS] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return block


def through(data: bytes, format: str, pixels: np.ndarray | None = None) -> tuple[Picture, Image.Image]:
    picture = read_picture(data, read_header(data))
    made = Image.open(io.BytesIO(encode_picture(picture.pixels if pixels is None else pixels, picture, format, 95)))
    made.load()
    return picture, made


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_kept_and_turns_nothing_twice(format: str) -> None:
    upright = Image.fromarray(photo(40, 24, 1))
    stored = upright.transpose(Image.Transpose.ROTATE_90)  # what orientation 6 turns back
    settings = {"quality": 95, "subsampling": 0} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    block = exif_block()
    picture, made = through(file_of(stored, format, exif=block.tobytes(), **settings), format)
    assert picture.pixels.shape == (40, 24, 3)
    assert np.abs(picture.pixels.astype(int) - np.asarray(upright)).mean() < 6
    assert made.size == (24, 40)
    found = made.getexif()
    assert found.get(ExifTags.Base.Orientation, 1) == 1
    assert found[ExifTags.Base.Artist] == "A. Painter"
    if format == "TIFF":
        return
    entries = found.get_ifd(EXIF)
    assert (entries[ExifTags.Base.ISOSpeedRatings], entries[ExifTags.Base.ExifImageWidth]) == (200, 24)
    assert ExifTags.Base.MakerNote not in entries
    assert found.get_ifd(GPS)[1] == "N"


def test_exif_has_the_sides_of_what_is_made() -> None:
    data = file_of(Image.fromarray(photo(24, 40, 1)), "JPEG", exif=exif_block().tobytes())
    _, made = through(data, "JPEG", np.zeros((48, 80, 3), np.uint8))
    assert made.getexif().get_ifd(EXIF)[ExifTags.Base.ExifImageWidth] == 80


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_resolution_is_kept(format: str) -> None:
    _, made = through(file_of(Image.fromarray(photo(20, 30, 1)), format, dpi=(300, 150)), format)
    assert [round(float(one)) for one in made.info["dpi"]] == [300, 150]


def test_only_a_profile_that_is_srgb_is_kept() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = file_of(Image.fromarray(photo(20, 30, 1)), "PNG", icc_profile=srgb)
    kept = through(data, "PNG")[1].info.get("icc_profile")
    assert (kept == srgb) != read_header(data).icc
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    _, made = through(file_of(Image.fromarray(photo(20, 30, 1)), "PNG", icc_profile=xyz), "PNG")
    assert "icc_profile" not in made.info


@pytest.mark.parametrize(("format", "mode"), [("PNG", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("JPEG", "RGB")])
def test_transparency_goes_past_the_network(format: str, mode: str) -> None:
    pixels = np.dstack([photo(20, 30, 1), np.full((20, 30), 255, np.uint8)])
    pixels[:, :10, 3], pixels[:, 10:15, 3] = 0, 120
    picture, made = through(file_of(Image.fromarray(pixels), "PNG"), format)
    assert (picture.pixels[:, :10] == 255).all()
    assert np.array_equal(picture.pixels[:, 10:], pixels[:, 10:, :3])
    assert made.mode == mode
    if mode == "RGBA":
        assert np.array_equal(np.asarray(made)[:, :, 3], pixels[:, :, 3])
    _, larger = through(file_of(Image.fromarray(pixels), "PNG"), "PNG", np.zeros((40, 60, 3), np.uint8))
    assert larger.size == (60, 40)


def test_a_grey_file_is_shown_three_times_and_one_channel_written_as_one() -> None:
    grey = Image.fromarray(photo(20, 30, 1)).convert("L")
    picture, made = through(file_of(grey, "PNG"), "PNG", np.asarray(grey)[:, :, None])
    assert picture.grey
    assert np.array_equal(picture.pixels, np.asarray(grey.convert("RGB")))
    assert made.mode == "L"


def test_what_is_too_long_for_a_format_is_a_reject() -> None:
    picture = Picture(np.zeros((1, 17_000, 3), np.uint8))
    with pytest.raises(SampleError, match="--to png"):
        encode_picture(picture.pixels, picture, "WEBP", 90)


def test_broken_exif_costs_no_picture() -> None:
    data = file_of(Image.fromarray(photo(20, 30, 1)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert through(data, "JPEG")[1].size == (30, 20)


def test_masks_keep_their_ids_with_a_palette_too() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for palette in (False, True):
        assert np.array_equal(decode_mask(encode_mask(ids, palette=palette)), ids)
    assert len(np.unique(class_colours(), axis=0)) == 256
    assert class_colours()[0].tolist() == [0, 0, 0]
