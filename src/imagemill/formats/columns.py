"""What column-wise formats share when writing: which arrays a schema becomes, and the loop over the rows.

A field whose values all have the same size is one array. Any other is two: the values of all rows
end to end, and where each begins, int64 of shape (rows + 1,), counted in elements. So are the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.formats.base import value_size

OFFSET = np.dtype("<i8")
BYTE = np.dtype("u1")


@dataclass(frozen=True)
class ArraySpec:
    """One array that is written: shape (length, *sides), its length known at the end.

    Args:
        name: field name, "key", or one of them with the suffix of offsets.
        dtype: element type.
        sides: all sides but the first.
        pixels: whether an element of the first side is one row's image or mask.
    """

    name: str
    dtype: np.dtype[Any]
    sides: tuple[int, ...] = ()
    pixels: bool = False


class Sink(Protocol):
    """An array being written."""

    def add(self, value: Buffer, count: int) -> None:
        """Appends `count` elements of the first side."""

    def finish(self) -> None:
        """Completes the array; nothing is added afterwards."""

    def close(self) -> None:
        """Lets go of what it holds, finished or not; may be called twice."""


def array_specs(schema: Schema, offsets_suffix: str) -> list[ArraySpec]:
    """The arrays of a shard: keys and their offsets, then each field's one or two."""
    specs = [ArraySpec("key", BYTE), ArraySpec(f"key{offsets_suffix}", OFFSET)]
    for field in schema:
        if field.size_bytes is None:
            specs += [ArraySpec(field.name, field.numpy_dtype), ArraySpec(f"{field.name}{offsets_suffix}", OFFSET)]
        else:
            specs.append(ArraySpec(field.name, field.numpy_dtype, sides(field), field.is_file))
    return specs


def sides(field: Field) -> tuple[int, ...]:
    """Per-sample shape of a field of fixed size."""
    return tuple(side or 0 for side in field.shape or ())


def write_columns(schema: Schema, rows: Iterable[Row], offsets_suffix: str, make: Callable[[ArraySpec], Sink]) -> None:
    """Writes all rows into arrays that `make` makes, one row after the other."""
    with ExitStack() as stack:
        sinks = {spec.name: stack.enter_context(closing(make(spec))) for spec in array_specs(schema, offsets_suffix)}
        keys = _Column(sinks["key"], sinks[f"key{offsets_suffix}"], 1)
        columns = [
            (field, _Column(sinks[field.name], sinks.get(f"{field.name}{offsets_suffix}"), field.numpy_dtype.itemsize))
            for field in schema
        ]
        for row in rows:
            for field, column in columns:
                column.add(row.values[field.name], value_size(field, row))
            key = row.key.encode()
            keys.add(key, len(key))
        for sink in sinks.values():
            sink.finish()


class _Column:
    """The array or two of one field."""

    def __init__(self, values: Sink, offsets: Sink | None, itemsize: int) -> None:
        self._values = values
        self._offsets = offsets
        self._itemsize = itemsize
        self._end = 0
        if offsets is not None:
            offsets.add(bytes(OFFSET.itemsize), 1)

    def add(self, value: Buffer, size_bytes: int) -> None:
        """Appends one row's value."""
        if self._offsets is None:
            self._values.add(value, 1)
            return
        count = size_bytes // self._itemsize
        self._end += count
        self._values.add(value, count)
        self._offsets.add(self._end.to_bytes(OFFSET.itemsize, "little"), 1)
