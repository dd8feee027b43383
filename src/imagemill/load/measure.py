"""How fast `Loader` is on a dataset, on this machine: rates, the disk, a cold process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.errors import ConfigError
from imagemill.load.batch import Batch
from imagemill.load.dataset import ImageDataset
from imagemill.load.loader import Loader
from imagemill.load.order import permute
from imagemill.transforms.base import Geometry
from imagemill.transforms.crops import Fit, HorizontalFlip, RandomResizedCrop
from imagemill.transforms.view import Sides

_READ_SECONDS = 1.0
_BLOCK = 16
_CHILD_TIMEOUT_S = 300


@dataclass(frozen=True)
class Rate:
    """What a number of threads brings, digests not counted.

    Args:
        threads: of the loader.
        samples_per_s: of wall time.
        samples_per_cpu_s: of CPU time of the process.
    """

    threads: int
    samples_per_s: float
    samples_per_cpu_s: float


@dataclass(frozen=True)
class Disk:
    """Reading samples in shuffled order, nothing decoded, in one thread.

    Args:
        warm_samples_per_s: from memory.
        cold_samples_per_s: after the system was asked to forget the files; None where it did not, or cannot be asked.
        note: why there is no cold figure; empty where there is.
    """

    warm_samples_per_s: float
    cold_samples_per_s: float | None
    note: str


@dataclass(frozen=True)
class ColdStart:
    """The first batch of a new process, and the memory it comes to.

    Args:
        torch_cpu_s: `import torch` alone.
        cpu_s, wall_s: from there to the first batch, `import imagemill` included.
        peak_mib: resident memory at its peak over some batches, mapped files included; 0 where unknown.
        torch_mib: resident memory after `import torch`.
    """

    torch_cpu_s: float
    cpu_s: float
    wall_s: float
    peak_mib: float
    torch_mib: float


def transforms_of(name: str, size: Sides) -> list[Geometry]:
    """What a training loop does to its images: "rrc", "resize" or "none".

    Raises:
        ConfigError: another name.
    """
    known: dict[str, list[Geometry]] = {
        "rrc": [RandomResizedCrop(size), HorizontalFlip()],
        "resize": [Fit(size)],
        "none": [],
    }
    if name not in known:
        raise ConfigError(f"transform {name!r} is none of {', '.join(known)}")
    return known[name]


def loader_rate(
    dataset: ImageDataset, transforms: list[Geometry], batch_size: int, threads: int, seconds: float
) -> Rate:
    """Batches for so long, after a few that are not counted."""
    loader = Loader(
        dataset, batch_size=batch_size, transforms=transforms, threads=threads, rank=0, world_size=1, last="keep"
    )
    batches = _endless(loader)
    for _ in range(loader.prefetch_batches + 2):
        next(batches)
    samples, cpu, wall = 0, time.process_time(), time.perf_counter()
    while not samples or time.perf_counter() - wall < seconds:
        samples += len(next(batches)["index"])
    spent = time.perf_counter() - wall
    rate = Rate(threads, samples / spent, samples / max(time.process_time() - cpu, 1e-9))
    batches.close()
    return rate


def _endless(loader: Loader) -> Generator[Batch]:
    while True:
        yield from loader


def disk_rate(dataset: ImageDataset) -> Disk:
    """How fast the bytes of samples come, first from the disk, then from memory."""
    files = _files(dataset)
    size_bytes = sum(path.stat().st_size for path in files)
    note = "not a local dataset" if not files else _forget(files)
    before = _bytes_from_disk()
    cold, wanted = _read_some(dataset)
    came = _bytes_from_disk() - before
    warm, _ = _read_some(dataset)
    if not note and before >= 0 and came < wanted / 2:
        note = "the system kept the files in memory" if size_bytes else "no files"
    return Disk(warm, None if note else cold, note)


def _read_some(dataset: ImageDataset) -> tuple[float, int]:
    """(samples a second, bytes) of reading for a second at most, every page touched; the same samples each time."""
    total, samples, size_bytes = len(dataset), 0, 0
    started = time.perf_counter()
    while samples < total and time.perf_counter() - started < _READ_SECONDS:
        places = np.arange(samples, min(samples + _BLOCK, total))
        rows = dataset.rows(permute(places, total, seed=1, epoch=0).tolist())
        for value in (value for row in rows for value in row.values.values()):
            size_bytes += len(value)
            np.frombuffer(value, np.uint8)[::4096].sum()
        samples += len(rows)
    return samples / (time.perf_counter() - started), size_bytes


def _files(dataset: ImageDataset) -> list[Path]:
    """Data files of the split, where they lie on this machine."""
    folder = dataset.store.folder
    if not isinstance(folder, Path):
        return []
    shards = dataset.store.shards(dataset.split)
    return [folder / file.path for shard in shards for file in shard.files]


def _forget(files: list[Path]) -> str:
    """Asks the system to drop these files from memory; in words why it cannot be asked, or nothing."""
    if not hasattr(os, "posix_fadvise"):
        return "this system cannot be asked to forget files"
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            return f"the system was asked to forget the files: {error.strerror}"
        finally:
            os.close(descriptor)
    return ""


def _bytes_from_disk() -> int:
    """What this process has had fetched from storage so far; -1 where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return -1
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), -1)


def cold_start(dataset: ImageDataset, transform: str, size: Sides, batch_size: int) -> ColdStart:
    """Has a new process make its first batch, with as many threads as there are cores and digests checked.

    Args:
        dataset: whose folder and split it opens.
        transform: see `transforms_of`.

    Raises:
        ConfigError: the process failed; with its last line.
    """
    code = (
        "import json, resource, sys, time\n"
        "import torch\n"
        "torch_cpu_s, wall_s = time.process_time(), time.perf_counter()\n"
        "from imagemill.load.measure import first_batch, resident_mib\n"
        "given = json.loads(sys.argv[1])\n"
        "torch_mib = resident_mib('VmRSS')\n"
        "batches = first_batch(**given)\n"
        "found = {'torch_cpu_s': torch_cpu_s, 'cpu_s': time.process_time() - torch_cpu_s,\n"
        "         'wall_s': time.perf_counter() - wall_s, 'torch_mib': torch_mib}\n"
        "for _, batch in zip(range(8), batches):\n"
        "    pass\n"
        "print(json.dumps({**found, 'peak_mib': resident_mib('VmHWM')}))\n"
    )
    given: dict[str, Any] = {"path": str(dataset.store.folder), "split": dataset.split, "transform": transform}
    given |= {"size": list(size), "batch_size": batch_size}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"a new process made no batch: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return ColdStart(**json.loads(done.stdout.splitlines()[-1]))


def first_batch(path: str, split: str, transform: str, size: Sides, batch_size: int) -> Iterator[Batch]:
    """The batches after the first, in a process that has made none."""
    transforms = transforms_of(transform, (size[0], size[1]))
    batches = iter(Loader(path, split, batch_size, transforms=transforms, rank=0, world_size=1, last="keep"))
    next(batches)
    return batches


def resident_mib(line: str) -> float:
    """A line of /proc/self/status: "VmRSS", "VmHWM"; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(each.split()[1]) / 1024 for each in lines if each.startswith(f"{line}:")), 0.0)
