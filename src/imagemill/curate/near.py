"""Pairs of pictures whose hashes differ in few bits: an exact search without comparing every pair.

A picture's 128 bits (pHash and dHash) are cut into bands. If two pictures differ in at most R bits, they cannot
differ in more than r_b bits in every band b once the sum of (r_b + 1) exceeds R (pigeonhole): looking up, for each
band, all values within r_b bits of a picture's own finds every such pair (multi-index hashing: Norouzi, Punjani,
Fleet, "Fast exact search in Hamming space", 2014, section 2.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.curate.hashes import TURNS, Thumbnails, dhash, phash, turned
from imagemill.native.near import find_near

IntArray = npt.NDArray[np.int64]

HASH_BITS = 128
RADIUS = 18
"""Bits in which pictures may differ: measured, 99.9 % of pictures whose sides lost 2 % by cropping are within it."""
BAND_COUNTS = (8, 6)
"""Into how many bands bits may be cut: the more pictures, the longer bands should be."""
EVERY_PAIR = 0
"""In place of a number of bands: every pair is compared."""
_EVERY_PAIR_UP_TO = 1024
_LONG_BANDS_FROM = 200_000
_WORK_PER_PICTURE = 200_000
_LEAST_WORK = 4_000_000_000
_BLOCK = 1 << 20
"""Comparisons that are held in memory at once."""
_LEAST_PAIRS = 1 << 25
_PAIRS_PER_PICTURE = 100


class TooManyPairs(Exception):
    """So many pictures are near each other that their pairs would fill the memory: they must be sought less far."""


@dataclass(frozen=True)
class Cut:
    """How bits are cut into bands.

    Args:
        bands: (first bit, number of bits) of each.
        reaches: r_b of each band; -1 where it need not be looked up.
    """

    bands: tuple[tuple[int, int], ...]
    reaches: tuple[int, ...]


@dataclass(frozen=True)
class HashedPictures:
    """Hashes of pictures, as they are and turned.

    Args:
        turns: pHash and dHash of each of the eight orientations, uint64, shape (8, 2, N); the first is upright.
    """

    turns: npt.NDArray[np.uint64]

    @property
    def upright(self) -> npt.NDArray[np.uint64]:
        """Hashes of the pictures as they are, shape (2, N)."""
        return np.asarray(self.turns[0])


def near_pairs(pictures: HashedPictures, radius: int, bands: int) -> Iterator[tuple[IntArray, IntArray, int]]:
    """All pairs of pictures that differ in at most `radius` of 128 bits in some orientation.

    Args:
        pictures: N of them.
        radius: bits.
        bands: one of `BAND_COUNTS`, or `EVERY_PAIR`; changes the time, not the result.

    Yields:
        (first, second, turn) for each orientation: first < second, int64, shape (pairs,), sorted, each pair once a
        turn: picture `first` turned by `turn` is near picture `second`.

    Raises:
        TooManyPairs: more than 33 million, and than a hundred a picture.
    """
    if bands == EVERY_PAIR:
        yield from _among_all(pictures, radius)
        return
    cut = cut_bits(radius, bands)
    tables = [_Band(pictures.upright, *band) for band in cut.bands]
    count = max(pictures.upright.shape[1], 1)
    room = max(_LEAST_PAIRS, _PAIRS_PER_PICTURE * count)
    for turn in range(TURNS):
        hashes = np.ascontiguousarray(pictures.turns[turn])
        codes = np.empty(0, np.int64)
        for table, reach in zip(tables, cut.reaches, strict=True):
            found = [codes]
            for part in table.pairs(hashes, pictures.upright, reach, radius, room):
                found.append(part)
                if sum(map(len, found)) > room:
                    raise TooManyPairs
            codes = np.unique(np.concatenate(found))
        room -= len(codes)
        yield codes // count, codes % count, turn


def _among_all(pictures: HashedPictures, radius: int) -> Iterator[tuple[IntArray, IntArray, int]]:
    upright = pictures.upright[:, None, :]
    for turn in range(TURNS):
        bits = np.bitwise_count(pictures.turns[turn][:, :, None] ^ upright).sum(axis=0, dtype=np.int64)
        first, second = np.nonzero(np.triu(bits <= radius, k=1))
        yield first, second, turn


def affordable(pictures: HashedPictures, radius: int = RADIUS) -> tuple[int, int]:
    """The largest radius up to `radius` whose search is worth its time, and the best number of bands for it.

    What a search costs is counted beforehand. Piles of pictures that look alike to hashes (digits, drawings) can
    cost a thousand times what photographs do; there the radius shrinks until at most 200,000 look-ups and comparisons
    a picture remain.

    Returns:
        (radius, bands); radius -1 where even pictures of equal hashes would cost more.
    """
    count = pictures.upright.shape[1]
    if count <= _EVERY_PAIR_UP_TO:
        return radius, EVERY_PAIR
    budget = max(_LEAST_WORK, _WORK_PER_PICTURE * count)
    tried_bands = BAND_COUNTS if count >= _LONG_BANDS_FROM else BAND_COUNTS[:1]
    costs = {bands: _Costs(pictures.upright, bands) for bands in tried_bands}
    for tried in range(radius, -1, -1):
        work, bands = min((costs[bands].of(tried), bands) for bands in tried_bands)
        if work <= budget:
            return tried, bands
    return -1, BAND_COUNTS[0]


class _Costs:
    """Look-ups and comparisons of searches among these pictures."""

    def __init__(self, upright: npt.NDArray[np.uint64], bands: int) -> None:
        self._bands = bands
        self._pictures = upright.shape[1]
        self._counts = [
            np.bincount(band_values(upright, *band), minlength=1 << band[1]).astype(np.float64)
            for band in cut_bits(0, bands).bands
        ]
        self._known: dict[tuple[int, int], float] = {}

    def of(self, radius: int) -> float:
        """Of a search with this radius."""
        cut = cut_bits(radius, self._bands)
        return TURNS * sum(self._band(number, reach) for number, reach in enumerate(cut.reaches) if reach >= 0)

    def _band(self, number: int, reach: int) -> float:
        if (number, reach) not in self._known:
            counts = self._counts[number]
            bits = len(counts).bit_length() - 1
            places = np.arange(len(counts))
            if bits > _COUNTED_BITS:
                # Values that differ in few bits are taken to be as frequent as equal ones.
                comparisons = _ball(bits, reach) * float(counts @ counts)
            else:
                comparisons = sum(float(counts @ counts[places ^ mask]) for mask in _masks(bits, reach))
            self._known[number, reach] = comparisons + _ball(bits, reach) * self._pictures
        return self._known[number, reach]


_COUNTED_BITS = 16


def cut_bits(radius: int, bands: int) -> Cut:
    """Bands of nearly equal length, and how far each is looked around, so that the reaches + 1 add up to radius + 1."""
    borders = [HASH_BITS * band // bands for band in range(bands + 1)]
    spans = tuple((low, high - low) for low, high in pairwise(borders))
    least, more = divmod(radius + 1, bands)
    return Cut(spans, tuple(least if band < more else least - 1 for band in range(bands)))


def _ball(bits: int, reach: int) -> int:
    """Values within `reach` bits of one."""
    return sum(comb(bits, changed) for changed in range(reach + 1))


def band_values(hashes: npt.NDArray[np.uint64], start: int, bits: int) -> IntArray:
    """The number that `bits` bits from bit `start` on make, of hashes of shape (2, N); int64, shape (N,)."""
    stop = start + bits
    high, low = hashes[0], hashes[1]
    mask = np.uint64((1 << bits) - 1)
    if stop <= 64:
        values = high >> np.uint64(64 - stop)
    elif start >= 64:
        values = low >> np.uint64(128 - stop)
    else:
        values = (high << np.uint64(stop - 64)) | (low >> np.uint64(128 - stop))
    return np.asarray((values & mask).astype(np.int64))


class _Band:
    """Pictures by the value of one band; 32-bit numbers, since reading memory is what takes the time."""

    def __init__(self, upright: npt.NDArray[np.uint64], start: int, bits: int) -> None:
        self._span = start, bits
        values = band_values(upright, start, bits)
        self._order = np.argsort(values, kind="stable").astype(np.int32)
        self._sizes = np.bincount(values, minlength=1 << bits).astype(np.int32)
        self._starts = (np.cumsum(self._sizes) - self._sizes).astype(np.int32)

    def pairs(
        self, hashes: npt.NDArray[np.uint64], upright: npt.NDArray[np.uint64], reach: int, radius: int, most: int
    ) -> Iterator[IntArray]:
        """Codes first * N + second of near pairs that this band finds; hardly more than `most` at a time."""
        start, bits = self._span
        values = band_values(hashes, start, bits).astype(np.int32)
        if native.available():
            starts = np.append(self._starts, np.int32(len(self._order)))
            masks = np.array(list(_masks(bits, reach)), np.int32)
            yield find_near(values, hashes, self._order, starts, upright, masks, radius, most)
            return
        for mask in _masks(bits, reach):
            sought = values ^ np.int32(mask)
            counts = self._sizes[sought]
            hit = np.flatnonzero(counts).astype(np.int32)
            for rows in _blocks(hit, counts):
                second = self._members(sought[rows], counts[rows])
                yield _near(np.repeat(rows, counts[rows]), second, hashes, upright, radius)

    def _members(self, values: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The pictures that have these values, one run a value."""
        ends = np.cumsum(counts, dtype=np.int32)
        places = np.repeat(self._starts[values] - ends + counts, counts)
        places += np.arange(len(places), dtype=np.int32)
        return self._order[places]


def _near(
    first: npt.NDArray[np.int32],
    second: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    upright: npt.NDArray[np.uint64],
    radius: int,
) -> IntArray:
    """Codes first * N + second of those pairs that are near, first < second."""
    ordered = first < second
    first, second = first[ordered], second[ordered]
    bits = np.bitwise_count(hashes[0][first] ^ upright[0][second])
    close = np.flatnonzero(bits <= radius)
    first, second, bits = first[close], second[close], bits[close]
    bits = bits + np.bitwise_count(hashes[1][first] ^ upright[1][second])
    close = np.flatnonzero(bits <= radius)
    return np.asarray(first[close].astype(np.int64) * hashes.shape[1] + second[close])


def _blocks(rows: npt.NDArray[np.int32], counts: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int32]]:
    """Rows in runs of at most about `_BLOCK` comparisons."""
    if not len(rows):
        return
    blocks = np.cumsum(counts[rows], dtype=np.int64) // _BLOCK
    yield from np.split(rows, np.flatnonzero(np.diff(blocks)) + 1)


def _masks(bits: int, reach: int) -> Iterator[int]:
    """Every number of `bits` bits of which at most `reach` are set."""
    for changed in range(reach + 1):
        for places in combinations(range(bits), changed):
            yield sum(1 << place for place in places)


def hashed(thumbnails: Thumbnails) -> HashedPictures:
    """Hashes of pictures in all orientations, from their thumbnails, uint8, shape (N, 32, 32)."""
    hashes = np.empty((TURNS, 2, len(thumbnails)), np.uint64)
    for start in range(0, len(thumbnails), _HASHED_AT_ONCE):
        block = slice(start, start + _HASHED_AT_ONCE)
        for turn in range(TURNS):
            shown = turned(thumbnails[block], turn)
            hashes[turn, 0, block], hashes[turn, 1, block] = phash(shown), dhash(shown)
    return HashedPictures(hashes)


_HASHED_AT_ONCE = 4096
