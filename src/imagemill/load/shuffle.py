"""Orders other than the full permutation: local to shards, and by weight. Pure and lazy like `order.py`.

**Window.** The shards are put in random order and read one after the other; every `window`
samples of that stream are mixed among themselves. So a step touches few shards, one after
the other, as spinning disks and object stores want it; in return, samples of one shard stay
near each other (within a window and one shard). Windows of several shards mix better.

**Weights.** Systematic sampling on a permutation: the line [0, total) is divided among the
samples in proportion to their weights; place p of the epoch takes the sample under a random
point of the p-th unit of that line, units in random order. So a sample of share w comes
total * w times, whatever the luck off by less than 2, and equal weights give exactly the
full permutation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError
from imagemill.load.order import IntArray, permute
from imagemill.transforms.rng import mix

FloatArray = npt.NDArray[np.float64]

# Arbitrary, so that the streams derived from one seed have nothing to do with each other.
_SHARDS, _WINDOWS, _POINTS = 0x5348415244, 0x57494E444F57, 0x504F494E54


def window_order(places: IntArray, shard_counts: Sequence[int], *, window: int, seed: int, epoch: int) -> IntArray:
    """Sample ids at these places of an epoch's shard-local order: a permutation of [0, sum(shard_counts)).

    Args:
        places: int64, 1-D, each in [0, total).
        shard_counts: samples of each shard, in stored order.
        window: samples that are mixed among themselves.
        seed, epoch: in [0, 2**64).

    Returns:
        int64 ids of the same shape. Memory in proportion to places and shards.
    """
    counts = np.asarray(shard_counts, np.int64)
    total = int(counts.sum())
    stream = places.copy()
    for number in np.unique(places // window).tolist():
        inside = places // window == number
        size = min(window, total - number * window)
        key = mix(mix(seed ^ _WINDOWS) ^ number)
        stream[inside] = number * window + permute(places[inside] - number * window, size, seed=key, epoch=epoch)
    shards = permute(np.arange(len(counts), dtype=np.int64), len(counts), seed=mix(seed ^ _SHARDS), epoch=epoch)
    ends = np.cumsum(counts[shards])
    turns = np.searchsorted(ends, stream, side="right")
    firsts = np.cumsum(counts) - counts
    chosen = shards[turns]
    ids: IntArray = firsts[chosen] + stream - (ends[turns] - counts[chosen])
    return ids


def weighted_order(places: IntArray, cumulative: FloatArray, *, seed: int, epoch: int) -> IntArray:
    """Sample ids at these places of an epoch in which samples come by their weights.

    Args:
        places: int64, 1-D, each in [0, total).
        cumulative: what `cumulate` gave for all samples.
        seed, epoch: in [0, 2**64).

    Returns:
        int64 ids of the same shape, with repeats.
    """
    units = permute(places, len(cumulative), seed=seed, epoch=epoch)
    points = units + _fractions(units, mix(mix(seed ^ _POINTS) ^ epoch))
    ids = np.searchsorted(cumulative, points, side="right")
    return ids.astype(np.int64)


def cumulate(weights: npt.ArrayLike, total: int) -> FloatArray:
    """Where each sample's share of the line [0, total) ends.

    Args:
        weights: one a sample, 0 or more, not all 0.

    Returns:
        float64, shape (total,), ascending; infinite from the last sample of any weight on.

    Raises:
        ConfigError: another number of weights, or weights that are no shares.
    """
    values = np.asarray(weights, np.float64)
    if values.shape != (total,):
        raise ConfigError(f"weights must be one a sample, {total}, got shape {values.shape}")
    if total and not (np.isfinite(values).all() and values.min() >= 0 and values.sum() > 0):
        raise ConfigError("weights must be finite, 0 or more, and not all 0")
    ends: FloatArray = np.cumsum(values)
    if total:
        ends *= total / ends[-1]
        ends[np.flatnonzero(values)[-1] :] = np.inf
    return ends


def balancing_weights(targets: npt.ArrayLike) -> FloatArray:
    """Weights with which every class that occurs comes equally often.

    Args:
        targets: class of each sample.

    Raises:
        ConfigError: a sample has no label (-1).
    """
    labels = np.asarray(targets, np.int64)
    if (labels < 0).any():
        raise ConfigError(f"{(labels < 0).sum()} of {len(labels)} samples have no label: balance needs them all")
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: FloatArray = 1.0 / counts[classes]
    return weights


def _fractions(ids: IntArray, key: int) -> FloatArray:
    """A number in [0, 1) for each id: SplitMix64 with the id as its counter."""
    state = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
