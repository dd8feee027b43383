"""Which split and which shard every sample goes to: pure functions of keys, groups, seed and earlier splits.

A sample's group (its pair, clip, source image, or whatever the user named) is hashed; the
hash, mixed with the seed, is a number in [0, 1) that falls into one split's share. So a sample's
split depends on nothing but its group, the seed and the shares: adding images moves none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.errors import ConfigError

HashArray: TypeAlias = npt.NDArray[np.uint64]
SplitArray: TypeAlias = npt.NDArray[np.int16]
RowArray: TypeAlias = npt.NDArray[np.int64]

UNASSIGNED = -1
"""Split number of a sample that no rule placed yet."""


@dataclass(frozen=True)
class Plan:
    """Every shard of every split, as rows of the listing.

    Args:
        splits: split names, in order.
        order: int64 listing rows, split by split, shard by shard.
        bounds: split name → int64 positions in `order` where its shards begin, and the end.
    """

    splits: tuple[str, ...]
    order: RowArray
    bounds: Mapping[str, RowArray]

    def rows(self, split: str, number: int) -> RowArray:
        """Listing rows of one shard."""
        bounds = self.bounds[split]
        return self.order[bounds[number] : bounds[number + 1]]

    def shard_name(self, split: str, number: int) -> str:
        """`train-00003-of-00012`."""
        return f"{split}-{number:05d}-of-{len(self.bounds[split]) - 1:05d}"

    def shards(self) -> list[tuple[str, int]]:
        """(split, number) of every shard, in order."""
        return [(split, number) for split in self.splits for number in range(len(self.bounds[split]) - 1)]

    def count(self, split: str) -> int:
        """Samples planned for a split."""
        return int(self.bounds[split][-1] - self.bounds[split][0])


def hash_strings(column: pa.Array | pa.ChunkedArray, where_null: HashArray | None = None) -> HashArray:
    """xxh3-64 of the UTF-8 of every string of a column.

    Args:
        column: strings; about 100 bytes a row are allocated for them on the way.
        where_null: uint64, shape (rows,), taken where a string is null; without it there must be none.

    Returns:
        uint64, shape (rows,).
    """
    if where_null is None or not column.null_count:
        return np.fromiter(map(xxhash.xxh3_64_intdigest, column.cast(pa.binary()).to_pylist()), np.uint64, len(column))
    result = where_null.copy()
    if column.null_count < len(column):
        result[column.is_valid().to_numpy(zero_copy_only=False)] = hash_strings(column.drop_null())
    return result


def mix(hashes: HashArray, seed: int) -> HashArray:
    """Hashes mixed with a seed: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).

    Returns:
        uint64, same shape; every seed gives another permutation of the 64-bit numbers.
    """
    z = hashes ^ np.uint64(xxhash.xxh3_64_intdigest(str(seed).encode()))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z


def split_by_hash(groups: HashArray, shares: Sequence[Fraction], seed: int) -> SplitArray:
    """Split number of every sample from its group's hash alone.

    Args:
        groups: uint64, shape (n,).
        shares: of the splits, summing to 1.

    Returns:
        int16, shape (n,), in [0, len(shares)).
    """
    edges = [int(sum(shares[: number + 1]) * 2**64) for number in range(len(shares) - 1)]
    mixed = mix(groups, seed)
    return np.searchsorted(np.array(edges, np.uint64), mixed, side="right").astype(np.int16)


def cut_shards(
    sizes: npt.NDArray[np.int64], *, shard_samples: int, shard_bytes: int | None = None
) -> npt.NDArray[np.int64]:
    """Where a split's samples, in their order, are cut into shards.

    Args:
        sizes: int64, shape (n,), bytes of each sample; only their number counts where `shard_bytes` is None.
        shard_samples: samples a shard at most, where `shard_bytes` is None.
        shard_bytes: bytes a shard at most; a sample larger than that has a shard of its own.

    Returns:
        int64 positions, the first 0, the last n; at least two.
    """
    count = len(sizes)
    if shard_bytes is None:
        return np.append(np.arange(0, max(count, 1), shard_samples, dtype=np.int64), count)
    ends = np.cumsum(sizes)
    bounds = [0]
    while bounds[-1] < count:
        start = bounds[-1]
        before = int(ends[start - 1]) if start else 0
        end = int(np.searchsorted(ends, before + shard_bytes, side="right"))
        bounds.append(max(end, start + 1))
    if len(bounds) == 1:
        bounds.append(0)
    return np.array(bounds, np.int64)


def make_plan(
    split_names: Sequence[str],
    splits: SplitArray,
    keys: HashArray,
    sizes: npt.NDArray[np.int64],
    *,
    shard_samples: int,
    shard_bytes: int | None,
    shuffle_seed: int | None,
    units: HashArray | None = None,
) -> Plan:
    """Cuts every split into shards.

    Args:
        split_names: name of split 0, 1, ….
        splits: int16, shape (n,); rows with `UNASSIGNED` go nowhere.
        keys: uint64, shape (n,), hash of each key.
        sizes: int64, shape (n,), bytes of each sample.
        shuffle_seed: order within a split by a hash of the keys; None keeps the listing's order.
        units: uint64, shape (n,): what was kept together, named where a split is empty.

    Returns:
        The plan; the same on any machine.

    Raises:
        ConfigError: a split that was asked for is empty.
    """
    parts, bounds, start = [], {}, 0
    for number, name in enumerate(split_names):
        rows = np.flatnonzero(splits == number)
        if not len(rows):
            raise ConfigError(_empty_split(name, split_names, splits, units))
        if shuffle_seed is not None:
            rows = rows[np.argsort(mix(keys[rows], shuffle_seed), kind="stable")]
        cuts = cut_shards(sizes[rows] if shard_bytes else rows, shard_samples=shard_samples, shard_bytes=shard_bytes)
        parts.append(rows)
        bounds[name] = cuts + start
        start += len(rows)
    return Plan(tuple(split_names), np.concatenate(parts), bounds)


def _empty_split(name: str, split_names: Sequence[str], splits: SplitArray, units: HashArray | None) -> str:
    """What is said where this split holds no sample, and what helps."""
    counts = ", ".join(f"{other} {np.count_nonzero(splits == i)}" for i, other in enumerate(split_names))
    placed = splits != UNASSIGNED
    samples = np.count_nonzero(placed)
    groups = samples if units is None else len(np.unique(units[placed]))
    if groups < samples:
        counts += f"; the samples form {groups} group{'s' if groups != 1 else ''}, never parted"
    advice = "give it a larger share, use --split-counts exact, or leave it out"
    if groups < len(split_names):
        finer = " or finer groups (--group-pattern)" if groups < samples else ""
        advice = f"each split needs a {'group' if groups < samples else 'sample'}: ask for fewer splits{finer}"
    return f"split {name!r} would be empty ({counts}): {advice}"
