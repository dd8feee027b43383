"""Damaged JPEGs and PNGs through the native core under AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/fuzz_native.py [--count 10000] [--seed 0] [FOLDER]

Builds the core with sanitizers into a temporary folder and decodes mutated JPEGs, made ones and those of FOLDER, in
a child process that ends at the first finding, both by given boxes and as samples of a dataset, with raw pixels, and
PNGs, images and masks, some of them with damage behind right checksums. Boxes, turns, transforms, colours,
orientations, sizes, filters and threads are random. What the core calls done is compared with the full decode by the
codecs, JPEGs that it writes with libjpeg-turbo's, and its PNGs are read back. Needs gcc with libasan.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT / "src")]
BATCH = 50
MAX_PIXELS = 4_000_000
BATCH_LIMIT_S = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=Path, help="what the child process loads; given by the parent")
    options = parser.parse_args()
    if options.library:
        return feed(options.library, options.folder, options.count, options.seed)
    return supervise(__file__)


def supervise(script: str) -> int:
    """Builds the core and runs a script again under the sanitizers, with `--library`; its exit code."""
    from build_native import build, compiler

    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "_core.so"
        why_not = build(library, sanitize=True)
        if why_not:
            sys.stderr.write(f"cannot build: {why_not}\n")
            return 1
        names = ("libasan.so", "libubsan.so")
        runtimes = [
            subprocess.run([*compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=True)
            for name in names
        ]
        environment = {
            **os.environ,
            "LD_PRELOAD": " ".join(result.stdout.strip() for result in runtimes),
            # Python keeps what it allocated to its end; a size that cannot be had must be an error, not the end.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        }
        command = [sys.executable, script, *sys.argv[1:], "--library", str(library)]
        result = subprocess.run(command, env=environment, check=False)
    sys.stdout.write("no finding\n" if result.returncode == 0 else f"FAILED with code {result.returncode}\n")
    return 1 if result.returncode else 0


def feed(library: Path, folder: Path | None, count: int, seed: int) -> int:
    """Decodes `count` damaged JPEGs in batches; 1 where pixels are not those of the full decode."""
    import numpy as np

    if not load_core(library):
        return 1
    from unit.codecs.test_fuzz import damaged
    from unit.native.batches import jpegs
    from unit.native.jpeg_writer import random_jpeg

    from imagemill import native
    from imagemill.codecs.colour_map import known_profiles, learn_profile
    from imagemill.testing.images import photo, saved, wide_gamut_profile

    rng = random.Random(seed)
    originals = list(jpegs().values())
    originals.append(saved(photo(141, 203), "JPEG", quality=90, icc_profile=wide_gamut_profile()))
    for _ in range(40):  # any sampling and tables, values that overflow
        factors = [(rng.randrange(1, 3), rng.randrange(1, 3)) for _ in range(rng.choice((1, 3, 3)))]
        sides, interval = (rng.randrange(1, 90), rng.randrange(1, 120)), rng.choice((0, 0, 1, 5))
        amplitude = rng.choice((3.0, 20.0, 500.0, 20000.0))
        originals.append(random_jpeg(rng, sides, factors, amplitude=amplitude, restart_interval=interval))
    if folder:
        found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
        originals += [path.read_bytes() for path in rng.sample(found, min(60, len(found)))]
    seen: Counter[str] = Counter()
    slowest_s = 0.0
    for start in range(0, count, BATCH):
        number = min(BATCH, count - start)
        data = [damaged(rng.choice(originals), rng) for _ in range(number)]
        size = rng.choice([(1, 1), (7, 5), (32, 32), (100, 120), (224, 224)])
        boxes = np.array([_box(rng) for _ in range(number)], np.float64)
        limits = None
        if rng.random() < 0.5:
            touched = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, :2] + boxes[:, 2:])], axis=1)
            margins = np.array([-rng.randrange(5), -rng.randrange(5), rng.randrange(5), rng.randrange(5)])
            limits = (touched + margins).astype(np.int32)
        channels, layout = rng.choice((1, 3)), rng.choice(("NCHW", "NHWC"))
        out = np.empty((number, channels, *size) if layout == "NCHW" else (number, *size, channels), np.uint8)
        started = time.monotonic()
        outcome = native.decode_batch(
            *(data, boxes, out),
            limits=limits,
            turns=np.array([rng.randrange(8) for _ in data], np.uint8),
            orientations=np.array([rng.choice((0, 0, 1, 3, 6, 8)) for _ in data], np.uint8),
            filter=rng.choice(native.FILTERS),
            layout=layout,
            threads=rng.choice((1, 2, 4)),
            max_pixels=MAX_PIXELS,
            shrink_gap=rng.choice((1.0, 2.0)),
            profiles=rng.choice((None, known_profiles())),
        )
        for position in np.flatnonzero(outcome.statuses == native.Status.PROFILE).tolist():
            learn_profile(int(outcome.profiles[position]), data[position])
        slowest_s = max(slowest_s, time.monotonic() - started)
        if slowest_s > BATCH_LIMIT_S:
            sys.stderr.write(f"a batch took {slowest_s:.0f} s\n")
            return 1
        seen.update(native.Status(int(status)).name for status in outcome.statuses)
        seen.update(load_samples(data, rng))
        if not (writes_jpegs(rng) and writes_pngs(rng)):
            sys.stderr.write("a file written is not as it should be\n")
            return 1
        verdicts = [compared(item, rng) for item in data]
        seen.update(verdicts)
        if "DIFFERENT" in verdicts:
            sys.stderr.write("our decoder's pixels are not libjpeg's\n")
            return 1
        wrong = [item for item in data if not agrees(item)] if start % (10 * BATCH) == 0 else []
        if wrong:
            sys.stderr.write("pixels differ from the full decode\n")
            return 1
    sys.stdout.write(f"{count} files: {dict(seen)}; slowest batch of {BATCH}: {slowest_s:.2f} s\n")
    return 0


def load_core(library: Path) -> bool:
    """Takes a core for the package's, before the tests' modules ask whether there is one; whether that went well."""
    from imagemill import native

    native.LIBRARY = library
    if native.available() and str(library) in Path("/proc/self/maps").read_text("utf-8"):
        return True
    sys.stderr.write(f"the core under test is not loaded: {native.why_not()}\n")
    return False


def writes_jpegs(rng: random.Random) -> bool:
    """Whether JPEGs of random parts of a random picture are those that OpenCV's libjpeg-turbo makes of them."""
    import cv2
    import numpy as np

    from imagemill.native.jpeg_parts import SUBSAMPLINGS, JpegParts
    from imagemill.testing.images import photo

    sides = rng.randrange(1, 140), rng.randrange(1, 140)
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (*sides, 3), np.uint8)
    picture = np.ascontiguousarray(rng.choice((photo(*sides), noise))[:, :, : rng.choice((1, 3))])
    grid, boxes = rng.choice((1, 8, 16)), []
    for _ in range(5):
        top, left = (rng.randrange(side) // grid * grid for side in sides)
        high, wide = rng.randint(1, sides[0] - top), rng.randint(1, sides[1] - left)
        boxes.append((top, left, max(1, high // grid * grid), max(1, wide // grid * grid)))
    boxes = [box for box in boxes if box[0] + box[2] <= sides[0] and box[1] + box[3] <= sides[1]]
    quality, subsampling = rng.randint(1, 100), rng.choice([*SUBSAMPLINGS])
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    parts = JpegParts(picture, boxes, quality, subsampling)
    for number in rng.sample(range(len(boxes)), len(boxes)):
        top, left, height, width = boxes[number]
        part = picture[top : top + height, left : left + width]
        ordered = np.ascontiguousarray(part) if part.shape[2] == 1 else cv2.cvtColor(part, cv2.COLOR_RGB2BGR)
        if parts[number] != cv2.imencode(".jpg", ordered, options)[1].tobytes():
            return False
    return True


def writes_pngs(rng: random.Random) -> bool:
    """Whether a PNG of random levels, many of them alike, is read back as it was."""
    import cv2
    import numpy as np

    from imagemill.native.png import write_png

    sides, numbers = (rng.randrange(1, 300), rng.randrange(1, 300)), np.random.default_rng(rng.randrange(2**32))
    levels = np.minimum(numbers.geometric(rng.choice((0.02, 0.3, 0.9)), (*sides, rng.choice((1, 3)))), 255)
    picture = np.repeat(levels.astype(np.uint8), rng.randrange(1, 9), axis=1)[:, : sides[1]].copy()
    found = cv2.imdecode(np.frombuffer(write_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.array_equal(found.reshape(picture.shape)[:, :, ::-1], picture)


def compared(data: bytes, rng: random.Random) -> str:
    """How our own decoder's pixels compare with libjpeg's: of the whole picture, and of a part of it.

    Of a part the two look at different stretches of the file behind it, so one of them may hand it back.
    """
    import numpy as np
    import simplejpeg

    from imagemill.native import Status, read_jpeg

    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
    except ValueError:
        return "no header"
    if width * height > MAX_PIXELS:
        return "large"
    shrink = rng.choice((1, 2, 4, 8))
    height, width = -(-height // shrink), -(-width // shrink)
    top, left = rng.randrange(height), rng.randrange(width)
    part = top, left, rng.randint(1, height - top), rng.randint(1, width - left)
    whole = 0, 0, height, width
    for box in (part, whole):
        status, found = read_jpeg(data, box, shrink=shrink, decoder="own")
        wanted_status, wanted = read_jpeg(data, box, shrink=shrink, decoder="libjpeg")
        both = status is Status.DONE and wanted_status is Status.DONE
        if both and not np.array_equal(found[..., :3], wanted[..., :3]):
            return "DIFFERENT"
        if box is whole and status is Status.DONE and not both:
            return "DIFFERENT"
    return f"own {status.name}"


def load_samples(data: list[bytes], rng: random.Random) -> list[str]:
    """The files as samples with raw pixels of random sides and a label; what became of each."""
    import numpy as np
    from unit.native.test_samples import PIPELINES

    from imagemill import native
    from imagemill.codecs.colour_map import known_profiles
    from imagemill.native.samples import ADDRESSES, FIELD, FieldKind, Request, Team
    from imagemill.transforms import CenterCrop, ColorJitter, Cutout, RandomErasing, RandomGrayscale
    from imagemill.transforms.program import changes_of, steps_of

    number, channels, is_mask = len(data), rng.choice((1, 3)), rng.random() < 0.3
    data = [damaged_png(rng, is_mask) if is_mask or rng.random() < 0.3 else item for item in data]
    sides, raw_sides = (rng.randrange(1, 90), rng.randrange(1, 90)), (rng.randrange(1, 90), rng.randrange(1, 90))
    steps = steps_of([*rng.choice([*PIPELINES.values()]), CenterCrop(sides)], channels)
    assert steps is not None
    colours = [
        ColorJitter(2.0, 2.0, 2.0, 0.5),
        RandomErasing(0.8, value="random"),
        Cutout(rng.randrange(1, 99)),
        RandomGrayscale(),
    ]
    changes = changes_of(rng.sample(colours, rng.randrange(4)), {channels})
    raw_bytes = raw_sides[0] * raw_sides[1] * channels
    # Every value lies in memory of its own, so that a byte read beyond it is found.
    values = [np.frombuffer(item or b"0", np.uint8).copy() for item in data]
    raw = np.full((number, raw_bytes), 7, np.uint8)
    fields = np.zeros(2, FIELD)
    outs = [np.empty((number, *sides, channels), np.uint8) for _ in range(2)]
    kinds = (FieldKind.IMAGE, FieldKind.PIXELS) if rng.random() < 0.7 else (FieldKind.PIXELS, FieldKind.MASK_PIXELS)
    for place, kind in enumerate((FieldKind.MASK, FieldKind.PIXELS) if is_mask else kinds):
        depth = 1 if kind == FieldKind.MASK else channels
        fields[place] = (kind, depth, rng.random() < 0.5, 1, sides, raw_sides, sides[0] * sides[1] * depth, 0)
        fields[place]["out"] = native.address(outs[place])
    lengths = np.array([value.size for value in values], np.int64), np.full(number, raw_bytes, np.int64)
    digests = np.array([native.xxh3_64(value.tobytes()) for value in values], np.uint64)
    digests[rng.randrange(number)] ^= np.uint64(1)
    checked, zeros = np.zeros((2, number), np.bool_), np.zeros(number, np.int64)
    columns = np.zeros((number, 2, ADDRESSES), np.uint64)
    for shard, value in enumerate(values):
        for place, start in enumerate((native.address(value), native.address(raw[shard]))):
            columns[shard, place, :3] = start, native.address(zeros), native.address(lengths[place][shard : shard + 1])
        columns[shard, 0, 3:] = (
            native.address(digests[shard : shard + 1]),
            native.address(checked[0, shard : shard + 1]),
        )
    if fields[0]["kind"] == FieldKind.PIXELS:
        columns[:, 0] = columns[:, 1]  # the mask has the picture's bytes
    shards, names = np.arange(number, dtype=np.int32), np.array([rng.randrange(2**40) for _ in data], np.int64)
    team = Team(rng.choice((1, 2, 4)))
    statuses = team.load(
        Request(zeros, shards, names, rng.randrange(2**64), columns, fields, steps, changes, "first", known_profiles()),
        np.empty(number, np.uint64),
    )
    team.close()
    return [f"sample {native.Status(int(status)).name}" for status in statuses]


def damaged_png(rng: random.Random, is_mask: bool) -> bytes:
    """A mutated PNG, or one with a mutated stream of which no checksum is wrong."""
    from PIL import Image
    from unit.codecs.test_fuzz import damaged
    from unit.native.test_png import chunk

    from imagemill.testing.images import photo, saved

    picture = photo(rng.randrange(8, 90), rng.randrange(8, 90), rng.randrange(9))
    values = picture[:, :, 0] // rng.randrange(1, 99) if is_mask else picture
    file = saved(Image.fromarray(values), "PNG", compress_level=rng.randrange(10))
    if rng.random() < 0.3:
        return damaged(file, rng)
    start = file.index(b"IDAT") + 4
    stop = start + int.from_bytes(file[start - 8 : start - 4], "big")
    stream = damaged(file[start:stop], rng) if rng.random() < 0.8 else file[start:stop]
    return file[: start - 8] + chunk(b"IDAT", stream) + file[stop + 4 :]


def _box(rng: random.Random) -> list[float]:
    """Of whole pixels or not, inside most pictures or not."""
    box = [rng.randrange(60), rng.randrange(60), *_sides(rng)]
    return box if rng.random() < 0.5 else [side + rng.random() for side in box]


def _sides(rng: random.Random) -> tuple[int, int]:
    return rng.choice([(1, 1), (80, 90), (rng.randrange(1, 140), rng.randrange(1, 140)), (400, 300)])


def agrees(data: bytes) -> bool:
    """Whether the core has the codecs' pixels of a whole image, where both have any."""
    import numpy as np

    from imagemill import native
    from imagemill.codecs.image import decode, read_header
    from imagemill.errors import SampleError

    try:
        header = read_header(data)
        wanted = decode(data, header=header) if header.pixels <= MAX_PIXELS else None
    except SampleError:
        return True
    if wanted is None:
        return True
    out = np.empty((1, *wanted.shape), np.uint8)
    box = np.array([[0, 0, *wanted.shape[:2]]], np.int32)
    outcome = native.decode_batch([data], box, out, layout="NHWC", max_pixels=MAX_PIXELS)
    return bool(outcome.statuses[0] != native.Status.DONE or np.array_equal(out[0], wanted))


if __name__ == "__main__":
    sys.exit(main())
