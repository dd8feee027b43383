"""PNGs through the native core under AddressSanitizer and UndefinedBehaviorSanitizer, checked against zlib and Pillow.

    python tools/fuzz_png.py [--count 100000] [--seed 0]

Rows under every filter, of any sides, go through zlib in all its ways; half of the streams are damaged behind right
checksums of the chunks. What zlib finds sound and nobody damaged must be read, what it finds broken must not, and
what is read must have Pillow's pixels, as levels and as floats at two resolutions. Needs gcc with libasan.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

from fuzz_native import load_core, supervise

STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
KINDS = ((2, 8, 3), (2, 8, 3), (2, 8, 3), (0, 8, 1), (0, 8, 3), (2, 8, 1), (0, 8, 0), (0, 1, 0), (0, 2, 0), (0, 4, 0))
"""(colour type, bits, channels that are asked for; 0 for a mask)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=Path, help="what the child process loads; given by the parent")
    options = parser.parse_args()
    return feed(options.library, options.count, options.seed) if options.library else supervise(__file__)


def feed(library: Path, count: int, seed: int) -> int:
    """Reads `count` PNGs; 1 where one is not as it should be."""
    if not load_core(library):
        return 1
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    for number in range(count):
        verdict = verdict_on(rng)
        seen[verdict] += 1
        if verdict.startswith("WRONG"):
            sys.stderr.write(f"file {number} of seed {seed}: {verdict}\n")
            return 1
    sys.stdout.write(f"{count} files: {dict(seen)}\n")
    return 0


def verdict_on(rng: random.Random) -> str:
    """What became of a random file; begins with WRONG where that should not be."""
    import numpy as np
    from unit.codecs.test_fuzz import damaged
    from unit.native.test_png import HANDED_BACK, chunk

    from imagemill.native import Status
    from imagemill.native.png import read_png

    colour, bits, channels = rng.choice(KINDS)
    sides = rng.choice(((rng.randrange(1, 9), rng.randrange(1, 9)), (rng.randrange(1, 60), rng.randrange(1, 200))))
    rows = random_rows(rng, sides, (sides[1] * bits * (3 if colour == 2 else 1) + 7) // 8)
    packer = zlib.compressobj(
        rng.randrange(10), zlib.DEFLATED, rng.randrange(9, 16), rng.randrange(1, 10), rng.choice(STRATEGIES)
    )
    cut = rng.randrange(len(rows))
    stream = packer.compress(rows[:cut]) + (packer.flush(zlib.Z_FULL_FLUSH) if rng.random() < 0.3 else b"")
    stream += packer.compress(rows[cut:]) + packer.flush()
    is_whole = rng.random() < 0.5
    stream = stream if is_whole else damaged(stream, rng)
    header = struct.pack(">IIBBBBB", sides[1], sides[0], bits, colour, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    found = read_png(file, sides, channels)
    if isinstance(found, Status):
        return "WRONG: a sound file is handed back" if is_whole or found not in HANDED_BACK else found.name
    if not is_sound(stream, len(rows)):
        return "WRONG: a broken stream is read"
    if not np.array_equal(found, by_pillow(file, bits, channels)):
        return "WRONG pixels"
    if channels == 3 and not shows_the_same(file, found, rng):
        return "WRONG floats"
    return "whole" if is_whole else "damaged, sound"


def random_rows(rng: random.Random, sides: tuple[int, int], row_bytes: int) -> bytes:
    """Rows of residuals under random filters: noise, photographs, few values, repetitions."""
    import numpy as np

    from imagemill.testing.images import photo

    numbers = np.random.default_rng(rng.randrange(2**32))
    levels = numbers.integers(0, rng.choice((2, 9, 60, 256)), (sides[0], row_bytes), np.uint8)
    kind = rng.randrange(4)
    if kind == 0:
        levels = photo(sides[0], row_bytes, rng.randrange(9))[..., 0]
    elif kind == 1:
        levels = np.repeat(levels, rng.randrange(1, 40), axis=1)[:, :row_bytes]
    elif kind == 2:
        levels = np.tile(levels[:, : rng.randrange(1, 30)], (1, row_bytes))[:, :row_bytes]
    filters = numbers.integers(0, 5, (sides[0], 1)) if rng.random() < 0.7 else np.full((sides[0], 1), rng.randrange(5))
    return np.hstack([filters.astype(np.uint8), levels]).tobytes()


def is_sound(stream: bytes, size: int) -> bool:
    """Whether zlib takes a stream as one of so many bytes; the size of its window is not looked at."""
    if (
        len(stream) < 6
        or stream[0] & 15 != 8
        or stream[0] >> 4 > 7
        or stream[1] & 32
        or int.from_bytes(stream[:2]) % 31
    ):
        return False
    unpacker = zlib.decompressobj(-15)
    try:
        rows = unpacker.decompress(stream[2:])
    except zlib.error:
        return False
    return unpacker.eof and len(rows) == size and unpacker.unused_data == zlib.adler32(rows).to_bytes(4)


def by_pillow(file: bytes, bits: int, channels: int) -> object:
    """Pixels, or the values of a mask."""
    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(file))
    if channels:
        pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        return pixels if channels == 3 else pixels[..., None]
    levels = np.asarray(image.convert("L")) if bits < 8 else np.asarray(image)
    return levels // (255 // (2**bits - 1))


def shows_the_same(file: bytes, pixels: object, rng: random.Random) -> bool:
    """Whether a part of a file as planes of floats is that of its pixels."""
    import numpy as np

    from imagemill.native import Profiles, address
    from imagemill.native.pairs import PairView, PictureBatch

    colours = np.asarray(pixels)
    height, width = (rng.randint(1, side) for side in colours.shape[:2])
    top, left = (rng.randint(0, side - length) for side, length in zip(colours.shape[:2], (height, width), strict=True))
    scale = rng.choice([number for number in (1, 2, 4) if height % number == width % number == 0])
    view = PairView((top, left, height, width), (height, width), (height, width), rng.random() < 0.5, scale)
    high = np.empty((3, height, width), np.float32)
    low = np.empty((3, height // scale, width // scale), np.float32)
    with PictureBatch([file], Profiles()) as batch:
        if batch.sides != [colours.shape[:2]] or batch.show([(view, address(high), address(low))]) != [True]:
            return False
    part = colours[top : top + height, left : left + width].astype(np.float32) / 255
    part = (part[:, ::-1] if view.mirrored else part).transpose(2, 0, 1)
    means = part.reshape(3, height // scale, scale, width // scale, scale).mean((2, 4))
    return bool(np.abs(high - part).max() < 1e-6 and np.abs(low - means).max() < 1e-6)


if __name__ == "__main__":
    sys.exit(main())
