"""Units, leaks and how they are mended: for any groups, clusters and splits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unit.prepare.split_inputs import hashes

from imagemill.prepare.leaks import Leak, find_leaks, mend, protection
from imagemill.prepare.plan import UNASSIGNED
from imagemill.prepare.units import NO_CLUSTER, settle, unite

PILES = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 15), min_size=count, max_size=count),
        st.lists(st.integers(NO_CLUSTER, 8), min_size=count, max_size=count),
        st.lists(st.integers(UNASSIGNED, 2), min_size=count, max_size=count),
    )
)
NAMES = ("train", "val", "test")


def components(groups: list[int], clusters: list[int]) -> list[frozenset[int]]:
    """The component of every row, by the slow and plain way: spread until nothing changes."""
    found = [{row} for row in range(len(groups))]
    changed = True
    while changed:
        changed = False
        for one in range(len(groups)):
            for other in range(len(groups)):
                linked = groups[one] == groups[other] or clusters[one] == clusters[other] != NO_CLUSTER
                if linked and not found[one] >= found[other]:
                    found[one] |= found[other]
                    changed = True
    return [frozenset(rows) for rows in found]


@given(PILES)
def test_units_are_what_groups_and_clusters_link(pile: tuple[list[int], list[int], list[int]]) -> None:
    groups, clusters, _ = pile
    units = unite(hashes(16)[groups], np.array(clusters, np.int64))
    expected = components(groups, clusters)
    for one in range(len(groups)):
        for other in range(len(groups)):
            assert (units[one] == units[other]) == (expected[one] == expected[other])


def test_units_without_clusters_are_the_groups_themselves() -> None:
    groups = hashes(5)
    assert unite(groups, np.full(5, NO_CLUSTER)) is groups


@given(PILES)
def test_free_samples_follow_their_unit(pile: tuple[list[int], list[int], list[int]]) -> None:
    units, splits = hashes(16)[pile[0]], np.array(pile[2], np.int16)
    result = settle(units, splits)
    for unit in np.unique(units):
        rows = units == unit
        placed = set(splits[rows].tolist()) - {UNASSIGNED}
        assert result.straddling[rows].tolist() == [len(placed) > 1] * np.count_nonzero(rows)
        if len(placed) == 1:
            assert set(result.splits[rows].tolist()) == placed
        else:
            assert (result.splits[rows] == splits[rows]).all()


@given(PILES)
def test_mending_leaves_no_leak_and_moves_nothing_else(pile: tuple[list[int], list[int], list[int]]) -> None:
    units, splits = hashes(16)[pile[0]], np.array(pile[2], np.int16)
    straddling = settle(units, splits).straddling
    mended = mend(units, splits, NAMES)
    assert not settle(units, mended).straddling.any()
    assert (mended[~straddling] == splits[~straddling]).all()
    assert not len(find_leaks(units, mended, NAMES, str))
    held = (splits == NAMES.index("test")) & (mended != NAMES.index("test"))
    assert not held.any(), "nothing that is tested on goes to training"


@given(PILES)
def test_leaks_count_every_straddling_sample_once(pile: tuple[list[int], list[int], list[int]]) -> None:
    units, splits = hashes(16)[pile[0]], np.array(pile[2], np.int16)
    straddling = settle(units, splits).straddling & (splits != UNASSIGNED)
    leaks = find_leaks(units, splits, NAMES, str)
    assert sum(leak.samples for leak in leaks) == np.count_nonzero(straddling)
    assert sum(leak.units for leak in leaks) == len(np.unique(units[straddling]))
    assert all(len(leak.splits) >= 2 for leak in leaks)


def test_a_leak_names_its_splits_and_a_sample_of_each() -> None:
    units = hashes(3)[[0, 0, 0, 0, 0, 1, 2, 2]]
    splits = np.array([0, 0, 0, 0, 2, 1, 1, 1], np.int16)
    leaks = find_leaks(units, splits, NAMES, "abcdefgh".__getitem__)
    assert leaks == (Leak(("train", "test"), 1, 5, ("a", "e", "b", "c")),)
    assert str(leaks[0]) == "train + test: 1 group of 5 samples, as a, e, b, c"


def test_test_is_protected_most_and_train_least() -> None:
    names = ("train", "holdout", "val", "extra", "test")
    ranks = protection(names)
    assert [names[place] for place in np.argsort(-ranks)] == ["test", "val", "holdout", "extra", "train"]
