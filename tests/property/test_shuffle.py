"""Window and weighted orders: pure, lazy, the same for any world size."""

from __future__ import annotations

import tracemalloc
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.errors import ConfigError
from imagemill.load.order import permute
from imagemill.load.sampler import Sampler
from imagemill.load.shuffle import balancing_weights, cumulate, weighted_order, window_order

seeds = st.integers(0, 2**64 - 1)
counts_lists = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)


class Sized:
    """A dataset that knows its shards and labels."""

    def __init__(self, counts: list[int], targets: list[int] | None = None) -> None:
        self.shard_counts = tuple(counts)
        self.targets = targets
        self.fingerprint = 17

    def __len__(self) -> int:
        return sum(self.shard_counts)


def windowed(counts: list[int], window: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return window_order(np.arange(sum(counts)), counts, window=window, seed=seed, epoch=epoch)


@given(counts=counts_lists, window=st.integers(1, 90), seed=seeds, epoch=seeds)
@settings(deadline=None)
def test_a_window_order_is_a_permutation(counts: list[int], window: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(windowed(counts, window, seed, epoch)), np.arange(sum(counts)))


@given(counts=counts_lists, window=st.integers(1, 90), places=st.lists(st.integers(0, 10**6), max_size=9))
@settings(deadline=None)
def test_any_places_of_a_window_order_are_those_of_the_whole(counts: list[int], window: int, places: list[int]) -> None:
    asked = np.array(places, np.int64) % sum(counts)
    assert np.array_equal(
        window_order(asked, counts, window=window, seed=3, epoch=1), windowed(counts, window, 3, 1)[asked]
    )


def test_a_window_touches_few_shards() -> None:
    counts = [100] * 50
    order = windowed(counts, 300, seed=5)
    for start in range(0, 5000, 300):
        assert len(np.unique(order[start : start + 300] // 100)) <= 3
    firsts = [windowed(counts, 300, seed=5, epoch=epoch)[0] // 100 for epoch in range(30)]
    assert len(set(firsts)) > 10
    inside = np.concatenate([windowed(counts, 300, seed=seed)[:300] % 100 for seed in range(20)])
    # Well mixed inside a window: place and position are not related.
    assert abs(np.corrcoef(np.tile(np.arange(300), 20), inside)[0, 1]) < 5 / np.sqrt(6000)


def test_a_window_of_everything_still_mixes_all() -> None:
    order = windowed([10] * 10, 100)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.5


def test_orders_past_what_memory_holds() -> None:
    counts = [10**9] * 1000
    tracemalloc.start()
    window_order(np.arange(10**11, 10**11 + 256), counts, window=10_000, seed=0, epoch=0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 200_000


@given(weights=st.lists(st.integers(0, 20), min_size=1, max_size=60).filter(any), seed=seeds, epoch=st.integers(0, 9))
@settings(deadline=None)
def test_samples_come_by_their_weights(weights: list[int], seed: int, epoch: int) -> None:
    total = len(weights)
    ids = weighted_order(np.arange(total), cumulate(weights, total), seed=seed, epoch=epoch)
    times = np.bincount(ids, minlength=total)
    shares = np.array(weights) / sum(weights) * total
    assert (np.abs(times - shares) < 2).all()
    assert (times[np.array(weights) == 0] == 0).all()


def test_weights_hold_over_epochs() -> None:
    weights = np.array([0.1, 3.0, 1.0, 0.0, 0.9, 2.0, 1.0])
    cumulative = cumulate(weights, 7)
    epochs = 4000
    times = sum(
        np.bincount(weighted_order(np.arange(7), cumulative, seed=1, epoch=epoch), minlength=7)
        for epoch in range(epochs)
    )
    assert np.abs(times / epochs - weights / weights.sum() * 7).max() < 5 * 0.5 / np.sqrt(epochs)


@given(total=st.integers(1, 500), seed=seeds, epoch=seeds)
@settings(deadline=None)
def test_equal_weights_are_the_full_shuffle(total: int, seed: int, epoch: int) -> None:
    places = np.arange(total)
    taken = weighted_order(places, cumulate([0.7] * total, total), seed=seed, epoch=epoch)
    assert np.array_equal(taken, permute(places, total, seed=seed, epoch=epoch))


def test_balance() -> None:
    targets = [0] * 90 + [1] * 8 + [2] * 2
    sampler = Sampler(Sized([100], targets), 10, balance=True)
    for epoch in range(5):
        sampler.set_epoch(epoch)
        times = np.bincount(np.array(targets)[list(sampler)])
        assert np.abs(times - 100 / 3).max() < 2
    with pytest.raises(ConfigError, match="1 of 3 samples have no label"):
        balancing_weights([0, -1, 2])


options_of = st.sampled_from(
    [
        {},
        {"shuffle": False},
        {"shuffle": "window", "window": 7},
        {"shuffle": "window", "window": 64},
        {"weights": True},
        {"balance": True},
    ]
)


def sampler_of(counts: list[int], options: dict[str, Any], **ranks: Any) -> Sampler:
    total = sum(counts)
    options = {**options, **({"weights": np.arange(total) % 5 + 0.5} if options.get("weights") else {})}
    return Sampler(Sized(counts, [id % 3 for id in range(total)]), seed=11, **options, **ranks)


def ids_of(sampler: Sampler, first: int = 0) -> list[list[int]]:
    return [sampler.ids(step).tolist() for step in range(first, sampler.steps)]


@given(
    counts=counts_lists,
    options=options_of,
    world_size=st.integers(1, 8),
    per_rank=st.integers(1, 5),
    last=st.sampled_from(["keep", "drop", "wrap"]),
    stop=st.integers(0, 400),
    resumed=st.integers(0, 7),
)
@settings(deadline=None, max_examples=80)
def test_stopped_anywhere_the_rest_is_the_same_on_any_world_size(
    counts: list[int], options: dict[str, Any], world_size: int, per_rank: int, last: Any, stop: int, resumed: int
) -> None:
    global_batch = world_size * per_rank
    alone = sampler_of(counts, options, batch_size=global_batch, last=last)
    alone.set_epoch(2)
    whole = ids_of(alone)
    step = stop % (alone.steps + 1)
    state = alone.state_dict(step)
    divisors = [size for size in range(1, 9) if global_batch % size == 0]
    other = divisors[resumed % len(divisors)]
    ranks = [
        sampler_of(counts, options, batch_size=global_batch // other, last=last, rank=rank, world_size=other)
        for rank in range(other)
    ]
    for sampler in ranks:
        sampler.load_state_dict(state)
    if step == alone.steps:
        assert {(sampler.epoch, sampler.start_step) for sampler in ranks} == {(3, 0)}
        return
    rest = [[sampler.ids(at).tolist() for sampler in ranks] for at in range(step, alone.steps)]
    assert [list(chain.from_iterable(parts)) for parts in rest] == whole[step:]
    if last != "keep":
        assert all(len(part) == global_batch // other for parts in rest for part in parts)


def test_a_state_of_another_order_is_refused() -> None:
    counts = [10, 10]
    for saved, here in [
        ({}, {"weights": np.arange(20) + 1}),
        ({"weights": np.ones(20)}, {"weights": np.arange(20) + 1}),
        ({"shuffle": "window", "window": 5}, {"shuffle": "window", "window": 6}),
        ({"shuffle": "window"}, {"shuffle": "full"}),
    ]:
        state = Sampler(Sized(counts), 4, **saved).state_dict(1)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="saved with"):
            Sampler(Sized(counts), 4, **here).load_state_dict(state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dataset", "options", "words"),
    [
        (20, {"shuffle": "window"}, "imagemill.open"),
        (Sized([20]), {"shuffle": "window", "window": 0}, "window of 1"),
        (Sized([20]), {"shuffle": "blocks"}, "'full', 'window'"),
        (20, {"weights": [1] * 19}, "one a sample, 20"),
        (3, {"weights": [1, -1, 1]}, "0 or more"),
        (2, {"weights": [0, 0]}, "not all 0"),
        (2, {"weights": [1, np.nan]}, "finite"),
        (2, {"weights": [1, 1], "shuffle": False}, "full shuffle"),
        (2, {"balance": True}, "labels"),
        (Sized([2], [0, 1]), {"balance": True, "weights": [1, 1]}, "not both"),
    ],
)
def test_options_that_cannot_work(dataset: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Sampler(dataset, 2, **options)
