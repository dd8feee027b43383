"""Listings, hashes and tables of checks for tests of splitting, made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.curate.table import FILE_NAME, METADATA_KEY, check_schema
from imagemill.prepare.identity import Hashes
from imagemill.prepare.plan import UNASSIGNED, hash_strings


def hashes(count: int, prefix: str = "k") -> np.ndarray:
    return hash_strings(pa.chunked_array([[f"{prefix}{number}" for number in range(count)]]))


def free(count: int) -> np.ndarray:
    return np.full(count, UNASSIGNED, np.int16)


def listing(
    keys: Sequence[str],
    *,
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str | None] | None = None,
    labels: Sequence[str | None] | None = None,
) -> tuple[pa.Table, Hashes]:
    """A listing of files of one byte each, and its hashes."""
    columns: dict[str, Any] = {
        "key": pa.array(keys, pa.string()),
        "group": pa.array(groups or [None] * len(keys), pa.string()),
        "split": pa.array(splits or [None] * len(keys), pa.string()),
        "size": pa.array([1] * len(keys), pa.int64()),
        "files": pa.array([1] * len(keys), pa.int32()),
    }
    if labels is not None:
        columns["label"] = pa.array(labels, pa.string())
    table = pa.table(columns)
    key_hashes = hash_strings(table["key"])
    return table, Hashes(key_hashes, hash_strings(table["group"], key_hashes))


def write_checks(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """`checks.parquet` with these rows; what they leave out is that of a good sample of one byte, alone."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"size": 1, "files": 1, "reason": "", "detail": "", "notes": "", "flags": []}
    ordered = sorted((plain | dict(row) for row in rows), key=lambda row: row["key"].encode())
    schema = check_schema(("image",), ())
    metadata = {METADATA_KEY: json.dumps({"images": ["image"], "masks": [], "decode": "full", "thresholds": {}})}
    table = pa.Table.from_pylist(ordered, schema).replace_schema_metadata(metadata)
    pq.write_table(table, folder / FILE_NAME)
    return folder / FILE_NAME
