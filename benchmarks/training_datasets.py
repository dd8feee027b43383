"""Samples per CPU-second of the training data sets and of BasicSR's `PairedImageDataset`, in one process, interleaved:
got one by one, and in batches by torch's `DataLoader`.

    python benchmarks/training_datasets.py --basicsr FOLDER [--rounds 7] [--record]

FOLDER holds BasicSR's unpacked source distribution (`make bench-sr` fetches it). Everybody makes pairs of 256 and 64
pixels (scale 4), float32 tensors in 0 to 1, from the same photographs: BasicSR a random crop from a folder of them
and the same of a folder of their quarters, flipped at random; `imagefolder` the centred 256 pixels, or the square
brought to 256, flipped at random, its quarter made on the spot; `single_image_extensible` tiles of 256. Batches are of
16 samples, without workers, in order: BasicSR's data set under a plain `DataLoader`, ours under `create_dataloader`'s.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from machine import describe, record, table
from peers.basicsr_files import paired_image_dataset
from photos import gather

import imagemill
from imagemill.datasets import create_dataloader, create_dataset
from imagemill.datasets.base import TrainingDataset
from imagemill.transforms.tiling import TileScale

SIDE, SCALE, BATCH = 256, 4, 16
NOTES = """\
CPU is the process's own time, one thread; the first round, unmeasured, warms up. *times* is samples per CPU-second
over those of `PairedImageDataset` on the same images, got the same way. What BasicSR does to a sample: two files read
and decoded whole, 256 and 64 pixels of them cut out at random, flipped, brought to tensors. The centre of 256 pixels is
the closest equal, as it resamples nothing; the square brought to 256 decodes and resamples twice as many pixels.
`single_image` has references and centres beside the pair, 0 here. Ours makes the low resolution on the spot, and may
corrupt it there; BasicSR reads it from a second file, which must be made and stored. *in batches* is what training
reads: torch stacks BasicSR's samples, ours are made side by side. From JPEGs most of the time goes into their Huffman
codes, of quality 95, which nobody can read but one after the other; a decode by OpenCV alone is given as a row."""


def folders(photographs: list[Path], folder: Path) -> None:
    """Photographs of 256 pixels or more, sides multiples of four, and their quarters, JPEGs of quality 95."""
    for name in ("high", "low"):
        (folder / name).mkdir(parents=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    for number, path in enumerate(photographs):
        image = cv2.imread(str(path))
        height, width = (length // SCALE * SCALE for length in image.shape[:2])
        if min(height, width) < SIDE:
            continue
        image = image[:height, :width]
        quarter = cv2.resize(image, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "high" / f"{number:04d}.jpg"), image, quality)
        cv2.imwrite(str(folder / "low" / f"{number:04d}.jpg"), quarter, quality)


def tile_folders(tiles: Path, folder: Path, suffix: str) -> None:
    """The tiles of chunked folders as one folder, and their quarters, for BasicSR: JPEGs as they are, or PNGs.

    PNGs are of compression 3, as BasicSR's `extract_subimages` writes them.
    """
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 95]
    for name in ("high", "low"):
        (folder / name).mkdir(parents=True)
    for number, path in enumerate(sorted(tiles.glob("*/0*.jpg"))):
        image, high = cv2.imread(str(path)), folder / "high" / f"{number:05d}{suffix}"
        if suffix == path.suffix:
            high.write_bytes(path.read_bytes())
        else:
            cv2.imwrite(str(high), image, options)
        quarter = cv2.resize(image, (SIDE // SCALE,) * 2, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "low" / f"{number:05d}{suffix}"), quarter, options)


class Decoded:
    """OpenCV's decode of the same files and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(str(path) for path in folder.iterdir())

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        return cv2.imread(self._paths[index])


def contenders(folder: Path, basicsr: Path) -> dict[str, dict[str, Any]]:
    """Group → {name: data set}, the first of each the one to compare with."""
    pair = paired_image_dataset(basicsr)

    def paired(root: Path) -> Any:
        options = {"phase": "train", "scale": SCALE, "gt_size": SIDE, "use_hflip": True, "use_rot": False}
        places = {"dataroot_gt": str(root / "high"), "dataroot_lq": str(root / "low"), "io_backend": {"type": "disk"}}
        return pair({**options, **places})

    high, tiles = folder / "photographs" / "high", folder / "tiles"
    imagemill.pack(high, folder / "recoded", pixels="recoded", workers=0)
    imagemill.pack(high, folder / "packed", pixels="raw", size=SIDE, fit="cover", format="memmap", workers=0)
    scales = [TileScale(SIDE, SIDE, 1.0)]
    imagemill.tile(high, tiles, scales=scales, min_side=SIDE, workers=0)
    for suffix in (".jpg", ".png"):
        tile_folders(tiles, folder / f"pairs{suffix}", suffix)
    imagemill.pack(tiles, folder / "recoded-tiles", pixels="recoded", workers=0)
    arrays: dict[str, Any] = {"format": "memmap", "lossless": True, "pixels": "raw"}
    imagemill.tile(high, folder / "packed-tiles", scales=scales, min_side=SIDE, workers=0, **arrays)

    def ours(mode: str, place: Path, **more: Any) -> Any:
        return create_dataset({"mode": mode, "target_size": SIDE, "scale": SCALE, "paths": str(place), **more})

    centre = {"center_crop_hq_sz": SIDE}
    single = "single_image_extensible"
    return {
        "photographs": {
            "BasicSR PairedImageDataset": paired(folder / "photographs"),
            "(OpenCV, decode of the high resolution alone)": Decoded(high),
            "imagefolder, the same files, centre": ours("imagefolder", high, **centre),
            "imagefolder, the same files, square": ours("imagefolder", high),
            "imagefolder, recoded, centre": ours("imagefolder", folder / "recoded", **centre),
            "imagefolder, recoded, square": ours("imagefolder", folder / "recoded"),
            "imagefolder, packed as arrays": ours("imagefolder", folder / "packed"),
        },
        "tiles": {
            "BasicSR PairedImageDataset": paired(folder / "pairs.jpg"),
            "(OpenCV, decode of the high resolution alone)": Decoded(folder / "pairs.jpg" / "high"),
            "imagefolder, the same files": ours("imagefolder", folder / "pairs.jpg" / "high"),
            "single_image, chunked folders": ours(single, tiles),
            "single_image, recoded": ours(single, folder / "recoded-tiles"),
            "single_image, packed as arrays": ours(single, folder / "packed-tiles"),
        },
        "tiles, PNG": {
            "BasicSR PairedImageDataset": paired(folder / "pairs.png"),
            "imagefolder, the same files": ours("imagefolder", folder / "pairs.png" / "high"),
            "single_image, the same files": ours(single, folder / "pairs.png" / "high"),
        },
    }


def one_by_one(dataset: Any, samples: int) -> int:
    """Gets so many samples; how many it were."""
    for index in range(samples):
        dataset[index % len(dataset)]
    return samples


def in_batches(dataset: Any, samples: int) -> int:
    """The same by a `DataLoader`, whole batches."""
    if isinstance(dataset, TrainingDataset):
        loader = create_dataloader(dataset, {"batch_size": BATCH, "use_shuffle": False})
    else:
        loader = torch.utils.data.DataLoader(dataset, BATCH, drop_last=True)
    count = 0
    while count < samples:
        for _ in islice(loader, -(-(samples - count) // BATCH)):
            count += BATCH
    return count


WAYS = (one_by_one, in_batches)


def measure(groups: dict[str, dict[str, Any]], rounds: int, samples: int) -> list[list[str]]:
    """A row a data set."""
    rates: dict[tuple[str, str, int], list[float]] = {}
    for turn in range(rounds + 1):
        for group, members in groups.items():
            for name, dataset in members.items():
                for way, get in enumerate(WAYS[:1] if isinstance(dataset, Decoded) else WAYS):
                    start = time.process_time()
                    count = get(dataset, samples)
                    if turn:
                        rate = count / (time.process_time() - start)
                        rates.setdefault((group, name, way), []).append(rate)
    rows = []
    for group, members in groups.items():
        for name in members:
            rows.append([group, name])
            for way in range(len(WAYS)):
                found, base = rates.get((group, name, way)), median(rates[group, next(iter(members)), way])
                rows[-1] += ["", "", ""] if found is None else _columns(found, base)
    return rows


def _columns(rates: list[float], base: float) -> list[str]:
    return [f"{median(rates):.0f}", f"{min(rates):.0f} to {max(rates):.0f}", f"{median(rates) / base:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basicsr", type=Path, required=True, help="folder that holds `basicsr/`")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=200, help="a round")
    parser.add_argument("--record", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-") as name:
        pile = gather(Path(name) / "pile", 250, None)
        folders([pile.root / path for path, _ in pile.files], Path(name) / "photographs")
        rows = measure(contenders(Path(name), arguments.basicsr), arguments.rounds, arguments.samples)
    machine = describe(["imagemill", "numpy", "opencv-python-headless", "torch"])
    what = f"Photographs: {pile.origin}; {arguments.rounds} interleaved rounds of {arguments.samples} samples."
    head = ["of", "", "one by one, samples/CPU-s", "range", "times", "in batches, samples/CPU-s", "range", "times"]
    text = "\n\n".join(["\n".join([*machine, "BasicSR 1.4.2"]), what, table(head, rows), NOTES])
    print(text)
    if arguments.record:
        record(f"Training data sets, {time.strftime('%Y-%m-%d')}", text)


if __name__ == "__main__":
    main()
