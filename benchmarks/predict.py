"""What `predict` takes for a large picture: memory and CPU time, network by network, and what of it is the network.

    python benchmarks/predict.py [--megapixels 100] [--tile 1024] [--record]

Each row is a process of its own. "changes nothing" is a network that hands its input on: the memory that is left is
what decoding, tiling, blending and encoding take.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe, peak_mib, record, reset_peak, table
from PIL import Image

import imagemill
from imagemill.networks import create_network
from imagemill.networks.base import Network
from imagemill.prediction.options import OVERLAP, TILE
from imagemill.training.model_file import ModelSpec, save_model

NOTHING = "changes nothing"
NETWORKS = {
    NOTHING: ("residual-unet", {"width": 1, "levels": 1, "middle_blocks": 0, "patch": 4, "context": 0}),
    "residual-unet": ("residual-unet", {}),
    "unet, small": ("unet", {"variant": "small"}),
}


def make(folder: Path, megapixels: float) -> Path:
    """The models, and a picture of that size."""
    for name, (network, options) in NETWORKS.items():
        made: Network = create_network(network, **options)
        save_model(folder / f"{name}.safetensors", made, ModelSpec(network))
    side = round((megapixels * 1e6) ** 0.5)
    small = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    path = folder / "in" / "large.jpg"
    path.parent.mkdir()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def predicted(model: Path, picture: Path, tile: int) -> dict[str, float]:
    """One run in this process: peak memory in MiB, of which so much before; CPU and wall seconds."""
    torch.set_num_threads(1)
    imagemill.predict  # noqa: B018  loads everything that predict needs
    reset_peak()
    before, cpu_s, wall_s = peak_mib(), time.process_time(), time.perf_counter()
    out = picture.parent.parent / f"out {model.stem}"
    imagemill.predict(model, picture, out, tile=tile, device="cpu")
    shutil.rmtree(out)
    spent = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    return {"peak_mib": peak_mib(), "before_mib": before, **spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--tile", type=int, default=TILE)
    parser.add_argument("--only", choices=list(NETWORKS), action="append")
    parser.add_argument("--record", action="store_true", help="put the table into RESULTS.md")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(predicted(Path(arguments.one[0]), Path(arguments.one[1]), arguments.tile)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        picture = make(Path(folder), arguments.megapixels)
        for name in arguments.only or NETWORKS:
            words = [sys.executable, __file__, "--tile", str(arguments.tile)]
            words += ["--one", str(Path(folder) / f"{name}.safetensors"), str(picture)]
            found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            numbers = (found[key] for key in ("peak_mib", "before_mib", "cpu_s", "wall_s"))
            rows.append([name, *(f"{number:,.0f}" for number in numbers)])
    head = ["network", "peak MiB", "before MiB", "CPU s", "wall s"]
    what = f"A JPEG of {arguments.megapixels:g} megapixels, tiles of {arguments.tile} sharing {OVERLAP}, one thread."
    text = "\n".join([*describe(["imagemill", "torch", "numpy", "pillow"]), "", what, "", table(head, rows)])
    print(text)
    if arguments.record:
        record(f"predict.py, {time.strftime('%Y-%m-%d')}", text)


if __name__ == "__main__":
    main()
