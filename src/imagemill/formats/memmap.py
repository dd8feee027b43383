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
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.formats.base import Buffers
from imagemill.formats.columns import BYTE, OFFSET, ArraySpec, array_specs, sides, write_columns
from imagemill.formats.mapped import Bytes, MappedReader, damage_of, even, map_file, uneven

WRITE_BUFFER_BYTES = 64 << 10
"""Labels and offsets are 8 bytes each; every column has a buffer of its own."""


class MemmapFormat:
    """The format `memmap`; see `imagemill.formats.base.Format`."""

    name = "memmap"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes one or two `.npy` files a field and two for the keys; see `Format.write`."""
        write_columns(schema, rows, ".offsets", lambda spec: _NpyFile(_file(path, spec.name), spec))
        return [_file(path, spec.name) for spec in array_specs(schema, ".offsets")]

    def open(self, path: Path, schema: Schema, count: int) -> MappedReader:
        """Maps the files and finds every value; see `Format.open`."""
        columns = {"key": _open_uneven(path, "key", BYTE, count)}
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
    """One `.npy` file being written."""

    def __init__(self, path: Path, spec: ArraySpec) -> None:
        self._spec = spec
        self._length = 0
        self._file = path.open("wb", buffering=WRITE_BUFFER_BYTES)
        self._write_header()

    def _write_header(self) -> None:
        self._file.write(npy_header(self._spec.dtype, (self._length, *self._spec.sides)))

    def add(self, value: Buffer, count: int) -> None:
        """Appends `count` elements of the first side."""
        self._file.write(value)
        self._length += count

    def finish(self) -> None:
        """Corrects the header, now that the length is known."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def close(self) -> None:
        """Closes the file, finished or not."""
        self._file.close()


def _file(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}.npy")


def _open_even(path: Path, field: Field, size_bytes: int, count: int) -> Buffers:
    target = _file(path, field.name)
    with damage_of(path.name, target):
        values, first = _map_array(target, field.numpy_dtype, (count, *sides(field)))
        return even(values, first, size_bytes, count)


def _open_uneven(path: Path, name: str, dtype: np.dtype[Any], count: int) -> Buffers:
    target = _file(path, f"{name}.offsets")
    with damage_of(path.name, target):
        content, first = _map_array(target, OFFSET, (count + 1,))
        offsets = content[first:].view(OFFSET)
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
