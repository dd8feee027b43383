"""Thousands of damaged files: a result or a `SampleError`, never anything else, and never noise."""

from __future__ import annotations

import random

import pytest

from imagemill.codecs.image import decode, decode_mask, read_header
from imagemill.curate.inspect import Limits, inspect
from imagemill.errors import REASONS, SampleError
from imagemill.testing.images import nasty_images, photo, saved

LIMITS = Limits(max_pixels=2_000_000)
ROUNDS = 700


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes after one to twenty mutations, most of them near the start, where headers are."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if not content:
            break
        position = rng.randrange(len(content)) if rng.random() < 0.6 else rng.randrange(min(len(content), 200))
        kind = rng.randrange(5)
        if kind == 0:
            content[position] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[position] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            del content[position : position + rng.randrange(1, 50)]
        elif kind == 3:
            content[position:position] = rng.randbytes(rng.randrange(1, 9))
        elif rng.random() < 0.2:
            del content[position:]
    return bytes(content)


def verdict(data: bytes) -> str:
    """ "ok" or a reason code; what passed a full inspection must decode."""
    try:
        header = inspect(data, LIMITS, full=True).header
    except SampleError as error:
        header = None
        reason = error.reason
    if header is None:
        try:
            if read_header(data).pixels <= LIMITS.max_pixels:
                decode(data)
                decode_mask(data)
        except SampleError:
            pass
        return reason
    assert decode(data, header=header).shape == (*header.sides, 3)
    try:
        assert decode_mask(data).shape[:2] == header.sides
    except SampleError as error:
        assert error.reason == "unsupported"
    return "ok"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_damaged_photographs(format: str, capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(format)
    originals = [saved(photo(90, 120, seed), format) for seed in range(3)]
    if format == "JPEG":
        originals.append(saved(photo(90, 120, 3), format, progressive=True))
    verdicts = [verdict(damaged(rng.choice(originals), rng)) for _ in range(ROUNDS)]
    assert set(verdicts) <= {"ok", *REASONS}
    assert {"corrupt", "truncated"} <= set(verdicts)
    assert verdicts.count("ok") < ROUNDS * 0.8
    assert capfd.readouterr() == ("", "")


def test_damaged_files_of_every_kind() -> None:
    rng = random.Random(7)
    originals = [data for data, expected in nasty_images().values() if expected == "ok"]
    verdicts = [verdict(damaged(rng.choice(originals), rng)) for _ in range(ROUNDS)]
    assert {"ok", "corrupt", "truncated", "not-an-image"} <= set(verdicts)
    assert set(verdicts) <= {"ok", *REASONS}
