"""Hashes, the exact search of near ones, resemblance, clusters."""

from __future__ import annotations

from itertools import pairwise

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unit.native.batches import needs_core

from imagemill import native
from imagemill.curate.clusters import NONE, Links, numbered
from imagemill.curate.hashes import TURNS, dhash, phash, turned
from imagemill.curate.near import BAND_COUNTS, EVERY_PAIR, HashedPictures, affordable, cut_bits, hashed, near_pairs
from imagemill.curate.quality import measure
from imagemill.curate.resemblance import RESEMBLANCE, resemblance
from imagemill.prepare.near_links import _near_enough
from imagemill.testing.images import photo

Thumbnails = npt.NDArray[np.uint8]


def thumbnails(count: int, seed: int = 0) -> Thumbnails:
    return np.stack([measure(photo(90, 120, seed + number)).thumbnail for number in range(count)])


def number(found: imagehash.ImageHash) -> int:
    return int(str(found), 16)


def test_hashes_are_those_of_imagehash_bit_for_bit() -> None:
    shown = np.concatenate([thumbnails(60), np.random.default_rng(0).integers(0, 256, (60, 32, 32), np.uint8)])
    pictures = [Image.fromarray(thumbnail) for thumbnail in shown]
    assert phash(shown).tolist() == [number(imagehash.phash(picture)) for picture in pictures]
    assert dhash(shown).tolist() == [number(imagehash.dhash(picture)) for picture in pictures]


def test_distances_are_those_of_whole_pictures() -> None:
    pictures = [photo(150, 200, seed) for seed in range(24)]
    faded = [((1 - share) * pictures[0] + share * pictures[1]).astype(np.uint8) for share in np.linspace(0, 1, 24)]
    shown = np.stack([measure(picture).thumbnail for picture in (*pictures, *faded)])
    ours = np.bitwise_count(phash(shown)[:, None] ^ phash(shown)[None]).ravel()
    hashes = [imagehash.phash(Image.fromarray(picture)) for picture in (*pictures, *faded)]
    theirs = np.array([one - other for one in hashes for other in hashes])
    assert np.corrcoef(np.argsort(np.argsort(ours)), np.argsort(np.argsort(theirs)))[0, 1] > 0.9
    assert np.abs(ours.astype(int) - theirs).max() <= 8


def test_the_eight_orientations_are_all_and_differ() -> None:
    shown = thumbnails(1)
    assert len({turned(shown, turn).tobytes() for turn in range(TURNS)}) == 8
    sides = {np.rot90(shown[0], quarter)[:, ::step].tobytes() for quarter in range(4) for step in (1, -1)}
    assert {turned(shown, turn).tobytes() for turn in range(TURNS)} == sides


def planted(count: int, seed: int) -> HashedPictures:
    """Random hashes, some of them a few bits from a turned other."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(0, 2**64, (TURNS, 2, count), dtype=np.uint64)
    for turn in range(TURNS):
        for row in rng.integers(0, count, count // 3):
            other = rng.integers(0, count)
            bits = rng.choice(128, rng.integers(0, 26), replace=False)
            masks = [sum(1 << int(63 - bit % 64) for bit in bits if bit // 64 == half) for half in (0, 1)]
            turns[turn, :, row] = turns[0, :, other] ^ np.array(masks, np.uint64)
    return HashedPictures(turns)


@pytest.mark.parametrize("core", [pytest.param(True, marks=needs_core), False])
@pytest.mark.parametrize("bands", [*BAND_COUNTS, EVERY_PAIR])
@pytest.mark.parametrize("radius", [0, 7, 18, 22])
def test_every_near_pair_is_found_and_no_other(
    radius: int, bands: int, core: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available", lambda: core)
    pictures = planted(160, seed=radius)
    upright = pictures.upright
    for first, second, turn in near_pairs(pictures, radius, bands):
        shown = pictures.turns[turn]
        bits = sum(np.bitwise_count(shown[half][:, None] ^ upright[half][None]).astype(int) for half in (0, 1))
        expected = np.argwhere(np.triu(bits <= radius, k=1))
        assert np.array_equal(np.stack([first, second], axis=1), expected)


@given(radius=st.integers(-1, 31), bands=st.sampled_from(BAND_COUNTS))
def test_bands_are_cut_by_the_pigeonhole(radius: int, bands: int) -> None:
    cut = cut_bits(radius, bands)
    assert sum(reach + 1 for reach in cut.reaches) == radius + 1
    assert cut.bands[0][0] == 0
    assert sum(cut.bands[-1]) == 128
    assert all(sum(one) == other[0] for one, other in pairwise(cut.bands))


def test_a_pile_that_looks_alike_to_hashes_is_searched_less_far() -> None:
    rng = np.random.default_rng(0)
    alike = rng.integers(0, 2**6, (TURNS, 2, 60_000), dtype=np.uint64)
    assert affordable(HashedPictures(alike))[0] < 18
    spread = rng.integers(0, 2**64, (TURNS, 2, 60_000), dtype=np.uint64)
    assert affordable(HashedPictures(spread))[0] == 18
    assert affordable(hashed(thumbnails(3)))[0] == 18


def test_pairs_that_would_fill_the_memory_are_sought_less_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagemill.curate.near._LEAST_PAIRS", 50)
    monkeypatch.setattr("imagemill.curate.near._PAIRS_PER_PICTURE", 0)
    monkeypatch.setattr("imagemill.curate.near._EVERY_PAIR_UP_TO", 0)
    pictures = planted(160, seed=1)
    found, radius = _near_enough(pictures, 18)
    assert 0 < radius < 18
    assert sum(len(first) for first, _, _ in found) <= 50
    monkeypatch.setattr("imagemill.curate.near._LEAST_PAIRS", -1)
    assert _near_enough(pictures, 18) == ([], -1)


def changed(picture: Thumbnails, how: str) -> Thumbnails:
    height, width = picture.shape[:2]
    if how == "cropped":
        return picture[height // 50 :, : width - width // 50]
    if how == "small":
        return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("how", ["cropped", "small", "encoded"])
@pytest.mark.parametrize("turn", [0, 1, 6])
def test_copies_resemble_and_others_do_not(how: str, turn: int) -> None:
    pictures = [photo(300, 400, seed) for seed in range(30)]
    shown = np.stack([measure(picture).thumbnail for picture in pictures])
    copies = np.stack([measure(np.ascontiguousarray(changed(picture, how))).thumbnail for picture in pictures])
    copies = np.ascontiguousarray(turned(copies, turn))
    assert resemblance(shown, copies, turn).min() >= RESEMBLANCE
    assert resemblance(shown, np.roll(copies, 1, axis=0), turn).max() < RESEMBLANCE


def linked(count: int, pairs: list[tuple[int, int]]) -> Links:
    links = Links(count)
    ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    links.add(ordered[:, 0], ordered[:, 1])
    return links


def test_of_a_chain_every_one_left_out_has_a_kept_one_beside_it() -> None:
    links = linked(5, [(0, 1), (1, 2), (2, 3)])
    assert links.roots().tolist() == [0, 0, 0, 0, 4]
    assert links.kept.tolist() == [0, 0, 2, 2, 4]
    assert numbered(links.roots()).tolist() == [0, 0, 0, 0, NONE]


@settings(max_examples=60)
@given(st.sets(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda pair: pair[0] < pair[1]), max_size=30))
def test_clusters_are_connected_components_and_kept_ones_cover(pairs: set[tuple[int, int]]) -> None:
    links = linked(16, sorted(pairs))
    roots, kept = links.roots(), links.kept
    for row in range(16):
        assert kept[row] == row or ((int(kept[row]), row) in pairs and kept[kept[row]] == kept[row])
    for first, second in pairs:
        assert roots[first] == roots[second]
        assert kept[first] != first or kept[second] != second
    reached = {row: {row} for row in range(16)}
    for _ in range(16):
        for first, second in pairs:
            reached[first] = reached[second] = reached[first] | reached[second]
    assert all(roots[row] == min(reached[row]) for row in range(16))
    assert not links.wanted(*(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))).any()
