"""One look at an image: limits come first, headers are trusted only where that was asked for."""

from __future__ import annotations

import pytest

from imagemill.curate.inspect import Limits, inspect
from imagemill.errors import SampleError
from imagemill.testing.images import exif_block, nasty_images, photo, saved


def reason(data: bytes, limits: Limits, *, full: bool) -> str:
    with pytest.raises(SampleError) as caught:
        inspect(data, limits, full=full)
    return caught.value.reason


def test_limits_are_inclusive() -> None:
    data = saved(photo(20, 30), "PNG")
    fits = Limits(max_pixels=600, max_bytes=len(data))
    assert inspect(data, fits, full=True).header.sides == (20, 30)
    assert reason(data, Limits(max_pixels=599), full=False) == "too-many-pixels"
    assert reason(data, Limits(max_bytes=len(data) - 1), full=False) == "too-many-bytes"


def test_bytes_are_limited_before_anything_is_read() -> None:
    assert reason(b"<html>", Limits(max_bytes=5), full=True) == "too-many-bytes"


def test_a_bomb_is_rejected_by_its_header_alone() -> None:
    for name in ("png-bomb", "jpeg-bomb"):
        assert reason(nasty_images()[name][0], Limits(), full=False) == "too-many-pixels"


def test_only_a_full_look_finds_damage_behind_the_header() -> None:
    for name in ("jpeg-truncated-60", "png-truncated-60", "bmp-truncated"):
        data = nasty_images()[name][0]
        assert inspect(data, Limits(), full=False).header.width > 0
        assert reason(data, Limits(), full=True) == "truncated"


def test_notes_are_those_of_the_policy_then_those_of_the_decoder() -> None:
    data = saved(photo(16, 16)[:, :, 0], "JPEG", exif=exif_block(6))[:-2]
    assert inspect(data, Limits(), full=False).notes == ("orientation=6", "grey")
    assert inspect(data, Limits(), full=True).notes == ("orientation=6", "grey", "jpeg-warning=missing-eoi")


def test_pixels_that_take_more_memory_than_allowed_are_not_decoded() -> None:
    data = saved(photo(20, 30), "PNG")
    assert inspect(data, Limits(max_memory_bytes=20 * 30 * 3), full=True).header.decoded_bytes == 1800
    assert reason(data, Limits(max_memory_bytes=1799), full=True) == "memory"
    deep = saved(photo(20, 30)[:, :, 0].astype("uint16") * 256, "PNG")
    assert inspect(deep, Limits(max_memory_bytes=1200), full=False).header.decoded_bytes == 1200
    assert reason(deep, Limits(max_memory_bytes=1199), full=False) == "memory"
