"""`bench`: how fast a dataset feeds a training loop on this machine, and what bounds it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagemill import native
from imagemill.api.given import PathLike, Size
from imagemill.config import cpu_count
from imagemill.errors import ConfigError
from imagemill.load.batch import parse_sides, require_torch
from imagemill.load.costs import Costs, sample_costs
from imagemill.load.dataset import ImageDataset
from imagemill.load.dataset import open as open_dataset
from imagemill.load.measure import ColdStart, Disk, Rate, cold_start, disk_rate, loader_rate, transforms_of
from imagemill.transforms.pipeline import Pipeline

WORTH_WHILE = 1.3
"""A way of storing is named where it brings so many times the samples."""
GOOD_SCALING = 0.7


@dataclass(frozen=True)
class Part:
    """A share of a sample's CPU time in one thread.

    Args:
        name: "decode", "resize", "copy", "masks", or "rest": everything else, that is Python, headers, random draws,
            stacking. It is what is left of the loop's time, the others are measured by themselves.
        microseconds: a sample.
        share: of the whole.
    """

    name: str
    microseconds: float
    share: float


@dataclass(frozen=True)
class BenchResult:
    """What `bench` measured.

    Args:
        path, split, samples, format, pixels: the dataset.
        transform, size, batch_size: the loop; size is (height, width).
        sample_bytes: of a sample as stored, on average.
        native_core: what it was built with; empty where it is not in use.
        native_problem: why it is not; empty where it is.
        load: load average at the start; of a busy machine the figures say little. None where the system has none.
        rates: one a number of threads, digests not counted.
        parts: of a sample's CPU time, the largest first.
        digest_microseconds: what checking digests adds in a process's first epoch.
        disk: reading alone.
        start: the first batch of a new process.
        bound: what bounds the rate, in words.
        resized_gain: how many times as fast at short side 256, from samples re-encoded in memory; None where that
            does not apply.
        recoded_gain: how many times as fast with `--pixels recoded`, from JPEGs recoded in memory; None where they are.
        need: samples a second that the training wants; None was not said.
        cores_needed: such cores that bring `need`; None without it.
        cores: that this process may use.
        advice: what to do next.
    """

    path: str
    split: str
    samples: int
    format: str
    pixels: str
    transform: str
    size: tuple[int, int]
    batch_size: int
    sample_bytes: float
    native_core: str
    native_problem: str
    load: float | None
    rates: tuple[Rate, ...]
    parts: tuple[Part, ...]
    digest_microseconds: float
    disk: Disk
    start: ColdStart
    bound: str
    resized_gain: float | None
    recoded_gain: float | None
    need: float | None
    cores_needed: float | None
    cores: int
    advice: tuple[str, ...]


def bench(
    dataset: PathLike,
    split: str | None = None,
    *,
    batch_size: int = 64,
    transform: str | None = None,
    size: Size = 224,
    threads: Sequence[int] | None = None,
    seconds: float = 2.0,
    need: float | None = None,
) -> BenchResult:
    """Measures samples a second of `Loader` on this dataset and this machine, and what bounds them.

    Nothing is written. The system is asked to forget the dataset's files once, to read them from the disk.

    Args:
        dataset: folder or URL; of a URL what is needed is fetched into the cache first.
        split: None takes the only one, or else "train", or else the first.
        transform: "rrc" (RandomResizedCrop and flip), "resize" (to cover `size`), "none"; None is "none" where pixels
            are raw or there are no images, else "rrc".
        size: side, (height, width) or "WIDTHxHEIGHT" of what the loop gets.
        threads: numbers of threads to measure; None is 1, 2, 4, … up to one a core. 1 is always among them.
        seconds: each.
        need: samples a second that the training takes, as measured on made-up batches.

    Raises:
        ConfigError: no finished dataset there, an empty split, numbers that cannot be, or images of unequal sizes
            with transform="none".
        MissingExtra: torch is not installed.
        DamageError, SampleError: damage that the loop came upon; names the sample.
    """
    require_torch()
    sides = parse_sides(size) or (1, 1)
    counts = _thread_counts(threads)
    if batch_size < 1 or seconds <= 0 or (need is not None and need <= 0):
        raise ConfigError(f"batch_size {batch_size}, seconds {seconds} and need {need} must be above 0")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    opened = open_dataset(dataset, split or _split_of(dataset), verify="never")
    if not len(opened):
        raise ConfigError(f"split {opened.split!r} of {dataset} is empty: take another with --split")
    manifest = opened.store.manifest
    if transform is None:
        transform = "rrc" if opened.schema.of_kind("image") and manifest.pixels != "raw" else "none"
    transforms = transforms_of(transform, sides)
    disk = disk_rate(opened)
    rates = tuple(loader_rate(opened, transforms, batch_size, count, seconds) for count in counts)
    costs = sample_costs(opened, Pipeline(transforms))
    total = 1 / rates[0].samples_per_cpu_s
    gain, recoded_gain = _gain(costs, total, costs.resized), _gain(costs, total, costs.recoded)
    best = max(rates, key=lambda rate: rate.samples_per_s)
    parts = _parts(costs, total)
    return BenchResult(
        path=str(opened.store.folder),
        split=opened.split,
        samples=len(opened),
        format=manifest.format,
        pixels=manifest.pixels,
        transform=transform,
        size=sides,
        batch_size=batch_size,
        sample_bytes=costs.bytes,
        native_core=native.build(),
        native_problem=native.why_not(),
        load=load,
        rates=rates,
        parts=parts,
        digest_microseconds=costs.digest * 1e6,
        disk=disk,
        start=cold_start(opened, transform, sides, batch_size),
        bound=_bound(parts, disk, best),
        resized_gain=gain,
        recoded_gain=recoded_gain,
        need=need,
        cores_needed=None if need is None else need / best.samples_per_cpu_s,
        cores=cpu_count(),
        advice=tuple(_advice(opened, rates, gain, recoded_gain, disk)),
    )


def _thread_counts(threads: Sequence[int] | None) -> list[int]:
    cores = cpu_count()
    if threads is None:
        return sorted({1, cores, *(2**power for power in range(10) if 2**power <= cores)})
    if any(count < 1 for count in threads):
        raise ConfigError(f"threads {', '.join(map(str, threads))}: numbers of 1 or more")
    return sorted({1, *threads})


def _split_of(dataset: PathLike) -> str:
    from imagemill.api.info import info

    splits = info(dataset)["splits"]
    return "train" if "train" in splits else next(iter(splits))


def _parts(costs: Costs, total: float) -> tuple[Part, ...]:
    seconds = {"decode": costs.decode, "resize": costs.resize, "copy": costs.copy, "masks": costs.masks}
    seconds = {name: value for name, value in seconds.items() if value > 0}
    whole = max(total, costs.known)
    seconds["rest"] = whole - costs.known
    parts = [Part(name, value * 1e6, value / whole) for name, value in seconds.items()]
    return tuple(sorted(parts, key=lambda part: -part.microseconds))


def _gain(costs: Costs, total: float, instead: float | None) -> float | None:
    """How many times as many samples, did decoding and resizing cost something else."""
    if instead is None:
        return None
    rest = max(total - costs.decode - costs.resize, 0.0)
    return total / (rest + instead)


_PART_WORDS = {
    "decode": "decoding",
    "resize": "resizing",
    "copy": "copying pixels",
    "masks": "decoding masks",
    "rest": "Python, headers and stacking",
}


def _bound(parts: Sequence[Part], disk: Disk, best: Rate) -> str:
    first = parts[0]
    words = f"{_PART_WORDS[first.name]} ({first.share:.0%} of the CPU time)"
    cold = disk.cold_samples_per_s
    if cold is not None and cold < best.samples_per_s:
        return f"the disk, until the files are in memory ({cold:,.0f} samples/s in one thread); then {words}"
    return words


def _advice(
    dataset: ImageDataset, rates: Sequence[Rate], gain: float | None, recoded_gain: float | None, disk: Disk
) -> list[str]:
    advice = []
    if not native.available():
        advice.append(
            "build the native core, which decodes JPEGs in a fraction of the time: on Debian apt-get install g++ "
            "libjpeg62-turbo-dev, then install imagemill again"
        )
    if recoded_gain is not None and recoded_gain >= WORTH_WHILE:
        advice.append(
            f"`imagemill convert DATASET OUT --pixels recoded` would bring about {recoded_gain:.1f} times as many "
            "samples (measured on some, recoded in memory), without loss: other readers then need `export`"
        )
    if gain is not None and gain >= WORTH_WHILE:
        advice.append(
            f"`imagemill pack SRC OUT --pixels resized --size 256` would bring about {gain:.1f} times as many samples "
            "(measured on some, re-encoded in memory), at the price of one more JPEG generation"
        )
    most = rates[-1]
    if 1 < most.threads <= cpu_count() and most.samples_per_s < GOOD_SCALING * most.threads * rates[0].samples_per_s:
        times = most.samples_per_s / rates[0].samples_per_s
        advice.append(
            f"{most.threads} threads bring {times:.1f} times what one does: something else works on this machine, its "
            "cores are half cores, or the disk or memory is the limit"
        )
    if disk.cold_samples_per_s is not None and disk.cold_samples_per_s < most.samples_per_s:
        advice.append(
            "where the dataset does not fit into memory: a faster disk, or smaller samples (--pixels resized)"
        )
    if isinstance(dataset.store.folder, Path) or not dataset.store.manifest.splits:
        return advice
    return [*advice, "the figures are those of the local cache, once the shards are there"]
