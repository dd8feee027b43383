"""Clusters of a checked pile: samples that show the same picture, and those of them that straddle splits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.table import SIMILARITIES
from imagemill.reports.counted import codes_of, split_order
from imagemill.reports.facts import Cluster, Duplicates, Leakage, Member

SHOWN_CLUSTERS = 12
SHOWN_MEMBERS = 6

IntArray = npt.NDArray[np.int64]


def clustered(table: pa.Table) -> pa.Table:
    """The rows that belong to a cluster, ordered by cluster and key: all that the functions below look at."""
    members = table.select(["key", "split", "label", "cluster", "similarity"]).filter(pc.is_valid(table["cluster"]))
    return members.take(pc.sort_indices(members, sort_keys=[("cluster", "ascending"), ("key", "ascending")]))


def duplicates_of(members: pa.Table) -> Duplicates:
    """All clusters: those whose samples have different classes first, then the largest."""
    numbers, starts, sizes = _bounds(members)
    labels, _ = codes_of(members["label"])
    mixed = _distinct(labels, starts, sizes) > 1
    order = np.lexsort((numbers, -sizes, ~mixed))[:SHOWN_CLUSTERS]
    counted = {entry["values"]: entry["counts"] for entry in pc.value_counts(members["similarity"]).to_pylist()}
    return Duplicates(
        clusters=len(numbers),
        samples=members.num_rows,
        spare=members.num_rows - members["similarity"].null_count,
        similarities=tuple((name, counted.get(name, 0)) for name in SIMILARITIES if counted.get(name)),
        mixed=int(mixed.sum()),
        shown=tuple(_cluster(members, int(starts[place]), int(sizes[place])) for place in order),
    )


def leakage_of(members: pa.Table) -> Leakage:
    """Clusters with samples in more than one split."""
    _, starts, sizes = _bounds(members)
    splits, names = codes_of(members["split"])
    torn = np.flatnonzero(_distinct(splits, starts, sizes) > 1)
    ordered = sorted(range(len(names)), key=lambda code: split_order(names[code]))
    pairs = {pair: [0, 0] for pair in combinations(ordered, 2)}
    for place in torn.tolist():
        inside = splits[starts[place] : starts[place] + sizes[place]]
        counts = np.bincount(inside[inside >= 0], minlength=len(names))
        for (one, other), tally in pairs.items():
            if counts[one] and counts[other]:
                tally[0] += 1
                tally[1] += int(counts[other])
    order = torn[np.lexsort((torn, -sizes[torn]))][:SHOWN_CLUSTERS]
    return Leakage(
        clusters=len(torn),
        pairs=tuple((names[a], names[b], tally[0], tally[1]) for (a, b), tally in pairs.items() if tally[0]),
        shown=tuple(_cluster(members, int(starts[place]), int(sizes[place]), spread=True) for place in order),
    )


def _bounds(members: pa.Table) -> tuple[IntArray, IntArray, IntArray]:
    """(number, first row, rows) of every cluster."""
    clusters = members["cluster"].to_numpy().astype(np.int64)
    numbers, starts, sizes = np.unique(clusters, return_index=True, return_counts=True)
    return numbers, starts.astype(np.int64), sizes.astype(np.int64)


def _distinct(codes: IntArray, starts: IntArray, sizes: IntArray) -> IntArray:
    """How many different codes each run of rows has; -1 is none."""
    if not len(codes):
        return np.zeros(len(starts), np.int64)
    run = np.repeat(np.arange(len(starts)), sizes)
    known = codes >= 0
    pairs = np.unique(run[known] * (int(codes.max()) + 1) + codes[known])
    return np.bincount(pairs // (int(codes.max()) + 1), minlength=len(starts)).astype(np.int64)


def _cluster(members: pa.Table, start: int, size: int, *, spread: bool = False) -> Cluster:
    """A cluster with its first members; `spread` takes some of every split."""
    rows = members.slice(start, size)
    splits, names = codes_of(rows["split"])
    labels = [name for name in pc.unique(rows["label"]).to_pylist() if name is not None]
    places = np.arange(size)
    if spread and size > SHOWN_MEMBERS:
        # The first of every split, then the second of every split, and so on.
        turn = np.zeros(size, np.int64)
        for code in np.unique(splits):
            turn[splits == code] = np.arange((splits == code).sum())
        places = np.sort(np.lexsort((places, turn))[:SHOWN_MEMBERS])
    shown = rows.take(places[:SHOWN_MEMBERS]).to_pylist()
    return Cluster(
        number=rows["cluster"][0].as_py(),
        size=size,
        members=tuple(Member(row["key"], row["split"], row["label"], row["similarity"]) for row in shown),
        splits=tuple(sorted(names, key=split_order)),
        labels=tuple(sorted(labels)[:SHOWN_MEMBERS]),
    )
