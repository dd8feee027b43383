"""Tiles per CPU-second of `imagemill.tile` and of BasicSR's `extract_subimages`, in one process, interleaved.

    python benchmarks/tiles.py [--count 16] [--rounds 5] [--record]

Crops of 480 pixels, 240 apart, as BasicSR's script has them for DIV2K, from mosaics of real photographs (2040x1360),
as PNG (what the script is for) and as JPEG. Both cut the same tiles of all of an image (`whole`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from machine import Clock, describe, record, table
from peers.basicsr_files import extract_subimages
from photos import gather

import imagemill
from imagemill.transforms.tiling import TileScale

CROP, STEP = 480, 240
SIDES = (1360, 2040)
STRIPE = 340
BASELINE = "BasicSR extract_subimages"
NOTES = """\
CPU is user and system time of one process that cuts everything itself; the first, unmeasured round pays the imports.
*times* is tiles per CPU-second over those of BasicSR on the same files. BasicSR writes the kind of file it reads (PNG
at compression 3, JPEG at OpenCV's quality 95), so of JPEGs PNGs and arrays are more work than it does; imagemill writes
JPEG at quality 95 (its default, as the extractor of DL-Art-School does), PNG (`lossless`) or arrays (`pixels="raw"`).
Its JPEGs are byte by byte those of libjpeg-turbo; where tiles overlap it transforms and codes them once. In chunked
folders it makes a reference image, and its tiles carry their box, centre and digest, and are synced. Both make the same
number of tiles. What a contender wrote is emptied, and not removed before all is measured."""


def ours(source: Path, out: Path, **options: Any) -> int:
    """Tiles made."""
    scales = [TileScale(CROP, STEP, 1.0)]
    result: Any = imagemill.tile(source, out, scales=scales, threshold=0, whole=True, workers=0, **options)
    return int(result.tiles if hasattr(result, "tiles") else sum(result.splits.values()))


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {
    BASELINE: partial(extract_subimages, crop=CROP, step=STEP),
    "imagemill, chunked folders (JPEG, reference)": ours,
    "imagemill, packed (JPEG)": partial(ours, format="arrow"),
    "imagemill, packed without loss (PNG)": partial(ours, format="arrow", lossless=True),
    "imagemill, packed without loss (arrays)": partial(ours, format="memmap", lossless=True, pixels="raw"),
}


def mosaics(photographs: list[Path], folder: Path, count: int) -> None:
    """Writes so many mosaics as PNG and as JPEG."""
    stripes = []
    row = np.empty((STRIPE, 0, 3), np.uint8)
    for path in photographs:
        image = cv2.imread(str(path))
        if image is None or image.shape[0] < STRIPE:
            continue
        row = np.concatenate([row, image[:STRIPE]], axis=1)
        if row.shape[1] >= SIDES[1]:
            stripes.append(row[:, : SIDES[1]])
            row = row[:, SIDES[1] :]
    a_mosaic = SIDES[0] // STRIPE
    for kind in ("png", "jpg"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        chosen = [stripes[(number * a_mosaic + place) % len(stripes)] for place in range(a_mosaic)]
        for kind in ("png", "jpg"):
            cv2.imwrite(str(folder / kind / f"{number:03d}.{kind}"), np.concatenate(chosen))


def empty(out: Path) -> None:
    """Gives back the room of a folder's files, which stay until all is measured: on ext4 whoever makes a file passes
    over each that was removed in the last minutes, one by one, and so would pay for the measurement before."""
    for path in out.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def measure(folder: Path, rounds: int) -> list[list[str]]:
    """A row a contender and kind of file."""
    rates: dict[tuple[str, str], list[float]] = {}
    counts: dict[str, int] = {}
    for turn in range(rounds + 1):
        for kind in ("png", "jpg"):
            for number, (name, cut) in enumerate(CONTENDERS.items()):
                out = folder / f"{turn}-{kind}-{number}"
                start = Clock.now()
                tiles = cut(folder / kind, out)
                spent = Clock.now().since(start)
                counts.setdefault(kind, tiles)
                if tiles != counts[kind]:
                    raise SystemExit(f"{name} made {tiles} tiles of {kind}, the others {counts[kind]}")
                empty(out)
                if turn:
                    rates.setdefault((kind, name), []).append(tiles / spent.cpu_s)
    rows = []
    for (kind, name), found in rates.items():
        base = median(rates[kind, BASELINE])
        rows.append([kind.upper(), name, f"{median(found):.0f}", f"{min(found):.0f} to {max(found):.0f}"])
        rows[-1].append(f"{median(found) / base:.1f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16, help="mosaics")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-") as name:
        pile = gather(Path(name) / "photographs", 250, None)
        mosaics([pile.root / path for path, _ in pile.files], Path(name), arguments.count)
        rows = measure(Path(name), arguments.rounds)
    machine = describe(["imagemill", "numpy", "opencv-python-headless", "pillow"])
    what = f"{arguments.count} mosaics of {SIDES[1]}x{SIDES[0]} ({pile.origin}), {arguments.rounds} interleaved rounds."
    head = ["from", "", "tiles/CPU-s", "range", "times"]
    text = "\n\n".join(["\n".join(machine), what, table(head, rows), NOTES])
    print(text)
    if arguments.record:
        record(f"Tiles, {time.strftime('%Y-%m-%d')}", text)


if __name__ == "__main__":
    main()
