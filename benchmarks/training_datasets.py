"""Samples per CPU-second of the training data sets and of BasicSR's `PairedImageDataset`, in one process, interleaved.

    python benchmarks/training_datasets.py --basicsr FOLDER [--rounds 7] [--record]

FOLDER holds BasicSR's unpacked source distribution (`make bench-sr` fetches it). Everybody makes pairs of 256 and 64
pixels (scale 4), float32 tensors in 0 to 1, flipped at random, from the same photographs: BasicSR a random crop from a
folder of them and a folder of their quarters; `imagefolder` the centred square brought to 256, its quarter made on
the spot; `single_image_extensible` tiles of 256.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from machine import describe, record, table
from peers.basicsr_files import paired_image_dataset
from photos import gather

import imagemill
from imagemill.datasets import create_dataset
from imagemill.transforms.tiling import TileScale

SIDE, SCALE = 256, 4
NOTES = """\
CPU is the process's own time, one thread; the first round, unmeasured, warms up. *times* is samples per CPU-second
over those of `PairedImageDataset` on the same images. From files everybody decodes a JPEG a sample, and that is most
of it: a decode alone is given as a row; `imagefolder` reads the square alone, made smaller as it is decoded. BasicSR
reads the low resolution from a second, smaller file that must be made and stored; ours is made on the spot, and may be
corrupted there. A packed dataset of arrays spares the decode."""


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


def tile_folders(tiles: Path, folder: Path) -> None:
    """The tiles of chunked folders as one folder, and their quarters, for BasicSR."""
    for name in ("high", "low"):
        (folder / name).mkdir(parents=True)
    for number, path in enumerate(sorted(tiles.glob("*/0*.jpg"))):
        (folder / "high" / f"{number:05d}.jpg").write_bytes(path.read_bytes())
        quarter = cv2.resize(cv2.imread(str(path)), (SIDE // SCALE,) * 2, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "low" / f"{number:05d}.jpg"), quarter, [cv2.IMWRITE_JPEG_QUALITY, 95])


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
    imagemill.pack(high, folder / "packed", pixels="raw", size=SIDE, fit="cover", format="memmap", workers=0)
    scales = [TileScale(SIDE, SIDE, 1.0)]
    imagemill.tile(high, tiles, scales=scales, min_side=SIDE, workers=0)
    tile_folders(tiles, folder / "tile-pairs")
    arrays: dict[str, Any] = {"format": "memmap", "lossless": True, "pixels": "raw"}
    imagemill.tile(high, folder / "packed-tiles", scales=scales, min_side=SIDE, workers=0, **arrays)
    ours: dict[str, Any] = {"target_size": SIDE, "scale": SCALE}
    images = {"mode": "imagefolder", **ours}
    single = {"mode": "single_image_extensible", **ours}
    return {
        "photographs": {
            "BasicSR PairedImageDataset": paired(folder / "photographs"),
            "(OpenCV, decode of the high resolution alone)": Decoded(high),
            "imagefolder, the same files": create_dataset({**images, "paths": str(high)}),
            "imagefolder, packed as arrays": create_dataset({**images, "paths": str(folder / "packed")}),
        },
        "tiles": {
            "BasicSR PairedImageDataset": paired(folder / "tile-pairs"),
            "(OpenCV, decode of the high resolution alone)": Decoded(folder / "tile-pairs" / "high"),
            "single_image, chunked folders": create_dataset({**single, "paths": str(tiles)}),
            "single_image, packed as arrays": create_dataset({**single, "paths": str(folder / "packed-tiles")}),
        },
    }


def measure(groups: dict[str, dict[str, Any]], rounds: int, samples: int) -> list[list[str]]:
    """A row a data set."""
    rates: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for group, members in groups.items():
            for name, dataset in members.items():
                start = time.process_time()
                for index in range(samples):
                    dataset[index % len(dataset)]
                if turn:
                    rates.setdefault((group, name), []).append(samples / (time.process_time() - start))
    rows = []
    for (group, name), found in rates.items():
        base = median(rates[group, next(iter(groups[group]))])
        rows.append([group, name, f"{median(found):.0f}", f"{min(found):.0f} to {max(found):.0f}"])
        rows[-1].append(f"{median(found) / base:.1f}")
    return rows


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
    head = ["of", "", "samples/CPU-s", "range", "times"]
    text = "\n\n".join(["\n".join([*machine, "BasicSR 1.4.2"]), what, table(head, rows), NOTES])
    print(text)
    if arguments.record:
        record(f"Training data sets, {time.strftime('%Y-%m-%d')}", text)


if __name__ == "__main__":
    main()
