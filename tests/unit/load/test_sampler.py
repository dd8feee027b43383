"""Sampler: epochs, ranks, and a state that goes on exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imagemill.errors import ConfigError
from imagemill.load.order import permute
from imagemill.load.sampler import Sampler, current_rank


def order(total: int, epoch: int, seed: int = 0) -> list[int]:
    return permute(np.arange(total), total, seed=seed, epoch=epoch).tolist()


def test_every_iteration_takes_the_next_epoch() -> None:
    sampler = Sampler(23, 5, seed=4)
    assert [list(sampler) for _ in range(3)] == [order(23, epoch, seed=4) for epoch in range(3)]


def test_set_epoch_says_which() -> None:
    sampler = Sampler(23, 5)
    sampler.set_epoch(7)
    assert list(sampler) == order(23, 7)
    sampler.set_epoch(7)
    assert list(sampler) == order(23, 7)
    assert list(sampler) == order(23, 8)


@pytest.mark.parametrize("last", ["keep", "drop", "wrap"])
def test_lengths(last: str) -> None:
    for total in (0, 1, 7, 8, 23):
        for rank in range(4):
            sampler = Sampler(total, 2, last=last, rank=rank, world_size=4)  # type: ignore[arg-type]
            assert len(sampler) == len(list(sampler))


def test_drop_last_is_another_name() -> None:
    assert list(Sampler(23, 5, drop_last=True)) == order(23, 0)[:20]
    with pytest.raises(ConfigError, match="contradict"):
        Sampler(23, 5, last="wrap", drop_last=True)


@pytest.mark.parametrize("step", range(6))
def test_a_state_goes_on_at_the_next_sample_on_any_number_of_ranks(step: int) -> None:
    state = Sampler(45, 4, seed=9, last="keep", rank=1, world_size=2)
    state.set_epoch(3)
    list(state)
    saved = state.state_dict(step)
    assert all(type(value) is int for value in saved.values())
    for world_size in (1, 2, 4, 8):
        ranks = [
            Sampler(45, 8 // world_size, last="keep", rank=rank, world_size=world_size) for rank in range(world_size)
        ]
        for sampler in ranks:
            sampler.load_state_dict(saved)
            assert sampler.epoch == (3 if step < 6 else 4)
            sampler.set_epoch(sampler.epoch)
        taken = sorted(sample for sampler in ranks for sample in sampler)
        assert taken == sorted(order(45, 3, seed=9)[step * 8 :])
        assert next(iter(ranks[0])) == order(45, 4, seed=9)[0]


def test_the_state_after_the_last_step_is_the_next_epoch() -> None:
    sampler = Sampler(10, 5)
    assert sampler.state_dict(2) == {**sampler.state_dict(0), "epoch": 1}


def test_another_epoch_forgets_the_step() -> None:
    sampler = Sampler(20, 5)
    sampler.load_state_dict({**sampler.state_dict(2), "epoch": 1})
    sampler.set_epoch(2)
    assert list(sampler) == order(20, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": 21}, "another dataset"),
        ({"global_batch": 16}, "16 samples a step over all ranks, here it is 8 .2 ranks of 4.: take batch_size=8"),
        ({"global_batch": 9}, "no batch_size gives that"),
        ({"shuffle": 0}, "shuffle=False, here it is 'full'"),
    ],
)
def test_a_state_of_something_else_is_refused(change: dict[str, int], words: str) -> None:
    sampler = Sampler(20, 4, rank=0, world_size=2)
    with pytest.raises(ConfigError, match=words):
        sampler.load_state_dict({**sampler.state_dict(1), **change})
    with pytest.raises(ConfigError, match="lacks step"):
        sampler.load_state_dict({name: value for name, value in sampler.state_dict(1).items() if name != "step"})


def test_rank_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert current_rank() == (0, 1)
    monkeypatch.setenv("RANK", "2")
    assert current_rank() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert current_rank() == (2, 3)
    assert current_rank(1, 2) == (1, 2)
    assert Sampler(30, 5).global_batch == 15
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE='two'"):
        current_rank()
    for rank, world_size in ((None, 2), (1, None), (2, 2), (-1, 1), (0, 0)):
        with pytest.raises(ConfigError):
            current_rank(rank, world_size)


def test_an_initialised_process_group_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert current_rank() == (1, 2)
    for name, value in (("is_initialized", True), ("get_rank", 3), ("get_world_size", 5)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    assert current_rank() == (3, 5)
    assert current_rank(0, 1) == (0, 1)


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"weights": np.arange(5000.0)}, {"last": "drop"}])
@pytest.mark.parametrize(("batch_size", "first"), [(7, 0), (7, 300), (3000, 1)])
def test_steps_worked_out_together_are_those_of_each(options: dict[str, Any], batch_size: int, first: int) -> None:
    sampler = Sampler(5000, batch_size, seed=3, rank=1, world_size=2, **options)
    sampler.start_step = min(first, sampler.steps)
    shares = list(sampler.shares())
    assert [step for step, _, _ in shares] == list(range(sampler.start_step, sampler.steps))
    for step, ids, places in shares:
        assert np.array_equal(ids, sampler.ids(step))
        assert np.array_equal(places, sampler.places(step))
