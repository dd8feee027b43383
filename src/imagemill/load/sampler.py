"""Where a rank is in the order of an epoch: indices for any DataLoader, and a state of a few integers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sized
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from imagemill.errors import ConfigError
from imagemill.load.order import IntArray, Last, check_ranks, permute, step_places, steps_per_epoch
from imagemill.load.shuffle import FloatArray, balancing_weights, cumulate, weighted_order, window_order

BLOCK = 2048
"""Samples whose order is worked out at a time."""

STATE_KEYS = ("seed", "epoch", "step", "global_batch", "shuffle", "order", "dataset")

Shuffle: TypeAlias = bool | Literal["full", "window"]
_KINDS: tuple[Shuffle, ...] = (False, "full", "window")
"""Their numbers in a state."""


class Sampler:
    """Yields the sample ids that this rank takes in an epoch, in the order that seed and epoch decide.

    All ranks together take the same global order whatever their number, and a state goes on
    at the exact next sample, on another number of ranks, too, if the global batch stays.

    Args:
        dataset: samples in the split, or anything with a length (`imagemill.open(...)`).
        batch_size: samples a step of this rank; the DataLoader's own batch_size.
        seed: of the order; the same on all ranks.
        shuffle: True or "full" permutes all samples; "window" keeps to a few shards at a time, as
            spinning disks and object stores want it (`imagemill.load.shuffle` says how); False takes
            samples as they are stored.
        window: samples that shuffle="window" mixes among themselves; several shards' worth mixes well.
        weights: how often each sample comes, in proportion, in an epoch of as many samples: more
            than once or not at all. Needs a full shuffle.
        balance: weights with which all classes come equally often, by `dataset.targets`.
        last: what becomes of a rest smaller than the global batch: "keep" it as a short step,
            in which ranks differ by one sample at most and may have none; "drop" it; "wrap" fills it
            up from the epoch's beginning. None keeps it where there is one rank and wraps where there are
            several: under DistributedDataParallel a rank without a last batch would leave the others waiting.
        drop_last: True is another way to say last="drop".
        rank, world_size: of this process; None takes torch.distributed's where it is initialised,
            else RANK and WORLD_SIZE as torchrun sets them, else alone.

    Attributes:
        epoch: number of the epoch that comes next, or is under way.
        start_step: step of that epoch at which the next iteration begins: 0, or what
            `load_state_dict` said.

    Raises:
        ConfigError: numbers that do not go together.

    Example::

        sampler = Sampler(dataset, batch_size=32, seed=1)
        loader = DataLoader(dataset, batch_size=32, sampler=sampler, num_workers=4)
        for epoch in range(90):
            sampler.set_epoch(epoch)
            for batch in loader:
                ...
    """

    def __init__(
        self,
        dataset: Sized | int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: Shuffle = True,
        window: int = 10_000,
        weights: npt.ArrayLike | None = None,
        balance: bool = False,
        last: Last | None = None,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.rank, self.world_size = current_rank(rank, world_size)
        self.total = dataset if isinstance(dataset, int) else len(dataset)
        self.batch_size = batch_size
        self.global_batch = batch_size * self.world_size
        self.seed = seed
        self.shuffle = _kind(shuffle)
        self.window = window
        self.last: Last = _last(last, drop_last, self.world_size)
        self._shard_counts: tuple[int, ...] = tuple(getattr(dataset, "shard_counts", ()))
        self._cumulative = self._weighting(dataset, weights, balance)
        self.epoch = 0
        self.start_step = 0
        self._fingerprint = int(getattr(dataset, "fingerprint", self.total))
        self._epoch_is_new = True
        check_ranks(self.global_batch, self.rank, self.world_size)
        self.steps = steps_per_epoch(self.total, self.global_batch, self.last)

    def ids(self, step: int) -> IntArray:
        """Sample ids of this rank in a step of the current epoch; int64, perhaps empty in the last step."""
        return self._at(self.places(step))

    def shares(self) -> Iterator[tuple[int, IntArray, IntArray]]:
        """(step, ids, places) of this rank from `start_step` to the end of the epoch.

        Several steps are worked out at a time: a call of NumPy costs as much for one number as for a thousand.
        """
        at_a_time = max(1, BLOCK // self.batch_size)
        for first in range(self.start_step, self.steps, at_a_time):
            steps = range(first, min(first + at_a_time, self.steps))
            places = [self.places(step) for step in steps]
            ids = self._at(np.concatenate(places))
            for step, share in zip(steps, places, strict=True):
                part, ids = ids[: len(share)], ids[len(share) :]
                yield step, part, share

    def _at(self, places: IntArray) -> IntArray:
        """Sample ids at places of the current epoch's order."""
        if self._cumulative is not None:
            return weighted_order(places, self._cumulative, seed=self.seed, epoch=self.epoch)
        if self.shuffle == "window":
            return window_order(places, self._shard_counts, window=self.window, seed=self.seed, epoch=self.epoch)
        return permute(places, self.total, seed=self.seed, epoch=self.epoch) if self.shuffle else places

    def places(self, step: int) -> IntArray:
        """Places in the epoch's order, in [0, total), that `ids` of this step stand at."""
        return step_places(
            self.total,
            step=step,
            global_batch=self.global_batch,
            rank=self.rank,
            world_size=self.world_size,
            last=self.last,
        )

    @property
    def repeats(self) -> bool:
        """Whether a sample may come several times in an epoch."""
        return self._cumulative is not None

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch."""
        if not self.steps:
            return 0
        return (self.steps - 1) * self.batch_size + len(self.ids(self.steps - 1))

    def __iter__(self) -> Iterator[int]:
        """Ids of this rank from `start_step` to the end of the epoch.

        Every iteration takes the next epoch, unless `set_epoch` says which.
        """
        if not self._epoch_is_new:
            self.epoch += 1
        first, self.start_step, self._epoch_is_new = self.start_step, 0, False
        for step in range(first, self.steps):
            yield from self.ids(step).tolist()

    def set_epoch(self, epoch: int) -> None:
        """The next iteration takes this epoch: from where a loaded state stands in it, else from its beginning."""
        if epoch != self.epoch:
            self.start_step = 0
        self.epoch = epoch
        self._epoch_is_new = True

    def state_dict(self, step: int) -> dict[str, int]:
        """The place in the order as a few integers, the same on all ranks.

        Args:
            step: batches of the current epoch that training is done with. A DataLoader asks
                for indices ahead of time, so only the training loop knows it.
        """
        finished = step >= self.steps
        return {
            "seed": self.seed,
            "epoch": self.epoch + 1 if finished else self.epoch,
            "step": 0 if finished else step,
            "global_batch": self.global_batch,
            "shuffle": _KINDS.index(self.shuffle),
            "order": self._order_fingerprint(),
            "dataset": self._fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` stood: the next iteration begins at its epoch and step, with its seed.

        Raises:
            ConfigError: the state belongs to another dataset or split, another global batch,
                or the other setting of shuffle.
        """
        self._check_state(state)
        self.seed, self.epoch, self.start_step = int(state["seed"]), int(state["epoch"]), int(state["step"])
        self._epoch_is_new = True

    def _check_state(self, state: Mapping[str, Any]) -> None:
        missing = [name for name in STATE_KEYS if name not in state]
        if missing:
            raise ConfigError(f"the state lacks {', '.join(missing)}: it was not made by state_dict()")
        if state["dataset"] != self._fingerprint:
            raise ConfigError(
                "the state belongs to another dataset or split: its order means other samples here. "
                "Open what it was saved with, or start a new epoch"
            )
        if state["global_batch"] != self.global_batch:
            batch, rest = divmod(int(state["global_batch"]), self.world_size)
            cure = "no batch_size gives that on this number of ranks" if rest else f"take batch_size={batch}"
            raise ConfigError(
                f"the state was saved with {state['global_batch']} samples a step over all ranks, here it is "
                f"{self.global_batch} ({self.world_size} ranks of {self.batch_size}): {cure}"
            )
        if state["shuffle"] != _KINDS.index(self.shuffle):
            saved = dict(enumerate(_KINDS)).get(int(state["shuffle"]))
            raise ConfigError(f"the state was saved with shuffle={saved!r}, here it is {self.shuffle!r}")
        if state["order"] != self._order_fingerprint():
            raise ConfigError("the state was saved with other weights or another window: its order is not this one")

    def _order_fingerprint(self) -> int:
        """A number below 2**63 that another window or other weights would not have; 0 for a plain order."""
        if self._cumulative is not None:
            return xxhash.xxh3_64_intdigest(self._cumulative.tobytes()) >> 1
        return self.window if self.shuffle == "window" else 0

    def _weighting(self, dataset: Sized | int, weights: npt.ArrayLike | None, balance: bool) -> FloatArray | None:
        if self.shuffle == "window" and (self.window < 1 or sum(self._shard_counts) != self.total):
            raise ConfigError(
                f"shuffle='window' wants a window of 1 or more, got {self.window}, and a dataset that knows its "
                "shards: imagemill.open(...)"
            )
        if weights is None and not balance:
            return None
        if self.shuffle != "full" or (weights is not None and balance):
            raise ConfigError("weights or balance=True, not both, and with a full shuffle only")
        if weights is None:
            if not hasattr(dataset, "targets"):
                raise ConfigError("balance=True wants a dataset with labels in `targets`, as imagemill.open gives it")
            weights = balancing_weights(dataset.targets)
        return cumulate(weights, self.total)


def current_rank(rank: int | None = None, world_size: int | None = None) -> tuple[int, int]:
    """(rank, world size): as given, else torch.distributed's, else RANK and WORLD_SIZE, else (0, 1).

    SLURM's variables are not looked at: a script started once inside an allocation of many
    tasks has them, too, and would silently train on its share alone.

    Raises:
        ConfigError: one without the other, or a rank outside [0, world_size).
    """
    if (rank is None) != (world_size is None):
        raise ConfigError("rank and world_size belong together: give both or neither")
    if rank is None or world_size is None:
        rank, world_size = _distributed_rank() or _rank_of_environment() or (0, 1)
    check_ranks(world_size, rank, world_size)
    return rank, world_size


def _distributed_rank() -> tuple[int, int] | None:
    # A process group can only exist where the program has imported torch; this module never does.
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _rank_of_environment() -> tuple[int, int] | None:
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except ValueError:
        raise ConfigError(
            f"RANK={os.environ['RANK']!r} and WORLD_SIZE={os.environ['WORLD_SIZE']!r} must be integers"
        ) from None


def _last(last: Last | None, drop_last: bool, world_size: int) -> Last:
    if drop_last and last not in (None, "drop"):
        raise ConfigError(f"drop_last=True and last={last!r} contradict each other: leave one of them out")
    if drop_last:
        return "drop"
    return last or ("wrap" if world_size > 1 else "keep")


def _kind(shuffle: Shuffle) -> Shuffle:
    kind: Shuffle = "full" if shuffle is True else shuffle
    if kind not in _KINDS:
        raise ConfigError(f"shuffle={shuffle!r} is none of True, False, 'full', 'window'")
    return kind
