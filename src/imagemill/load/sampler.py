"""Where a rank is in the order of an epoch: indices for any DataLoader, and a state of a few integers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sized
from typing import Any

from imagemill.errors import ConfigError
from imagemill.load.order import IntArray, Last, check_ranks, step_positions, steps_per_epoch

STATE_KEYS = ("seed", "epoch", "step", "global_batch", "shuffle", "dataset")


class Sampler:
    """Yields the sample ids that this rank takes in an epoch, in the order of `step_positions`.

    All ranks together take the same global order whatever their number, and a state goes on
    at the exact next sample, on another number of ranks, too, if the global batch stays.

    Args:
        dataset: samples in the split, or anything with a length (`imagemill.open(...)`).
        batch_size: samples a step of this rank; the DataLoader's own batch_size.
        seed: of the order; the same on all ranks.
        shuffle: False takes samples as they are stored.
        last: what becomes of a rest smaller than the global batch: "keep" it as a short step,
            in which ranks differ by one sample at most and may have none; "drop" it; "wrap" fills it
            up from the epoch's beginning. With several ranks that step together, as under
            DistributedDataParallel, take "drop" or "wrap".
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
        shuffle: bool = True,
        last: Last = "keep",
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.rank, self.world_size = current_rank(rank, world_size)
        self.total = dataset if isinstance(dataset, int) else len(dataset)
        self.batch_size = batch_size
        self.global_batch = batch_size * self.world_size
        self.seed = seed
        self.shuffle = shuffle
        self.last: Last = _last(last, drop_last)
        self.epoch = 0
        self.start_step = 0
        self._fingerprint = int(getattr(dataset, "fingerprint", self.total))
        self._epoch_is_new = True
        check_ranks(self.global_batch, self.rank, self.world_size)
        self.steps = steps_per_epoch(self.total, self.global_batch, self.last)

    def ids(self, step: int) -> IntArray:
        """Sample ids of this rank in a step of the current epoch; int64, perhaps empty in the last step."""
        return step_positions(
            self.total,
            seed=self.seed,
            epoch=self.epoch,
            step=step,
            global_batch=self.global_batch,
            rank=self.rank,
            world_size=self.world_size,
            shuffle=self.shuffle,
            last=self.last,
        )

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
            "shuffle": int(self.shuffle),
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
        if bool(state["shuffle"]) != self.shuffle:
            raise ConfigError(f"the state was saved with shuffle={bool(state['shuffle'])}, here it is {self.shuffle}")


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


def _last(last: Last, drop_last: bool) -> Last:
    if drop_last and last == "wrap":
        raise ConfigError("drop_last=True and last='wrap' contradict each other: leave one of them out")
    return "drop" if drop_last else last
