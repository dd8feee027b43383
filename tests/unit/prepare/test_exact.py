"""Exact counts: of shares, of folds, of classes, of groups that are never parted."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unit.prepare.split_inputs import free, hashes

from imagemill.prepare.exact import class_counts, exact_totals, split_exactly
from imagemill.prepare.units import look_up

EIGHTY_TWELVE_EIGHT = [Fraction(80, 100), Fraction(12, 100), Fraction(8, 100)]
SHARES = st.lists(st.integers(1, 100), min_size=1, max_size=5).map(
    lambda parts: [Fraction(part, sum(parts)) for part in parts]
)


@given(st.integers(3, 600), st.integers(0, 5))
def test_exact_counts_are_those_of_the_original(count: int, seed: int) -> None:
    splits = split_exactly(hashes(count), EIGHTY_TWELVE_EIGHT, seed, free(count))
    train, val = int(count * Fraction(80, 100)), int(count * Fraction(12, 100))
    assert np.bincount(splits, minlength=3).tolist() == [train, val, count - train - val]


def test_exact_counts_of_the_before_after_pairs() -> None:
    splits = split_exactly(hashes(515), EIGHTY_TWELVE_EIGHT, 0, free(515))
    assert np.bincount(splits).tolist() == [412, 61, 42]


@given(st.integers(2, 12), st.integers(2, 300))
def test_folds_differ_by_one_sample_at_most(folds: int, count: int) -> None:
    splits = split_exactly(hashes(count), [Fraction(1, folds)] * folds, 0, free(count), even=True)
    sizes = np.bincount(splits, minlength=folds)
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), SHARES, st.booleans())
def test_class_counts_add_up_to_classes_and_to_the_totals(sizes: list[int], shares: list[Fraction], even: bool) -> None:
    if even:
        shares = [Fraction(1, len(shares))] * len(shares)
    counts = class_counts(sizes, shares, even=even)
    assert counts.min() >= 0
    assert counts.sum(1).tolist() == sizes
    assert counts.sum(0).tolist() == exact_totals(sum(sizes), shares, even=even)
    for size, row in zip(sizes, counts.tolist(), strict=True):
        assert all(count >= int(size * share) for count, share in zip(row, shares, strict=True))


def test_classes_of_one_image_each_are_dealt_over_all_splits() -> None:
    classes = np.arange(250)
    splits = split_exactly(hashes(250), EIGHTY_TWELVE_EIGHT, 0, free(250), classes)
    assert np.bincount(splits).tolist() == [200, 30, 20]
    assert len(set(splits[:125].tolist())) == 3, "not the first classes to train, the last to test"


def test_stratified_counts_hold_within_every_class() -> None:
    classes = np.arange(300) % 3
    splits = split_exactly(hashes(300), EIGHTY_TWELVE_EIGHT, 0, free(300), classes)
    for label in range(3):
        assert np.bincount(splits[classes == label]).tolist() == [80, 12, 8]


def test_stratified_folds_hold_every_class_to_one_sample() -> None:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 7, 500)
    splits = split_exactly(hashes(500), [Fraction(1, 5)] * 5, 0, free(500), classes, even=True)
    assert np.bincount(splits).tolist() == [100] * 5
    for label in range(7):
        sizes = np.bincount(splits[classes == label], minlength=5)
        assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(1, 9), min_size=3, max_size=80), SHARES, st.integers(0, 3))
def test_groups_are_never_parted_and_counts_are_as_near_as_groups_allow(
    sizes: list[int], shares: list[Fraction], seed: int
) -> None:
    groups = np.repeat(hashes(len(sizes)), sizes)
    splits = split_exactly(groups, shares, seed, free(len(groups)))
    assert all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))
    found = np.bincount(splits, minlength=len(shares))
    wanted = np.array(exact_totals(len(groups), shares))
    assert np.abs(found - wanted).max() <= max(sizes) + len(shares)


def test_groups_of_mixed_classes_come_near_every_class_share() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(hashes(200), 10)
    classes = np.where(rng.random(2000) < np.repeat(rng.random(200), 10), 1, 0)
    splits = split_exactly(groups, EIGHTY_TWELVE_EIGHT, 0, free(2000), classes)
    assert all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))
    for label in (0, 1):
        shares = np.bincount(splits[classes == label], minlength=3) / np.count_nonzero(classes == label)
        assert np.abs(shares - [0.80, 0.12, 0.08]).max() < 0.02


def test_earlier_splits_are_kept_and_the_new_make_the_counts_up() -> None:
    old = split_exactly(hashes(100), EIGHTY_TWELVE_EIGHT, 0, free(100))
    settled = look_up(hashes(130), hashes(100), old)
    assert (settled[:100] == old).all()
    grown = split_exactly(hashes(130), EIGHTY_TWELVE_EIGHT, 0, settled)
    assert (grown[:100] == old).all()
    assert np.bincount(grown).tolist() == [104, 15, 11]


def test_another_seed_gives_other_samples_of_the_same_counts() -> None:
    one, other = (split_exactly(hashes(100), EIGHTY_TWELVE_EIGHT, seed, free(100)) for seed in (0, 1))
    assert np.bincount(one).tolist() == np.bincount(other).tolist()
    assert (one != other).any()


def test_nothing_to_split_is_no_error() -> None:
    assert not len(split_exactly(hashes(0), EIGHTY_TWELVE_EIGHT, 0, free(0)))
