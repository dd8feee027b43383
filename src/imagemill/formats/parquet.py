"""Parquet: one `NAME.parquet` a shard, for `datasets`, polars, DuckDB and pandas.

========  ===============================================================================
field     column
========  ===============================================================================
image     `struct<bytes: binary, path: string>`, which `datasets` shows as an `Image`; raw
          uint8 pixels are the bytes of a PPM or PGM file (`headers.netpbm_header`), other
          raw pixels are `binary`, bare elements
mask      the same; where it is a `.npy` file, `datasets` shows the struct as it is
label     int64; a `ClassLabel` where classes have names
vector    `fixed_size_list` or `list` of its own element type
text      string
number    its own type
`key`     string
========  ===============================================================================

Pages are uncompressed (JPEG and PNG are, already), PLAIN, with a CRC each, one page a column of a row group. So
the values lie end to end in the file, and once their lengths are walked over (a fraction of a microsecond each)
a row is read without decoding its neighbours. What does not lie so (ragged vectors, types narrower than Parquet's,
pages that others wrote) is decoded by Arrow, a row group at a time, CRCs checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import value_size
from imagemill.formats.headers import file_suffix, netpbm_header
from imagemill.formats.parquet_columns import arrow_schema, column_type, has_elements, is_file, stored_dtype
from imagemill.formats.parquet_footer import SEAL_NAME, UNSEALED, seal
from imagemill.formats.parquet_reader import SUFFIX, ParquetReader

ROW_GROUP_BYTES = 8 * 2**20
"""Values of a row group, so many bytes at most (or one row): what is held in memory while writing."""

ROW_GROUP_ROWS = 4096

MAX_ROW_BYTES = 2**31 - 2**20
"""Sizes of pages are signed 32-bit numbers."""


class ByteColumn:
    """Values of a column of byte strings, end to end, until the row group is full."""

    def __init__(self, kind: pa.DataType, header: bytes = b"") -> None:
        self._kind = kind
        self._header = header
        self._data = bytearray()
        self._ends = [0]

    def append(self, value: Buffer) -> None:
        """Takes a copy of one value."""
        self._data += self._header
        self._data += value
        self._ends.append(len(self._data))

    def take(self) -> pa.Array:
        """What was appended, as an array; the column is empty afterwards."""
        offsets = pa.py_buffer(np.asarray(self._ends, np.int32))
        array = pa.Array.from_buffers(self._kind, len(self._ends) - 1, [None, offsets, pa.py_buffer(self._data)])
        self._data = bytearray()
        self._ends = [0]
        return array


class ElementColumn:
    """Values of a column of numbers or lists of numbers, until the row group is full."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._kind = column_type(field)
        self._data = bytearray()
        self._ends = [0]

    def append(self, value: Buffer) -> None:
        """Takes a copy of one value."""
        self._data += value
        self._ends.append(len(self._data) // self._field.numpy_dtype.itemsize)

    def take(self) -> pa.Array:
        """What was appended, as an array; the column is empty afterwards."""
        elements = pa.array(np.frombuffer(self._data, self._field.numpy_dtype).astype(stored_dtype(self._field)))
        if self._field.storage == "scalar":
            array = elements
        elif pa.types.is_fixed_size_list(self._kind):
            array = pa.FixedSizeListArray.from_arrays(elements, type=self._kind)
        else:
            array = pa.ListArray.from_arrays(pa.array(self._ends, pa.int32()), elements, type=self._kind)
        self._data = bytearray()
        self._ends = [0]
        return array


class RowGroup:
    """Rows on their way into a shard: as many as one row group takes."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._kinds = arrow_schema(schema)
        self._keys = ByteColumn(pa.string())
        self._paths: dict[str, list[str | None]] = {field.name: [] for field in schema if is_file(field)}
        self._columns = {field.name: _column(field) for field in schema}
        self.rows = 0
        self._size_bytes = 0

    def is_full(self, size_bytes: int) -> bool:
        """Whether a row of this size belongs into the next row group."""
        return self.rows == ROW_GROUP_ROWS or (self.rows > 0 and self._size_bytes + size_bytes > ROW_GROUP_BYTES)

    def append(self, row: Row, size_bytes: int) -> None:
        """Takes a copy of one row.

        Raises:
            ConfigError: it is larger than Parquet takes.
        """
        if size_bytes > MAX_ROW_BYTES:
            raise ConfigError(
                f"sample {row.key!r} has {size_bytes} bytes; format 'parquet' holds rows below 2 GiB: "
                "use --format memmap or hdf5"
            )
        self._keys.append(row.key.encode())
        for name, column in self._columns.items():
            column.append(row.values[name])
        for name, paths in self._paths.items():
            paths.append(row.origins.get(name))
        self.rows += 1
        self._size_bytes += size_bytes

    def take(self) -> pa.Table:
        """The rows as a table; the group is empty afterwards."""
        arrays = {"key": self._keys.take(), **{name: column.take() for name, column in self._columns.items()}}
        for name, paths in self._paths.items():
            arrays[name] = pa.StructArray.from_arrays([arrays[name], pa.array(paths, pa.string())], ["bytes", "path"])
            paths.clear()
        self.rows = self._size_bytes = 0
        return pa.table(list(arrays.values()), schema=self._kinds)


def _column(field: Field) -> ByteColumn | ElementColumn:
    if has_elements(field):
        return ElementColumn(field)
    return ByteColumn(pa.string() if field.storage == "text" else pa.binary(), netpbm_header(field))


def _array_files(schema: Schema, row: Row | None) -> list[str]:
    """Mask fields whose files are `.npy`. Their fields do not say so; the first row does, as masks are alike."""
    masks = [field.name for field in schema.of_kind("mask") if field.codec == "encoded"]
    return [name for name in masks if row is not None and file_suffix(row.values[name]) == "npy"]


def _writer(path: Path, schema: Schema, first: Row | None) -> pq.ParquetWriter:
    scalars = [field.name for field in schema if field.storage == "scalar" and has_elements(field)]
    return pq.ParquetWriter(
        str(path),
        arrow_schema(schema, _array_files(schema, first)),
        compression="none",
        use_dictionary=False,
        # The least and the greatest JPEG of a row group help nobody.
        write_statistics=["key", *scalars],
        write_page_checksum=True,
        data_page_version="1.0",
        data_page_size=MAX_ROW_BYTES,
    )


class ParquetFormat:
    """The format `parquet`; see `imagemill.formats.base.Format`."""

    name = "parquet"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".parquet"`; see `Format.write`."""
        target = path.with_name(path.name + SUFFIX)
        group = RowGroup(schema)
        following = iter(rows)
        first = next(following, None)
        with _writer(target, schema, first) as writer:
            for row in chain(() if first is None else (first,), following):
                size_bytes = sum(value_size(field, row) for field in schema)
                if group.is_full(size_bytes):
                    writer.write_table(group.take())
                group.append(row, size_bytes)
            if group.rows:
                writer.write_table(group.take())
            writer.add_key_value_metadata({SEAL_NAME: UNSEALED})
        seal(target)
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> ParquetReader:
        """Maps the file and reads its footer; see `Format.open`."""
        return ParquetReader(path, schema, count)


FORMAT = ParquetFormat()
