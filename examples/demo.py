"""The whole way on real photographs: check, pack, verify, load, train. `make demo` runs it.

The photographs are those that the scikit-image and scikit-learn wheels bring along; nothing is downloaded. They are
cut into tiles: class folders (which photograph is this tile from?) and pairs (the tile without and with its colours),
with a few broken files among them.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import nn

import imagemill

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
TILE = 72
TILES = 40
"""Tiles a photograph; none overlaps another, so that no split has seen another's pixels."""

EPOCHS = 6
MARKER = ".imagemill-demo"


def main() -> None:
    """Runs every step and says where its results lie."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="new folder, or one that an earlier demo made, which is replaced")
    out = fresh_folder(parser.parse_args().out)
    photographs, pairs = out / "source" / "photographs", out / "source" / "pairs"

    print("Cutting photographs into tiles ...", flush=True)
    cut(photographs, pairs)
    add_broken_files(photographs)

    dataset, pair_dataset, report = out / "photographs", out / "pairs", out / "report.html"
    run("check", photographs, "--max-rejects", "5%")
    run("pack", photographs, dataset, "--split", "80/20", "--shard-size", "50", "--max-rejects", "5%")
    run("pack", pairs, pair_dataset, "--format", "parquet", "--split", "80/20")
    for folder in (dataset, pair_dataset):
        run("verify", folder)
    run("info", dataset)
    run("report", dataset, report)

    train(dataset)
    show_pairs(pair_dataset)
    print(f"\nSource:   {out / 'source'}\nDatasets: {dataset}\n          {pair_dataset}\nReport:   {report}")


def fresh_folder(out: Path) -> Path:
    """An empty folder; what an earlier demo left there goes, anything else stays."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            sys.exit(f"{out} is not empty and no earlier demo made it: name another folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    return out


def cut(photographs: Path, pairs: Path) -> None:
    """Writes the tiles of every photograph into a class folder, and as before/after pairs."""
    pairs.mkdir(parents=True)
    for name, (package, path) in PHOTOGRAPHS.items():
        with Image.open(inside(package) / path) as file:
            photograph = file.convert("RGB")
        folder = photographs / name
        folder.mkdir(parents=True)
        for number, tile in enumerate(tiles(photograph)):
            tile.save(folder / f"{name}_{number:02}.jpg", quality=92)
            tile.convert("L").save(pairs / f"{name}_{number:02}_before.jpg", quality=92)
            tile.save(pairs / f"{name}_{number:02}_after.jpg", quality=92)


def inside(package: str) -> Path:
    """Folder of an installed package; it is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        sys.exit(f"{package} is not installed, and the demo takes its photographs: pip install 'imagemill[demo]'")
    return Path(found.origin).parent


def tiles(photograph: Image.Image) -> list[Image.Image]:
    """The first `TILES` tiles, row by row."""
    corners = [
        (left, top)
        for top in range(0, photograph.height - TILE + 1, TILE)
        for left in range(0, photograph.width - TILE + 1, TILE)
    ]
    return [photograph.crop((left, top, left + TILE, top + TILE)) for left, top in corners[:TILES]]


def add_broken_files(photographs: Path) -> None:
    """What every pile has: a file cut short, text with an image's name, nothing at all, and litter."""
    whole = (photographs / "coffee" / "coffee_00.jpg").read_bytes()
    (photographs / "coffee" / "half_a_download.jpg").write_bytes(whole[: len(whole) * 4 // 5])
    (photographs / "flower" / "not_found.jpg").write_text("<html>404 Not Found</html>")
    (photographs / "rocket" / "empty.jpg").touch()
    (photographs / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def run(*arguments: object) -> None:
    """Runs an imagemill command and shows it; the demo ends where one fails."""
    words = list(map(str, arguments))
    print(f"\n$ imagemill {shlex.join(words)}", flush=True)
    finished = subprocess.run([sys.executable, "-m", "imagemill", *words])
    if finished.returncode != 0:
        sys.exit(f"imagemill {words[0]} ended with exit code {finished.returncode}")


def train(dataset: Path) -> None:
    """A few training steps: which photograph does a tile come from?"""
    print(f"\nTraining on {dataset} ...", flush=True)
    torch.manual_seed(0)
    classes = imagemill.open(dataset, "train").schema["label"].class_names or ()
    model = nn.Sequential(
        *block(3, 16),
        *block(16, 32),
        *block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(classes)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loader = imagemill.Loader(dataset, "train", batch_size=32, size=TILE, dtype="float32", seed=0)
    for epoch in range(EPOCHS):
        losses = []
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {sum(losses) / len(losses):.3f} in {len(losses)} steps", flush=True)
    print(f"tiles of split val that it names rightly: {accuracy(model, dataset):.0%} of {len(classes)} classes")


def block(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Convolution, normalisation, and half the side."""
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


@torch.no_grad()
def accuracy(model: nn.Module, dataset: Path) -> float:
    """Share of split `val` that the model classifies rightly."""
    model.eval()
    right = total = 0
    for batch in imagemill.Loader(dataset, "val", batch_size=64, size=TILE, dtype="float32", shuffle=False):
        right += int((model(batch["image"]).argmax(1) == batch["label"]).sum())
        total += len(batch["label"])
    return right / total


def show_pairs(dataset: Path) -> None:
    """The first batch of pairs: grey before, colour after, the same tile in both."""
    batch = next(iter(imagemill.Loader(dataset, "train", batch_size=8)))
    print(
        f"\nA batch of pairs from {dataset}: " + ", ".join(f"{k} {tuple(batch[k].shape)}" for k in ("before", "after"))
    )


if __name__ == "__main__":
    main()
