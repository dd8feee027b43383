"""Recoded JPEGs that were written once: every version gives the same JPEGs back, with the native core and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagemill import native
from imagemill.codecs.batch import decode_batch
from imagemill.codecs.image import decode, read_header
from imagemill.codecs.recoded import about, restore
from imagemill.codecs.recoded_python import restore_slowly

FOLDER = Path(__file__).parent / "recoded"
FILES = sorted(FOLDER.rglob("*.rjpg"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def jpeg_of(path: Path) -> bytes:
    return (FOLDER / f"{path.stem}.jpg").read_bytes()


def test_they_are_there() -> None:
    assert len(FILES) == 24


@each_file
def test_the_jpeg_comes_back(path: Path) -> None:
    data, wanted = path.read_bytes(), jpeg_of(path)
    assert restore_slowly(data, max_pixels=native.MAX_PIXELS) == wanted == restore(data)
    assert about(data).is_exact == (path.stem != "normalised")
    assert about(data).is_compact == (path.parent.name == "compact")


@each_file
def test_pixels_are_those_of_the_jpeg(path: Path) -> None:
    data, wanted = path.read_bytes(), decode(jpeg_of(path))
    assert read_header(data).sides == wanted.shape[:2]
    out = np.empty((1, *wanted.shape), np.uint8)
    assert decode_batch([data], np.array([[0, 0, *wanted.shape[:2]]], np.int32), out, layout="NHWC") == {}
    # Profiles are converted by the core itself, up to two levels from how Pillow rounds.
    assert np.abs(out[0].astype(int) - wanted).max() <= (2 if read_header(data).icc else 0)
