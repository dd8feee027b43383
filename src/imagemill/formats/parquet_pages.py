"""Where the values of a Parquet page lie, for pages that hold them as they are.

A column chunk that is one uncompressed PLAIN data page (version 1) of values that are all there looks so:

    page header | [repetition levels] | [definition levels] | values

Levels start with their length in four bytes. Values of fixed size lie end to end; those that vary have their
length in four bytes before each. The header is a Thrift struct whose first three entries are kind, size and stored
size of the page; the stored size and the length of the chunk give where the page starts.

Everything here answers None where the bytes are anything else, and the caller decodes the page another way.
"""

from __future__ import annotations

from struct import Struct

import numpy as np

from imagemill.formats.base import Buffers
from imagemill.formats.mapped import Bytes

_UINT32 = Struct("<I").unpack_from


def page_start(chunk: memoryview) -> int | None:
    """First byte after the page header of a chunk that is one data page."""
    place = 0
    numbers = []
    for _ in range(3):
        # 0x15: the next entry of the struct, a signed integer of up to 32 bits.
        if place >= len(chunk) or chunk[place] != 0x15:
            return None
        number, place = _varint(chunk, place + 1)
        numbers.append(number)
    kind, size, stored_size = (number // 2 for number in numbers)  # zigzag, none is negative
    if kind != 0 or size != stored_size or not place <= len(chunk) - stored_size:
        return None
    return len(chunk) - stored_size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 35, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    return -1, place


def length_prefixed_values(values: Bytes, start: int, end: int, rows: int) -> Buffers | None:
    """Places of the values of a BYTE_ARRAY chunk without repetition, null in none of its rows.

    Args:
        values: the whole file.
        start: first byte of the chunk.
        end: byte after it.
        rows: values that it must have.
    """
    page = page_start(values[start:end].data)
    if page is None or start + page + 4 > end:
        return None
    data = values.data
    place = start + page
    place += 4 + _UINT32(data, place)[0]
    last = end - 4
    starts = np.empty(rows, np.int64)
    lengths = np.empty(rows, np.int64)
    for row in range(rows):
        if place > last:
            return None
        length = _UINT32(data, place)[0]
        place += 4
        starts[row] = place
        lengths[row] = length
        place += length
    return Buffers(values, starts, lengths) if place == end else None


def fixed_values(values: Bytes, start: int, end: int, rows: int, size_bytes: int) -> Buffers | None:
    """Places of the values of a chunk of numbers, null in none of its rows; arguments as above.

    Args:
        size_bytes: bytes a row, all its numbers together.
    """
    page = page_start(values[start:end].data)
    first = end - rows * size_bytes
    if page is None or first < start + page:
        return None
    starts = first + np.arange(rows, dtype=np.int64) * size_bytes
    return Buffers(values, starts, np.full(rows, size_bytes, np.int64))
