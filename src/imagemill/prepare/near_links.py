"""Pictures of a check that show nearly the same: found by their hashes, confirmed by their thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from imagemill.curate.clusters import NONE, Links
from imagemill.curate.flags import Thresholds
from imagemill.curate.hashes import Thumbnails
from imagemill.curate.near import HashedPictures, IntArray, TooManyPairs, affordable, hashed, near_pairs
from imagemill.curate.quality import THUMBNAIL_SIDE
from imagemill.curate.resemblance import LEAST_DETAIL, detail_levels, resembling

ALIKE_ROUNDS = 8
"""A picture is compared with at most so many different ones of equal hashes."""
_ROWS_AT_ONCE = 8192
_CANDIDATES_AT_ONCE = 4096


Pairs: TypeAlias = tuple[IntArray, IntArray]
NO_PAIRS: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64))


class ThumbnailColumn:
    """Thumbnails of all rows, read from mapped files.

    Args:
        column: 1024 bytes a row, null where there is none.
        order: place in the column of each row.
    """

    def __init__(self, column: pa.ChunkedArray, order: IntArray) -> None:
        side = THUMBNAIL_SIDE
        self._chunks = [
            np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, side, side)[chunk.offset :][: len(chunk)]
            for chunk in column.chunks
            if len(chunk)
        ]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks])
        self._order = order
        missing = column.is_null().to_numpy() if column.null_count else np.zeros(len(column), np.bool_)
        self.present = ~missing[order]

    def reordered(self, order: IntArray) -> ThumbnailColumn:
        """The same thumbnails, of rows in another order."""
        other = copy(self)
        other._order, other.present = self._order[order], self.present[order]
        return other

    def __call__(self, rows: IntArray) -> Thumbnails:
        """Thumbnails of these rows, uint8, shape (len(rows), 32, 32)."""
        places = self._order[rows]
        chunks = np.searchsorted(self._ends, places, side="right")
        out = np.empty((len(rows), THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
        for number in np.unique(chunks):
            here = chunks == number
            chunk = self._chunks[number]
            out[here] = chunk[places[here] - (self._ends[number] - len(chunk))]
        return out


def link_near(
    thumbnails: ThumbnailColumn, rows: IntArray, thresholds: Thresholds, similar: Pairs = NO_PAIRS
) -> tuple[IntArray, Links, tuple[str, ...]]:
    """Links pictures that show nearly the same.

    Pictures of equal hashes and equal details are taken for one first, so that a thousand copies cost a thousand
    comparisons and not a million. Then candidates are confirmed in order of their rows, and only as long as they
    would change something.

    Args:
        thumbnails: of all rows.
        rows: of different pictures, ascending. Those without a thumbnail, or of too little detail, stay unlinked.
        similar: pairs of these rows that show nearly the same by other means, first < second.

    Returns:
        For each row of the table the row that stands for it (itself, unless hashes are equal), the links between
        those, and sentences for the user.
    """
    count = len(thumbnails.present)
    leaders, links = np.arange(count), Links(count)
    rows, pictures = _hashed_rows(thumbnails, rows[thumbnails.present[rows]])
    if len(rows) < 2:
        links.add(*_ascending(*similar))
        return leaders, links, ()
    leaders[rows] = _leaders(thumbnails, rows, pictures, thresholds.near)
    standing = np.flatnonzero(leaders[rows] == rows)
    rows, pictures = rows[standing], HashedPictures(np.ascontiguousarray(pictures.turns[:, :, standing]))
    found, radius = _near_enough(pictures, thresholds.bits)
    remarks: tuple[str, ...] = ()
    if radius < thresholds.bits:
        within = f"within {radius} bits, not {thresholds.bits}" if radius >= 0 else "not at all"
        remarks = (f"too many pictures look alike to hashes: near-duplicates are sought {within}",)
    others = _ascending(*(leaders[side] for side in similar))
    for first, second, turns in _candidates(found):
        upto = np.searchsorted(others[0], rows[first[-1]], side="right")
        due, others = (others[0][:upto], others[1][:upto]), (others[0][upto:], others[1][upto:])
        wanted = links.wanted(rows[first], rows[second])
        first, second, turns = rows[first[wanted]], rows[second[wanted]], turns[wanted]
        same = np.zeros(len(first), np.bool_)
        for turn in np.unique(turns):
            here = turns == turn
            same[here] = resembling(thumbnails, first[here], second[here], int(turn), thresholds.near)
        links.add(*_ascending(*(np.concatenate(pair) for pair in zip((first[same], second[same]), due, strict=True))))
    links.add(*others)
    return leaders, links, remarks


def _ascending(first: IntArray, second: IntArray) -> Pairs:
    """Pairs of different rows, the smaller one first, by ascending rows, each once."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs = np.unique(np.stack([low, high])[:, low != high], axis=1)
    return pairs[0], pairs[1]


def _hashed_rows(thumbnails: ThumbnailColumn, rows: IntArray) -> tuple[IntArray, HashedPictures]:
    """Those rows that show enough to be compared, and their hashes."""
    kept, hashes = [rows[:0]], [hashed(thumbnails(rows[:0])).turns]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        shown = thumbnails(block)
        detailed = detail_levels(shown) >= LEAST_DETAIL
        kept.append(block[detailed])
        hashes.append(hashed(shown[detailed]).turns)
    return np.concatenate(kept), HashedPictures(np.concatenate(hashes, axis=2))


def _leaders(thumbnails: ThumbnailColumn, rows: IntArray, pictures: HashedPictures, near: float) -> IntArray:
    """The first row of equal hashes that each row resembles, itself where there is none; shape (len(rows),)."""
    found = np.array(rows)
    _, groups = np.unique(pictures.upright, axis=1, return_inverse=True)
    groups = groups.ravel()
    left = np.arange(len(rows))
    for _ in range(ALIKE_ROUNDS):
        heads = np.full(len(rows), NONE, np.int64)
        _, first = np.unique(groups[left], return_index=True)
        heads[groups[left[first]]] = left[first]
        head = heads[groups[left]]
        left, head = left[head != left], head[head != left]
        if not len(left):
            break
        same = resembling(thumbnails, rows[head], rows[left], 0, near)
        found[left[same]] = rows[head[same]]
        left = left[~same]
    return found


def _near_enough(pictures: HashedPictures, bits: int) -> tuple[list[tuple[IntArray, IntArray, int]], int]:
    """Near pairs as `near_pairs` gives them, and within how many bits: as many as time and memory allow."""
    radius, bands = affordable(pictures, bits)
    while radius >= 0:
        try:
            return list(near_pairs(pictures, radius, bands)), radius
        except TooManyPairs:
            radius, bands = affordable(pictures, radius - 2)
    return [], -1


def _candidates(found: list[tuple[IntArray, IntArray, int]]) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """(first, second, turn) of pairs to be confirmed, in blocks, by ascending first and second picture."""
    if not found:
        return
    first, second = (np.concatenate([part[side] for part in found]) for side in (0, 1))
    turns = np.concatenate([np.full(len(part[0]), part[2], np.int8) for part in found])
    order = np.lexsort((turns, second, first))
    for start in range(0, len(order), _CANDIDATES_AT_ONCE):
        block = order[start : start + _CANDIDATES_AT_ONCE]
        yield first[block], second[block], turns[block].astype(np.int64)
