"""Splits and shards: pure functions, so plain assertions."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.errors import ConfigError
from imagemill.prepare.plan import (
    UNASSIGNED,
    cut_shards,
    hash_strings,
    keep_previous,
    make_plan,
    split_by_hash,
    split_exactly,
)

EIGHTY_TWELVE_EIGHT = [Fraction(80, 100), Fraction(12, 100), Fraction(8, 100)]


def hashes(count: int, prefix: str = "k") -> np.ndarray:
    return hash_strings(pa.chunked_array([[f"{prefix}{number}" for number in range(count)]]))


def free(count: int) -> np.ndarray:
    return np.full(count, UNASSIGNED, np.int16)


def test_hash_splits_hold_their_shares_in_expectation() -> None:
    splits = split_by_hash(hashes(20_000), EIGHTY_TWELVE_EIGHT, seed=0)
    shares = np.bincount(splits, minlength=3) / 20_000
    assert np.abs(shares - [0.80, 0.12, 0.08]).max() < 0.01


def test_a_hash_split_depends_on_the_group_alone() -> None:
    few, many = hashes(100), hashes(5_000)
    assert (split_by_hash(few, EIGHTY_TWELVE_EIGHT, 3) == split_by_hash(many, EIGHTY_TWELVE_EIGHT, 3)[:100]).all()
    assert (split_by_hash(many, EIGHTY_TWELVE_EIGHT, 3) != split_by_hash(many, EIGHTY_TWELVE_EIGHT, 4)).any()


@given(st.integers(3, 600), st.integers(0, 5))
def test_exact_counts_are_those_of_the_original(count: int, seed: int) -> None:
    splits = split_exactly(hashes(count), EIGHTY_TWELVE_EIGHT, seed, free(count))
    train, val = int(count * Fraction(80, 100)), int(count * Fraction(12, 100))
    assert np.bincount(splits, minlength=3).tolist() == [train, val, count - train - val]


def test_exact_counts_of_the_before_after_pairs() -> None:
    splits = split_exactly(hashes(515), EIGHTY_TWELVE_EIGHT, 0, free(515))
    assert np.bincount(splits).tolist() == [412, 61, 42]


def test_exact_counts_never_part_a_group() -> None:
    groups = np.repeat(hashes(40), 7)
    splits = split_exactly(groups, EIGHTY_TWELVE_EIGHT, 0, free(280))
    assert all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))
    assert abs(np.bincount(splits)[0] - 224) < 7


def test_stratified_counts_hold_within_every_class() -> None:
    classes = np.arange(300) % 3
    splits = split_exactly(hashes(300), EIGHTY_TWELVE_EIGHT, 0, free(300), classes)
    for label in range(3):
        assert np.bincount(splits[classes == label]).tolist() == [80, 12, 8]


def test_earlier_splits_are_kept() -> None:
    old = split_exactly(hashes(100), EIGHTY_TWELVE_EIGHT, 0, free(100))
    settled = keep_previous(hashes(130), hashes(100), old)
    assert (settled[:100] == old).all()
    assert (settled[100:] == UNASSIGNED).all()
    grown = split_exactly(hashes(130), EIGHTY_TWELVE_EIGHT, 0, settled)
    assert (grown[:100] == old).all()
    assert np.bincount(grown).tolist() == [104, 15, 11]


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(1, 200))
def test_shards_by_bytes_cover_everything_and_keep_the_limit(sizes: list[int], limit: int) -> None:
    bounds = cut_shards(np.array(sizes, np.int64), shard_samples=1, shard_bytes=limit)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    for start, end in pairwise(bounds.tolist()):
        assert sum(sizes[start:end]) <= limit or end - start == 1


@pytest.mark.parametrize(
    ("count", "per_shard", "expected"), [(11, 4, [0, 4, 8, 11]), (8, 4, [0, 4, 8]), (1, 4, [0, 1])]
)
def test_shards_by_count(count: int, per_shard: int, expected: list[int]) -> None:
    assert cut_shards(np.ones(count, np.int64), shard_samples=per_shard).tolist() == expected


def plan(splits: np.ndarray, shuffle_seed: int | None = None):
    count = len(splits)
    return make_plan(
        ("train", "val"),
        splits,
        hashes(count),
        np.ones(count, np.int64),
        shard_samples=4,
        shard_bytes=None,
        shuffle_seed=shuffle_seed,
    )


def test_a_plan_holds_every_row_once() -> None:
    splits = np.array([0, 1, 0, 0, 1, 0, 0, 0, UNASSIGNED], np.int16)
    made = plan(splits)
    assert sorted(made.order.tolist()) == list(range(8))
    assert made.rows("train", 0).tolist() == [0, 2, 3, 5]
    assert made.rows("train", 1).tolist() == [6, 7]
    assert made.shard_name("train", 1) == "train-00001-of-00002"
    assert made.count("val") == 2


def test_a_shuffled_plan_is_another_order_of_the_same_rows() -> None:
    splits = np.zeros(50, np.int16)
    splits[:5] = 1
    straight, shuffled = plan(splits), plan(splits, shuffle_seed=1)
    assert straight.order.tolist() != shuffled.order.tolist()
    assert sorted(straight.order) == sorted(shuffled.order)
    assert plan(splits, shuffle_seed=1).order.tolist() == shuffled.order.tolist()


def test_an_empty_split_that_was_asked_for_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"split 'val' would be empty \(train 3, val 0\)"):
        plan(np.zeros(3, np.int16))
