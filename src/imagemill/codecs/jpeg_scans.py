"""The scans of a JPEG written from its coefficients, in Python: what gives recoded JPEGs back without the native core.

A scan is written as libjpeg writes it (ITU-T T.81, annexes F and G), with the tables that the outline has for it.
Slow: about a second an image of half a megapixel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imagemill.errors import SampleError

Coefficients = Sequence[npt.NDArray[np.int16]]
"""Of each component int16 of shape (rows of blocks, columns of blocks, 64), in zigzag order, padded to whole MCUs."""

_LONGEST_RUN = 0x7FFF
_MOST_CORRECTIONS = 1000 - 63
_SKIP = 0xF0
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))


def _divided_up(number: int, by: int) -> int:
    return -(-number // by)


@dataclass
class Component:
    """A component of the frame; sides are in blocks, padded to whole MCUs and as a scan of its own has them."""

    number: int
    across: int
    down: int
    own_wide: int = 0
    own_high: int = 0
    wide: int = 0
    high: int = 0


@dataclass
class Frame:
    """The frame header."""

    progressive: bool
    height: int
    width: int
    components: list[Component]
    mcu_columns: int = 0
    mcu_rows: int = 0

    def __post_init__(self) -> None:
        alone = len(self.components) == 1
        across = max(each.across for each in self.components)
        down = max(each.down for each in self.components)
        for each in self.components:
            each.own_wide = _divided_up(_divided_up(self.width * each.across, across), 8)
            each.own_high = _divided_up(_divided_up(self.height * each.down, down), 8)
            if alone:
                each.across = each.down = 1
        across, down = (1, 1) if alone else (across, down)
        self.mcu_columns = _divided_up(self.width, 8 * across)
        self.mcu_rows = _divided_up(self.height, 8 * down)
        for each in self.components:
            each.wide, each.high = self.mcu_columns * each.across, self.mcu_rows * each.down


@dataclass
class Scan:
    """A scan header: (place of the component, its codes of DC, its codes of AC), band, bits, restart interval."""

    parts: list[tuple[int, dict[int, tuple[int, int]], dict[int, tuple[int, int]]]]
    first: int
    last: int
    high: int
    low: int
    restart_interval: int


def frame_of(outline: bytes) -> Frame:
    """The frame header of an outline.

    Raises:
        SampleError: "corrupt".
    """
    for _, frame, scan in walk(outline):
        if frame is not None and scan is not None:
            return frame
    raise SampleError("corrupt", "a JPEG without a scan")


def write_jpeg(outline: bytes, coefficients: Coefficients, *, padding: int) -> bytes:
    """The JPEG of an outline and its coefficients.

    Args:
        outline: the file without its entropy-coded data.
        coefficients: of each component.
        padding: the bit that fills up bytes.

    Raises:
        SampleError: "corrupt".
    """
    out, kept = bytearray(), 0
    try:
        for stop, frame, scan in walk(outline):
            out += outline[kept:stop]
            kept = stop
            if frame is not None and scan is not None:
                out += _ScanWriter(frame, scan, coefficients, padding).write()
    except (KeyError, IndexError, struct.error):
        raise SampleError("corrupt", "a recoded JPEG whose tables do not fit its coefficients") from None
    return bytes(out)


def walk(outline: bytes) -> Iterator[tuple[int, Frame | None, Scan | None]]:
    """(end, frame, scan) of each scan header, and last (end of the outline, None, None)."""
    frame: Frame | None = None
    codes: dict[int, dict[int, tuple[int, int]]] = {}
    restart_interval = 0
    position = 2
    while position < len(outline):
        position = outline.find(b"\xff", position)
        if position < 0:
            break
        while position < len(outline) and outline[position] == 0xFF:
            position += 1
        if position == len(outline):
            break
        marker = outline[position]
        position += 1
        if marker == 0 or marker in _ALONE:
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", outline, position)
        payload = outline[position + 2 : position + length]
        position += length
        if marker in (0xC0, 0xC1, 0xC2):
            frame = _frame(marker, payload)
        elif marker == 0xC4:
            codes.update(_tables(payload))
        elif marker == 0xDD:
            (restart_interval,) = struct.unpack(">H", payload)
        elif marker == 0xDA:
            if frame is None:
                raise SampleError("corrupt", "a scan before the frame")
            yield position, frame, _scan(frame, codes, restart_interval, payload)
    yield len(outline), None, None


def _frame(marker: int, payload: bytes) -> Frame:
    _, height, width, count = struct.unpack_from(">BHHB", payload)
    entries = [payload[6 + 3 * at : 9 + 3 * at] for at in range(count)]
    components = [Component(entry[0], entry[1] >> 4, entry[1] & 15) for entry in entries]
    if not components or min(min(each.across, each.down) for each in components) < 1:
        raise SampleError("corrupt", "a frame without components")
    return Frame(marker == 0xC2, height, width, components)


def _tables(payload: bytes) -> Iterator[tuple[int, dict[int, tuple[int, int]]]]:
    """(class and number, symbol → (code, length)) of each table of a DHT segment."""
    while payload:
        counts, symbols = payload[1:17], iter(payload[17:])
        code, table = 0, {}
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                table[next(symbols)] = code, length
                code += 1
            code <<= 1
        yield payload[0], table
        payload = payload[17 + sum(counts) :]


def _scan(frame: Frame, codes: dict[int, dict[int, tuple[int, int]]], restart_interval: int, payload: bytes) -> Scan:
    places = {each.number: place for place, each in enumerate(frame.components)}
    entries = [payload[1 + 2 * at : 3 + 2 * at] for at in range(payload[0])]
    parts = [
        (places[number], codes.get(tables >> 4, {}), codes.get(0x10 | tables & 15, {})) for number, tables in entries
    ]
    first, last, bits = payload[1 + 2 * payload[0] :]
    if not frame.progressive:
        first, last, bits = 0, 63, 0
    return Scan(parts, first, last, bits >> 4, bits & 15, restart_interval)


@dataclass
class _ScanWriter:
    frame: Frame
    scan: Scan
    coefficients: Coefficients
    padding: int
    bits: list[str] = field(default_factory=list)
    out: bytearray = field(default_factory=bytearray)
    empty_blocks: int = 0
    corrections: list[int] = field(default_factory=list)

    def write(self) -> bytes:
        parts = self.scan.parts
        alone = self.frame.components[parts[0][0]] if len(parts) == 1 else None
        columns = alone.own_wide if alone else self.frame.mcu_columns
        count = columns * (alone.own_high if alone else self.frame.mcu_rows)
        before = [0] * len(parts)
        for number in range(count):
            if self.scan.restart_interval and number and number % self.scan.restart_interval == 0:
                self._flush()
                self.out += bytes((0xFF, 0xD0 + (number // self.scan.restart_interval - 1) % 8))
                before = [0] * len(parts)
            row, column = divmod(number, columns)
            for part, (place, dc, ac) in enumerate(parts):
                component = self.frame.components[place]
                across, down = (1, 1) if alone else (component.across, component.down)
                for y in range(row * down, (row + 1) * down):
                    for x in range(column * across, (column + 1) * across):
                        block = self.coefficients[place][y, x].tolist()
                        before[part] = self._block(block, dc, ac, before[part])
        self._flush()
        return bytes(self.out)

    def _flush(self) -> None:
        self._end_run(self.scan.parts[0][2])
        text = "".join(self.bits)
        self.bits.clear()
        text += "01"[self.padding] * (-len(text) % 8)
        coded = int(text or "0", 2).to_bytes(len(text) // 8, "big")
        self.out += coded.replace(b"\xff", b"\xff\0")

    def _block(
        self, block: list[int], dc: dict[int, tuple[int, int]], ac: dict[int, tuple[int, int]], before: int
    ) -> int:
        """Writes what the scan has of a block; the DC that the next one differs from."""
        scan = self.scan
        if not self.frame.progressive:
            self._dc(block[0] - before, dc)
            self._ac(block, ac)
            return block[0]
        if scan.first == 0:
            value = block[0] >> scan.low
            if scan.high:
                self.bits.append("01"[value & 1])
            else:
                self._dc(value - before, dc)
            return value
        if scan.high:
            self._ac_more(block, ac)
        else:
            self._ac_first(block, ac)
        return 0

    def _code(self, codes: dict[int, tuple[int, int]], symbol: int) -> None:
        code, length = codes[symbol]
        self.bits.append(f"{code:0{length}b}")

    def _value(self, value: int, size: int) -> None:
        if size:
            self.bits.append(f"{value if value > 0 else value + (1 << size) - 1:0{size}b}")

    def _dc(self, difference: int, codes: dict[int, tuple[int, int]]) -> None:
        size = abs(difference).bit_length()
        self._code(codes, size)
        self._value(difference, size)

    def _ac(self, block: list[int], codes: dict[int, tuple[int, int]]) -> None:
        run = 0
        for value in block[1:]:
            if not value:
                run += 1
                continue
            run = self._run(codes, run, value)
        if run:
            self._code(codes, 0)

    def _run(self, codes: dict[int, tuple[int, int]], run: int, value: int) -> int:
        for _ in range(run // 16):
            self._code(codes, _SKIP)
        size = abs(value).bit_length()
        self._code(codes, run % 16 << 4 | size)
        self._value(value, size)
        return 0

    def _ac_first(self, block: list[int], codes: dict[int, tuple[int, int]]) -> None:
        run = 0
        for value in block[self.scan.first : self.scan.last + 1]:
            magnitude = abs(value) >> self.scan.low
            if not magnitude:
                run += 1
                continue
            self._end_run(codes)
            run = self._run(codes, run, magnitude if value > 0 else -magnitude)
        if run:
            self.empty_blocks += 1
            if self.empty_blocks == _LONGEST_RUN:
                self._end_run(codes)

    def _ac_more(self, block: list[int], codes: dict[int, tuple[int, int]]) -> None:
        values = block[self.scan.first : self.scan.last + 1]
        magnitudes = [abs(value) >> self.scan.low for value in values]
        end = max((at for at, magnitude in enumerate(magnitudes) if magnitude == 1), default=-1)
        run, mine = 0, list[int]()
        for at, (value, magnitude) in enumerate(zip(values, magnitudes, strict=True)):
            if not magnitude:
                run += 1
                continue
            while run > 15 and at <= end:
                self._end_run(codes)
                self._code(codes, _SKIP)
                run -= 16
                self._correct(mine)
            if magnitude > 1:
                mine.append(magnitude & 1)
                continue
            self._end_run(codes)
            self._code(codes, run << 4 | 1)
            self.bits.append("0" if value < 0 else "1")
            self._correct(mine)
            run = 0
        if run or mine:
            self.empty_blocks += 1
            self.corrections += mine
            if self.empty_blocks == _LONGEST_RUN or len(self.corrections) > _MOST_CORRECTIONS:
                self._end_run(codes)

    def _correct(self, corrections: list[int]) -> None:
        self.bits += ["01"[bit] for bit in corrections]
        corrections.clear()

    def _end_run(self, codes: dict[int, tuple[int, int]]) -> None:
        """Writes the run of blocks that have nothing more in this band."""
        if not self.empty_blocks:
            return
        size = self.empty_blocks.bit_length() - 1
        self._code(codes, size << 4)
        if size:
            self.bits.append(f"{self.empty_blocks - (1 << size):0{size}b}")
        self.empty_blocks = 0
        self._correct(self.corrections)
