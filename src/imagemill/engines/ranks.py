"""Which rank of which job this process is, as torchrun or SLURM tell it. No process group is needed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imagemill.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Membership:
    """One process among those that share a job's shards.

    Args:
        rank: in [0, world_size).
        world_size: processes that share the work.
        job: a name that all ranks of one job share and no other run has.
    """

    rank: int
    world_size: int
    job: str


def membership(
    rank: int | None = None, world_size: int | None = None, environment: Mapping[str, str] = os.environ
) -> Membership:
    """This process's rank: as given, else from torchrun (RANK, WORLD_SIZE), else from SLURM
    (SLURM_PROCID, SLURM_NTASKS or SLURM_NPROCS), else alone.

    Raises:
        ConfigError: a rank without a world size, or outside [0, world_size).
    """
    if (rank is None) != (world_size is None):
        raise ConfigError("rank and world_size belong together: give both or neither")
    if rank is not None and world_size is not None:
        return _checked(rank, world_size, f"given-{world_size}")
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID")
        job = "torchrun-" + "-".join(environment.get(name, "") for name in names)
        return _checked(int(environment["RANK"]), int(environment["WORLD_SIZE"]), job)
    tasks = environment.get("SLURM_NTASKS") or environment.get("SLURM_NPROCS")
    if "SLURM_PROCID" in environment and tasks:
        job = f"slurm-{environment.get('SLURM_JOB_ID', '')}-{environment.get('SLURM_STEP_ID', '')}"
        return _checked(int(environment["SLURM_PROCID"]), int(tasks), job)
    return Membership(0, 1, f"alone-{uuid.uuid4().hex}")


def _checked(rank: int, world_size: int, job: str) -> Membership:
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is outside [0, {world_size})")
    return Membership(rank, world_size, job)


def own_first(tasks: Sequence[T], rank: int, world_size: int) -> list[T]:
    """All tasks, those of this rank first: who is done with his own helps the others.

    So a rank that never starts, or dies, costs time and not shards.
    """
    return [task for turn in range(world_size) for task in tasks[(rank + turn) % world_size :: world_size]]
