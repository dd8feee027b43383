"""Images per CPU-second of `imagemill.pack` and of the writers of other packages, in one run.

    python benchmarks/pack.py [--images DIR] [--count 1000] [--rounds 5] [--quick] [--only TEXT] [--record]

Every measurement is a process of its own, which first packs a few images (imports, shown apart)
and then all of them. Rounds are interleaved: each contender runs once a round, so that a slow moment of
the machine meets all of them. The numbers are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from statistics import median

import contenders
from contenders import SIDE, TABLES, Contender
from machine import describe, record, table
from photos import Pile, gather

MODULES = {"mosaicml-streaming": "streaming"}
TITLES = {
    "encoded": "Image files, stored as they are",
    "arrays": f"Raw RGB arrays of {SIDE}x{SIDE}, Pillow's bicubic filter (antialiased) on the whole image everywhere",
}
Runs = dict[tuple[str, int], list[dict[str, float]]]

NOTES = """\
CPU is user and system time of the process and its children; img/CPU-s is images by CPU seconds, the median over the
rounds, and the range beside it its extremes. *start* is the CPU time of imports and of packing {few} images, which is
not in the other columns; the imports of imagemill's own worker processes are. *4×* is one run with four times the
images. *peak* is the resident memory of the process (Linux, mapped files included), and of its largest child where it
has any.
imagemill and `datasets` imagefolder find files and labels themselves, the others are handed the list. Only imagemill
syncs its files to the disk, which costs wall time, not CPU time. Sources come from the page cache."""

NOT_THERE = """\
Not compared: FFCV, which re-encodes, and hpc_pytorch_loader (not on a package index)."""


def main() -> None:
    options = _options()
    rounds, count = (1, min(options.count, 100)) if options.quick else (options.rounds, options.count)
    packages = ["imagemill", *sorted({c.package for rows in TABLES.values() for c in rows} - {"", "imagemill"})]
    machine = describe([*packages, "pyarrow", "simplejpeg", "torch"])
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-", dir=options.scratch) as name:
        folder = Path(name)
        pile = gather(folder / "images", count, options.images)
        what = f"{len(pile)} images of {pile.mean_bytes / 1000:.0f} kB ({pile.origin}), {rounds} interleaved rounds."
        four = gather(folder / "four-times", 4 * count, options.images)
        runs, problems = measure_all(pile, folder, rounds, options.only)
        memory, more_problems = measure_all(four, folder, 1, options.only)
        agreement = compare_pixels(pile, folder)
    parts = [
        "\n".join(machine),
        what,
        *(f"### {TITLES[name]}\n\n{render(name, runs, memory, count)}" for name in TABLES),
        NOTES.format(few=contenders.WARM_UP),
        agreement,
        NOT_THERE,
        "\n".join(sorted({*problems, *more_problems})),
    ]
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if options.record:
        record(f"Packing, {machine[0].partition(',')[0]}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with JPEGs; by default the ImageNet sample, else made ones")
    parser.add_argument("--count", type=int, default=1000, help="images; originals are copied until there are as many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of 100 images: shows that everything runs")
    parser.add_argument("--only", default="", help="only rows whose name has this text")
    parser.add_argument("--scratch", type=Path, help="folder for images and outputs, on the disk to measure")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    return parser.parse_args()


def measure_all(pile: Pile, folder: Path, rounds: int, only: str) -> tuple[Runs, list[str]]:
    """Every contender once a round; also a line for each that cannot run."""
    runs: Runs = {}
    problems: list[str] = []
    entries = [(name, number) for name, rows in TABLES.items() for number in range(len(rows))]
    for round_number in range(rounds):
        for table_name, number in entries:
            contender = TABLES[table_name][number]
            if only not in contender.name:
                continue
            if missing(contender):
                problems.append(f"Skipped: {contender.name} ({contender.package} is not installed).")
                continue
            print(f"round {round_number + 1}: {contender.name}", file=sys.stderr)
            outcome = measure_one(table_name, number, pile, folder)
            if isinstance(outcome, str):
                problems.append(f"Failed: {contender.name} ({outcome}).")
            else:
                runs.setdefault((table_name, number), []).append(outcome)
    return runs, problems


def missing(contender: Contender) -> bool:
    """Whether the contender's package is not installed."""
    return bool(contender.package) and util.find_spec(MODULES.get(contender.package, contender.package)) is None


def measure_one(table_name: str, number: int, pile: Pile, folder: Path) -> dict[str, float] | str:
    """The numbers of one run in a process of its own, or the last line of what went wrong."""
    scratch, result = folder / "scratch", folder / "result.json"
    shutil.rmtree(scratch, ignore_errors=True)
    result.unlink(missing_ok=True)
    scratch.mkdir()
    places = {
        "TMPDIR": scratch,
        "HF_HOME": scratch / "hub",
        "DATA_OPTIMIZER_CACHE_FOLDER": scratch / "chunks",
        "DATA_OPTIMIZER_DATA_CACHE_FOLDER": scratch / "inputs",
    }
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment |= {name: str(place) for name, place in places.items()}
    command: Sequence[object] = (sys.executable, contenders.__file__, table_name, number, pile.root, scratch, result)
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode or not result.exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return lines[-1][:200]
    numbers: dict[str, float] = json.loads(result.read_text())
    return numbers


def render(name: str, runs: Runs, memory: Runs, count: int) -> str:
    """One table."""
    rows = []
    for number, contender in enumerate(TABLES[name]):
        measured = runs.get((name, number), [])
        if not measured:
            continue
        rates = sorted(count / run["cpu_s"] for run in measured)
        middle = {key: median(run[key] for run in measured) for key in measured[0]}
        four = memory.get((name, number), [{}])[0]
        rows.append(
            [
                contender.name,
                f"{median(rates):.0f}",
                f"{rates[0]:.0f}–{rates[-1]:.0f}",
                f"{1000 * middle['cpu_s'] / count:.2f}",
                f"{count / middle['wall_s']:.0f}",
                f"{middle['start_cpu_s']:.1f} s",
                _peak(middle),
                f"{4 * count / four['cpu_s']:.0f}" if four else "",
                _peak(four) if four else "",
                contender.checks,
            ]
        )
    head = ["", "img/CPU-s", "range", "CPU ms/img", "img/s wall", "start", "peak MiB", "4×: img/CPU-s", "4×: peak MiB"]
    return table([*head, "checks and digests"], rows)


def _peak(run: dict[str, float]) -> str:
    children = run["children_peak_mib"]
    return f"{run['peak_mib']:.0f}" + (f" + {children:.0f} a child" if children else "")


def compare_pixels(pile: Pile, folder: Path) -> str:
    """How many raw images of imagemill are equal to Pillow's, in words."""
    import numpy as np

    out = folder / "pixels"
    out.mkdir()
    TABLES["arrays"][0].write(pile, out)
    ours = np.load(next(out.rglob("*image*.npy")), mmap_mode="r")
    equal = {
        name: sum(
            np.array_equal(mine, pixels(pile.root / file)) for mine, (file, _) in zip(ours, pile.files, strict=True)
        )
        for name, pixels in (("plain", contenders.pixels_of), ("policy", contenders.policy_pixels_of))
    }
    return (
        f"Of {len(pile)} raw images {equal['plain']} are equal, pixel by pixel, in imagemill and in plain Pillow, and "
        f"{equal['policy']} where Pillow applies orientation and colour profile, too."
    )


if __name__ == "__main__":
    main()
