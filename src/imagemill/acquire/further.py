"""What the further columns of a list hold, and how they are stored in the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from imagemill.acquire.url_list import Beginning, as_text
from imagemill.sources.table_files import ARROW_TYPES, Kind, kind_of_texts, kind_of_type, kind_of_value, merge_kinds

BATCH_ROWS = 4096


class FurtherColumns:
    """What the further columns of a list hold: as Parquet says, else as the values are."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._types: dict[str, pa.DataType | None] = {}
        self._pending: list[Mapping[str, Any]] = []
        self._typed = self._all_text = False

    def begin(self, file: Beginning) -> None:
        """A file begins."""
        self._flush()
        self._typed, self._all_text = bool(file.types), file.kind == "csv"
        for name, kind in file.types.items():
            if name in file.columns:
                continue
            known = self._types.get(name, kind)
            self._types[name] = kind if kind == known else None
            self._kinds[name] = merge_kinds(self._kinds.get(name, "none"), kind_of_type(kind))

    def add(self, further: Mapping[str, Any]) -> None:
        """A row of the file."""
        if self._typed or not further:
            return
        self._pending.append(further)
        if len(self._pending) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        names = dict.fromkeys(name for row in self._pending for name in row)
        for name in names:
            values = [value for row in self._pending if (value := row.get(name)) is not None]
            self._types[name] = None
            kind = self._kinds.get(name, "none")
            if self._all_text:
                kind = merge_kinds(kind, kind_of_texts(pa.array(values, pa.string())))
            else:
                for value in values:
                    kind = merge_kinds(kind, kind_of_value(value))
            self._kinds[name] = kind
        self._pending.clear()

    def schema(self) -> pa.Schema:
        """The columns with their types; what is neither text, number nor list of numbers becomes JSON."""
        self._flush()
        types = {name: self._types[name] or ARROW_TYPES.get(kind, pa.string()) for name, kind in self._kinds.items()}
        return pa.schema(types)


def column_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of a further column, from whatever file, as an array of its type."""
    if pa.types.is_string(kind):
        return pa.array([None if value is None else as_text(value) for value in values], kind)
    if pa.types.is_int64(kind):
        return pa.array([None if value is None else int(value) for value in values], kind)
    if pa.types.is_float64(kind):
        return pa.array([None if value is None else float(value) for value in values], kind)
    return pa.array(values, kind)
