"""RandomResizedCrop on JPEGs, one thread: images per CPU-second and quality of several ways; then decoders alone.

    python benchmarks/decode.py FOLDER [--size 224] [--rounds 5] [--limit 250] [--scale 0.08,1.0] [--record]

Every way gets the same files and the same boxes, interleaved. A round runs all ways in turn over all files; the tables
show the median over rounds. PSNR is to Pillow's antialiased bilinear resize of the same box of the full decode. The
second table is decoding without resizing, to the same pixels: whole pictures, the boxes, and codes alone (nothing but
the last pixel is asked for), by our own decoder and by libjpeg-turbo in the same reader, on one and two threads.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from machine import describe, record, table
from PIL import Image

from imagemill import native
from imagemill.codecs.batch import decode_batch
from imagemill.codecs.image import decode, read_header
from imagemill.codecs.recoded import recode

Pixels = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.int32]
BATCH = 32


def draw_box(
    height: int, width: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """The usual RandomResizedCrop: area in `scale` of the image, aspect 3/4 to 4/3; the whole image after ten tries."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
    return 0, 0, height, width


def batched(backend: str) -> Callable[[Sequence[bytes], Boxes, int], Pixels]:
    """Our own decode by one of its backends, in batches, channels first; the others stop at HWC."""

    def run(files: Sequence[bytes], boxes: Boxes, side: int) -> Pixels:
        out = np.empty((len(files), 3, side, side), np.uint8)
        for start in range(0, len(files), BATCH):
            part = slice(start, start + BATCH)
            errors = decode_batch(files[part], boxes[part], out[part], backend=backend)  # type: ignore[arg-type]
            if errors:
                raise next(iter(errors.values()))
        return out.transpose(0, 2, 3, 1)

    return run


def recoded_batched() -> Callable[[Sequence[bytes], Boxes, int], Pixels]:
    """The same on recoded JPEGs; recoding them is not measured."""
    known: dict[bytes, bytes] = {}

    def run(files: Sequence[bytes], boxes: Boxes, side: int) -> Pixels:
        if not known:
            known.update((data, recode(data)[0] or data) for data in files)
        return batched("native")([known[data] for data in files], boxes, side)

    return run


def one_by_one(decode_one: Callable[[bytes, tuple[int, ...], int], Pixels]) -> Callable[..., Pixels]:
    """A loop over files, as a Dataset has it."""

    def run(files: Sequence[bytes], boxes: Boxes, side: int) -> Pixels:
        return np.stack([decode_one(data, tuple(box), side) for data, box in zip(files, boxes.tolist(), strict=True)])

    return run


def with_opencv(data: bytes, box: tuple[int, ...], side: int) -> Pixels:
    """imdecode, crop, INTER_AREA, BGR to RGB."""
    top, left, height, width = box
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    cut = full[top : top + height, left : left + width]
    return cv2.cvtColor(cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def with_pillow(data: bytes, box: tuple[int, ...], side: int) -> Pixels:
    """open, convert, crop, antialiased resize: what torchvision does on PIL images."""
    top, left, height, width = box
    image = Image.open(io.BytesIO(data)).convert("RGB").crop((left, top, left + width, top + height))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def with_simplejpeg(data: bytes, box: tuple[int, ...], side: int) -> Pixels:
    """TurboJPEG, crop, OpenCV's INTER_AREA."""
    top, left, height, width = box
    cut = simplejpeg.decode_jpeg(data, "RGB")[top : top + height, left : left + width]
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)


def reference(data: bytes, box: tuple[int, ...], side: int) -> Pixels:
    """Pillow's antialiased resize of the full decode."""
    top, left, height, width = box
    image = Image.fromarray(decode(data)).crop((left, top, left + width, top + height))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=None))


WAYS: dict[str, Callable[..., Pixels]] = {
    **(
        {"imagemill, recoded": recoded_batched(), "imagemill, native core": batched("native")}
        if native.available()
        else {}
    ),
    "imagemill, Python": batched("python"),
    "OpenCV": one_by_one(with_opencv),
    "simplejpeg + OpenCV": one_by_one(with_simplejpeg),
    "Pillow": one_by_one(with_pillow),
}


PARTS = ("whole pictures", "boxes", "codes alone")
LIBJPEG, OWN = "libjpeg-turbo", "our own decoder"
DECODERS = {LIBJPEG: "libjpeg", OWN: "own"}


def box_of(part: str, sides: tuple[int, int], box: tuple[int, ...]) -> tuple[int, int, int, int]:
    """What is asked of a picture."""
    height, width = sides
    if part == "whole pictures":
        return 0, 0, height, width
    return (height - 1, width - 1, 1, 1) if part == "codes alone" else (box[0], box[1], box[2], box[3])


def measure_decoders(files: list[bytes], boxes: Boxes, rounds: int) -> list[list[str]]:
    """Rows of the second table, for the files that our own decoder takes."""
    asked = [(data, read_header(data).sides, tuple(box)) for data, box in zip(files, boxes.tolist(), strict=True)]
    taken = [one for one in asked if native.read_jpeg(one[0], (0, 0, 1, 1), decoder="own")[0] is native.Status.DONE]
    spent: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(rounds):
        for part, threads, name in itertools.product(PARTS, (1, 2), DECODERS):

            def decode_one(
                one: tuple[bytes, tuple[int, int], tuple[int, ...]], part: str = part, name: str = name
            ) -> None:
                native.read_jpeg(one[0], box_of(part, one[1], one[2]), decoder=DECODERS[name])

            with ThreadPoolExecutor(threads) as pool:
                started = time.process_time()
                list(pool.map(decode_one, taken))
                spent.setdefault((part, threads, name), []).append(time.process_time() - started)
    rows = []
    for part, threads, name in spent:
        each, theirs = (statistics.median(spent[part, threads, one]) / len(taken) for one in (name, LIBJPEG))
        rows.append([part, str(threads), name, f"{each * 1000:.3f}", f"{1 / each:,.0f}", f"{theirs / each:.2f}"])
    return rows


def plain_files(folder: Path, limit: int) -> list[bytes]:
    """JPEGs that every way decodes alike: upright, RGB or grey, without a colour profile to apply."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".jpeg") and len(files) < limit:
            data = path.read_bytes()
            header = read_header(data)
            if header.orientation == 1 and header.mode in ("RGB", "L") and not header.icc:
                files.append(data)
    return files


def quality(found: Pixels, wanted: Pixels) -> tuple[float, float, float]:
    """(median PSNR in dB, lowest PSNR, largest mean absolute error of a picture in levels)."""
    difference = found.astype(np.float64) - wanted
    squares = np.maximum((difference**2).mean(axis=(1, 2, 3)), 1e-3)
    psnr = 10 * np.log10(255**2 / squares)
    return float(np.median(psnr)), float(psnr.min()), float(np.abs(difference).mean(axis=(1, 2, 3)).max())


def measure(files: list[bytes], boxes: Boxes, side: int, rounds: int) -> list[dict[str, object]]:
    """A row of the table for each way."""
    cv2.setNumThreads(1)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    pictures = {name: way(files, boxes, side) for name, way in WAYS.items()}
    for _ in range(rounds):
        for name, way in WAYS.items():
            started = time.process_time()
            way(files, boxes, side)
            rates[name].append(len(files) / (time.process_time() - started))
    wanted = np.stack([reference(data, tuple(box), side) for data, box in zip(files, boxes.tolist(), strict=True)])
    rows: list[dict[str, object]] = []
    for name in WAYS:
        median, lowest, error = quality(pictures[name], wanted)
        rate = statistics.median(rates[name])
        rows.append(
            {
                "way": name,
                "images_per_cpu_s": round(rate, 1),
                "times_opencv": round(rate / statistics.median(rates["OpenCV"]), 2),
                "psnr_db": round(median, 1),
                "psnr_db_min": round(lowest, 1),
                "mae_levels_max": round(error, 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--scale", default="0.08,1.0", help="range of the box's share of the area")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add to RESULTS.md")
    options = parser.parse_args()
    files = plain_files(options.folder, options.limit)
    if not files:
        parser.error(f"no plain JPEGs in {options.folder}")
    low, high = (float(number) for number in options.scale.split(","))
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(*read_header(data).sides, (low, high), rng) for data in files], np.int32)
    rows = measure(files, boxes, options.size, options.rounds)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    pixels = statistics.median(read_header(data).pixels for data in files)
    head = ["", *list(rows[0])[1:]]
    parts = [
        "\n".join(describe(["imagemill", "opencv-python-headless", "pillow", "simplejpeg"])),
        f"{len(files)} files, median {pixels / 1e6:.2f} megapixels; native core: {native.build() or 'not built'}",
        table(head, [[str(value) for value in row.values()] for row in rows]),
    ]
    if native.available():
        names = ["", "threads", "decoder", "ms of CPU an image", "images/CPU-s", f"times {LIBJPEG}"]
        parts.append(table(names, measure_decoders(files, boxes, options.rounds)))
    text = "\n\n".join(parts)
    print(text)
    if options.record:
        record(f"decode.py, RandomResizedCrop({options.size}) on JPEGs and decoders alone", text)


if __name__ == "__main__":
    main()
