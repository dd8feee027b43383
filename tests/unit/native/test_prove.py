"""JPEGs proven whole by their codes alone: what passes, and that no damage does."""

from __future__ import annotations

import random

import pytest
from unit.native.batches import needs_core

from imagemill import native
from imagemill.codecs.image import read_header, verify
from imagemill.errors import SampleError
from imagemill.testing.images import photo, saved

KINDS: dict[str, dict[str, object]] = {
    "4:4:4": {"quality": 90, "subsampling": "4:4:4"},
    "4:2:0": {"quality": 70, "subsampling": "4:2:0"},
    "optimized": {"quality": 80, "subsampling": "4:2:2", "optimize": True},
    "restarts": {"quality": 80, "restart_marker_blocks": 3},
    "progressive": {"quality": 80, "progressive": True},
}

pytestmark = needs_core


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sides", [(8, 8), (41, 63), (200, 300)])
def test_sound_files_are_proven_and_their_beginnings_are_not(kind: str, sides: tuple[int, int]) -> None:
    data = saved(photo(*sides, 1), "JPEG", **KINDS[kind])
    assert native.prove_jpeg(data)
    for stop in range(2, len(data) - 2, max(1, len(data) // 97)):
        assert not native.prove_jpeg(data[:stop]), stop
        assert not native.prove_jpeg(data[:stop] + data[-2:]), stop
    assert not native.prove_jpeg(data + b"\0")
    assert not native.prove_jpeg(data[:-2] + bytes(8) + data[-2:])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_proven_has_nothing_that_the_other_decoder_remarks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random damage: the core may doubt what is sound, never the other way round."""
    rng = random.Random(kind)
    whole = saved(photo(40, 56, 2), "JPEG", **KINDS[kind])
    prove, proven = native.prove_jpeg, 0
    monkeypatch.setattr(native, "prove_jpeg", lambda data: False)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 3)):
            data[rng.randrange(150, len(data))] ^= 1 << rng.randrange(8)
        if prove(bytes(data)):
            proven += 1
            assert verify(bytes(data), read_header(bytes(data))) == ()
    assert proven


def test_damage_has_the_same_verdict_with_and_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(photo(60, 80, 3), "JPEG", quality=80)
    verdicts = []
    for _ in range(2):
        found = []
        for stop in range(len(data) // 2, len(data), 37):
            with pytest.raises(SampleError) as caught:
                verify(data[:stop], read_header(data))
            found.append(str(caught.value))
        verdicts.append(found)
        monkeypatch.setattr(native, "prove_jpeg", lambda data: False)
    assert verdicts[0] == verdicts[1]
