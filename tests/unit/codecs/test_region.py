"""Parts of images: those of a full decode; and pixels made smaller as OpenCV's INTER_AREA makes them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from imagemill import native
from imagemill.codecs.image import decode, read_header
from imagemill.codecs.region import decode_region
from imagemill.errors import ConfigError
from imagemill.native.area import shrink


def photo(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height * width)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def files() -> dict[str, bytes]:
    image = photo(141, 203)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "plain": saved(image, "JPEG", quality=95),
        "progressive": saved(image, "JPEG", progressive=True),
        "grey": saved(image.convert("L"), "JPEG"),
        "turned": saved(image, "JPEG", exif=turned),
        "png": saved(image, "PNG"),
    }


@pytest.mark.parametrize("name", list(files()))
def test_parts_are_those_of_a_full_decode(name: str) -> None:
    data = files()[name]
    found = decode_region(data, read_header(data), (7, 20, 111, 101))
    assert found.flags.c_contiguous
    assert np.array_equal(found, decode(data, mode="RGB")[7:118, 20:121])


@pytest.mark.skipif(not native.available(), reason="by the native core only")
def test_parts_of_every_width() -> None:
    data = files()["plain"]
    whole = decode(data, mode="RGB")
    for width in range(1, 40):
        status, found = native.read_rgb(data, (3, 5, 9, width))
        assert status == native.Status.DONE
        assert np.array_equal(found, whole[3:12, 5 : 5 + width])
    with pytest.raises(ConfigError, match="height and width 1 or more"):
        native.read_rgb(data, (3, 5, 0, 4))


def test_a_damaged_file_is_judged_by_the_full_decode() -> None:
    data = files()["plain"]
    with pytest.raises(Exception, match="truncated"):
        decode_region(data[: len(data) // 2], read_header(data), (0, 0, 141, 203))


@pytest.mark.skipif(not native.available(), reason="by the native core only")
@pytest.mark.parametrize("size", [(110, 101), (64, 64), (55, 23), (3, 5)])
def test_pixels_are_made_smaller_as_opencv_does(size: tuple[int, int]) -> None:
    whole = np.asarray(photo(141, 203))
    for part in (whole, whole[7:118, 20:121], whole[:, ::-1]):
        wanted = cv2.resize(part.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(shrink(part, size) - wanted).max() < 1
