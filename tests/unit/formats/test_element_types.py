"""Numbers of every type come back with exactly their bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.formats import FORMATS

TYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)
NOT_A_NUMBER = {"float16": 0x7E01, "float32": 0x7FC00001, "float64": 0x7FF8000000000001}


def extremes(dtype: str) -> np.ndarray:
    """Values of a type at which something may go wrong."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype.startswith("float"):
        payload = np.array([NOT_A_NUMBER[dtype]], dtype.replace("float", "uint")).view(dtype)
        finite = np.array([0.0, -0.0, 0.1, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
        return np.concatenate([finite, np.array([np.inf, -np.inf, np.nan], dtype), payload])
    limits = np.iinfo(dtype)
    return np.array([limits.min, limits.max, 0, 1, limits.max // 2], dtype)


@pytest.mark.parametrize("name", ["parquet", "tar", "tfrecord"])
@pytest.mark.parametrize("dtype", TYPES)
def test_bits_are_kept(tmp_path: Path, name: str, dtype: str) -> None:
    values = extremes(dtype)
    fields = [
        Field("number", "number", dtype, (), "raw"),
        Field("fixed", "vector", dtype, (3,), "raw"),
        Field("ragged", "vector", dtype, (None,), "raw"),
        Field("mask", "mask", dtype, (1, 3), "raw"),
    ]
    if not dtype.startswith("float") and dtype != "bool":
        fields.append(Field("label", "label", dtype, (), "raw"))
    schema = Schema(tuple(fields))
    rows = []
    for index in range(len(values)):
        three = np.roll(values, -index)[:3] if len(values) >= 3 else values[[index, 0, 1]]
        parts = {"number": values[index : index + 1], "label": values[index : index + 1], "ragged": values[:index]}
        rows.append(Row(f"{index}", {field.name: parts.get(field.name, three).tobytes() for field in schema}))
    FORMATS.get(name).write(tmp_path / "shard", schema, rows)
    reader = FORMATS.get(name).open(tmp_path / "shard", schema, len(rows))
    for row, read in zip(rows, reader.read(range(len(rows))), strict=True):
        assert {field: bytes(value) for field, value in read.items()} == row.values
    reader.close()
