"""JPEGs by the native core: the very files of libjpeg-turbo, whatever the sides and however parts overlap."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from unit.native.batches import needs_core

from imagemill.codecs.image import encode_jpeg
from imagemill.errors import ConfigError
from imagemill.native.jpeg_parts import SUBSAMPLINGS, JpegParts
from imagemill.testing.images import photo

pytestmark = needs_core
Pixels = npt.NDArray[np.uint8]

QUALITIES = (1, 20, 50, 75, 90, 95, 99, 100)


def by_opencv(pixels: Pixels, quality: int, subsampling: str) -> bytes:
    """What OpenCV's libjpeg-turbo makes of pixels."""
    ordered = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return cv2.imencode(".jpg", np.ascontiguousarray(ordered), options)[1].tobytes()


def pictures() -> dict[str, Pixels]:
    """Photo-like ones, and some whose coefficients are as large as any."""
    rng = np.random.default_rng(3)
    stripes: Pixels = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    return {
        "photo": photo(150, 203, 1),
        "noise": rng.integers(0, 256, (97, 131, 3), np.uint8),
        "extremes": rng.integers(0, 2, (80, 95, 3), np.uint8) * np.uint8(255),
        "stripes": stripes,
        "flat": np.full((40, 57, 3), (255, 0, 7), np.uint8),
    }


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("name", pictures())
def test_files_are_those_of_libjpeg_turbo(name: str, subsampling: str) -> None:
    picture = pictures()[name]
    for quality, is_grey in product(QUALITIES, (False, True)):
        pixels = picture[:, :, :1] if is_grey else picture
        wanted = by_opencv(pixels, quality, subsampling)
        assert JpegParts(pixels, [(0, 0, *pixels.shape[:2])], quality, subsampling)[0] == wanted
        assert encode_jpeg(pixels, quality, subsampling) == wanted


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_all_small_sides(subsampling: str) -> None:
    picture = photo(40, 40, 5)
    for height, width in product((*range(1, 19), 31, 33), repeat=2):
        for pixels in (picture[:height, :width], picture[:height, :width, 1:2]):
            assert encode_jpeg(pixels, 90, subsampling) == by_opencv(pixels, 90, subsampling)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("seed", range(8))
def test_parts_are_the_files_of_the_parts_alone(seed: int, subsampling: str) -> None:
    rng = random.Random(seed)
    picture = photo(rng.randrange(60, 200), rng.randrange(60, 200), seed)[:, :, : rng.choice((1, 3))]
    grid, boxes = rng.choice((1, 8, 16)), []
    for _ in range(12):
        top, left = (rng.randrange(side - 16) // grid * grid for side in picture.shape[:2])
        high, wide = picture.shape[0] - top, picture.shape[1] - left
        boxes.append((top, left, max(16, rng.randint(1, high) // 16 * 16), max(16, rng.randint(1, wide) // 16 * 16)))
    boxes.append((5, 7, 23, 11))
    parts = JpegParts(picture, boxes, 95, subsampling)
    order = list(range(len(boxes)))
    if seed % 2:
        rng.shuffle(order)  # each is right, whatever was asked for before
    for number in order:
        top, left, height, width = boxes[number]
        alone = picture[top : top + height, left : left + width]
        assert parts[number] == by_opencv(alone, 95, subsampling)


def test_readers_read_them() -> None:
    picture = photo(75, 91, 2)
    data = encode_jpeg(picture, 95, "444")
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        pillow = np.asarray(image, np.int16)
    opencv = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(pillow - picture).mean() < 4
    assert np.abs(opencv.astype(np.int16) - pillow).max() <= 1


def test_rows_that_lie_apart_and_other_orders_are_taken_as_they_are() -> None:
    picture = photo(64, 96, 3)
    wanted = by_opencv(np.ascontiguousarray(picture[8:40, 11:60]), 80, "420")
    assert encode_jpeg(picture[8:40, 11:60], 80) == wanted
    assert encode_jpeg(np.asfortranarray(picture[8:40, 11:60]), 80) == wanted
    assert encode_jpeg(picture[39:7:-1, 11:60], 80) == by_opencv(
        np.ascontiguousarray(picture[39:7:-1, 11:60]), 80, "420"
    )


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 41, 5), (36, 0, 5, 5), (0, 57, 1, 1)])
def test_boxes_outside_the_picture_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="boxes lie inside"):
        JpegParts(photo(40, 57), [(0, 0, 40, 57), box], 90)


def test_what_cannot_be_a_jpeg_is_refused() -> None:
    with pytest.raises(ConfigError, match="quality 0"):
        JpegParts(photo(8, 8), [], 0)
    with pytest.raises(ConfigError, match="no JPEG of"):
        JpegParts(np.zeros((8, 8, 4), np.uint8), [], 90)
    with pytest.raises(ConfigError, match="unknown subsampling '411'"):
        JpegParts(photo(8, 8), [], 90, "411")
    with pytest.raises(IndexError):
        JpegParts(photo(8, 8), [], 90)[0]


SCRIPT = """
import hashlib
import numpy as np
from imagemill.codecs.image import encode_jpeg
from imagemill.native.jpeg_parts import JpegParts
from imagemill.testing.images import photo
from itertools import product

digest = hashlib.sha256()
extremes = np.random.default_rng(3).integers(0, 2, (80, 95, 3), np.uint8) * np.uint8(255)
for quality, sampling, channels in product((30, 95, 100), ("444", "422", "420"), (1, 3)):
    for picture in (photo(133, 170, quality), extremes):
        digest.update(encode_jpeg(picture[:, :, :channels], quality, sampling))
for file in JpegParts(photo(133, 170), [(16, 32, 64, 96), (32, 16, 96, 112)], 95):
    digest.update(file)
print(digest.hexdigest())
"""


def test_plain_code_gives_the_same_files() -> None:
    printed = set()
    for processor in ("", "avx2", "baseline"):
        environment = {**os.environ, "IMAGEMILL_CPU": processor}
        printed.add(subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, stdout=-1).stdout)
    assert len(printed) == 1
