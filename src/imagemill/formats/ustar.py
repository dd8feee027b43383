"""The tar format, as far as shards need it: headers of plain files, written and found again.

Python's `tarfile` takes a damaged header for the end of the archive; here it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagemill.formats.mapped import Bytes, Integers

BLOCK_BYTES = 512
"""Headers and contents start at multiples of it."""

RECORD_BYTES = 10_240
"""An archive ends with two or more blocks of zeros, and its length is a multiple of this."""

NAME_BYTES = 100
"""Longest name that a header holds in one piece."""

_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_AFTER_SIZE = b"00000000000\0"
_AFTER_SUM = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)


@dataclass(frozen=True)
class Members:
    """The files in an archive, in order.

    Args:
        names: their names.
        starts: first byte of each one's content, int64.
        sizes: bytes of each one's content, int64.
    """

    names: list[str]
    starts: Integers
    sizes: Integers


def padding(size_bytes: int) -> bytes:
    """The zeros that follow a content of this size."""
    return bytes(-size_bytes % BLOCK_BYTES)


def end_of_archive(size_bytes: int) -> bytes:
    """The zeros that follow all members, which take up this many bytes."""
    return bytes(2 * BLOCK_BYTES + -(size_bytes + 2 * BLOCK_BYTES) % RECORD_BYTES)


def member_header(name: str, size_bytes: int) -> bytes:
    """Header of a plain file, mode 0644, of no owner and no time.

    Args:
        name: ASCII, `NAME_BYTES` at most.
        size_bytes: of its content; below 8 GiB.
    """
    front = name.encode("ascii").ljust(NAME_BYTES, b"\0") + _BEFORE_SIZE + b"%011o\0" % size_bytes + _AFTER_SIZE
    return front + b"%06o\0 " % (sum(front) + _REST_SUM) + _AFTER_SUM


_REST_SUM = sum(_AFTER_SUM) + 8 * ord(" ")
"""The header's sum counts its own place as blanks."""


def find_members(values: Bytes) -> Members:
    """Walks over the headers of an archive that `member_header` wrote.

    Raises:
        ValueError: a header is damaged, or the archive ends where it should not.
    """
    if len(values) % RECORD_BYTES:
        raise ValueError(f"{len(values)} bytes are no multiple of {RECORD_BYTES}: the archive is cut off")
    data = values.data
    names, headers, sizes = [], [], []
    place = 0
    while place < len(values) and data[place]:
        size = bytes(data[place + 124 : place + 135])
        if not size.isdigit():
            raise ValueError(f"the header at byte {place} is damaged")
        names.append(bytes(data[place : place + NAME_BYTES]).rstrip(b"\0").decode("ascii"))
        headers.append(place)
        sizes.append(int(size, 8))
        place += BLOCK_BYTES + sizes[-1] + -sizes[-1] % BLOCK_BYTES
    if place > len(values) or len(values) - place != len(end_of_archive(place)) or values[place:].any():
        raise ValueError(f"the archive ends at byte {place}, which is not where it should")
    places = np.array(headers, np.int64)
    _check_headers(values, places)
    return Members(names, places + BLOCK_BYTES, np.array(sizes, np.int64))


def _check_headers(values: Bytes, places: Integers) -> None:
    """Compares the sum that every header holds of itself, all at once."""
    blocks = values.reshape(-1, BLOCK_BYTES)[places // BLOCK_BYTES]
    sums = blocks.sum(axis=1, dtype=np.int64) - blocks[:, 148:156].sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    digits = blocks[:, 148:154].astype(np.int64) - ord("0")
    wrong = np.flatnonzero(digits @ 8 ** np.arange(5, -1, -1) != sums)
    if len(wrong):
        raise ValueError(f"the header at byte {places[wrong[0]]} is damaged")
