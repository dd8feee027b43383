"""From pairs of equal pictures to clusters, and to the ones that are kept in place of the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagemill.curate.near import IntArray

NONE = -1


class Links:
    """Pictures 0 … count - 1, linked pair by pair.

    Linked pictures are in one cluster, directly or over others. A picture is kept if no kept one before it is
    linked to it directly; else the first such one is kept in its place. So whatever is left out, something that
    resembles it directly stays, however long a chain is (frames of a clip).
    """

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)
        self.kept = np.arange(count)

    def add(self, first: IntArray, second: IntArray) -> None:
        """Links pairs, first < second; over all calls, pairs must come by ascending `first`."""
        kept = self.kept
        for earlier, later in zip(first.tolist(), second.tolist(), strict=True):
            self._join(earlier, later)
            if kept[later] == later and kept[earlier] == earlier:
                kept[later] = earlier

    def wanted(self, first: IntArray, second: IntArray) -> npt.NDArray[np.bool_]:
        """Which pairs would still change something if they were linked."""
        both_kept = (self.kept[first] == first) & (self.kept[second] == second)
        return np.asarray(both_kept | (self._roots(first) != self._roots(second)))

    def roots(self) -> IntArray:
        """A number for each picture's cluster, shape (count,): the smallest of its pictures."""
        return self._roots(np.arange(len(self._parents)))

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self._parents[high] = low

    def _root(self, picture: int) -> int:
        parents = self._parents
        while (parent := int(parents[picture])) != picture:
            parents[picture] = parents[parent]
            picture = parent
        return picture

    def _roots(self, pictures: IntArray) -> IntArray:
        while not np.array_equal(above := self._parents[pictures], pictures):
            pictures = above
        return pictures


def numbered(roots: IntArray) -> IntArray:
    """Clusters numbered from 0 in order of their smallest member.

    Args:
        roots: smallest member of each row's cluster, shape (rows,).

    Returns:
        Number of each row's cluster, `NONE` for rows that are alone; int64, shape (rows,).
    """
    starts = np.flatnonzero(np.bincount(roots, minlength=len(roots)) > 1)
    names = np.full(len(roots), NONE, np.int64)
    names[starts] = np.arange(len(starts))
    return names[roots]
