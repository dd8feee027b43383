"""JPEGs of random coefficients: any sampling, tables, scans, restart intervals, values no encoder would write."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_VALUE = 32767


@dataclass
class Code:
    """A Huffman code: symbols with their lengths, in the order of the code."""

    lengths: list[tuple[int, int]]

    def __post_init__(self) -> None:
        self.words: dict[int, tuple[int, int]] = {}
        word = previous = 0
        for symbol, length in self.lengths:
            word <<= length - previous
            self.words[symbol] = word, length
            word, previous = word + 1, length

    def segment(self, kind: int) -> bytes:
        counts = [sum(length == wanted for _, length in self.lengths) for wanted in range(1, 17)]
        return bytes([kind, *counts, *(symbol for symbol, _ in self.lengths)])


def random_code(symbols: Iterable[int], rng: random.Random) -> Code:
    """Some symbols with short codes, the others with codes of 10 to 16 bits."""
    order = list(symbols)
    rng.shuffle(order)
    short = rng.randrange(0, min(8, len(order)))
    lengths = [(symbol, place + 2) for place, symbol in enumerate(order[:short])]
    longer = max(10, math.ceil(math.log2(len(order) + 1)) + 1)
    rest = order[short:]
    middle = rng.randrange(len(rest) + 1)
    lengths += [(symbol, longer) for symbol in rest[:middle]] + [(symbol, 16) for symbol in rest[middle:]]
    return Code(lengths)


@dataclass
class Writer:
    """Bits, with zeros stuffed behind bytes of 0xFF."""

    out: bytearray = field(default_factory=bytearray)
    bits: int = 0
    count: int = 0

    def put(self, value: int, length: int) -> None:
        self.bits, self.count = self.bits << length | value, self.count + length
        while self.count >= 8:
            byte = self.bits >> (self.count - 8) & 0xFF
            self.out += b"\xff\x00" if byte == 0xFF else bytes([byte])
            self.count -= 8
        self.bits &= (1 << self.count) - 1

    def finish(self) -> None:
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)

    def value(self, value: int, size: int) -> None:
        self.put(value if value > 0 else value + (1 << size) - 1, size)


def random_block(rng: random.Random, amplitude: float) -> list[int]:
    """64 coefficients in zigzag order; the first is a difference."""
    kind = rng.randrange(6)
    block = [0] * 64
    block[0] = round(rng.gauss(0, 4 * amplitude))
    places = [] if kind == 0 else [63] if kind == 1 else rng.sample(range(1, 64), rng.choice((1, 3, 8, 30, 63)))
    if kind == 2:
        places = [place for place in places if place < 10]
    for place in places:
        block[place] = round(rng.gauss(0, amplitude / (1 + place / 8)))
    return [max(-MOST_VALUE, min(MOST_VALUE, value)) for value in block]


def put_block(writer: Writer, block: list[int], dc: Code, ac: Code) -> None:
    size = abs(block[0]).bit_length()
    writer.put(*dc.words[size])
    if size:
        writer.value(block[0], size)
    run = 0
    for value in block[1:]:
        if value == 0:
            run += 1
            continue
        for _ in range(run // 16):
            writer.put(*ac.words[0xF0])
        size = abs(value).bit_length()
        writer.put(*ac.words[run % 16 << 4 | size])
        writer.value(value, size)
        run = 0
    if run:
        writer.put(*ac.words[0])


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def random_jpeg(
    rng: random.Random,
    sides: tuple[int, int],
    factors: list[tuple[int, int]],
    *,
    amplitude: float = 6.0,
    restart_interval: int = 0,
    rgb: bool = False,
) -> bytes:
    """A file of random coefficients.

    Args:
        sides: (height, width).
        factors: (across, down) of each component: one or three.
        amplitude: of the coefficients; a few is usual, thousands overflow.
        restart_interval: MCUs; 0 is none.
        rgb: the components are red, green and blue.
    """
    height, width = sides
    steps = [rng.choice((1, 3, 16, 99, 255)) for _ in range(64)]
    dc = [random_code(range(16), rng) for _ in range(2)]
    ac = [random_code([0, 0xF0, *(s for s in range(256) if s & 15)], rng) for _ in range(2)]
    identifiers = b"RGB" if rgb else b"\1\2\3"
    frame = struct.pack(">BHHB", 8, height, width, len(factors))
    scan = bytes([len(factors)])
    for place, (across, down) in enumerate(factors):
        frame += bytes([identifiers[place], across << 4 | down, place % 2])
        scan += bytes([identifiers[place], (place % 2) * 0x11])
    out = b"\xff\xd8"
    for place in range(2):
        out += _segment(0xDB, bytes([place, *steps]))
        out += _segment(0xC4, dc[place].segment(place)) + _segment(0xC4, ac[place].segment(0x10 | place))
    out += _segment(0xC0, frame)
    if restart_interval:
        out += _segment(0xDD, struct.pack(">H", restart_interval))
    out += _segment(0xDA, scan + b"\0\x3f\0")
    if len(factors) == 1:
        factors = [(1, 1)]
    across, down = (max(factor[axis] for factor in factors) * 8 for axis in (0, 1))
    writer, previous = Writer(), [0] * len(factors)
    for number in range(math.ceil(height / down) * math.ceil(width / across)):
        if restart_interval and number and number % restart_interval == 0:
            writer.finish()
            writer.out += bytes([0xFF, 0xD0 + (number // restart_interval - 1) % 8])
            previous = [0] * len(factors)
        for place, (h, v) in enumerate(factors):
            for _ in range(h * v):
                block = random_block(rng, amplitude)
                if abs(previous[place] + block[0]) > min(32000, max(1000, 4 * amplitude)):
                    block[0] = -previous[place] // 2
                previous[place] += block[0]
                put_block(writer, block, dc[place % 2], ac[place % 2])
    writer.finish()
    return out + bytes(writer.out) + b"\xff\xd9"


Scan = tuple[tuple[int, ...], int, int, int, int]
"""Places of its components, first and last coefficient, bits sent before and bits left."""
ONE_SCAN: list[Scan] = [((0, 1, 2), 0, 63, 0, 0)]
SCANS_APART: list[Scan] = [((1,), 0, 63, 0, 0), ((0, 2), 0, 63, 0, 0)]
PROGRESSIVE_SCANS: list[Scan] = [
    *(((0, 1, 2), 0, 0, high, low) for high, low in ((0, 2), (2, 1), (1, 0))),
    *(((place,), 1, 63, 0, 2) for place in (0, 1, 2)),
    *(((place,), 1, 63, high, high - 1) for high in (2, 1) for place in (2, 0, 1)),
]


def outline(
    sides: tuple[int, int], factors: list[tuple[int, int]], scans: list[Scan], *, between: list[bytes], end: bytes = b""
) -> bytes:
    """A JPEG of three components without its entropy-coded data, with codes for whatever symbol.

    Args:
        sides: (height, width).
        factors: (across, down) of each component.
        scans: in order; with several bits or bands the frame is progressive.
        between: what stands before each scan's header.
        end: what stands before the end marker.
    """
    marker = 0xC1 if scans in (ONE_SCAN, SCANS_APART) else 0xC2
    components = b"".join(bytes([place, across << 4 | down, 0]) for place, (across, down) in enumerate(factors))
    out = b"\xff\xd8" + _segment(0xDB, bytes([0, *range(1, 65)]))
    out += _segment(marker, struct.pack(">BHHB", 8, *sides, len(factors)) + components)
    out += _segment(0xC4, Code([(symbol, 5) for symbol in range(16)]).segment(0x00))
    out += _segment(0xC4, Code([(symbol, 9 + symbol // 255) for symbol in range(256)]).segment(0x10))
    for (places, *band), before in zip(scans, between, strict=True):
        first, last, high, low = band
        parts = b"".join(bytes([place, 0]) for place in places)
        out += before + _segment(0xDA, bytes([len(places), *parts, first, last, high << 4 | low]))
    return out + end + b"\xff\xd9"
