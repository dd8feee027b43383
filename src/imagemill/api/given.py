"""What a person gives, as the stages take it: sources, engines, sizes, lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

from imagemill.api.straight import names_urls, straight_source
from imagemill.core.manifest import Manifest
from imagemill.core.recipe import RECODED_PIXELS, Recipe
from imagemill.core.remote import RemoteFolder, local_path, place_of
from imagemill.engines import ENGINES
from imagemill.engines.base import Engine
from imagemill.errors import ConfigError
from imagemill.sources.base import Source, SourceOptions
from imagemill.sources.detect import detect
from imagemill.transforms.geometry import parse_size

PathLike: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = int | str | tuple[int, int]
OnProgress: TypeAlias = Callable[[int], None]


def open_source(source: Any, kind: str | None, options: Mapping[str, Any]) -> Source:
    """The source that a user means: a path, a `Source`, or a Python dataset."""
    if isinstance(source, Source):
        return source
    known = {field.name for field in fields(SourceOptions)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; options of sources are {', '.join(sorted(known))}")
    parsed = SourceOptions(**options)
    if names_urls(source, kind):
        return straight_source(source, parsed)
    if isinstance(source, str | os.PathLike):
        place = place_of(source)
        return open_remote(place, parsed, kind) if isinstance(place, RemoteFolder) else detect(place, parsed, kind)
    from imagemill.sources.torch import TorchSource

    return TorchSource(source, parsed)


def open_remote(place: RemoteFolder, options: SourceOptions, kind: str | None) -> Source:
    """What lies at a URL as a source: a packed dataset, there is nothing else that it may be.

    Raises:
        ConfigError: another kind is asked for, or no finished dataset is there.
    """
    from imagemill.sources.packed import DatasetSource

    if kind not in (None, DatasetSource.kind):
        raise ConfigError(f"{place}: only packed datasets are read from URLs, not {kind!r}; copy it to a disk first")
    try:
        return DatasetSource(place, options)
    except ConfigError as error:
        if kind is not None:
            raise
        raise ConfigError(f"{error}; images at a URL come to a disk first: imagemill sync {place} FOLDER") from None


def open_engine(engine: str | Engine, workers: int | None, ray_address: str | None = None) -> Engine:
    """An engine by name, with so many workers, or the one given.

    Raises:
        ConfigError: an address of Ray, and another engine.
    """
    if ray_address is not None and engine != "ray":
        raise ConfigError("--ray-address says where Ray runs: add --engine ray")
    if not isinstance(engine, str):
        return engine
    options = {} if ray_address is None else {"address": ray_address}
    return ENGINES.get(engine)(workers, **options)  # type: ignore[call-arg]


def parse_sides(size: Size | None) -> tuple[int, int] | None:
    """(height, width) from what a person gives.

    Raises:
        ConfigError: no size above 0.
    """
    if size is None or isinstance(size, str):
        return None if size is None else parse_size(size)
    height, width = (size, size) if isinstance(size, int) else size
    if height <= 0 or width <= 0:
        raise ConfigError(f"size must be above 0, got {size}")
    return height, width


def default_fit(pixels: str, size: Size | None) -> str:
    """One side given for resized pixels means the short side; else sides mean what they say."""
    one_side = isinstance(size, int) or (isinstance(size, str) and "x" not in size.lower())
    return "short" if pixels == "resized" and one_side else "exact"


def kept_pixels(manifest: Manifest) -> str:
    """The pixels to ask for where a dataset's values are to stay as they are stored."""
    return manifest.pixels if manifest.pixels in RECODED_PIXELS else "original"


def kept_shard_size(manifest: Manifest, shard_size: int | str | None) -> int | str:
    """A shard's size as it is given, else as the dataset has it."""
    if shard_size is not None:
        return shard_size
    size_bytes = manifest.recipe.get("shard_bytes")
    return f"{size_bytes}B" if size_bytes else int(manifest.recipe.get("shard_samples", Recipe.shard_samples))


def read_list(keys: PathLike | Sequence[str]) -> tuple[str, ...]:
    """Keys of a split list, given as they are or as a file with one a line.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not isinstance(keys, str | os.PathLike):
        return tuple(keys)
    try:
        lines = local_path(keys).read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"split list {keys} cannot be read: {error.strerror}") from None
    return tuple(line.strip() for line in lines if line.strip())
