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
    make_plan,
    split_by_hash,
)

EIGHTY_TWELVE_EIGHT = [Fraction(80, 100), Fraction(12, 100), Fraction(8, 100)]


def hashes(count: int, prefix: str = "k") -> np.ndarray:
    return hash_strings(pa.chunked_array([[f"{prefix}{number}" for number in range(count)]]))


def test_hash_splits_hold_their_shares_in_expectation() -> None:
    splits = split_by_hash(hashes(20_000), EIGHTY_TWELVE_EIGHT, seed=0)
    shares = np.bincount(splits, minlength=3) / 20_000
    assert np.abs(shares - [0.80, 0.12, 0.08]).max() < 0.01


def test_a_hash_split_depends_on_the_group_alone() -> None:
    few, many = hashes(100), hashes(5_000)
    assert (split_by_hash(few, EIGHTY_TWELVE_EIGHT, 3) == split_by_hash(many, EIGHTY_TWELVE_EIGHT, 3)[:100]).all()
    assert (split_by_hash(many, EIGHTY_TWELVE_EIGHT, 3) != split_by_hash(many, EIGHTY_TWELVE_EIGHT, 4)).any()


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


def plan(splits: np.ndarray, shuffle_seed: int | None = None, units: np.ndarray | None = None):
    count = len(splits)
    return make_plan(
        ("train", "val"),
        splits,
        hashes(count),
        np.ones(count, np.int64),
        shard_samples=4,
        shard_bytes=None,
        shuffle_seed=shuffle_seed,
        units=units,
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
    with pytest.raises(ConfigError, match=r"split 'val' would be empty \(train 3, val 0\): give it a larger share"):
        plan(np.zeros(3, np.int16))
    with pytest.raises(ConfigError, match=r"\(train 1, val 0\): each split needs a sample: ask for fewer splits$"):
        plan(np.zeros(1, np.int16))
    of_one_group = r"form 1 group, never parted\): each split needs a group: ask for fewer splits or finer groups"
    with pytest.raises(ConfigError, match=of_one_group):
        plan(np.zeros(3, np.int16), units=np.zeros(3, np.uint64))
