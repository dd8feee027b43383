"""Recoded JPEGs: size, what comes back, and time beside libjpeg-turbo and our own decoder of JPEGs, one thread.

    python benchmarks/recoded.py [FOLDER …] [--rounds 5] [--limit 250] [--record]

Ways run in turn on the same files; a number is the median over the rounds, in CPU time. The first folder's photographs
are timed, and saved anew by Pillow to be measured in bytes. The JPEGs of all folders are recoded and given back, and so
are those that Pillow and scikit-image bring, where they are installed, and made ones of every kind. Large photographs
are made: 4000x3000 pixels, of which a box of 896x896 is decoded at a quarter of its sides.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import decode
import numpy as np
from machine import describe, record, table

from imagemill import native
from imagemill.codecs import image, recoded
from imagemill.codecs.image import read_header
from imagemill.native.recode import run_over, run_pixels
from imagemill.testing.images import nasty_images, photo, saved

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LARGE = (3000, 4000)
CROP = 896
CROPPED = 224
SAVED_ANEW: dict[str, dict[str, object]] = {
    "quality 85": {"quality": 85},
    "quality 85, optimised": {"quality": 85, "optimize": True},
    "quality 85, progressive": {"quality": 85, "progressive": True},
}
SHRINK = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[DATA / "imagenet_sample", DATA])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    options = parser.parse_args()
    files = [path.read_bytes() for path in jpegs_below(options.folders[0])[: options.limit]]
    files = [data for data in files if not recoded.recode(data)[1]]
    parts = [
        f"{len(files)} photographs of {statistics.mean(map(len, files)) / 1000:.0f} kB on average:",
        times(files, options.rounds),
        "Bytes, of the JPEGs':",
        sizes([options.folders[0], *(folder for folder in (DATA / "before_after",) if folder.is_dir())]),
        f"A photograph of {LARGE[1]}x{LARGE[0]} pixels, {CROP}x{CROP} of it at 1/{SHRINK} of the sides:",
        large_times(options.rounds),
        "What comes back:",
        what_comes_back(options.folders),
    ]
    machine = describe(["imagemill", "numpy"])
    machine.append(f"native core: {native.build()}")
    text = "\n".join(machine) + "\n\n" + "\n\n".join(parts) + "\n"
    print(text)
    if options.record:
        record("recoded.py", text)


def jpegs_below(folder: Path) -> list[Path]:
    """JPEGs of a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))


def times(files: Sequence[bytes], rounds: int) -> str:
    """Milliseconds a photograph of each way."""
    made, compact = ([recoded.recode(data, compact=each)[0] for data in files] for each in (False, True))
    sides = [read_header(data) for data in files]
    crops = random_boxes([header.sides for header in sides])

    def full(items: Sequence[bytes], decoder: str) -> Callable[[], object]:
        boxes = [(0, 0, header.height, header.width) for header in sides]
        return lambda: [run_pixels(item, box, decoder=decoder) for item, box in zip(items, boxes, strict=True)]

    def cropped(items: Sequence[bytes]) -> Callable[[], object]:
        return lambda: decode.batched("native")(items, crops, CROPPED)

    ways: dict[str, Callable[[], object]] = {
        "coefficients, libjpeg-turbo": lambda: [run_over(data) for data in files],
        "coefficients, recoded": lambda: [run_over(item) for item in made],
        "coefficients, recoded-compact": lambda: [run_over(item) for item in compact],
        "all pixels, libjpeg-turbo": full(files, "libjpeg"),
        "all pixels, our own decoder of JPEGs": full(files, "any"),
        "all pixels, recoded": full(made, "any"),
        "all pixels, recoded-compact": full(compact, "any"),
        f"RandomResizedCrop({CROPPED}), our own decoder of JPEGs": cropped(files),
        f"RandomResizedCrop({CROPPED}), recoded": cropped(made),
        f"RandomResizedCrop({CROPPED}), recoded-compact": cropped(compact),
        "JPEG to recoded": lambda: [recoded.recode(data) for data in files],
        "JPEG to recoded-compact": lambda: [recoded.recode(data, compact=True) for data in files],
        "recoded to recoded-compact": lambda: [recoded.recode(item, compact=True) for item in made],
        "recoded to JPEG": lambda: [recoded.restore(item) for item in made],
        "recoded-compact to JPEG": lambda: [recoded.restore(item) for item in compact],
    }
    found = measure(ways, rounds, len(files))
    base = {"coefficients": found["coefficients, libjpeg-turbo"], "all pixels": found["all pixels, libjpeg-turbo"]}
    rows = [
        [name, f"{1000 * seconds:.3f}", f"{1 / seconds:,.0f}", times_as_fast(base.get(name.partition(",")[0]), seconds)]
        for name, seconds in found.items()
    ]
    return table(["", "ms", "images/CPU-s", "times libjpeg-turbo"], rows)


def random_boxes(sides: Sequence[tuple[int, int]]) -> decode.Boxes:
    """The part that RandomResizedCrop shows of each picture."""
    rng = np.random.default_rng(0)
    return np.array([decode.draw_box(height, width, (0.08, 1.0), rng) for height, width in sides], np.int32)


def sizes(folders: Sequence[Path]) -> str:
    """Bytes of each set of JPEGs in both codings, and of the first set's photographs saved anew in other ways."""
    sets = {folder.name: [path.read_bytes() for path in jpegs_below(folder)] for folder in folders}
    pictures = [image.decode(data) for data in sets[folders[0].name][::5]]
    for name, options in SAVED_ANEW.items():
        sets[f"{folders[0].name}, a fifth, {name}"] = [saved(pixels, "JPEG", **options) for pixels in pictures]
    rows = []
    for name, files in sets.items():
        made = [[recoded.recode(data, compact=compact)[0] or data for data in files] for compact in (False, True)]
        row = [f"{sum(map(len, items)) / sum(map(len, files)):.2%}" for items in made]
        larger = sum(len(item) > len(data) for item, data in zip(made[1], files, strict=True))
        rows.append([name, str(len(files)), *row, str(larger)])
    return table(["JPEGs of", "files", "recoded", "recoded-compact", "compact files larger than theirs"], rows)


def times_as_fast(base: float | None, seconds: float) -> str:
    """How many times as fast as the base; empty without one."""
    return "" if base is None else f"{base / seconds:.2f}"


def measure(ways: dict[str, Callable[[], object]], rounds: int, count: int) -> dict[str, float]:
    """CPU seconds an image, the median over the rounds."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if turn:
                spent[name].append((time.process_time() - started) / count)
    return {name: statistics.median(found) for name, found in spent.items()}


def large_times(rounds: int) -> str:
    """Milliseconds a crop of a large photograph, by each way, beside the whole by libjpeg-turbo."""
    files = [saved(photo(*LARGE, seed), "JPEG", quality=85) for seed in range(2)]
    made, compact = ([recoded.recode(data, compact=each)[0] for data in files] for each in (False, True))
    boxes = [
        (top // SHRINK, left // SHRINK, CROP // SHRINK, CROP // SHRINK) for top, left in ((400, 900), (1700, 2600))
    ]

    def cropped(items: Sequence[bytes], decoder: str) -> Callable[[], object]:
        return lambda: [run_pixels(item, box, shrink=SHRINK, decoder=decoder) for item in items for box in boxes]

    whole = measure(
        {"": lambda: [run_pixels(item, (0, 0, *LARGE), decoder="libjpeg") for item in files]}, 1, len(files)
    )[""]
    ways = {
        "libjpeg-turbo": cropped(files, "libjpeg"),
        "our own decoder of JPEGs": cropped(files, "any"),
        "recoded": cropped(made, "any"),
        "recoded-compact": cropped(compact, "any"),
    }
    found = measure(ways, rounds, len(files) * len(boxes))
    rows = [["all of it, full size, libjpeg-turbo", f"{1000 * whole:.1f}", "1"]]
    rows += [[name, f"{1000 * seconds:.2f}", f"1/{whole / seconds:.0f}"] for name, seconds in found.items()]
    return table(["", "ms", "of the whole"], rows)


def what_comes_back(folders: Sequence[Path]) -> str:
    """Of each set of JPEGs: how many come back byte for byte, how many otherwise, how many stay, and why."""
    sets: dict[str, list[bytes]] = {}
    for folder in dict.fromkeys(folders):
        sets[folder.name] = [path.read_bytes() for path in jpegs_below(folder)]
    for package in ("PIL", "skimage"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            sets[package] = [path.read_bytes() for path in jpegs_below(Path(found.origin).parent)]
    sets["made: every kind, and damaged"] = [
        data for data, _ in nasty_images().values() if data.startswith(b"\xff\xd8")
    ]
    rows = []
    for name, files in sets.items():
        if files:
            outcomes = Counter(map(outcome, files))
            exact, otherwise = outcomes.pop("exact", 0), outcomes.pop("otherwise", 0)
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(outcomes.items()))
            share = f"{exact / max(exact + otherwise, 1):.1%}"
            rows.append([name, str(len(files)), str(exact), str(otherwise), share, reasons])
    return table(["JPEGs of", "files", "byte for byte", "otherwise", "share", "stay as they came"], rows)


def outcome(data: bytes) -> str:
    """What becomes of a file: "exact", "otherwise", or the reason why it is not recoded."""
    made, why_not = recoded.recode(data)
    if why_not:
        return why_not
    back = recoded.restore(made)
    if recoded.restore(recoded.recode(data, compact=True)[0]) != back:
        raise SystemExit("a compact file gives another JPEG")
    if back == data:
        return "exact"
    if recoded.about(made).is_exact:
        raise SystemExit("a file that was said to be exact came back otherwise")
    return "otherwise"


if __name__ == "__main__":
    main()
