"""The TFRecord file: records behind their length, each with a CRC, the whole perhaps compressed.

    length (8 bytes) | CRC of the length (4) | content | CRC of the content (4)

CRCs are CRC-32C, "masked": rotated and shifted, so that the CRC of data that hold CRCs stays a good one.
"""

from __future__ import annotations

import mmap
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import google_crc32c
import numpy as np

from imagemill.config import cache_dir
from imagemill.formats.mapped import SMALL_BYTES, Bytes, Integers, damage_of

MAX_RECORD_BYTES = 2**31 - 1
"""Longest message that protobuf reads."""

_LENGTH = Struct("<Q")
_CRC = Struct("<I")
_HEAD_BYTES = _LENGTH.size + _CRC.size

PIECE_BYTES = 1 << 20


def masked_crc(content: bytes) -> bytes:
    """The CRC that TFRecord files hold."""
    crc = google_crc32c.value(content)
    return _CRC.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(content: bytes) -> bytes:
    """A record as it stands in the file."""
    length = _LENGTH.pack(len(content))
    return b"".join((length, masked_crc(length), content, masked_crc(content)))


def content_bytes(head: bytes) -> int:
    """Bytes of the content behind this head.

    Raises:
        ValueError: the head is cut off or damaged.
    """
    if len(head) != _HEAD_BYTES or masked_crc(head[:8]) != head[8:]:
        raise ValueError("a record's length is damaged")
    return int(_LENGTH.unpack_from(head)[0])


def find_records(values: Bytes) -> tuple[Integers, Integers]:
    """First byte of every record's content, and the byte after it; int64, shape (records,) each.

    Raises:
        ValueError: a length is damaged, or the file ends within a record.
    """
    data = values.data
    starts, ends = [], []
    place = 0
    while place < len(values):
        start = place + _HEAD_BYTES
        starts.append(start)
        ends.append(start + content_bytes(bytes(data[place:start])))
        place = ends[-1] + _CRC.size
    if place != len(values):
        raise ValueError("it ends within a record")
    return np.array(starts, np.int64), np.array(ends, np.int64)


def record_content(values: Bytes, start: int, end: int) -> bytes:
    """The content of one record.

    Raises:
        ValueError: it is not what its CRC says.
    """
    content = bytes(values.data[start:end])
    if masked_crc(content) != bytes(values.data[end : end + _CRC.size]):
        raise ValueError("a record is damaged: its CRC does not fit")
    return content


class ZlibFile:
    """A file for writing that compresses what it is given as one zlib stream."""

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self._packer = zlib.compressobj(level)

    def write(self, content: bytes) -> None:
        """Compresses some more."""
        self._file.write(self._packer.compress(content))

    def close(self) -> None:
        """Writes what is still held back; the file stays open."""
        self._file.write(self._packer.flush())


class _Unpacker:
    """Reads what a gzip or zlib stream holds, so many bytes at a time."""

    def __init__(self, packed: Bytes) -> None:
        self._packed = packed.data
        self._place = 0
        # 15: the longest window; 32 more: gzip or zlib, as its header says.
        self._stream = zlib.decompressobj(15 + 32)

    def read(self, size_bytes: int) -> bytes:
        """So many bytes, fewer only where the stream has ended.

        Raises:
            ValueError: the stream is cut off, or something follows it.
            zlib.error: it is damaged.
        """
        pieces = []
        while size_bytes and not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._next()
            piece = self._stream.decompress(packed, size_bytes)
            if not packed and not piece:
                raise ValueError("the compressed stream is cut off")
            pieces.append(piece)
            size_bytes -= len(piece)
        if self._stream.eof and (self._stream.unused_data or self._place < len(self._packed)):
            raise ValueError("something follows the compressed stream")
        return b"".join(pieces)

    def _next(self) -> bytes:
        piece = bytes(self._packed[self._place : self._place + PIECE_BYTES])
        self._place += len(piece)
        return piece


def unpack(shard: str, path: Path, packed: Bytes, count: int) -> Bytes:
    """What a compressed file of records holds, mapped from a nameless file in the cache folder.

    In memory it would stay for as long as the shard is open, and a loader keeps hundreds open.

    Args:
        shard: its name, for messages.
        path: the file, for messages.
        packed: its content.
        count: records it must have; unpacking stops where there are more.

    Raises:
        ShardError: the stream is damaged, or holds something else.
        OSError: the cache folder cannot be written, or is full.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.SpooledTemporaryFile(max_size=SMALL_BYTES, dir=str(folder)) as file:
        for piece in _records(shard, path, packed, count):
            file.write(piece)
        if file.tell() > SMALL_BYTES:
            file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        file.seek(0)
        return np.frombuffer(file.read(), np.uint8)


def _records(shard: str, path: Path, packed: Bytes, count: int) -> Iterator[bytes]:
    """The unpacked bytes in pieces. A damaged stream swells no further than to the next length that has a good CRC."""
    with damage_of(shard, path, zlib.error):
        stream = _Unpacker(packed)
        records = 0
        while head := stream.read(_HEAD_BYTES):
            records += 1
            if records > count:
                raise ValueError(f"it has more than {count} records")
            yield head
            left = content_bytes(head) + _CRC.size
            while left:
                piece = stream.read(min(left, PIECE_BYTES))
                if not piece:
                    raise ValueError("it ends within a record")
                yield piece
                left -= len(piece)
