"""TensorFlow's first checkpoint format (V1: one file), read without TensorFlow.

The file is a sorted table: blocks of entries whose keys share prefixes, an index block with the place of each, and a
footer of 48 bytes with the place of the index (the format of LevelDB's tables, with a checksum of another family).
Values are messages: the one of the empty key describes all variables, each other one holds a slice of one, mostly
the whole. Every length is checked against the bytes there are, every block against its checksum.
"""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imagemill.core.wire import FIXED32, FIXED64, LENGTH, fields, signed, varint
from imagemill.errors import ConfigError, DamageError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
SUFFIX = ".ckpt"
MAX_BYTES = 8 << 30
"""Of a checkpoint in an archive, and of all of its variables."""

_TRAILER_BYTES = 5
_PLAIN, _SNAPPY = 0, 1
_LARGEST_RATIO = 64
"""Snappy makes nothing smaller than to about a 21st."""

_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?"}
"""TensorFlow's number of a type → NumPy's name."""

_FLOATS, _DOUBLES, _INTEGERS, _LONG_INTEGERS, _TRUTHS, _CONTENT = 5, 6, 7, 10, 11, 4
"""Fields of a tensor message that hold its values."""


def read_checkpoint(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All variables of a V1 checkpoint by name.

    Args:
        path: the file, or a tar archive (.tar, .tar.gz) with one file that ends in `.ckpt`.

    Raises:
        ConfigError: it is neither, or cannot be read.
        DamageError: it is cut off, a checksum is wrong, or a part of a variable is missing.
    """
    try:
        if not is_checkpoint(path) and is_archive(path):
            return _variables(_member(path), path)
        return _variables(memoryview(path.read_bytes()), path)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise DamageError(f"{path} is a damaged checkpoint: {error}") from None


def is_checkpoint(path: Path) -> bool:
    """Whether a file ends as a V1 checkpoint does."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        if file.tell() < FOOTER_BYTES:
            return False
        file.seek(-8, 2)
        return int.from_bytes(file.read(), "little") == MAGIC


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, packed or not."""
    try:
        with tarfile.open(path):
            return True
    except (tarfile.TarError, EOFError):
        return False


def _member(path: Path) -> memoryview:
    """The one checkpoint in an archive; nothing is extracted to a disk."""
    with tarfile.open(path) as archive:
        found = [member for member in archive if member.isreg() and member.name.endswith(SUFFIX)]
        if len(found) != 1:
            raise ConfigError(f"{path} holds {len(found)} files that end in {SUFFIX}, one is wanted")
        if found[0].size > MAX_BYTES:
            raise ConfigError(f"{found[0].name} in {path} has {found[0].size:,} bytes, at most {MAX_BYTES:,} are read")
        file = archive.extractfile(found[0])
        assert file is not None  # a regular member has one
        content = file.read()
    if len(content) != found[0].size:
        raise DamageError(f"{path} is cut off")
    return memoryview(content)


class _Declared(NamedTuple):
    """What the checkpoint says of a variable."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass
class _Filled:
    """A variable, and how many of its elements have come."""

    values: npt.NDArray[Any]
    elements: int = field(default=0)


def _variables(content: memoryview, path: Path) -> dict[str, npt.NDArray[Any]]:
    if len(content) < FOOTER_BYTES or int.from_bytes(content[-8:], "little") != MAGIC:
        raise ConfigError(f"{path} is no checkpoint of TensorFlow's first format (V1, one file)")
    declared: dict[str, _Declared] = {}
    found: dict[str, _Filled] = {}
    for key, value in _entries(content):
        for number, _, body in fields(value):
            if number == 1 and key == b"":
                declared |= _declarations(_bytes(body))
            elif number == 2 and key != b"":
                _fill(found, declared, _bytes(body))
    for name, (shape, _) in declared.items():
        elements = found[name].elements if name in found else 0
        if elements != math.prod(shape):
            raise DamageError(f"{path}: variable {name} has {elements:,} of {math.prod(shape):,} elements")
    return {name: entry.values for name, entry in found.items()}


def _entries(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(key, value) of every entry of a table, in order."""
    footer = content[-FOOTER_BYTES:-8]
    _, place = _handle(footer, 0)
    index, _ = _handle(footer, place)
    for _, handle in _block_entries(_block(content, index)):
        block, _ = _handle(handle, 0)
        yield from _block_entries(_block(content, block))


def _handle(data: memoryview, place: int) -> tuple[tuple[int, int], int]:
    """((offset, length) of a block, the place after it)."""
    offset, place = varint(data, place)
    length, place = varint(data, place)
    return (offset, length), place


def _block(content: memoryview, handle: tuple[int, int]) -> memoryview:
    """The bytes of a block, unpacked; its trailer has the kind of packing and a checksum."""
    offset, length = handle
    end = offset + length
    if end + _TRAILER_BYTES > len(content) - FOOTER_BYTES:
        raise ValueError(f"a block at {offset:,} reaches beyond the file")
    kind = content[end]
    stored = int.from_bytes(content[end + 1 : end + _TRAILER_BYTES], "little")
    crc = google_crc32c.value(bytes(content[offset : end + 1]))
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if stored != masked:
        raise ValueError(f"the checksum of the block at {offset:,} does not fit")
    block = content[offset:end]
    if kind == _PLAIN:
        return block
    if kind != _SNAPPY:
        raise ValueError(f"a block at {offset:,} is packed in an unknown way ({kind})")
    size, _ = varint(block, 0)
    if size > _LARGEST_RATIO * len(block):
        raise ValueError(f"a block at {offset:,} claims to unpack to {size:,} bytes")
    return memoryview(pa.Codec("snappy").decompress(bytes(block), decompressed_size=size))


def _block_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(key, value) of the entries of a block; after them come the places of those whose keys are whole."""
    restarts = int.from_bytes(block[-4:], "little") if len(block) >= 4 else -1
    end = len(block) - 4 - 4 * restarts
    if restarts < 0 or end < 0:
        raise ValueError("a block is shorter than its own index")
    place, key = 0, b""
    while place < end:
        shared, place = varint(block, place)
        own, place = varint(block, place)
        length, place = varint(block, place)
        if shared > len(key) or place + own + length > end:
            raise ValueError("an entry reaches beyond its block")
        key = key[:shared] + bytes(block[place : place + own])
        place += own
        yield key, block[place : place + length]
        place += length


def _declarations(meta: memoryview) -> Iterator[tuple[str, _Declared]]:
    """Name, shape and type of every variable, from the message of the empty key."""
    total = 0
    for number, _, body in fields(meta):
        if number != 1:
            continue
        name, kind = "", 0
        shape: tuple[int, ...] = ()
        for part, _, value in fields(_bytes(body)):
            if part == 1:
                name = bytes(_bytes(value)).decode()
            elif part == 2:
                shape = _shape(_bytes(value))
            elif part == 3:
                kind = _integer(value)
        if kind not in _DTYPES:
            raise ValueError(f"variable {name} is of TensorFlow's type {kind}, which holds no plain numbers")
        dtype = np.dtype(_DTYPES[kind])
        total += math.prod(shape) * dtype.itemsize
        if total > MAX_BYTES:
            raise ValueError(f"its variables claim more than {MAX_BYTES:,} bytes")
        yield name, _Declared(shape, dtype)


def _shape(message: memoryview) -> tuple[int, ...]:
    sides = []
    for number, _, body in fields(message):
        if number == 2:
            size = [signed(_integer(value)) for part, _, value in fields(_bytes(body)) if part == 1]
            sides.append(size[0] if size else 0)
    if any(side < 0 for side in sides):
        raise ValueError(f"a shape of {sides}")
    return tuple(sides)


def _fill(found: dict[str, _Filled], declared: dict[str, _Declared], message: memoryview) -> None:
    """Puts a slice of a variable into its place."""
    parts = {number: _bytes(body) for number, _, body in fields(message)}
    name = bytes(parts[1]).decode() if 1 in parts else ""
    if name not in declared or 3 not in parts:
        raise ValueError(f"a slice of {name!r}, which the checkpoint does not describe")
    shape, dtype = declared[name]
    place = _extents(parts.get(2, memoryview(b"")), shape)
    values = _values(parts[3], dtype)
    entry = found.setdefault(name, _Filled(np.empty(shape, dtype)))
    target = entry.values[place]
    if target.size != len(values):
        raise ValueError(f"a slice of {name} has {len(values):,} values for {target.size:,} elements")
    entry.values[place] = values.reshape(target.shape)
    entry.elements += target.size


def _extents(message: memoryview, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Which part of a variable a slice is."""
    extents = []
    for number, _, body in fields(message):
        if number == 1:
            extent = {part: signed(_integer(value)) for part, _, value in fields(_bytes(body))}
            extents.append((extent.get(1, 0), extent.get(2)))
    if len(extents) != len(shape):
        raise ValueError(f"a slice of {len(extents)} dimensions, the variable has {len(shape)}")
    place = []
    for (start, length), side in zip(extents, shape, strict=True):
        end = side if length is None else start + length
        if not 0 <= start <= end <= side:
            raise ValueError(f"a slice from {start} to {end} of {side}")
        place.append(slice(start, end))
    return tuple(place)


def _values(tensor: memoryview, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The values of a tensor message, in one dimension."""
    pieces: list[npt.NDArray[Any]] = []
    integers: list[int] = []
    for number, wire, body in fields(tensor):
        if number == _CONTENT and wire == LENGTH:
            pieces.append(np.frombuffer(_bytes(body), dtype))
        elif number == _FLOATS and wire in (LENGTH, FIXED32):
            pieces.append(np.frombuffer(_bytes(body), "<f4"))
        elif number == _DOUBLES and wire in (LENGTH, FIXED64):
            pieces.append(np.frombuffer(_bytes(body), "<f8"))
        elif number in (_INTEGERS, _LONG_INTEGERS, _TRUTHS):
            integers += [body] if isinstance(body, int) else _packed(body)
    if integers:
        pieces.append(np.array(integers, np.uint64).view(np.int64))
    values = np.concatenate(pieces) if pieces else np.empty(0, dtype)
    return values.astype(dtype, casting="unsafe" if integers else "safe", copy=False)


def _packed(body: memoryview) -> list[int]:
    numbers, place = [], 0
    while place < len(body):
        number, place = varint(body, place)
        numbers.append(number & (2**64 - 1))
    return numbers


def _bytes(body: int | memoryview) -> memoryview:
    if isinstance(body, int):
        raise ValueError("a number where a message is wanted")
    return body


def _integer(body: int | memoryview) -> int:
    if not isinstance(body, int):
        raise ValueError("a message where a number is wanted")
    return body
