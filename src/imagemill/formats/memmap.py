"""`memmap`: plain `.npy` files, each opened by `np.load(path, mmap_mode="r")`.

======================  =======================================================================
scalar, fixed           `NAME.FIELD.npy`, shape (rows,) and (rows, *shape)
ragged, bytes, text     `NAME.FIELD.npy`, 1-D, the values of all rows end to end, and
                        `NAME.FIELD.offsets.npy`, int64 (rows + 1,): value i is
                        `values[offsets[i]:offsets[i + 1]]`
key                     `NAME.key.npy`, UTF-8, and `NAME.key.offsets.npy`
======================  =======================================================================

Written with ordinary writes: a full disk is an error there, and a crash in a map that is written.
NumPy refuses to map an array without elements; `np.load` without `mmap_mode` opens that too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.formats.base import Buffers, value_size
from imagemill.formats.mapped import Bytes, MappedReader, damage_of, even, map_file, uneven

WRITE_BUFFER_BYTES = 64 << 10
"""Labels and offsets are 8 bytes each; every column has a buffer of its own."""

_OFFSET = np.dtype("<i8")
_BYTE = np.dtype("u1")


class MemmapFormat:
    """The format `memmap`; see `imagemill.formats.base.Format`."""

    name = "memmap"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes one or two `.npy` files a field and two for the keys; see `Format.write`."""
        with ExitStack() as stack:
            keys = stack.enter_context(closing(_Column(path, "key", None)))
            columns = [stack.enter_context(closing(_Column(path, field.name, field))) for field in schema]
            for row in rows:
                for field, column in zip(schema, columns, strict=True):
                    column.add(row.values[field.name], value_size(field, row))
                key = row.key.encode()
                keys.add(key, len(key))
            return [file.finish() for column in (keys, *columns) for file in column.files]

    def open(self, path: Path, schema: Schema, count: int) -> MappedReader:
        """Maps the files and finds every value; see `Format.open`."""
        columns = {"key": _open_uneven(path, "key", _BYTE, count)}
        for field in schema:
            if field.size_bytes is None:
                columns[field.name] = _open_uneven(path, field.name, field.numpy_dtype, count)
            else:
                columns[field.name] = _open_even(path, field, field.size_bytes, count)
        return MappedReader(path.name, count, columns)


FORMAT = MemmapFormat()


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The bytes of a version 1.0 `.npy` file before its elements.

    A multiple of 64, and as long for any number of rows, so that it can be written first and
    corrected when the rows have been counted.
    """
    start = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape}, }}"
    longest = len(start) - len(str(shape[0])) + len(str(2**63))
    padded = -(-(10 + longest + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + padded.to_bytes(2, "little") + start.ljust(padded - 1).encode() + b"\n"


class _NpyFile:
    """One `.npy` file being written; its first side is counted as values come."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self._path = path
        self._dtype = dtype
        self._shape = shape
        self._file = path.open("wb", buffering=WRITE_BUFFER_BYTES)
        self._file.write(npy_header(dtype, (0, *shape)))
        self.count = 0

    def add(self, value: Buffer, count: int) -> None:
        """Appends `count` elements of the first side."""
        self._file.write(value)
        self.count += count

    def finish(self) -> Path:
        """Corrects the header and closes the file."""
        self._file.seek(0)
        self._file.write(npy_header(self._dtype, (self.count, *self._shape)))
        self._file.close()
        return self._path

    def close(self) -> None:
        """Closes the file, finished or not."""
        self._file.close()


class _Column:
    """The file or two of one field being written; None is the key."""

    def __init__(self, path: Path, name: str, field: Field | None) -> None:
        self._itemsize = 1 if field is None else field.numpy_dtype.itemsize
        self._offsets: _NpyFile | None = None
        if field is not None and field.size_bytes is not None:
            self._values = _NpyFile(_file(path, name), field.numpy_dtype, _sides(field))
            self.files = [self._values]
            return
        self._values = _NpyFile(_file(path, name), _BYTE if field is None else field.numpy_dtype)
        self._offsets = _NpyFile(_file(path, f"{name}.offsets"), _OFFSET)
        self._offsets.add(bytes(8), 1)
        self.files = [self._values, self._offsets]

    def add(self, value: Buffer, size_bytes: int) -> None:
        """Appends one row's value."""
        if self._offsets is None:
            self._values.add(value, 1)
        else:
            self._values.add(value, size_bytes // self._itemsize)
            self._offsets.add(self._values.count.to_bytes(8, "little"), 1)

    def close(self) -> None:
        """Closes the files, finished or not."""
        for file in self.files:
            file.close()


def _file(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}.npy")


def _sides(field: Field) -> tuple[int, ...]:
    return tuple(side or 0 for side in field.shape or ())


def _open_even(path: Path, field: Field, size_bytes: int, count: int) -> Buffers:
    target = _file(path, field.name)
    with damage_of(path.name, target):
        values, first = _map_array(target, field.numpy_dtype, (count, *_sides(field)))
        return even(values, first, size_bytes, count)


def _open_uneven(path: Path, name: str, dtype: np.dtype[Any], count: int) -> Buffers:
    target = _file(path, f"{name}.offsets")
    with damage_of(path.name, target):
        content, first = _map_array(target, _OFFSET, (count + 1,))
        offsets = content[first:].view(_OFFSET)
    target = _file(path, name)
    with damage_of(path.name, target):
        values, first = _map_array(target, dtype, (int(offsets[-1]),))
        return uneven(values, first, len(values) - first, offsets, dtype.itemsize)


def _map_array(target: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Bytes, int]:
    """The bytes of a `.npy` file, and where its elements start.

    What the header must say is known, so it is compared, not parsed: a flipped bit in it shows.
    """
    content = map_file(target)
    header = npy_header(dtype, shape)
    if content[: len(header)].tobytes() != header:
        raise ValueError(f"its header is not that of a {dtype} array of shape {shape}")
    size_bytes = len(header) + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(content) != size_bytes:
        raise ValueError(f"it has {len(content)} bytes, {size_bytes} are expected")
    return content, len(header)
