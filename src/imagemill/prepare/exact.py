"""Splits of exact counts: whole groups, class shares kept as near as whole samples allow.

Groups of several samples are dealt first, the largest first, each to the split that it brings nearest to its
share of every class it holds (chi-square, as in iterative stratification). Samples that are groups of their
own then fill up each class to its count, in the order of a hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.prepare.plan import UNASSIGNED, HashArray, SplitArray, mix

CountArray = npt.NDArray[np.int64]


def exact_totals(total: int, shares: Sequence[Fraction], *, even: bool = False) -> list[int]:
    """Samples of each split: int(total·share), the last takes the rest; `even`: parts that differ by one at most."""
    if even:
        return [(total + len(shares) - 1 - number) // len(shares) for number in range(len(shares))]
    counts = [int(total * share) for share in shares[:-1]]
    return [*counts, total - sum(counts)]


def class_counts(sizes: Sequence[int], shares: Sequence[Fraction], *, even: bool = False) -> CountArray:
    """How many samples of each class each split gets, so that its total is exact.

    A class gives a split int(size·share), and one more here and there until the totals of `exact_totals` are
    reached: so a split's share of a class is right to less than one sample, mostly, however small the classes.

    Args:
        sizes: samples of each class.

    Returns:
        int64, shape (classes, splits); rows add up to `sizes`, columns to the totals.
    """
    counts = np.array([[int(size * share) for share in shares] for size in sizes], np.int64).reshape(-1, len(shares))
    spare = [
        wanted - int(have)
        for wanted, have in zip(exact_totals(sum(sizes), shares, even=even), counts.sum(0), strict=True)
    ]
    given, dealt, total = [0] * len(shares), 0, sum(spare)
    for number, size in enumerate(sizes):
        taken: set[int] = set()
        for _ in range(size - int(counts[number].sum())):
            dealt += 1
            open_splits = [split for split in range(len(shares)) if given[split] < spare[split]]
            choice = max(
                open_splits, key=lambda split: (split not in taken, spare[split] * dealt - given[split] * total, -split)
            )
            counts[number, choice] += 1
            given[choice] += 1
            taken.add(choice)
    return counts


def split_exactly(
    groups: HashArray,
    shares: Sequence[Fraction],
    seed: int,
    given: SplitArray,
    classes: npt.NDArray[np.int64] | None = None,
    *,
    even: bool = False,
) -> SplitArray:
    """Splits with exactly int(n·share) samples each, the last one taking the rest.

    Groups are never parted, so where they are larger than one sample the counts are as near as they allow.

    Args:
        groups: uint64, shape (n,).
        given: int16, shape (n,); `UNASSIGNED` where free, else the split that is already settled.
        classes: int64, shape (n,), 0, 1, …: counts hold within each class too.
        even: splits are folds, which differ by one sample at most.

    Returns:
        int16, shape (n,).
    """
    result = given.copy()
    if not len(groups):
        return result
    classes = np.zeros(len(groups), np.int64) if classes is None else classes
    sizes = np.bincount(classes).tolist()
    settled = np.flatnonzero(given != UNASSIGNED)
    have = np.zeros((len(sizes), len(shares)), np.int64)
    np.add.at(have, (classes[settled], given[settled]), 1)
    free = np.flatnonzero(given == UNASSIGNED)
    free = free[np.argsort(groups[free], kind="stable")]
    ordered = groups[free]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(free)])
    counts = np.diff(starts, append=len(free))
    ranks = mix(ordered[starts], seed)
    single = counts == 1
    _deal(result, free, starts[~single], counts[~single], ranks[~single], classes, shares, have)
    wanted = class_counts(sizes, shares, even=even)
    _fill(result, free[starts[single]], ranks[single], classes, wanted - have)
    return result


def _deal(
    result: SplitArray,
    free: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    ranks: HashArray,
    classes: npt.NDArray[np.int64],
    shares: Sequence[Fraction],
    have: CountArray,
) -> None:
    """Gives each group of several samples the split that wants it most; changes `result` and `have`."""
    totals = np.bincount(classes).tolist()
    filled = have.tolist()
    parts = [float(share) for share in shares]
    for place in np.lexsort((ranks, -counts)).tolist():
        rows = free[starts[place] : starts[place] + counts[place]]
        found, numbers = np.unique(classes[rows], return_counts=True)
        held = list(zip(found.tolist(), numbers.tolist(), strict=True))
        split = min(
            range(len(parts)),
            key=lambda split: sum(
                count * (2 * filled[label][split] + count) / (parts[split] * totals[label]) for label, count in held
            ),
        )
        for label, count in held:
            filled[label][split] += count
        result[rows] = split
    have[:] = filled


def _fill(
    result: SplitArray, rows: npt.NDArray[np.int64], ranks: HashArray, classes: npt.NDArray[np.int64], room: CountArray
) -> None:
    """Gives single samples, in the order of their ranks, to the splits that have room in their class; the last takes
    the rest; changes `result`.
    """
    order = np.lexsort((ranks, classes[rows]))
    rows = rows[order]
    labels = classes[rows]
    for begin, end in _runs(labels):
        edges = np.cumsum(np.maximum(room[labels[begin], :-1], 0))
        result[rows[begin:end]] = np.searchsorted(edges, np.arange(end - begin), side="right")


def _runs(values: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Where each run of equal values begins and ends."""
    cuts = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(values)], strict=True)) if len(values) else []
