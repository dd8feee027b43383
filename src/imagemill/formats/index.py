"""The index of a shard: keys, groups, digests, origins and sides of its rows, whatever its format.

One Arrow IPC file a shard, `index/train-00003-of-00012.arrow`, one record batch:

==============  ==========  ==========================================================
`key`           string      stable key of the sample
`group`         uint64      hash of what must not straddle splits
`notes`         string      what the pixel policy did: `image:orientation=6,icc`
`digest.F`      uint64      xxh3-64 of the stored bytes of field F
`origin.F`      string      path or URL that field F came from (images and masks)
`height.F`      int32       stored height of field F, 0 where unknown (images and masks)
`width.F`       int32       stored width
==============  ==========  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.core.manifest import FileInfo
from imagemill.core.sample import Row
from imagemill.core.schema import Schema
from imagemill.errors import ShardError
from imagemill.formats.base import Buffers
from imagemill.formats.mapped import map_file

SUFFIX = ".arrow"


@dataclass
class IndexBuilder:
    """Collects the index entries of rows on their way into a format.

    Usage: `format.write(path, schema, builder.collect(rows_and_groups))`, then `write`.
    """

    schema: Schema
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = {name: [] for name in index_schema(self.schema).names}

    def add(self, row: Row, group: int) -> None:
        """Takes over what the index keeps of one row; `group` is the uint64 hash of its group."""
        columns = self.columns
        columns["key"].append(row.key)
        columns["group"].append(group)
        columns["notes"].append(row.notes)
        for item in self.schema:
            columns[f"digest.{item.name}"].append(row.digests[item.name])
            if item.is_file:
                height, width = row.sides.get(item.name, (0, 0))
                columns[f"origin.{item.name}"].append(row.origins.get(item.name, ""))
                columns[f"height.{item.name}"].append(height)
                columns[f"width.{item.name}"].append(width)

    def write(self, path: Path) -> None:
        """Writes the index file."""
        schema = index_schema(self.schema)
        arrays = [pa.array(self.columns[name], schema.field(name).type) for name in schema.names]
        with pa.ipc.new_file(str(path), schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def index_schema(schema: Schema) -> pa.Schema:
    """Columns of the index of shards with these fields."""
    columns = [("key", pa.string()), ("group", pa.uint64()), ("notes", pa.string())]
    for item in schema:
        columns.append((f"digest.{item.name}", pa.uint64()))
        if item.is_file:
            columns.append((f"origin.{item.name}", pa.string()))
            columns.append((f"height.{item.name}", pa.int32()))
            columns.append((f"width.{item.name}", pa.int32()))
    return pa.schema(columns)


class Index:
    """An open index, memory-mapped, or read where it is small; its own digest is checked first.

    Raises:
        ShardError: the file is missing, damaged, or has another number of rows.
    """

    def __init__(self, folder: Path, info: FileInfo, shard: str, count: int) -> None:
        path = folder / info.path
        try:
            content = map_file(path)
        except (OSError, ValueError) as error:
            raise ShardError(shard, f"its index {info.path} cannot be opened: {error}") from None
        if len(content) != info.size_bytes or xxhash.xxh3_64_hexdigest(content.data) != info.xxh3:
            raise ShardError(shard, f"its index {info.path} is damaged: not the bytes that were written")
        self._texts: dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]] = {}
        self._numbers: dict[str, npt.NDArray[Any]] = {}
        self._batch: pa.RecordBatch = pa.ipc.open_file(pa.py_buffer(content)).get_batch(0)
        if self._batch.num_rows != count:
            raise ShardError(shard, f"its index has {self._batch.num_rows} rows, the manifest says {count}")

    def column(self, name: str) -> pa.Array:
        """One column as an Arrow array."""
        return self._batch.column(name)

    def strings(self, name: str, rows: Iterable[int]) -> list[str]:
        """Values of a text column for these rows."""
        content, ends = self._text(name)
        data, end_of = content.data, ends.item
        return [str(data[end_of(row) : end_of(row + 1)], "utf-8") for row in rows]

    def texts(self, name: str) -> Buffers:
        """Where the UTF-8 bytes of a text column lie in the map."""
        content, ends = self._text(name)
        positions = ends.astype(np.int64)
        return Buffers(content, positions[:-1], np.diff(positions))

    def _text(self, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """The bytes of a text column, and where each value ends; the first number is where the first one begins."""
        if name not in self._texts:
            column = self._batch.column(name)
            _, offsets, content = column.buffers()
            values = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(1, np.uint8)
            ends = np.zeros(1, np.int32)
            if len(column):
                ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
            self._texts[name] = values, ends
        return self._texts[name]

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A number column as a NumPy view of the map."""
        if name not in self._numbers:
            # Arrow's own to_numpy imports pandas where that is installed: a quarter of a second.
            column = self._batch.column(name)
            numbers = np.zeros(0, str(column.type))
            if len(column):
                numbers = np.frombuffer(column.buffers()[1], str(column.type))
            self._numbers[name] = numbers[column.offset : column.offset + len(column)]
        return self._numbers[name]

    def table(self) -> pa.Table:
        """The whole index as an Arrow table."""
        return pa.Table.from_batches([self._batch])
