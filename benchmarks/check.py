"""Images per CPU-second of `imagemill.check`, cleanvision and fastdup, in one run.

    python benchmarks/check.py --peers PYTHON [--images DIR] [--count 1000] [--rounds 3] [--quick] [--record]

Every measurement is a process of its own, which first looks at a few images (fastdup refuses so few); rounds are
interleaved. The numbers are medians over the rounds. Peers run under an interpreter of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import check_peer
from machine import describe, record, table
from photos import Pile, gather

BASELINE = "cleanvision, 1 job"
NOTES = """\
CPU is user and system time of the process and its children. imagemill decodes each image once and proves it whole;
"second run" finds all of them in its cache. cleanvision decodes with Pillow and, for duplicates, a second time. fastdup
compares embeddings of a network of its own. *times* is images per CPU-second over those of cleanvision with one job."""


def main() -> None:
    options = _options()
    rounds, count = (1, min(options.count, 100)) if options.quick else (options.rounds, options.count)
    machine = describe(["imagemill", "opencv-python-headless", "simplejpeg", "pyarrow", "numpy"])
    versions = _peer_versions(options.peers)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    problems = set()
    with tempfile.TemporaryDirectory(prefix="imagemill-bench-", dir=options.scratch) as name:
        pile = gather(Path(name) / "images", count, options.images)
        for _ in range(rounds):
            for contender in check_peer.CONTENDERS:
                print(contender, file=sys.stderr)
                outcome = measure_one(contender, pile, Path(name), options.peers)
                if isinstance(outcome, str):
                    problems.add(f"Failed: {contender} ({outcome}).")
                else:
                    runs[contender].append(outcome)
        what = f"{len(pile)} images of {pile.mean_bytes / 1000:.0f} kB ({pile.origin}), {rounds} interleaved rounds."
    text = "\n\n".join(["\n".join([*machine, versions]), what, render(runs, count), NOTES, *sorted(problems)])
    print(text)
    if options.record:
        record(f"Checking, {machine[0].partition(',')[0]}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="Python that has cleanvision and fastdup")
    parser.add_argument("--images", type=Path, help="folder with JPEGs; by default the ImageNet sample, else made ones")
    parser.add_argument("--count", type=int, default=1000, help="images; originals are copied until there are as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 100 images: shows that everything runs")
    parser.add_argument("--scratch", type=Path, help="folder for images and outputs, on the disk to measure")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    return parser.parse_args()


def _peer_versions(python: str) -> str:
    program = (
        "from importlib.metadata import version, PackageNotFoundError\n"
        "for name in ('cleanvision', 'fastdup', 'pillow'):\n"
        "    try: print(name, version(name))\n"
        "    except PackageNotFoundError: pass\n"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return "peers: " + ", ".join(done.stdout.splitlines())


def measure_one(name: str, pile: Pile, folder: Path, peers: str) -> dict[str, float] | str:
    """The numbers of one run in a process of its own, or the last line of what went wrong."""
    scratch, result = folder / "scratch", folder / "result.json"
    shutil.rmtree(scratch, ignore_errors=True)
    result.unlink(missing_ok=True)
    scratch.mkdir()
    python = sys.executable if name.startswith("imagemill") else peers
    command = [python, check_peer.__file__, name, str(pile.root), str(scratch), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not result.exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return lines[-1][:200]
    numbers: dict[str, float] = json.loads(result.read_text())
    return numbers


def render(runs: dict[str, list[dict[str, float]]], count: int) -> str:
    """One table."""
    rates = {name: [count / run["cpu_s"] for run in measured] for name, measured in runs.items()}
    base = median(rates[BASELINE]) if BASELINE in rates else 0.0
    rows = []
    for name, measured in runs.items():
        middle = {key: median(run[key] for run in measured) for key in measured[0]}
        children = f" + {middle['child_mib']:.0f} a child" if middle["child_mib"] else ""
        rows.append(
            [
                name,
                f"{median(rates[name]):.0f}",
                f"{min(rates[name]):.0f}–{max(rates[name]):.0f}",
                f"{median(rates[name]) / base:.1f}" if base else "",
                f"{1000 * middle['cpu_s'] / count:.2f}",
                f"{count / middle['wall_s']:.0f}",
                f"{middle['peak_mib']:.0f}{children}",
            ]
        )
    return table(["", "img/CPU-s", "range", "times", "CPU ms/img", "img/s wall", "peak MiB"], rows)


if __name__ == "__main__":
    main()
