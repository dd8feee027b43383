"""Reading a Parquet shard: values where they lie in the file if they can be had so, decoded by Arrow if not."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.sample import Buffer
from imagemill.core.schema import Field, Schema
from imagemill.errors import ShardError
from imagemill.formats.base import Buffers, Reader
from imagemill.formats.headers import netpbm_header
from imagemill.formats.mapped import Bytes, damage_of, joined, map_file
from imagemill.formats.parquet_columns import arrow_schema, has_elements, leaf, stored_dtype
from imagemill.formats.parquet_footer import check_seal
from imagemill.formats.parquet_pages import fixed_values, length_prefixed_values

SUFFIX = ".parquet"

CACHE_BYTES = 8 * 2**20
"""Decoded columns that a reader keeps, so many bytes at most (or one column of one row group)."""

PLAIN_TYPES = ("<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
"""Element types whose PLAIN bytes are NumPy's own."""

DAMAGE = (pa.ArrowException, MemoryError, TypeError, LookupError, ArithmeticError)
"""What Arrow raises over a damaged file, beside OSError and ValueError."""


class ParquetReader(Reader):
    """One open Parquet shard.

    Args:
        path: the shard's path without suffix.
        schema: fields that it must have.
        count: rows that it must have.
    """

    def __init__(self, path: Path, schema: Schema, count: int) -> None:
        self._shard = path.name
        self._path = path.with_name(path.name + SUFFIX)
        self._fields: dict[str, Field | None] = {"key": None, **{field.name: field for field in schema}}
        self._lock = threading.Lock()
        self._located: dict[tuple[str, int], Buffers | None] = {}
        self._decoded: OrderedDict[tuple[str, int], Buffers] = OrderedDict()
        with damage_of(self._shard, self._path, *DAMAGE):
            self._values: Bytes | None = map_file(self._path)
            check_seal(self._values)
            self._file = pq.ParquetFile(pa.BufferReader(self._values), page_checksum_verification=True)
            metadata = self._file.metadata
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            if not self._file.schema_arrow.equals(arrow_schema(schema)):
                raise ValueError(f"it has other columns: {', '.join(self._file.schema_arrow.names)}")
            if sum(sizes) != count or min(sizes, default=1) < 1:
                raise ValueError(f"it has {sum(sizes)} rows, {count} are expected")
            self._chunks = {self._file.schema.column(place).path: place for place in range(metadata.num_columns)}
        self._ends = np.cumsum([0, *sizes], dtype=np.int64)[1:]

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        """Values of these rows; see `Reader.read`."""
        names = [name for name in self._fields if name != "key"] if fields is None else fields
        wanted = np.asarray(indices, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"shard {self._shard}: rows must lie in [0, {len(self)}), got {list(indices)}")
        groups = np.searchsorted(self._ends, wanted, side="right").tolist()
        found: list[Mapping[str, Buffer]] = []
        for row, group in zip(wanted.tolist(), groups, strict=True):
            place = row - int(self._ends[group]) + self._rows(group)
            found.append({name: self._value(name, group, place) for name in names})
        return found

    def _value(self, name: str, group: int, place: int) -> memoryview:
        column = self._located.get((name, group)) or self._locate(name, group) or self._decode(name, group)
        start = int(column.starts[place])
        return column.values.data[start : start + int(column.lengths[place])]

    def buffers(self, field: str) -> Buffers | None:
        """Where this field's bytes lie in the file; None for a column that Arrow has to decode."""
        values = self._bytes()
        parts = [self._locate(field, group) for group in range(len(self._ends))]
        located = [part for part in parts if part is not None]
        return joined(values, located) if len(located) == len(parts) else None

    def close(self) -> None:
        """Lets go of the file; see `Reader.close`."""
        with self._lock:
            self._values = self._file = None
            self._located.clear()
            self._decoded.clear()

    def _bytes(self) -> Bytes:
        if self._values is None:
            raise ValueError(f"shard {self._shard}: the reader is closed")
        return self._values

    def _rows(self, group: int) -> int:
        return int(self._ends[group] - (self._ends[group - 1] if group else 0))

    def _field(self, name: str) -> Field | None:
        if name not in self._fields:
            raise KeyError(f"shard {self._shard} has no field {name!r}; the fields are {', '.join(self._fields)}")
        return self._fields[name]

    def _locate(self, name: str, group: int) -> Buffers | None:
        """Where the values of a row group lie in the file, if they lie there as they are."""
        values = self._bytes()
        if (name, group) not in self._located:
            field = self._field(name)
            rows, size_bytes = self._rows(group), field.size_bytes if field else None
            start, end = self._extent(name, group, len(values))
            column = None
            if field is None or not has_elements(field):
                column = length_prefixed_values(values, start, end, rows)
            elif size_bytes and field.numpy_dtype == stored_dtype(field) and field.numpy_dtype.str in PLAIN_TYPES:
                column = fixed_values(values, start, end, rows, size_bytes)
            self._located[name, group] = column and self._without_header(name, column)
        return self._located[name, group]

    def _extent(self, name: str, group: int, size_bytes: int) -> tuple[int, int]:
        """First byte and end of a column chunk; an empty one where the file is damaged."""
        with damage_of(self._shard, self._path, *DAMAGE):
            chunk = self._file.metadata.row_group(group).column(self._chunks[leaf(name, self._fields[name])])
            start, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
        return (start, end) if 0 < start <= end <= size_bytes else (0, 0)

    def _decode(self, name: str, group: int) -> Buffers:
        """The values of a row group, decoded by Arrow; the last few are kept."""
        with self._lock:
            if (name, group) not in self._decoded:
                self._decoded[name, group] = self._without_header(name, self._read_group(name, group))
            self._decoded.move_to_end((name, group))
            column = self._decoded[name, group]
            while len(self._decoded) > 1 and sum(kept.values.nbytes for kept in self._decoded.values()) > CACHE_BYTES:
                self._decoded.popitem(last=False)
        return column

    def _read_group(self, name: str, group: int) -> Buffers:
        field = self._field(name)
        with damage_of(self._shard, self._path, *DAMAGE):
            table = self._file.read_row_group(group, columns=[leaf(name, field)], use_threads=False)
            array = pa.concat_arrays(table.column(0).chunks)
            if pa.types.is_struct(array.type):
                array = array.field("bytes")
            if len(array) != self._rows(group) or array.null_count:
                raise ValueError(
                    f"column {name!r} has {len(array) - array.null_count} values in {self._rows(group)} rows"
                )
            return _element_places(array, field) if field and has_elements(field) else _byte_places(array)

    def _without_header(self, name: str, column: Buffers) -> Buffers:
        """The same values without what makes image files of them, once they have the size they must have."""
        field = self._field(name)
        if field is None or field.size_bytes is None:
            return column
        header = netpbm_header(field)
        first = int(column.starts[0])
        if (column.lengths != len(header) + field.size_bytes).any():
            raise ShardError(self._shard, f"values of field {name!r} have not {field.size_bytes} bytes each")
        if column.values[first : first + len(header)].tobytes() != header:
            raise ShardError(self._shard, f"values of field {name!r} have not shape {field.shape}")
        return Buffers(column.values, column.starts + len(header), column.lengths - len(header))


def _byte_places(array: pa.Array) -> Buffers:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    return Buffers(np.frombuffer(data or b"", np.uint8), ends[:-1], np.diff(ends))


def _element_places(array: pa.Array, field: Field) -> Buffers:
    rows = len(array)
    if field.storage == "scalar":
        ends = np.arange(rows + 1, dtype=np.int64)
    else:
        ends = np.concatenate([[0], np.cumsum(array.value_lengths().to_numpy().astype(np.int64))])
        array = array.flatten()
    if array.null_count or len(array) != ends[-1]:
        raise ValueError(f"{len(array)} elements, {array.null_count} of them null, instead of {ends[-1]}")
    elements = array.to_numpy(zero_copy_only=False).astype(field.numpy_dtype)
    ends *= field.numpy_dtype.itemsize
    return Buffers(elements.view(np.uint8), ends[:-1], np.diff(ends))
