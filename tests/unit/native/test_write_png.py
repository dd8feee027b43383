"""PNGs by the core: the same pixels for every reader, small for photographs, the same bytes on any processor."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from unit.native.batches import needs_core

from imagemill.codecs.image import encode_photo_png
from imagemill.errors import ConfigError
from imagemill.native.png import read_png, write_png
from imagemill.testing.images import photo

pytestmark = needs_core
Pixels = npt.NDArray[np.uint8]


def pictures() -> dict[str, Pixels]:
    """Pictures of every kind of run, and with symbols so rare that their codes have to be shortened."""
    rng = np.random.default_rng(1)
    rare = np.repeat(np.arange(20), [2**n for n in range(20)])[-200 * 300 :]
    rows: Pixels = np.zeros((90, 800, 3), np.uint8)
    rows[::7] = photo(13, 800)
    return {
        "photo": photo(180, 333, 4),
        "noise": rng.integers(0, 256, (150, 220, 3), np.uint8),
        "flat": np.full((200, 700, 3), 77, np.uint8),
        "rows": rows,
        "rare": rng.permutation(rare).reshape(200, 300, 1).astype(np.uint8),
        "ramp": np.arange(256, dtype=np.uint8).repeat(5).reshape(1, -1, 1).repeat(60, axis=0),
        "pixel": photo(1, 1),
        "column": photo(400, 1, 2),
        "row": photo(1, 4000, 3),
    }


@pytest.mark.parametrize("name", pictures())
def test_readers_read_what_was_written(name: str) -> None:
    picture = pictures()[name]
    for pixels in (picture, picture[:, :, :1]):
        data = write_png(pixels)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
        opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).reshape(pixels.shape)
        assert np.array_equal(opencv[:, :, ::-1], pixels)
        assert np.array_equal(read_png(data, (pixels.shape[0], pixels.shape[1]), pixels.shape[2]), pixels)


def test_parts_of_pictures_are_written_as_they_lie() -> None:
    picture = photo(70, 90, 1)
    part = picture[11:53, 7:64]
    assert write_png(part) == write_png(np.ascontiguousarray(part)) == encode_photo_png(part)
    assert write_png(part[::-1]) == write_png(np.ascontiguousarray(part[::-1]))


@pytest.mark.parametrize("seed", range(4))
def test_photographs_take_no_more_than_by_libpng_s_level_3(seed: int) -> None:
    picture = photo(300, 400, seed)
    by_opencv = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
    assert len(write_png(picture)) <= 1.01 * len(by_opencv)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3)])
def test_what_it_cannot_write_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="no PNG of"):
        write_png(np.zeros(shape, np.uint8))


SCRIPT = """
import hashlib
from unit.native.test_write_png import pictures, write_png

print(hashlib.sha256(b"".join(write_png(picture) for picture in pictures().values())).hexdigest())
"""


def test_plain_code_gives_the_same_files() -> None:
    printed = set()
    for processor in ("", "baseline"):
        environment = {**os.environ, "IMAGEMILL_CPU": processor, "PYTHONPATH": os.pathsep.join(sys.path)}
        printed.add(subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, stdout=-1).stdout)
    assert len(printed) == 1
