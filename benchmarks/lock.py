"""How long the loader holds Python's interpreter lock for an image: all that it does in Python, measured by itself.

    python benchmarks/lock.py [--samples 20000] [--shards 20] [--batch-size 64] [--rounds 5]

The native core is replaced by one that does nothing and says that all went well. What CPU time an epoch then takes is
what Python takes, system calls and switches between threads included, which hold no lock: the figure is an upper bound.
It is shown for a whole epoch, and as the difference of two epochs, which has no costs of beginning and end.
The real core's time for the same batches stands beside it: as long as that runs, other threads have the lock.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, table

import imagemill
from imagemill import native
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.native.samples import Team
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved
from imagemill.transforms import HorizontalFlip, RandomResizedCrop

SCHEMAS = {
    "JPEG, RandomResizedCrop(64), flip": Field("image", "image"),
    "raw 64x64": Field("image", "image", "uint8", (64, 64, 3), "raw"),
}
KEY = np.frombuffer(b"n00000001", np.uint8)
LABEL = Field("label", "label", "int64", (), "raw")


def written(folder: Path, field: Field, samples: int, shards: int) -> Path:
    """A dataset of one small picture, many times."""
    picture = photo(64, 64, 1)
    value = picture.tobytes() if field.codec == "raw" else saved(picture, "JPEG", quality=85)
    rows = [
        Row(f"n{number:08d}", {"image": value, "label": np.int64(number % 10).tobytes()}) for number in range(samples)
    ]
    size = -(-samples // shards)
    pixels: Any = "raw" if field.codec == "raw" else "original"
    return write_dataset(folder, Schema((field, LABEL)), {"train": rows}, pixels=pixels, shard_samples=size)


def epoch_s(loader: imagemill.Loader) -> float:
    """CPU seconds of an epoch."""
    started = time.process_time()
    for _ in loader:
        pass
    return time.process_time() - started


def nothing(team: Team, request: Any, states: Any = None) -> Any:
    """In the core's place: every sample has the same key."""
    count = len(request.rows)
    keys = (ctypes.c_int64 * (2 * count)).from_address(int(request.fields[-1]["out"]))
    keys[:] = [native.address(KEY), len(KEY)] * count
    return np.zeros(count, np.int32)


def measure(folder: Path, options: argparse.Namespace, transforms: list[Any]) -> tuple[float, float, float]:
    """Microseconds an image: in Python, in Python without what an epoch begins and ends with, and with the core."""
    dataset = imagemill.open(folder)
    parts = {"half": dataset[: options.samples // 2], "whole": dataset}
    loaders = {
        name: imagemill.Loader(part, batch_size=options.batch_size, transforms=transforms, threads=1)
        for name, part in parts.items()
    }
    real = Team.load
    times: dict[str, list[float]] = {"half": [], "whole": [], "core": []}
    for _ in range(options.rounds + 1):
        times["core"].append(epoch_s(loaders["whole"]))
        Team.load = nothing  # type: ignore[method-assign]
        try:
            for name, loader in loaders.items():
                times[name].append(epoch_s(loader))
        finally:
            Team.load = real  # type: ignore[method-assign]
    half, whole, core = (statistics.median(values[1:]) * 1e6 for values in times.values())
    rest = options.samples - options.samples // 2
    return whole / options.samples, (whole - half) / rest, core / options.samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not native.available():
        parser.error(f"no native core: {native.why_not()}")
    torch.set_num_threads(1)
    print("\n".join(describe(["imagemill", "numpy", "torch"])))
    print(f"{options.samples} samples in {options.shards} shards, batches of {options.batch_size}\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, field) in enumerate(SCHEMAS.items()):
            path = written(Path(folder) / str(number), field, options.samples, options.shards)
            transforms = [] if field.codec == "raw" else [RandomResizedCrop(64), HorizontalFlip()]
            rows.append([name, *(f"{value:.1f}" for value in measure(path, options, transforms))])
    print(table(["dataset", "Python, µs an image", "without beginning and end", "with the core"], rows))


if __name__ == "__main__":
    main()
