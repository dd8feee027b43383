"""Recoded JPEGs where image files are read: headers, pixels, masks, damage, and Python without the native core."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from unit.native.batches import jpegs, needs_core

from imagemill import native
from imagemill.codecs import image as images
from imagemill.codecs import recoded
from imagemill.codecs.recoded_python import restore_slowly
from imagemill.errors import ConfigError, SampleError
from imagemill.testing.images import exif_block, photo, saved, wide_gamut_profile

pytestmark = needs_core
FILES = {name: data for name, data in jpegs().items() if "CMYK" not in name} | {
    "turned, with a profile": saved(photo(60, 90), "JPEG", exif=exif_block(6), icc_profile=wide_gamut_profile()),
    "progressive with restarts": saved(photo(45, 70), "JPEG", progressive=True, restart_marker_blocks=3),
    "noise": saved(np.random.default_rng(0).integers(0, 256, (33, 40), np.uint8), "JPEG", quality=100),
    "one colour": saved(Image.new("RGB", (70, 20), "red"), "JPEG", optimize=True),
}


each_coding = pytest.mark.parametrize("compact", [False, True], ids=["fast", "compact"])


@each_coding
@pytest.mark.parametrize("name", FILES)
def test_python_gives_back_what_the_core_does(name: str, compact: bool) -> None:
    data = FILES[name]
    made, why_not = recoded.recode(data, compact=compact)
    assert why_not == ""
    assert recoded.about(made).is_compact == compact
    assert restore_slowly(made, max_pixels=native.MAX_PIXELS) == data == recoded.restore(made)


@each_coding
@pytest.mark.parametrize("name", FILES)
def test_headers_and_pixels_are_those_of_the_jpeg(name: str, compact: bool) -> None:
    data = FILES[name]
    made = recoded.recode(data, compact=compact)[0]
    header = images.read_header(made)
    assert header == images.read_header(data)
    assert np.array_equal(images.decode(made), images.decode(data))
    assert images.verify(made, header) == images.verify(data, header)
    assert np.array_equal(images.decode_proven(made, header)[0], images.decode_proven(data, header)[0])
    assert images.decode_pil(made).tobytes() == images.decode_pil(data).tobytes()


def test_masks() -> None:
    data = FILES["baseline grey"]
    assert np.array_equal(images.decode_mask(recoded.recode(data)[0]), images.decode_mask(data))


@each_coding
def test_what_is_recoded_that_way_stays(compact: bool) -> None:
    made = recoded.recode(FILES["noise"], compact=compact)[0]
    assert recoded.recode(memoryview(made), compact=compact) == (made, "")
    other = recoded.recode(made, compact=not compact)
    assert other == recoded.recode(FILES["noise"], compact=not compact) != (made, "")


def test_a_damaged_one_is_not_recoded_otherwise() -> None:
    made = bytearray(recoded.recode(FILES["noise"])[0])
    made[-20] ^= 1
    with pytest.raises(SampleError, match="damaged"):
        recoded.recode(bytes(made), compact=True)


def test_a_flag_that_is_not_known_is_an_error() -> None:
    made = bytearray(recoded.recode(FILES["noise"], compact=True)[0])
    assert made[47] == recoded.COMPACT
    made[47] |= 8
    with pytest.raises(SampleError, match="do not fit"):
        recoded.restore(bytes(made))


def test_about() -> None:
    data = FILES["rgb"]
    found = recoded.about(recoded.recode(data)[0])
    assert found.is_exact
    assert (found.size_bytes, found.original_size_bytes) == (len(data), len(data))
    assert found.digest == found.original_digest == native.xxh3_64(data)


@each_coding
def test_damage_is_an_error_with_and_without_the_core(compact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recoded.recode(saved(photo(17, 20), "JPEG"), compact=compact)[0]
    for with_core in (True, False):
        if not with_core:
            monkeypatch.setattr(native, "_load", lambda: (None, "it was not built"))
        for position in range(7, len(made), 11 if with_core else 97):
            damaged = bytearray(made)
            damaged[position] ^= 0x10
            try:
                # Without the core nothing looks at the last eight bytes: the JPEG has a digest of its own.
                assert recoded.restore(bytes(damaged)) == recoded.restore(made)
                assert not with_core
                assert position >= len(made) - recoded.TRAILER_BYTES or position in range(16, 24)
            except SampleError as error:
                assert error.reason in ("corrupt", "unsupported", "too-many-pixels")
        for size in range(len(recoded.MAGIC), len(made), 53):
            with pytest.raises(SampleError):
                recoded.restore(made[:size])


@pytest.mark.parametrize(("version", "what_to_do"), [(9, "a newer one is needed"), (1, "pack the originals again")])
def test_another_version_says_what_to_do(version: int, what_to_do: str) -> None:
    made = bytearray(recoded.recode(FILES["rgb"])[0])
    made[7] = version
    with pytest.raises(SampleError, match=f"version {version}; this imagemill reads 2: {what_to_do}"):
        images.read_header(bytes(made))


def test_recoding_without_the_core_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_load", lambda: (None, "it was not built"))
    with pytest.raises(ConfigError, match="leave the pixels original"):
        recoded.recode(FILES["rgb"])
