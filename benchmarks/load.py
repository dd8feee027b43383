"""Images per CPU-second and per second of `imagemill.Loader` and of other packages' loaders, in one run.

    python benchmarks/load.py [--images DIR] [--count 1000] [--rounds 3] [--quick] [--only TEXT] [--modes …] [--record]

Each contender with each number of workers is a process of its own that stays. Rounds are interleaved: each runs one
epoch a round, the others wait meanwhile. The numbers are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from load_process import Contender, Failed, prepare, versions
from machine import describe, record, table
from peers import PEERS
from peers.base import ARRAYS, BATCH, SIDE
from photos import Pile, gather

RESIZED_SIDE, QUALITY = 256, 90
QUALITY_FILES = 100
TITLES = {
    "original": f"RandomResizedCrop({SIDE}) and flip on the JPEGs as they are",
    "resized": f"The same on JPEGs re-encoded at short side {RESIZED_SIDE}, quality {QUALITY}",
    "raw": f"Raw uint8 arrays of {SIDE}x{SIDE}, nothing to be done to them",
}
EPOCHS = {"original": 1, "resized": 1, "raw": 10}
"""Epochs a run takes: enough for a second or so."""

NOTES = f"""\
Batches of {BATCH}, shuffled, uint8. img/CPU-s counts user and system time of the process and all its children; the
range beside it are the extremes of the rounds. *first batch* is what a cold process takes to it after `import torch`:
CPU and wall seconds, imports, opening, starting of workers. *peak* is the memory of the process and its children
during the first epoch (proportional set size: what they share is counted once, mapped files included). *PSNR* is to
Pillow's antialiased bilinear resize of the same {QUALITY_FILES} boxes of the full decode: median and lowest. Before
the first round every contender has gone through the data once: compiled, cached, mapped, and digests checked at
the first read have been. Files come from the page cache.

Raw rows: `images[ids]` of NumPy writes every batch into the same memory, which stays in the last cache; a loader that
works ahead has several batches under way, as the row copy into four in turn has. imagemill's own order is (N, C, H, W),
for which it parts the channels; channels_last is a row copy like the others'."""


def main() -> None:
    options = _options()
    rounds, count = (1, min(options.count, 200)) if options.quick else (options.rounds, options.count)
    installed = versions({peer.venv for peer in PEERS})
    packages = sorted({peer.package for peer in PEERS})
    machine = describe(["imagemill", *packages])
    extra = [f"{name} {found[name]}" for venv, found in installed.items() for name in packages if name in found]
    machine[1] = ", ".join(sorted(set(extra)))
    from imagemill import native

    machine.append(f"imagemill's native core: {native.build() or 'not built'}")
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-", dir=options.scratch) as name:
        folder = Path(name)
        pile = gather(folder / "original", count, options.images)
        what = f"{len(pile)} images of {pile.mean_bytes / 1000:.0f} kB ({pile.origin}), {rounds} interleaved rounds."
        parts = ["\n".join(machine), what]
        problems: list[str] = []
        for mode in options.modes.split(","):
            contenders = start(mode, pile_of(mode, pile, folder), folder, options.only, installed, problems)
            runs = measure(contenders, mode, rounds, count, problems)
            pixels = quality(contenders, pile, folder / "quality") if mode == "original" else {}
            for contender in contenders:
                contender.end()
            parts.append(f"### {TITLES[mode]}\n\n{render(runs, pixels)}")
    text = "\n\n".join([*parts, NOTES, "\n".join(problems)])
    print(text)
    if options.record:
        record(f"Loading, {machine[0].partition(',')[0]}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with JPEGs; by default the ImageNet sample, else made ones")
    parser.add_argument("--count", type=int, default=1000, help="images; originals are copied until there are as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 200 images: shows that everything runs")
    parser.add_argument("--only", default="", help="only contenders whose name has one of these texts, split by |")
    parser.add_argument("--modes", default=",".join(TITLES), help=f"of {', '.join(TITLES)}")
    parser.add_argument("--scratch", type=Path, help="folder for images and storages, on the disk to measure")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    return parser.parse_args()


def pile_of(mode: str, pile: Pile, folder: Path) -> Pile:
    """The images of a mode: the pile itself, or what imagemill made of it."""
    import imagemill

    if mode == "original":
        return pile
    size = RESIZED_SIDE if mode == "resized" else SIDE
    dataset = folder / f"{mode}-dataset"
    imagemill.pack(pile.root, dataset, pixels=mode, size=size, format="memmap", shard_size=10**6, workers=None)
    root = folder / mode
    root.mkdir()
    if mode == "raw":
        (root / ARRAYS).symlink_to(next((dataset / "data").glob("*image*.npy")))
        return Pile(root, (), pile.origin)
    for sample in imagemill.open(dataset, returns="sample"):
        path = (root / sample.key).with_suffix(".jpg")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample.values["image"].data)
    return Pile.of(root, pile.origin)


def start(
    mode: str, pile: Pile, folder: Path, only: str, installed: dict[str, dict[str, str]], problems: list[str]
) -> list[Contender]:
    """Every contender of a mode, with its storage written and its first epoch behind it."""
    started = []
    for number, peer in enumerate(PEERS):
        if mode not in peer.modes or not any(text in peer.name for text in only.split("|")):
            continue
        if peer.package not in installed[peer.venv]:
            problems.append(f"Skipped: {peer.name} ({peer.package} is not installed in {peer.venv}).")
            continue
        storage = folder / f"storage-{mode}-{number}"
        storage.mkdir()
        try:
            prepare(number, mode, pile.root, storage)
            for workers in peer.counts:
                print(f"{mode}: starting {peer.name}, {workers}", file=sys.stderr)
                started.append(Contender(number, mode, pile.root, storage, workers))
        except Failed as error:
            problems.append(f"Failed: {peer.name} in mode {mode} ({error}).")
    return started


def measure(
    contenders: list[Contender], mode: str, rounds: int, count: int, problems: list[str]
) -> dict[Contender, list[dict[str, float]]]:
    """One run of each contender a round."""
    runs: dict[Contender, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for round_number in range(rounds):
        for contender in contenders:
            print(f"{mode}, round {round_number + 1}: {contender.name}, {contender.workers}", file=sys.stderr)
            try:
                runs[contender].append(contender.ask(f"run {EPOCHS[mode] * count}"))
            except Failed as error:
                problems.append(f"Failed: {contender.name} in mode {mode} ({error}).")
    return runs


def quality(contenders: list[Contender], pile: Pile, folder: Path) -> dict[str, str]:
    """Contender → PSNR of the boxes that it resizes, in words."""
    import decode

    from imagemill.codecs.image import read_header

    files = decode.plain_files(pile.root, QUALITY_FILES)
    rng = np.random.default_rng(0)
    boxes = [decode.draw_box(*read_header(file).sides, (0.08, 1.0), rng) for file in files]
    wanted = np.stack([decode.reference(file, box, SIDE) for file, box in zip(files, boxes, strict=True)])
    folder.mkdir()
    (folder / "boxes.json").write_text(json.dumps(boxes))
    for number, file in enumerate(files):
        (folder / f"{number:04d}.jpg").write_bytes(file)
    found: dict[str, str] = {}
    for contender in contenders:
        if contender.name in found:
            continue
        try:
            answer = contender.ask(f"resize {folder}")
        except Failed as error:
            found[contender.name] = f"failed: {error}"
            continue
        found[contender.name] = answer.get("words") or _psnr(np.load(answer["path"]), wanted)
    return found


def _psnr(pixels: Any, wanted: Any) -> str:
    import decode

    middle, lowest, _ = decode.quality(pixels, wanted)
    return f"{middle:.1f}, {lowest:.1f} dB" if middle < 75 else "equal"


def render(runs: dict[Contender, list[dict[str, float]]], pixels: dict[str, str]) -> str:
    """One table."""
    rows = []
    for contender, measured in runs.items():
        if not measured:
            continue
        rates = sorted(run["images"] / run["cpu_s"] for run in measured)
        wall = median(run["timed"] / run["wall_s"] for run in measured)
        row = [
            contender.name,
            f"{contender.workers} {contender.unit}{'s' * (contender.workers > 1)}",
            f"{median(rates):,.0f}",
            f"{rates[0]:,.0f}–{rates[-1]:,.0f}",
            f"{wall:,.0f}",
            f"{contender.first['cpu_s']:.1f}, {contender.first['wall_s']:.1f} s",
            f"{contender.peak_mib:,.0f}",
            *([pixels.get(contender.name, "")] if pixels else []),
            contender.checks,
        ]
        rows.append(row)
    head = ["", "workers", "img/CPU-s", "range", "img/s wall", "first batch", "peak MiB"]
    return table([*head, *(["PSNR"] if pixels else []), "checks"], rows)


if __name__ == "__main__":
    main()
