"""Open Parquet files: rows at random, a row group at a time."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (b".parquet", b".parq", b".pq")
READ_ERRORS = (OSError, ValueError, KeyError, pa.ArrowException)


class OpenKey(NamedTuple):
    """A file, and those of its columns that are read."""

    path: bytes
    columns: tuple[str, ...]


class OpenParquet:
    """One open file; the row group read last is kept."""

    def __init__(self, path: Path, columns: tuple[str, ...] | None = None) -> None:
        self.file = pq.ParquetFile(path, page_checksum_verification=True)
        self._columns = None if columns is None else list(columns)
        metadata = self.file.metadata
        self.group_rows: list[int] = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
        self._starts: list[int] = [0, *accumulate(self.group_rows)]
        self._kept: tuple[int, pa.Table] | None = None

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self.file.schema_arrow

    def row(self, row: int) -> dict[str, Any]:
        """One row as Python values."""
        group = bisect_right(self._starts, row) - 1
        if self._kept is None or self._kept[0] != group:
            self._kept = None
            self._kept = (group, self.file.read_row_group(group, self._columns))
        at = row - self._starts[group]
        return {name: self._kept[1].column(name)[at].as_py() for name in self._kept[1].column_names}

    def first_value(self, column: str) -> bytes | None:
        """The first value of a column of byte strings that is not null."""
        for batch in self.file.iter_batches(batch_size=16, columns=[column]):
            for value in batch.column(0):
                if value.is_valid:
                    return value.as_py()  # type: ignore[no-any-return]
        return None

    def group_bytes(self, group: int, columns: Collection[str]) -> int:
        """Uncompressed bytes of these columns in one row group."""
        chunks = self.file.metadata.row_group(group)
        parts = (chunks.column(at) for at in range(chunks.num_columns))
        return sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in columns)

    def close(self) -> None:
        """Closes the file."""
        self._kept = None
        self.file.close()


def open_parquet(key: OpenKey) -> OpenParquet:
    """Opens a file for reading some of its columns."""
    return OpenParquet(Path(os.fsdecode(key.path)), key.columns)
