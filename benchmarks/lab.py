"""sRGB → CIELAB and back beside scikit-image and OpenCV: megapixels per CPU-second, one thread, interleaved.

    python benchmarks/lab.py [--side 224] [--rounds 15] [--record]

The error is the largest difference to scikit-image in float64 over a grid of 262,144 colours, in LAB units
(the way back: in levels of 255, from the LAB of that grid).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from machine import describe, record, table
from skimage.color import lab2rgb, rgb2lab

from imagemill.transforms.lab import lab_to_rgb, rgb_to_lab

Pixels = npt.NDArray[Any]
Conversion = Callable[[Pixels], Pixels]

FORTH: dict[str, tuple[str, Conversion]] = {
    "imagemill, of uint8": ("uint8", rgb_to_lab),
    "imagemill, of float32": ("float32", rgb_to_lab),
    "scikit-image, of float32": ("float32", rgb2lab),
    "OpenCV, of float32": ("float32", lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)),
}
BACK: dict[str, Conversion] = {
    "imagemill, back": lab_to_rgb,
    "scikit-image, back": lab2rgb,
    "OpenCV, back": lambda lab: cv2.cvtColor(lab, cv2.COLOR_Lab2RGB),
}


def grid() -> npt.NDArray[np.uint8]:
    """64 levels of each channel, uint8 (512, 512, 3)."""
    levels = np.linspace(0, 255, 64).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(512, 512, 3)


def seconds(convert: Conversion, pixels: Pixels, repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        convert(pixels)
    return (time.process_time() - start) / repeats


def measure(side: int, rounds: int) -> list[list[str]]:
    """A row a way: rate, its ratio to scikit-image, and the largest error."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    inputs = {"uint8": image, "float32": (image / 255).astype(np.float32)}
    lab = rgb2lab(inputs["float32"]).astype(np.float32)
    ways = {name: (convert, inputs[kind]) for name, (kind, convert) in FORTH.items()}
    ways |= {name: (convert, lab) for name, convert in BACK.items()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (convert, pixels) in ways.items():
            spent[name].append(seconds(convert, pixels, max(1, 400_000 // side**2)))
    cost = {name: statistics.median(values) for name, values in spent.items()}
    rows = []
    for name in ways:
        peer = cost["scikit-image, back" if name in BACK else "scikit-image, of float32"]
        rate = side**2 / cost[name] / 1e6
        rows.append([name, f"{rate:.1f}", f"{peer / cost[name]:.1f}", f"{error(name):.1g}"])
    return rows


def error(name: str) -> float:
    """The largest difference to scikit-image in float64."""
    colours = grid()
    true = rgb2lab(colours / 255)
    if name in BACK:
        return float(np.abs(BACK[name](true.astype(np.float32)) - lab2rgb(true)).max() * 255)
    kind, convert = FORTH[name]
    pixels = colours if kind == "uint8" else (colours / 255).astype(np.float32)
    return float(np.abs(convert(pixels) - true).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--record", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = measure(arguments.side, arguments.rounds)
    head = [f"{arguments.side}×{arguments.side}", "megapixels/CPU-s", "× scikit-image", "largest error"]
    machine = describe(["imagemill", "numpy", "opencv-python-headless", "scikit-image"])
    text = "\n".join([*machine, "", table(head, rows)])
    print(text)
    if arguments.record:
        record(f"CIELAB, {time.strftime('%Y-%m-%d')}", text)


if __name__ == "__main__":
    main()
