"""Units of splitting: groups, joined where near-duplicates link them; a unit goes to one split as a whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.prepare.plan import UNASSIGNED, HashArray, SplitArray

NO_CLUSTER = -1
"""Cluster number of a sample that resembles no other."""

ClusterArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Settled(NamedTuple):
    """What samples with a split mean for those without.

    Args:
        splits: int16, shape (n,): as given, and for free samples the split of their unit, where it is in one only.
        straddling: bool, shape (n,): all samples of units that are in several splits.
    """

    splits: SplitArray
    straddling: Mask


def unite(groups: HashArray, clusters: ClusterArray) -> HashArray:
    """The unit of every sample: groups that share a cluster are one.

    Args:
        groups: uint64, shape (n,).
        clusters: int64, shape (n,); equal numbers belong together, `NO_CLUSTER` to nothing.

    Returns:
        uint64, shape (n,): the smallest group of the unit, so a group without clusters is its own unit.
    """
    rows = np.flatnonzero(clusters != NO_CLUSTER)
    rows = rows[np.argsort(clusters[rows], kind="stable")]
    numbers, members = clusters[rows].tolist(), groups[rows].tolist()
    parents: dict[int, int] = {}
    for place in range(1, len(members)):
        if numbers[place] == numbers[place - 1]:
            _join(parents, members[place - 1], members[place])
    if not parents:
        return groups
    known = np.sort(np.fromiter(parents, np.uint64, len(parents)))
    roots = np.fromiter((_root(parents, group) for group in known.tolist()), np.uint64, len(known))
    return np.where(_found(known, groups), roots[_places(known, groups)], groups)


def _root(parents: dict[int, int], group: int) -> int:
    while (parent := parents.setdefault(group, group)) != group:
        parents[group] = parents[parent]
        group = parents[group]
    return group


def _join(parents: dict[int, int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def settle(units: HashArray, splits: SplitArray) -> Settled:
    """Lets free samples follow their unit, and finds the units that are in several splits.

    Args:
        units: uint64, shape (n,).
        splits: int16, shape (n,); `UNASSIGNED` where free.
    """
    placed = np.flatnonzero(splits != UNASSIGNED)
    known, lowest, highest = extremes(units[placed], splits[placed])
    if not len(known):
        return Settled(splits, np.zeros(len(splits), np.bool_))
    found, places = _found(known, units), _places(known, units)
    straddling = found & (lowest != highest)[places]
    follows = found & ~straddling & (splits == UNASSIGNED)
    return Settled(np.where(follows, lowest[places], splits).astype(np.int16), straddling)


def look_up(hashes: HashArray, known_hashes: HashArray, known_splits: SplitArray) -> SplitArray:
    """The split that each hash has among known ones, `UNASSIGNED` for those unknown; of several, the first by number.

    Args:
        hashes: uint64, shape (n,).
        known_hashes: uint64, shape (m,).
        known_splits: int16, shape (m,).

    Returns:
        int16, shape (n,).
    """
    known, lowest, _ = extremes(known_hashes, known_splits)
    if not len(known):
        return np.full(len(hashes), UNASSIGNED, np.int16)
    return np.where(_found(known, hashes), lowest[_places(known, hashes)], UNASSIGNED).astype(np.int16)


def extremes(hashes: HashArray, splits: SplitArray) -> tuple[HashArray, SplitArray, SplitArray]:
    """Every different hash, ascending, with the lowest and the highest split it has."""
    order = np.argsort(hashes, kind="stable")
    ordered, numbers = hashes[order], splits[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    if not len(starts):
        return ordered, numbers, numbers
    return ordered[starts], np.minimum.reduceat(numbers, starts), np.maximum.reduceat(numbers, starts)


def members(units: HashArray) -> list[npt.NDArray[np.int64]]:
    """Positions of each unit's samples, units ascending, positions too."""
    order = np.argsort(units, kind="stable")
    cuts = np.flatnonzero(np.diff(units[order]) != 0) + 1
    return np.split(order, cuts) if len(order) else []


def _places(known: HashArray, hashes: HashArray) -> npt.NDArray[np.int64]:
    return np.minimum(np.searchsorted(known, hashes), len(known) - 1)


def _found(known: HashArray, hashes: HashArray) -> Mask:
    return np.asarray(known[_places(known, hashes)] == hashes)
