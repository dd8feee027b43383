"""CPU time of an image with masks, partners, colours, erasing and transforms of one's own, by `imagemill.Loader`.

    python benchmarks/transforms.py [--images FOLDER] [--masks FOLDER] [--pairs FOLDER] [--rounds 5] [--record]

Each case by the native core in whole batches and, in the same round, sample by sample without it; where torchvision is
installed also by its transforms on Pillow's images, in this process, without the workers that training would add.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import describe, record, table
from PIL import Image

import imagemill
from imagemill.core.manifest import Manifest
from imagemill.load.dataset import ImageDataset
from imagemill.transforms import ColorJitter, HorizontalFlip, RandomErasing, RandomGrayscale, RandomResizedCrop

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH = 64
CROP = (RandomResizedCrop(224), HorizontalFlip())
JITTER = (0.4, 0.4, 0.4, 0.1)

Run = Callable[[], int]
"""One epoch; gives the number of its images."""


def inverted(values: dict[str, Any]) -> dict[str, Any]:
    """A transform of one's own."""
    return {**values, "image": 255 - values["image"]}


CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "RandomResizedCrop(224), flip": ("images", CROP),
    "… and ColorJitter": ("images", (*CROP, ColorJitter(*JITTER))),
    "… and RandomGrayscale(0.2), RandomErasing": ("images", (*CROP, RandomGrayscale(0.2), RandomErasing())),
    "… and a callable": ("images", (*CROP, inverted)),
    "image and mask, whole": ("masks", ()),
    "image and mask, RandomResizedCrop(224), flip": ("masks", CROP),
    "raw image and mask, whole": ("raw masks", ()),
    "raw image and mask, RandomResizedCrop(224), flip": ("raw masks", CROP),
    "before and after, RandomResizedCrop(224), flip": ("pairs", CROP),
    "before and after, … and ColorJitter": ("pairs", (*CROP, ColorJitter(*JITTER))),
}


def packed(options: argparse.Namespace, folder: Path) -> dict[str, ImageDataset]:
    """The datasets of the cases whose images are there."""
    sources: dict[str, tuple[Path, dict[str, Any]]] = {
        "images": (options.images, {"decode": "headers"}),
        "masks": (options.masks, {}),
        "raw masks": (options.masks, {"pixels": "raw", "size": "480x360", "fit": "exact"}),
        "pairs": (options.pairs, {}),
    }
    found: dict[str, ImageDataset] = {}
    for name, (source, settings) in sources.items():
        if not source.is_dir():
            print(f"left out: no folder {source}")
            continue
        path = folder / name.replace(" ", "-")
        imagemill.pack(source, path, workers=0, **settings)
        found[name] = imagemill.open(path, "+".join(Manifest.load(path).splits))
    return found


def by_imagemill(dataset: Any, transforms: tuple[Any, ...], *, bulk: bool) -> Run:
    """Epochs of `Loader` on one thread."""
    loader = imagemill.Loader(dataset, batch_size=BATCH, transforms=transforms, threads=1)
    if not bulk:
        loader._feed = replace(loader._feed, bulk=None)
    return lambda: sum(len(batch["key"]) for batch in loader)


def by_torchvision(dataset: Any, transforms: tuple[Any, ...]) -> Run | None:
    """The same by torchvision, from files in memory to tensors."""
    try:
        from torchvision import tv_tensors
        from torchvision.transforms import v2
    except ImportError:
        return None
    known = {
        RandomResizedCrop: lambda: v2.RandomResizedCrop(224),
        HorizontalFlip: v2.RandomHorizontalFlip,
        ColorJitter: lambda: v2.ColorJitter(*JITTER),
        RandomGrayscale: lambda: v2.RandomGrayscale(0.2),
        RandomErasing: v2.RandomErasing,
    }
    steps = [known[type(each)]() for each in transforms if type(each) in known]
    # Erasing works on tensors only.
    late = [step for step in steps if isinstance(step, v2.RandomErasing)]
    steps = [step for step in steps if step not in late]
    change = v2.Compose([*steps, v2.PILToTensor(), *late])
    files = [field for field in dataset.schema if field.is_file and field.storage == "bytes"]
    if not files:
        return None
    rows = dataset.rows(range(len(dataset)))

    def picture(field: Any, value: Any) -> Any:
        image = Image.open(io.BytesIO(value))
        return tv_tensors.Mask(np.array(image)) if field.kind == "mask" else image.convert("RGB")

    def epoch() -> int:
        for start in range(0, len(rows), BATCH):
            samples = [
                change(*(picture(field, row.values[field.name]) for field in files))
                for row in rows[start : start + BATCH]
            ]
            if len({tuple(each.shape for each in _many(sample)) for sample in samples}) == 1:
                for column in zip(*map(_many, samples), strict=True):
                    torch.stack(column)
        return len(rows)

    return epoch


def _many(sample: Any) -> tuple[Any, ...]:
    return sample if isinstance(sample, tuple) else (sample,)


def cost_us(run: Run) -> float:
    """CPU microseconds an image."""
    began = time.process_time()
    images = run()
    return (time.process_time() - began) / images * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=DATA / "imagenet_sample")
    parser.add_argument("--masks", type=Path, default=DATA / "camvid")
    parser.add_argument("--pairs", type=Path, default=DATA / "before_after")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        datasets = packed(options, Path(folder))
        runs: dict[str, list[Run | None]] = {}
        for case, (name, transforms) in CASES.items():
            if name in datasets:
                dataset = datasets[name]
                ways = [by_imagemill(dataset, transforms, bulk=bulk) for bulk in (True, False)]
                own = inverted in transforms
                runs[case] = [*ways, None if own else by_torchvision(dataset, transforms)]
        times: dict[str, list[list[float]]] = {case: [[] for _ in ways] for case, ways in runs.items()}
        for number in range(options.rounds + 1):
            for case, ways in runs.items():
                for run, measured in zip(ways, times[case], strict=True):
                    if run is not None and (cost := cost_us(run)) and number:
                        measured.append(cost)
    rows = []
    for case, measured in times.items():
        core, alone, other = (median(each) if each else None for each in measured)
        assert core is not None
        cells = [f"{core:,.0f}", *(f"{each:,.0f} ({each / core:.1f} x)" if each else "" for each in (alone, other))]
        rows.append([case, *cells])
    head = [
        "CPU µs a sample, one thread, batches of 64",
        "whole batches by the core",
        "sample by sample",
        "torchvision on Pillow",
    ]
    counts = ", ".join(f"{len(dataset)} {name}" for name, dataset in datasets.items())
    text = "\n\n".join(
        [
            "\n".join(describe(["imagemill", "numpy", "pillow", "torch", "torchvision"])),
            f"{counts}; medians of {options.rounds} interleaved rounds.",
            table(head, rows),
        ]
    )
    print(text)
    if options.record:
        record("transforms.py", text)


if __name__ == "__main__":
    main()
