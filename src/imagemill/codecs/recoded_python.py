"""Recoded JPEGs back to JPEGs in plain Python, for systems without the native core: about a second an image.

Written from `docs/format-recoded-jpeg.md` alone, so it also shows that the page is complete.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from imagemill.codecs.header import octets
from imagemill.codecs.jpeg_scans import Coefficients, Frame, frame_of, write_jpeg
from imagemill.codecs.recoded import HEADER, PADS_WITH_ZEROS, TRAILER_BYTES, About, about, outline_of
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

MOST_CODE_BITS = 11
EMPTY, SKIP = 0x100, 0x0F0
_ORDER = [
    SKIP,
    EMPTY,
    *(last << 8 | run << 4 | size for last in (0, 1) for size in range(1, 15) for run in range(16)),
]

_Code = dict[tuple[int, int], int]
"""(length, code) → symbol."""


def restore_slowly(data: Buffer, *, max_pixels: int) -> bytes:
    """The JPEG of a recoded one; whether it is the right one is left to its digest.

    Raises:
        SampleError: "corrupt", "unsupported", "too-many-pixels".
    """
    data = bytes(octets(data))
    header, outline = about(data), outline_of(data)
    frame = frame_of(outline)
    if frame.height * frame.width > max_pixels:
        raise SampleError("too-many-pixels", f"{frame.width}x{frame.height}, at most {max_pixels:,}")
    try:
        coefficients = _coefficients(data, header, frame)
    except (KeyError, IndexError, ValueError):
        raise SampleError("corrupt", "a recoded JPEG that is damaged") from None
    return write_jpeg(outline, coefficients, padding=0 if header.flags & PADS_WITH_ZEROS else 1)


def _coefficients(data: bytes, header: About, frame: Frame) -> Coefficients:
    lengths_at = HEADER.size + header.outline_stored
    table_at = lengths_at + header.lengths_stored
    position = table_at + header.table_stored
    dc_bits, codes = _read_codes(data[lengths_at:table_at], 2 if header.is_compact else 1)
    lengths = iter(struct.unpack(f"<{header.table_stored // 2}H", data[table_at:position]))
    out = [np.zeros((each.high, each.wide, 64), np.int16) for each in frame.components]
    stop = len(data) - TRAILER_BYTES
    for row in range(frame.mcu_rows):
        for column in range(0, frame.mcu_columns, header.tile_columns):
            length = next(lengths, stop)
            if position + length > stop:
                raise IndexError
            bits = _Bits(data[position : position + length])
            position += length
            end = min(column + header.tile_columns, frame.mcu_columns)
            _Segment(frame, bits, row, column, end).read(dc_bits, codes, out)
    return out


def _read_codes(stored: bytes, count: int) -> tuple[int, list[_Code]]:
    """Bits of a segment's first DC, and the codes of tokens."""
    nibbles = iter([half for byte in stored for half in (byte >> 4, byte & 15)])
    return next(nibbles, 0), [_canonical(_code_lengths(nibbles)) for _ in range(count)]


def _code_lengths(nibbles: Iterator[int]) -> dict[int, int]:
    lengths: dict[int, int] = {}
    at = 0
    while at < len(_ORDER):
        nibble = next(nibbles, 15)
        if 1 <= nibble <= MOST_CODE_BITS:
            lengths[_ORDER[at]] = nibble
            at += 1
        elif nibble == 0:
            at += next(nibbles) + 1
        elif nibble == 13:
            at += next(nibbles) * 16 + next(nibbles) + 17
        elif nibble == 14:
            break
        else:
            raise ValueError(nibble)
    return lengths


def _canonical(lengths: dict[int, int]) -> _Code:
    codes: _Code = {}
    code = 0
    for length in range(1, MOST_CODE_BITS + 1):
        code <<= 1
        for symbol in sorted(symbol for symbol, its in lengths.items() if its == length):
            codes[length, code] = symbol
            code += 1
    return codes


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        bits = self.bits[self.at : self.at + count]
        if len(bits) < count:
            raise IndexError
        self.at += count
        return int(bits or "0", 2)

    def folded(self, count: int) -> int:
        """A number whose sign is its lowest bit."""
        number = self.take(count)
        return -(number + 1 >> 1) if number & 1 else number >> 1

    def symbol(self, code: _Code) -> int:
        if len(code) == 1:  # it has one bit, whatever that is
            self.take(1)
            return next(iter(code.values()))
        found = 0
        for length in range(1, MOST_CODE_BITS + 1):
            found = found << 1 | self.take(1)
            symbol = code.get((length, found))
            if symbol is not None:
                return symbol
        raise ValueError(found)

    def value(self, size: int) -> int:
        bits = self.take(size)
        return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1


class _Segment:
    """A tile's part of a row of MCUs."""

    def __init__(self, frame: Frame, bits: _Bits, row: int, first_column: int, end_column: int) -> None:
        self.frame, self.bits = frame, bits
        self.row, self.first_column, self.end_column = row, first_column, end_column

    def read(self, dc_bits: int, codes: list[_Code], out: Coefficients) -> None:
        places = range(len(self.frame.components))
        for place in places:
            self._read_dc(dc_bits, self._blocks(place, out))
        for place in reversed(places):
            for row in self._blocks(place, out):
                for block in row:
                    self._read_ac(codes, block)

    def _blocks(self, place: int, out: Coefficients) -> np.typing.NDArray[np.int16]:
        """Those of a component, of shape (rows, columns, 64); a view of all."""
        one = self.frame.components[place]
        rows = slice(self.row * one.down, (self.row + 1) * one.down)
        return out[place][rows, self.first_column * one.across : self.end_column * one.across]

    def _read_dc(self, first_bits: int, blocks: np.typing.NDArray[np.int16]) -> None:
        before = self.bits.folded(first_bits)
        stored = self.bits.take(4)
        width = 16 if stored == 15 else stored
        high, wide = blocks.shape[:2]
        for y in range(high):
            for x in range(wide):
                if x:
                    before = int(blocks[y, x - 1, 0]) + self.bits.folded(width)
                elif y:
                    before = int(blocks[y - 1, 0, 0]) + self.bits.folded(width)
                blocks[y, x, 0] = before

    def _read_ac(self, codes: list[_Code], block: np.typing.NDArray[np.int16]) -> None:
        k, code = 0, codes[0]
        while True:
            symbol = self.bits.symbol(code)
            if symbol == EMPTY:
                return
            size = symbol & 15
            k += (symbol >> 4 & 15) + 1
            value = self.bits.value(size)
            if symbol != SKIP:
                block[k] = value
            if symbol & 0x100:
                return
            if size <= 1:
                code = codes[-1]
            elif size >= 4:
                code = codes[0]
