"""When each sample is due: a pure function of seed, epoch and position.

The order of an epoch is a keyed permutation of the sample ids. It is evaluated only
where it is asked for, so it costs memory in proportion to the batch, needs no state,
and is the same for any world size, worker count, machine and NumPy version.

The permutation is a Feistel network on the digits of an id: an id is a pair (left,
right) in a rectangle of `ceil(sqrt(total))` columns that holds all ids and less than
one row more; each round adds a keyed hash of one digit to the other, which can be
undone and is therefore one-to-one. What lands in the rest of the last row is sent
through again until it lands on an id (cycle walking), which keeps it one-to-one. See
Black and Rogaway, "Ciphers with arbitrary finite domains", 2002.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError
from imagemill.transforms.rng import mix

IntArray: TypeAlias = npt.NDArray[np.int64]
Last: TypeAlias = Literal["keep", "drop", "wrap"]

# Constants of the 64-bit finaliser of MurmurHash3 (Appleby) and of SplitMix64 (Steele et al., 2014).
_MULTIPLY_1 = 0xFF51AFD7ED558CCD
_MULTIPLY_2 = 0xC4CEB9FE1A85EC53
_INCREMENT = 0x9E3779B97F4A7C15
_MASK_64 = (1 << 64) - 1

_ROUNDS = 12
"""Even, so that both digits end where they began. Over 12,000 seeds all orders of 4, 5 and 6 samples come up
equally often (chi-square within 2 sigma) from 12 rounds on; with 10 they do not (11 sigma), with 8 still less (43)."""


def step_positions(
    total: int,
    *,
    seed: int,
    epoch: int,
    step: int,
    global_batch: int,
    rank: int,
    world_size: int,
    shuffle: bool = True,
    last: Last = "keep",
) -> IntArray:
    """Sample ids that this rank takes in this step of this epoch, in order.

    Pure and lazy: equal arguments give equal ids on any machine, in memory
    proportional to the batch, not to the dataset. Step s takes places
    [s * global_batch, (s + 1) * global_batch) of the epoch's order; the ranks' slices,
    one after the other, are exactly those, whatever the world size.

    Args:
        total: samples in the split.
        seed: any integer in [0, 2**64).
        epoch: any integer in [0, 2**64); each has an order of its own.
        step: in [0, `steps_per_epoch`).
        global_batch: samples a step over all ranks; a multiple of world_size.
        rank: in [0, world_size).
        world_size: how many ranks share a step.
        shuffle: False takes ids in ascending order in every epoch.
        last: what becomes of a rest smaller than global_batch: "keep" a short last step,
            shared out so that ranks differ by at most one sample; "drop" it; "wrap" fills
            the step up from the beginning of the same epoch's order.

    Returns:
        int64 ids, shape (global_batch // world_size,); shorter, perhaps empty, in the last
        step of "keep".

    Raises:
        ConfigError: world_size does not divide global_batch, rank or step is out of
            range, or a number is negative.

    Example::

        >>> step_positions(10, seed=0, epoch=0, step=1, global_batch=4, rank=1, world_size=2, shuffle=False)
        array([6, 7])
    """
    places = step_places(total, step=step, global_batch=global_batch, rank=rank, world_size=world_size, last=last)
    return permute(places, total, seed=seed, epoch=epoch) if shuffle else places


def step_places(
    total: int, *, step: int, global_batch: int, rank: int, world_size: int, last: Last = "keep"
) -> IntArray:
    """Places in an epoch's order that this rank takes in this step; arguments and errors as `step_positions`."""
    check_ranks(global_batch, rank, world_size)
    steps = steps_per_epoch(total, global_batch, last)
    if not 0 <= step < steps:
        raise ConfigError(f"step {step} is not in [0, {steps}): {total} samples, {global_batch} a step, last={last!r}")
    start = step * global_batch
    count = min(global_batch, total - start) if last == "keep" else global_batch
    places = np.arange(start + count * rank // world_size, start + count * (rank + 1) // world_size, dtype=np.int64)
    if last == "wrap":
        places %= total
    return places


def steps_per_epoch(total: int, global_batch: int, last: Last = "keep") -> int:
    """Steps that an epoch of `total` samples takes at `global_batch` samples a step.

    Raises:
        ConfigError: total is negative, global_batch is not positive, or last is unknown.
    """
    if total < 0 or global_batch < 1:
        raise ConfigError(f"total {total} must be 0 or more and the global batch {global_batch} 1 or more")
    if last not in get_args(Last):
        raise ConfigError(f"last={last!r} is none of {', '.join(get_args(Last))}")
    return total // global_batch if last == "drop" else -(-total // global_batch)


def check_ranks(global_batch: int, rank: int, world_size: int) -> None:
    """Refuses a rank, world size and global batch that do not go together.

    Raises:
        ConfigError: with the nearest batch sizes that world_size divides.
    """
    if world_size < 1 or not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is not in [0, {world_size}): rank and world_size do not go together")
    if global_batch < 1 or global_batch % world_size:
        below = global_batch // world_size * world_size
        near = " or ".join(str(size) for size in (below, below + world_size) if size > 0)
        raise ConfigError(
            f"a global batch of {global_batch} cannot be shared evenly by {world_size} ranks; take a multiple: {near}"
        )


def permute(places: IntArray, total: int, *, seed: int, epoch: int) -> IntArray:
    """Sample ids at these places of the epoch's order: a permutation of [0, total).

    Args:
        places: int64, any shape, each in [0, total).
        total: samples in the split, below 2**62.
        seed: in [0, 2**64).
        epoch: in [0, 2**64).

    Returns:
        int64 ids of the same shape.

    Raises:
        ConfigError: a place, the seed or the epoch is out of range.
    """
    keys = _round_keys(seed, epoch)
    if places.size and (places.min() < 0 or places.max() >= total):
        raise ConfigError(f"places {places.min()} to {places.max()} are not all in [0, {total})")
    columns = math.isqrt(max(total - 1, 0)) + 1
    rows = -(-total // columns)
    ids = _feistel(places.astype(np.uint64), columns, rows, keys)
    outside = ids >= total
    while outside.any():
        ids[outside] = _feistel(ids[outside], columns, rows, keys)
        outside = ids >= total
    return ids.astype(np.int64)


def _feistel(ids: npt.NDArray[np.uint64], columns: int, rows: int, keys: list[np.uint64]) -> npt.NDArray[np.uint64]:
    """One pass of the network over ids in [0, columns * rows)."""
    left, right = np.divmod(ids, np.uint64(columns))
    left_size, right_size = np.uint64(rows), np.uint64(columns)
    for key in keys:
        left, right = right, (left + _hash_below(right, key, left_size)) % left_size
        left_size, right_size = right_size, left_size
    return left * np.uint64(columns) + right


def _hash_below(digits: npt.NDArray[np.uint64], key: np.uint64, limit: np.uint64) -> npt.NDArray[np.uint64]:
    """Keyed hash of each digit, in [0, limit); limit is below 2**32."""
    hashed = digits ^ key
    hashed ^= hashed >> np.uint64(33)
    hashed *= np.uint64(_MULTIPLY_1)
    hashed ^= hashed >> np.uint64(33)
    hashed *= np.uint64(_MULTIPLY_2)
    return (hashed >> np.uint64(32)) * limit >> np.uint64(32)


def _round_keys(seed: int, epoch: int) -> list[np.uint64]:
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value <= _MASK_64:
            raise ConfigError(f"{name} {value} is not in [0, 2**64)")
    state = mix(mix(seed) ^ epoch)
    return [np.uint64(mix(state + number * _INCREMENT)) for number in range(1, _ROUNDS + 1)]
