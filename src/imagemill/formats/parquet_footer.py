"""The footer of a Parquet shard, sealed: Parquet has no checksum for it, and Arrow dies of some damaged ones.

The seal is an entry of the footer's key-value metadata, `imagemill.footer`: xxh3-64, in hex, of the footer with
zeros in place of the seal. Other readers see one entry more.
"""

from __future__ import annotations

from pathlib import Path

import xxhash

from imagemill.formats.mapped import Bytes

SEAL_NAME = "imagemill.footer"
UNSEALED = "0" * 16

# In Thrift's compact protocol a text of 16 bytes that follows another follows these two.
_BEFORE_SEAL = SEAL_NAME.encode() + b"\x18\x10"
_MAGIC = b"PAR1"
_TAIL_BYTES = 4 + len(_MAGIC)
"""Length of the footer, then the magic."""


def seal(path: Path) -> None:
    """Fills in the seal of a finished file that was written with `UNSEALED` under `SEAL_NAME`."""
    with path.open("r+b") as file:
        size_bytes = file.seek(-_TAIL_BYTES, 2) + _TAIL_BYTES
        first = size_bytes - _TAIL_BYTES - int.from_bytes(file.read(4), "little")
        file.seek(first)
        footer = file.read(size_bytes - _TAIL_BYTES - first)
        place = footer.rindex(_BEFORE_SEAL) + len(_BEFORE_SEAL)
        file.seek(first + place)
        file.write(_digest(footer, place))


def check_seal(values: Bytes) -> None:
    """Compares the footer of a whole file with its seal.

    Raises:
        ValueError: it is damaged, or has no seal.
    """
    tail = values[-_TAIL_BYTES:].tobytes()
    end = len(values) - _TAIL_BYTES
    first = end - int.from_bytes(tail[:4], "little")
    if not tail.endswith(_MAGIC) or len(tail) < _TAIL_BYTES or first < len(_MAGIC):
        raise ValueError("it is no Parquet file, or cut off")
    footer = values[first:end].tobytes()
    place = footer.rfind(_BEFORE_SEAL) + len(_BEFORE_SEAL)
    if footer[place : place + len(UNSEALED)] != _digest(footer, place):
        raise ValueError("its footer is damaged")


def _digest(footer: bytes, place: int) -> bytes:
    blank = footer[:place] + UNSEALED.encode() + footer[place + len(UNSEALED) :]
    return xxhash.xxh3_64_hexdigest(blank).encode()
