"""Recoded JPEGs back to JPEGs in plain Python, for systems without the native core: about a second an image.

Written from `docs/format-recoded-jpeg.md` alone, so it also shows that the page is complete.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imagemill.codecs.header import octets
from imagemill.codecs.jpeg_scans import Coefficients, Frame, frame_of, write_jpeg
from imagemill.codecs.recoded import HEADER, PADS_WITH_ZEROS, TRAILER_BYTES, About, about, outline_of, read_varint
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

CODE_LANES = 4
AC_BITS, DC_BITS = 12, 10
"""The longest codes; a value that does not fit into as many bits with its code is in the lane of values."""
MOST_WITH_CODE = 7
EMPTY, SKIP = 0x100, 0x0F0
_DC_ORDER = list(range(16))
_AC_ORDER = [
    SKIP,
    EMPTY,
    *(last << 8 | run << 4 | size for last in (0, 1) for size in range(1, 15) for run in range(16)),
]

_Codes = dict[tuple[int, int], int]
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
    lanes_at = lengths_at + header.lengths_stored
    position = lanes_at + header.lanes_stored
    dc, ac = _read_codes(data[lengths_at:lanes_at], sets=1 if len(frame.components) == 1 else 2)
    lanes = _lane_lengths(data[lanes_at:position])
    out = [np.zeros((each.high, each.wide, 64), np.int16) for each in frame.components]
    stop = len(data) - TRAILER_BYTES
    for row in range(frame.mcu_rows):
        for column in range(0, frame.mcu_columns, header.tile_columns):
            parts = []
            for length in next(lanes):
                if position + length > stop:
                    raise IndexError
                parts.append(_Lane(data[position : position + length]))
                position += length
            end = min(column + header.tile_columns, frame.mcu_columns)
            _Segment(frame, parts, row, column, end).read(dc, ac, out)
    return out


def _read_codes(stored: bytes, sets: int) -> tuple[list[_Codes], list[_Codes]]:
    nibbles = iter([half for byte in stored for half in (byte >> 4, byte & 15)])
    dc, ac = [], []
    for _ in range(sets):
        dc.append(_canonical(_code_lengths(nibbles, _DC_ORDER)))
        ac.append(_canonical(_code_lengths(nibbles, _AC_ORDER)))
    return dc, ac


def _code_lengths(nibbles: Iterator[int], order: list[int]) -> dict[int, int]:
    lengths: dict[int, int] = {}
    at = 0
    while at < len(order):
        nibble = next(nibbles, 15)
        if 1 <= nibble <= 12:
            lengths[order[at]] = nibble
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


def _canonical(lengths: dict[int, int]) -> _Codes:
    codes: _Codes = {}
    code = 0
    for length in range(1, AC_BITS + 1):
        code <<= 1
        for symbol in sorted(symbol for symbol, its in lengths.items() if its == length):
            codes[length, code] = symbol
            code += 1
    return codes


def _lane_lengths(table: bytes) -> Iterator[list[int]]:
    """Lengths of a segment's lanes: four of codes, then that of values."""
    position = 0
    while position < len(table):
        values, position = read_varint(table, position)
        left, position = read_varint(table, position)
        lengths = []
        for lane in range(CODE_LANES - 1):
            coded, position = read_varint(table, position)
            difference = -(coded >> 1) - 1 if coded & 1 else coded >> 1
            length = left // (CODE_LANES - lane) + difference
            if not 0 <= length <= left:
                raise ValueError(length)
            lengths.append(length)
            left -= length
        yield [*lengths, left, values]


class _Lane:
    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def take(self, count: int) -> int:
        bits = self.bits[self.at : self.at + count]
        if len(bits) < count:
            raise IndexError
        self.at += count
        return int(bits or "0", 2)

    def symbol(self, codes: _Codes) -> tuple[int, int]:
        """(symbol, length of its code); of a single symbol the code is one bit, whatever that is."""
        if len(codes) == 1:
            self.take(1)
            return next(iter(codes.values())), 1
        code = 0
        for length in range(1, AC_BITS + 1):
            code = code << 1 | self.take(1)
            symbol = codes.get((length, code))
            if symbol is not None:
                return symbol, length
        raise ValueError(code)


class _Segment:
    """A tile's part of a row of MCUs."""

    def __init__(self, frame: Frame, lanes: list[_Lane], row: int, first_column: int, end_column: int) -> None:
        self.frame, self.lanes, self.values = frame, lanes[:CODE_LANES], lanes[CODE_LANES]
        self.row, self.first_column, self.end_column = row, first_column, end_column

    def read(self, dc: list[_Codes], ac: list[_Codes], out: Coefficients) -> None:
        places = range(len(self.frame.components))
        for place in places:
            self._read_dc(dc[min(place, 1)], place, out)
        for place in reversed(places):
            for y, first, end in self._runs(place):
                self._read_ac(ac[min(place, 1)], out[place][y, first:end])

    def _runs(self, place: int) -> Iterator[tuple[int, int, int]]:
        component = self.frame.components[place]
        for y in range(self.row * component.down, (self.row + 1) * component.down):
            yield y, self.first_column * component.across, self.end_column * component.across

    def _read_dc(self, codes: _Codes, place: int, out: Coefficients) -> None:
        above = 0
        for y, first, end in self._runs(place):
            before = above
            for x in range(first, end):
                lane = self.lanes[(x - first) % CODE_LANES]
                size, length = lane.symbol(codes)
                before += self._value(lane, size, length, DC_BITS)
                out[place][y, x, 0] = before
            above = int(out[place][y, first, 0])

    def _read_ac(self, codes: _Codes, blocks: np.typing.NDArray[np.int16]) -> None:
        """One run of blocks, int16 of shape (blocks, 64)."""
        count, block, k = 0, 0, 0
        while block < len(blocks):
            lane = self.lanes[count % CODE_LANES]
            count += 1
            symbol, length = lane.symbol(codes)
            if symbol == EMPTY:
                block, k = block + 1, 0
                continue
            k += (symbol >> 4 & 15) + 1
            value = self._value(lane, symbol & 15, length, AC_BITS)
            if symbol != SKIP:
                blocks[block, k] = value
            if symbol & 0x100:
                block, k = block + 1, 0
        for filler in range(-count % CODE_LANES):
            lane = self.lanes[(count + filler) % CODE_LANES]
            symbol, length = lane.symbol(codes)
            if self._is_with_code(symbol & 15, length, AC_BITS):
                lane.take(symbol & 15)

    @staticmethod
    def _is_with_code(size: int, length: int, most: int) -> bool:
        return size <= MOST_WITH_CODE and length + size <= most

    def _value(self, lane: _Lane, size: int, length: int, most: int) -> int:
        bits = (lane if self._is_with_code(size, length, most) else self.values).take(size)
        return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1
