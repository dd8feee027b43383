"""Finished datasets from rows made by hand, without a source and a pack."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.core.manifest import MANIFEST_NAME, Manifest, ShardInfo
from imagemill.core.sample import Row, digest
from imagemill.core.schema import Schema
from imagemill.formats import FORMATS
from imagemill.formats.index import SUFFIX, IndexBuilder
from imagemill.prepare.commit import settle


def write_dataset(
    folder: Path,
    schema: Schema,
    splits: Mapping[str, Sequence[Row]],
    *,
    format: str = "arrow",
    shard_samples: int = 7,
    pixels: str = "original",
    recipe: Mapping[str, Any] | None = None,
    counts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a dataset that `imagemill.open` and `Store` read like one that was packed.

    Args:
        folder: new or empty.
        schema: fields of every row.
        splits: split → its rows; digests are filled in.
        format: registered name.
        shard_samples: rows a shard at most; few, so that a small dataset has several.
        pixels: what the manifest says of the pixels.
        recipe: what the manifest says of the recipe.
        counts: further or other counts for the manifest, as `pack` would have found them.

    Returns:
        The folder.
    """
    (folder / "data").mkdir(parents=True)
    (folder / "index").mkdir()
    shards: dict[str, tuple[ShardInfo, ...]] = {}
    for split, rows in splits.items():
        starts = range(0, max(len(rows), 1), shard_samples)
        names = [f"{split}-{number:05d}-of-{len(starts):05d}" for number in range(len(starts))]
        parts = [rows[start : start + shard_samples] for start in starts]
        shards[split] = tuple(
            _write_shard(folder, name, schema, part, format) for name, part in zip(names, parts, strict=True)
        )
    samples = sum(len(rows) for rows in splits.values())
    manifest = Manifest(
        format=format,
        pixels=pixels,
        schema=schema,
        splits=shards,
        recipe=dict(recipe or {}),
        versions={},
        counts={"found": samples, "kept": samples, "rejected": 0, "ignored": 0, "samples": samples, **(counts or {})},
        source={"kind": "test"},
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return folder


def _write_shard(folder: Path, name: str, schema: Schema, rows: Sequence[Row], format: str) -> ShardInfo:
    rows = [
        dataclasses.replace(row, digests={field: digest(value) for field, value in row.values.items()}) for row in rows
    ]
    index = IndexBuilder(schema)
    for number, row in enumerate(rows):
        index.add(row, number)
    files = FORMATS.get(format).write(folder / "data" / name, schema, rows)
    index_path = folder / "index" / f"{name}{SUFFIX}"
    index.write(index_path)
    return ShardInfo(
        name=name,
        count=len(rows),
        files=tuple(settle(path, f"data/{path.name}") for path in files),
        index=settle(index_path, f"index/{index_path.name}"),
    )
