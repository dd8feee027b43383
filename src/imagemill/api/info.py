"""`info`: what a dataset or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagemill.api.given import PathLike
from imagemill.core.manifest import MANIFEST_NAME, Manifest
from imagemill.core.remote import place_of

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt")
RUN_FILES = ("best.safetensors", "best-reverse.safetensors")


def info(path: PathLike) -> dict[str, Any]:
    """What a dataset is: schema, splits, classes, sizes, counts, recipe, versions; or what a model is: network,
    parameters, what it takes and gives, the sizes it takes, how good it was. Plain values.

    Args:
        path: folder or URL of a packed dataset; a model file, or the folder of a run of `train`.

    Raises:
        ConfigError: neither is there.
    """
    place = place_of(path)
    if isinstance(place, Path) and _is_model(place):
        return model_info(place)
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


def _is_model(place: Path) -> bool:
    if place.is_file():
        return place.suffix.lower() in MODEL_SUFFIXES
    return not (place / MANIFEST_NAME).is_file() and any((place / name).is_file() for name in RUN_FILES)


def model_info(place: Path) -> dict[str, Any]:
    """What each model of a file or a run is; `models` has one a direction.

    Raises:
        MissingExtra: torch is not installed.
        DamageError: a file is damaged.
    """
    from imagemill.load.batch import require_torch

    require_torch()
    from imagemill.training.memory import model_facts

    found = [place / name for name in RUN_FILES if (place / name).is_file()]
    return {"path": str(place), "models": [model_facts(file) for file in found or [place]]}
