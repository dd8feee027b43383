"""From pairs of equal pictures to clusters, and to the ones that are kept in place of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagemill.curate.near import IntArray

NONE = -1


class UnionFind:
    """Sets of numbers 0 … count - 1 that are joined pair by pair; a set is named by its smallest number."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def join(self, first: IntArray, second: IntArray) -> None:
        """Joins the sets of each pair."""
        parents = self._parents
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = self._root(one), self._root(other)
            if low != high:
                parents[max(low, high)] = min(low, high)

    def _root(self, number: int) -> int:
        parents = self._parents
        while (parent := int(parents[number])) != number:
            parents[number] = parents[parent]
            number = parent
        return number

    def roots(self) -> IntArray:
        """Smallest number of each number's set, shape (count,)."""
        parents = self._parents
        while True:
            above = parents[parents]
            if np.array_equal(above, parents):
                return np.array(parents)
            parents = above


@dataclass(frozen=True)
class Clusters:
    """Which pictures are the same.

    Args:
        numbers: cluster of each row, numbered by smallest row; `NONE` for rows that are alone. int64, shape (rows,).
        kept: row that is kept in the place of this one, itself where it is kept. int64, shape (rows,).
    """

    numbers: IntArray
    kept: IntArray


def cluster(count: int, first: IntArray, second: IntArray) -> Clusters:
    """Clusters of rows 0 … count - 1.

    A row is kept if no kept row before it is directly linked to it; else the first such row is kept in its place. So
    whatever is left out, something that resembles it directly stays, however long a chain is.

    Args:
        count: rows.
        first, second: links, first < second; int64, shape (links,).
    """
    sets = UnionFind(count)
    sets.join(first, second)
    roots = sets.roots()
    members = np.bincount(roots, minlength=count)
    starts = np.flatnonzero(members > 1)
    names = np.full(count, NONE, np.int64)
    names[starts] = np.arange(len(starts))
    return Clusters(names[roots], keep(count, first, second))


def keep(count: int, first: IntArray, second: IntArray) -> IntArray:
    """Row that is kept in place of each row; see `cluster`."""
    kept = np.arange(count)
    order = np.lexsort((first, second))
    for earlier, row in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if kept[row] == row and kept[earlier] == earlier:
            kept[row] = earlier
    return kept


def star_links(groups: npt.NDArray[np.int64]) -> tuple[IntArray, IntArray]:
    """Links from the first row of each group to its others.

    Args:
        groups: number of each row's group; `NONE` for rows of none. Shape (rows,).
    """
    rows = np.flatnonzero(groups != NONE)
    _, first, inverse = np.unique(groups[rows], return_index=True, return_inverse=True)
    leaders = rows[first][inverse]
    others = leaders != rows
    return leaders[others], rows[others]
