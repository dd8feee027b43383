"""JPEGs proven whole, and measured, by the core: what passes, that no damage does, and the same numbers."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import numpy as np
import pytest
from unit.native.batches import needs_core

from imagemill import native
from imagemill.codecs.image import decode, read_header, verify
from imagemill.curate.quality import measure, measure_jpeg
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


@pytest.mark.parametrize("sides", [(1, 1), (1, 300), (300, 1), (8, 9), (127, 31), (256, 256), (257, 511), (530, 1030)])
def test_a_look_measures_what_the_decoded_picture_shows(sides: tuple[int, int]) -> None:
    """Bit by bit the numbers of pixels decoded elsewhere, whatever the file's kind and colours."""
    pictures = {"colour": photo(*sides, 4), "noise": np.random.default_rng(5).integers(0, 256, (*sides, 3), np.uint8)}
    pictures["pale"] = np.clip(pictures["colour"][:, :, :1] + np.array([0, 2, 1], np.uint8), 0, 255).astype(np.uint8)
    files = {f"{name} {kind}": saved(pictures[name], "JPEG", **KINDS[kind]) for name in pictures for kind in KINDS}
    files["grey"] = saved(pictures["noise"][:, :, 0], "JPEG", quality=80)
    for name, data in files.items():
        found = measure_jpeg(data, sides)
        wanted = measure(decode(data))
        assert found is not None, name
        assert np.array_equal(found.thumbnail, wanted.thumbnail), name
        assert asdict(replace(found, thumbnail=None)) == asdict(replace(wanted, thumbnail=None)), name


def test_no_look_is_taken_at_what_is_not_in_perfect_order() -> None:
    data = saved(photo(40, 60, 6), "JPEG", quality=80)
    assert measure_jpeg(data, (40, 60)) is not None
    for bad in (data[:-2], data[:-9] + data[-2:], data + b"\0", saved(photo(40, 60, 6), "PNG"), b"\xff\xd8", b""):
        assert measure_jpeg(bad, (40, 60)) is None
    assert measure_jpeg(data, (60, 40)) is None
