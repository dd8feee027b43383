"""`info`: what a dataset is."""

from __future__ import annotations

from typing import Any

from imagemill.api.given import (
    PathLike,
)
from imagemill.core.manifest import Manifest
from imagemill.core.remote import place_of


def info(dataset: PathLike) -> dict[str, Any]:
    """What a dataset is: schema, splits, classes, sizes, counts, recipe, versions, as plain values.

    Raises:
        ConfigError: no finished dataset there.
    """
    place = place_of(dataset)
    manifest = Manifest.load(place)
    splits = {}
    for name, shards in manifest.splits.items():
        size_bytes = sum(file.size_bytes for shard in shards for file in shard.files)
        splits[name] = {"samples": manifest.count(name), "shards": len(shards), "bytes": size_bytes}
    return {
        "path": str(place),
        "format": manifest.format,
        "pixels": manifest.pixels,
        "fields": manifest.schema.to_json(),
        "splits": splits,
        "counts": dict(manifest.counts),
        "recipe": dict(manifest.recipe),
        "source": dict(manifest.source),
        "versions": dict(manifest.versions),
    }
