"""`arrow`: one Arrow IPC file a shard, `NAME.arrow`, opened zero-copy from a memory map.

Column `key` (string), then one column a field, nothing compressed, nothing null:

=======  =============================================================
scalar   a number column of the field's type
fixed    `arrow.fixed_shape_tensor`; `.to_numpy_ndarray()` copies nothing
ragged   list of the element type
bytes    binary: whole image files
text     string
=======  =============================================================

Arrow has no byte-sized boolean, so `bool` elements are stored as uint8. The schema's metadata
hold the imagemill schema, each column's metadata its kind and class names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import Buffers, value_size
from imagemill.formats.mapped import Bytes, MappedReader, damage_of, even, joined, map_file, uneven

BATCH_BYTES = 8 << 20
"""A record batch is written before it exceeds this (one larger row has a batch of its own)."""

BATCH_ROWS = 32_768

OFFSET_LIMIT = 2**31 - 1
"""`binary`, `string` and `list` count with 32 bits."""


class ArrowFormat:
    """The format `arrow`; see `imagemill.formats.base.Format`."""

    name = "arrow"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".arrow"`; see `Format.write`."""
        target = _file(path)
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, arrow_schema(schema)) as writer:
            batch = _Batch(schema)
            for row in rows:
                size_bytes = sum(value_size(field, row) for field in schema)
                if batch.is_full(size_bytes):
                    writer.write_batch(batch.finish())
                    batch.clear()
                batch.add(row, size_bytes)
            if batch.count:
                writer.write_batch(batch.finish())
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> MappedReader:
        """Maps the file and finds every value; see `Format.open`."""
        target = _file(path)
        with damage_of(path.name, target, pa.ArrowException, KeyError):
            values = map_file(target)
            reader = pa.ipc.open_file(pa.py_buffer(values))
            if not reader.schema.equals(arrow_schema(schema)):
                raise ValueError(f"it has other columns: {', '.join(reader.schema.names)}")
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            rows = sum(batch.num_rows for batch in batches)
            if rows != count:
                raise ValueError(f"it has {rows} rows, {count} are expected")
            columns = {"key": joined(values, [_locate(values, batch, 0, None, 1) for batch in batches])}
            for place, field in enumerate(schema, start=1):
                size_bytes, itemsize = field.size_bytes, field.numpy_dtype.itemsize
                parts = [_locate(values, batch, place, size_bytes, itemsize) for batch in batches]
                columns[field.name] = joined(values, parts)
        return MappedReader(path.name, count, columns)


FORMAT = ArrowFormat()


def arrow_schema(schema: Schema) -> pa.Schema:
    """The columns of a shard: `key`, then the fields in order."""
    fields = [pa.field("key", pa.string())]
    for field in schema:
        about = {"imagemill.kind": field.kind, "imagemill.codec": field.codec, "imagemill.dtype": field.dtype}
        if field.class_names is not None:
            about["imagemill.class_names"] = json.dumps(field.class_names, ensure_ascii=False)
        fields.append(pa.field(field.name, column_type(field), metadata=about))
    return pa.schema(fields, metadata={"imagemill.schema": json.dumps(schema.to_json(), ensure_ascii=False)})


def column_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's column."""
    if field.storage == "text":
        return pa.string()
    if field.storage == "bytes":
        return pa.binary()
    element = pa.uint8() if field.dtype == "bool" else pa.from_numpy_dtype(np.dtype(field.dtype))
    if field.storage == "scalar":
        return element
    if field.storage == "ragged":
        return pa.list_(element)
    return pa.fixed_shape_tensor(element, field.shape)


def _file(path: Path) -> Path:
    return path.with_name(path.name + ".arrow")


class _Values:
    """A field's values, one after the other, in memory that is kept for the next batch: asking the system for as much
    again, piece by piece, would cost as much as writing it."""

    def __init__(self) -> None:
        self._room = bytearray()
        self.ends = [0]

    def add(self, value: Buffer) -> None:
        """Copies a value."""
        size_bytes = value.nbytes if isinstance(value, memoryview) else len(value)
        start = self.ends[-1]
        end = start + size_bytes
        if end > len(self._room):
            self._room += bytes(max(end - len(self._room), len(self._room)))
        self._room[start:end] = value
        self.ends.append(end)

    def buffer(self) -> pa.Buffer:
        """All of them, as long as there are no others."""
        return pa.py_buffer(memoryview(self._room)[: self.ends[-1]])


class _Batch:
    """Rows on their way into one record batch, their bytes copied."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._values = {field.name: _Values() for field in schema}
        self.clear()

    def clear(self) -> None:
        """Lets go of all rows, and of a batch that was made of them nobody may know any more."""
        self.count = 0
        self._size_bytes = 0
        self._keys: list[str] = []
        for values in self._values.values():
            values.ends = [0]

    def is_full(self, size_bytes: int) -> bool:
        """Whether a row of this size belongs into the next batch."""
        return self.count == BATCH_ROWS or (self.count > 0 and self._size_bytes + size_bytes > BATCH_BYTES)

    def add(self, row: Row, size_bytes: int) -> None:
        """Copies a row's values."""
        if size_bytes > OFFSET_LIMIT:
            raise ConfigError(
                f"sample {row.key!r} has {size_bytes} bytes; format 'arrow' holds values below 2 GiB: "
                "use --format memmap or hdf5"
            )
        for name, values in self._values.items():
            values.add(row.values[name])
        self._keys.append(row.key)
        self._size_bytes += size_bytes
        self.count += 1

    def finish(self) -> pa.RecordBatch:
        """The record batch; it holds the copied bytes, not copies of them."""
        columns = [pa.array(self._keys, pa.string()), *(self._column(field) for field in self._schema)]
        return pa.record_batch(columns, schema=arrow_schema(self._schema))

    def _column(self, field: Field) -> pa.Array:
        data = self._values[field.name].buffer()
        kind = column_type(field)
        if field.storage == "scalar":
            return pa.Array.from_buffers(kind, self.count, [None, data])
        if field.storage in ("bytes", "text"):
            return pa.Array.from_buffers(kind, self.count, [None, self._offsets(field, 1), data])
        itemsize = field.numpy_dtype.itemsize
        element = kind.value_type
        elements = pa.Array.from_buffers(element, data.size // itemsize, [None, data])
        if field.storage == "ragged":
            return pa.Array.from_buffers(kind, self.count, [None, self._offsets(field, itemsize)], children=[elements])
        storage = pa.Array.from_buffers(kind.storage_type, self.count, [None], children=[elements])
        return pa.ExtensionArray.from_storage(kind, storage)

    def _offsets(self, field: Field, itemsize: int) -> pa.Buffer:
        return pa.py_buffer((np.array(self._values[field.name].ends, np.int64) // itemsize).astype("<i4"))


def _locate(values: Bytes, batch: pa.RecordBatch, place: int, size_bytes: int | None, itemsize: int) -> Buffers:
    """Where one column of a batch lies in the file.

    Arrow checks that its buffers lie inside the file, not that they are as long as the rows
    need, nor the offsets in them; and it would touch memory elsewhere if these were damaged.
    """
    column = batch.column(place)
    validity, *rest = column.buffers()
    if validity is not None or len(column) != batch.num_rows:
        raise ValueError(f"column {batch.schema.names[place]!r} is damaged")
    first, room_bytes = _place(values, rest[-1])
    if size_bytes is not None:
        if size_bytes * batch.num_rows > room_bytes:
            raise ValueError(f"column {batch.schema.names[place]!r} is too short")
        return even(values, first, size_bytes, batch.num_rows)
    start, length = _place(values, rest[0])
    wanted = 4 * (batch.num_rows + 1)
    if length < wanted:
        raise ValueError(f"the offsets of column {batch.schema.names[place]!r} are too short")
    return uneven(values, first, room_bytes, values[start : start + wanted].view("<i4"), itemsize)


def _place(values: Bytes, buffer: pa.Buffer | None) -> tuple[int, int]:
    """First byte in the file and size of a buffer; a buffer of no bytes may be anywhere."""
    if buffer is None or buffer.size == 0:
        return 0, 0
    first = buffer.address - values.ctypes.data
    if first < 0 or first + buffer.size > len(values):
        raise ValueError("a buffer does not lie in the file: it is compressed or damaged")
    return first, buffer.size
