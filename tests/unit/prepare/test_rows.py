"""From sample to row: what passes through, what is transformed, what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imagemill.codecs import image as images
from imagemill.core.recipe import Recipe
from imagemill.core.sample import Encoded, Sample, digest
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.rows import RowMaker
from imagemill.testing.images import photo

IMAGE = Field("image", "image")
MASK = Field("mask", "mask")
LABEL = Field("label", "label", "int64", (), "raw", ("cat", "dog"))


def encoded(format: str = "JPEG", height: int = 24, width: int = 32, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo(height, width, 1)).save(buffer, format, **options)
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(exif=exif)


def make(value: object, recipe: Recipe | None = None, fields: tuple[Field, ...] = (IMAGE,), **others: object):
    sample = Sample("a/b.jpg", {"image": value, **others}, {"image": "a/b.jpg", "mask": "m/b.png"})  # type: ignore[dict-item]
    return RowMaker(Schema(fields), recipe or Recipe())(sample)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_original_bytes_pass_through_untouched(format: str) -> None:
    data = encoded(format)
    row = make(Encoded(data))
    assert row.values["image"] == data
    assert row.digests == {"image": digest(data)}
    assert row.sides == {"image": (24, 32)}


def test_what_the_policy_will_do_is_recorded() -> None:
    row = make(Encoded(rotated()))
    assert row.notes == "image:orientation=6"
    assert row.sides == {"image": (32, 24)}


def test_raw_pixels_are_upright() -> None:
    field = Field("image", "image", "uint8", (32, 24, 3), "raw")
    row = make(Encoded(rotated()), Recipe(pixels="raw", size=(32, 24)), (field,))
    stored = np.frombuffer(row.values["image"], np.uint8).reshape(32, 24, 3)
    assert np.array_equal(stored, images.decode(rotated()))


def test_a_jpeg_that_is_right_already_gets_no_second_generation() -> None:
    data = encoded(height=20, width=40)
    recipe = Recipe(pixels="resized", size=(20, 20), fit="short")
    assert make(Encoded(data), recipe).values["image"] == data
    smaller = make(Encoded(encoded(height=40, width=80)), recipe)
    assert images.read_header(smaller.values["image"]).sides == (20, 40)


def test_labels_are_numbered_and_a_missing_one_is_minus_one() -> None:
    fields = (IMAGE, LABEL)
    assert make(Encoded(encoded()), fields=fields, label="dog").values["label"] == np.int64(1).tobytes()
    assert make(Encoded(encoded()), fields=fields, label=None).values["label"] == np.int64(-1).tobytes()
    with pytest.raises(SampleError, match="bad-value.*'bird' is no class"):
        make(Encoded(encoded()), fields=fields, label="bird")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (Field("text", "text", codec="utf8"), "grün", "grün".encode()),
        (Field("score", "number", "float64", (), "raw"), 0.5, np.float64(0.5).tobytes()),
        (Field("vector", "vector", "float32", (2,), "raw"), [1, 2], np.float32([1, 2]).tobytes()),
        (Field("vector", "vector", "float32", (None,), "raw"), [], b""),
    ],
)
def test_other_fields_as_bytes(field: Field, value: object, expected: bytes) -> None:
    assert make(Encoded(encoded()), fields=(IMAGE, field), **{field.name: value}).values[field.name] == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Field("text", "text", codec="utf8"), 7),
        (Field("label", "label", "int64", (), "raw"), 0.5),
        (Field("vector", "vector", "float32", (2,), "raw"), [1, 2, 3]),
        (Field("score", "number", "float64", (), "raw"), "many"),
    ],
)
def test_values_that_do_not_fit_their_field(field: Field, value: object) -> None:
    with pytest.raises(SampleError, match="bad-value") as caught:
        make(Encoded(encoded()), fields=(IMAGE, field), **{field.name: value})
    assert caught.value.key == "a/b.jpg"


def test_a_mask_of_another_size_is_refused_by_name() -> None:
    mask = images.encode_mask(np.zeros((12, 16), np.uint8))
    with pytest.raises(SampleError, match=r"m/b.png: mask-size: the mask is 16x12, the image 32x24"):
        make(Encoded(encoded()), fields=(IMAGE, MASK), mask=Encoded(mask))


def test_a_lossy_mask_is_kept_and_noted() -> None:
    row = make(Encoded(encoded()), fields=(IMAGE, MASK), mask=Encoded(encoded()))
    assert "mask:lossy-mask=JPEG" in row.notes


def test_arrays_without_a_file_are_stored_without_loss() -> None:
    picture = photo(10, 12, 3)
    ids = np.arange(120, dtype=np.uint16).reshape(10, 12)
    row = make(picture, fields=(IMAGE, MASK), mask=ids)
    assert np.array_equal(images.decode(row.values["image"]), picture)
    assert np.array_equal(images.decode_mask(row.values["mask"]), ids)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty-file"), (b"<html>", "not-an-image"), (encoded()[:-60], "truncated")]
)
def test_bad_images_carry_reason_key_and_origin(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError) as caught:
        make(Encoded(data))
    assert (caught.value.reason, caught.value.key, caught.value.origin) == (reason, "a/b.jpg", "a/b.jpg")


def test_headers_alone_trust_the_pixels() -> None:
    assert make(Encoded(encoded()[:-60]), Recipe(decode="headers")).sides == {"image": (24, 32)}


def test_limits_come_before_decoding() -> None:
    with pytest.raises(SampleError, match="too-many-pixels"):
        make(Encoded(encoded()), Recipe(max_pixels=100))
    with pytest.raises(SampleError, match="too-many-bytes"):
        make(Encoded(encoded()), Recipe(max_bytes=100))


def test_raw_pixels_of_another_size_stop_the_run() -> None:
    field = Field("image", "image", "uint8", (8, 8, 3), "raw")
    with pytest.raises(ConfigError, match="this image is 32x24, the first one was 8x8. Say --size"):
        make(Encoded(encoded()), Recipe(pixels="raw"), (field,))


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 1), (24, 32, 3), (24, 32, 4)])
def test_arrays_come_to_the_mode_asked_for(mode: str, channels: int, shape: tuple[int, ...]) -> None:
    field = Field("image", "image", "uint8", (24, 32, channels), "raw")
    row = make(np.full(shape, 200, np.uint8), Recipe(pixels="raw", mode=mode), (field,))
    assert len(row.values["image"]) == 24 * 32 * channels
