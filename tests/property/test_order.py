"""The order of an epoch: a permutation, the same for any world size, and well mixed."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.errors import ConfigError
from imagemill.load.order import Last, permute, step_positions, steps_per_epoch

seeds = st.integers(0, 2**64 - 1)
lasts = st.sampled_from(["keep", "drop", "wrap"])


def epoch_order(total: int, *, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return permute(np.arange(total), total, seed=seed, epoch=epoch)


def rank_order(total: int, world_size: int, global_batch: int, last: Last, **key: int) -> np.ndarray:
    """Ids of all ranks and steps, joined in step and rank order."""
    parts = [
        step_positions(total, step=step, global_batch=global_batch, rank=rank, world_size=world_size, last=last, **key)
        for step in range(steps_per_epoch(total, global_batch, last))
        for rank in range(world_size)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 10, 97, 1000, 65_536, 1_000_000])
def test_every_id_comes_once(total: int) -> None:
    assert np.array_equal(np.sort(epoch_order(total, seed=7, epoch=3)), np.arange(total))


@given(total=st.integers(1, 3000), seed=seeds, epoch=seeds)
@settings(deadline=None)
def test_every_id_comes_once_for_any_key(total: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(epoch_order(total, seed=seed, epoch=epoch)), np.arange(total))


@given(
    total=st.integers(0, 100),
    world_size=st.integers(1, 8),
    per_rank=st.integers(1, 9),
    seed=seeds,
    epoch=st.integers(0, 9),
    last=lasts,
)
@settings(deadline=None)
def test_the_ranks_together_take_the_global_order(
    total: int, world_size: int, per_rank: int, seed: int, epoch: int, last: Last
) -> None:
    global_batch = world_size * per_rank
    taken = rank_order(total, world_size, global_batch, last, seed=seed, epoch=epoch)
    alone = rank_order(total, 1, global_batch, last, seed=seed, epoch=epoch)
    whole = epoch_order(total, seed=seed, epoch=epoch)
    assert np.array_equal(taken, alone)
    if last == "keep":
        assert np.array_equal(taken, whole)
    elif last == "drop":
        assert np.array_equal(taken, whole[: total // global_batch * global_batch])
    else:
        assert np.array_equal(taken, np.resize(whole, -(-total // global_batch) * global_batch))


@given(total=st.integers(1, 80), world_size=st.integers(1, 5), per_rank=st.integers(1, 9))
@settings(deadline=None)
def test_shapes(total: int, world_size: int, per_rank: int) -> None:
    global_batch = world_size * per_rank
    steps = steps_per_epoch(total, global_batch)
    for step in range(steps):
        sizes = [
            len(
                step_positions(
                    total, seed=0, epoch=0, step=step, global_batch=global_batch, rank=rank, world_size=world_size
                )
            )
            for rank in range(world_size)
        ]
        assert max(sizes) - min(sizes) <= 1
        if step < steps - 1:
            assert sizes == [per_rank] * world_size


def test_a_permutation_past_what_memory_holds() -> None:
    total = 10**12
    tracemalloc.start()
    ids = step_positions(total, seed=1, epoch=0, step=10**9, global_batch=512, rank=1, world_size=2)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids.shape == (256,)
    assert len(np.unique(ids)) == 256
    assert ids.min() >= 0
    assert ids.max() < total
    assert peak_bytes < 100_000


def test_order_is_frozen() -> None:
    """A resumed run of another version must go on in the same order."""
    assert epoch_order(10, seed=0, epoch=0).tolist() == [0, 6, 4, 5, 7, 9, 1, 8, 3, 2]
    places = np.array([0, 1, 2, 1_281_166])
    assert permute(places, 1_281_167, seed=42, epoch=7).tolist() == [715248, 1141542, 501558, 902153]


def test_seeds_and_epochs_differ() -> None:
    orders = [epoch_order(1000, seed=seed, epoch=epoch) for seed in range(6) for epoch in range(6)]
    for one, other in itertools.combinations(orders, 2):
        # Two independent permutations agree in one place on average; Poisson(1) exceeds 12 once in 10**10.
        assert (one == other).sum() <= 12


@pytest.mark.parametrize("total", [3, 5])
def test_every_order_of_a_few_samples_comes_up_equally_often(total: int) -> None:
    runs = 3600
    seen = Counter(tuple(epoch_order(total, seed=run % 60, epoch=run // 60).tolist()) for run in range(runs))
    orders = math.factorial(total)
    expected = runs / orders
    chi_square = sum((seen[order] - expected) ** 2 / expected for order in itertools.permutations(range(total)))
    assert (chi_square - (orders - 1)) / math.sqrt(2 * (orders - 1)) < 5


@pytest.mark.parametrize("total", [21])
def test_every_sample_comes_at_every_place_equally_often(total: int) -> None:
    runs = 1000
    seen = np.zeros((total, total))
    for epoch in range(runs):
        seen[np.arange(total), epoch_order(total, epoch=epoch)] += 1
    expected = runs / total
    freedom = (total - 1) ** 2
    chi_square = ((seen - expected) ** 2 / expected).sum()
    assert abs(chi_square - freedom) / math.sqrt(2 * freedom) < 5


@pytest.mark.parametrize("total", [997, 50_000])
def test_neighbours_are_not_related(total: int) -> None:
    orders = [epoch_order(total, seed=11, epoch=epoch) for epoch in range(20)]
    for order in orders:
        correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
        displacement = np.abs(order - np.arange(total)).mean() / total
        assert abs(correlation) < 5 / math.sqrt(total)
        # |x - y| of two uniform numbers has mean 1/3 and standard deviation 0.236.
        assert abs(displacement - 1 / 3) < 5 * 0.236 / math.sqrt(total)
    steps = np.concatenate([np.diff(order) for order in orders]) % total
    assert Counter(steps.tolist()).most_common(1)[0][1] < 20 + 10 * len(steps) / total


def test_without_shuffle_ids_ascend_in_every_epoch() -> None:
    for epoch in (0, 5):
        ids = step_positions(
            10, seed=3, epoch=epoch, step=1, global_batch=4, rank=0, world_size=2, shuffle=False, last="drop"
        )
        assert ids.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"global_batch": 7}, "multiple: 6 or 8"),
        ({"global_batch": 0}, "cannot be shared"),
        ({"rank": 2}, r"rank 2 is not in \[0, 2\)"),
        ({"rank": -1}, "rank -1"),
        ({"world_size": 0}, "world_size"),
        ({"step": 3}, r"step 3 is not in \[0, 3\)"),
        ({"step": -1}, "step -1"),
        ({"seed": -1}, "seed -1"),
        ({"epoch": 2**64}, "epoch"),
        ({"total": -5}, "total -5"),
        ({"last": "pad"}, "keep, drop, wrap"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, int], words: str) -> None:
    arguments = {"total": 20, "seed": 0, "epoch": 0, "step": 0, "global_batch": 8, "rank": 0, "world_size": 2}
    with pytest.raises(ConfigError, match=words):
        step_positions(**{**arguments, **change})


def test_places_outside_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[0, 10\)"):
        permute(np.array([3, 10]), 10, seed=0, epoch=0)
