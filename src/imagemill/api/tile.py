"""`tile`: patches with a reference image and centres, as chunked folders or packed."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

from imagemill.api.given import OnProgress, PathLike, open_engine, open_source
from imagemill.api.pack import pack
from imagemill.core.recipe import Recipe
from imagemill.core.remote import local_path
from imagemill.curate.limits import Limits
from imagemill.engines.base import Engine
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError, did_you_mean
from imagemill.prepare.tile import TileResult
from imagemill.prepare.tile import tile as cut_tiles
from imagemill.prepare.tile_cutting import TileMaker
from imagemill.prepare.tiled_source import TiledSource
from imagemill.prepare.totals import PackResult
from imagemill.sources.base import SourceOptions
from imagemill.transforms.tiling import TileOptions, TileScale

CHUNKED = "chunked"
_SOURCE_OPTIONS = frozenset(field.name for field in fields(SourceOptions))


def tile(
    source: Any,
    out: PathLike,
    *,
    scales: Sequence[TileScale] = TileOptions.scales,
    threshold: int = TileOptions.threshold,
    reference: bool | None = None,
    reference_side: int | None = None,
    halve_above: int = TileOptions.halve_above,
    min_side: int = TileOptions.min_side,
    vertical_split: bool = False,
    whole: bool = False,
    resize_only: bool = False,
    min_deviation: float = 0.0,
    min_edges: float = 0.0,
    masks: PathLike | None = None,
    quality: int = 95,
    lossless: bool = False,
    format: str = CHUNKED,
    limit: int | None = None,
    workers: int | None = None,
    engine: str | Engine = "local",
    rank: int | None = None,
    world_size: int | None = None,
    kind: str | None = None,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **pack_options: Any,
) -> TileResult | PackResult:
    """Cuts images into tiles. The same call again finishes what a kill left undone.

    Args:
        source: as for `pack`; images, not pairs.
        out: new or empty folder.
        scales, threshold, reference_side, halve_above, min_side, vertical_split, whole, resize_only,
            min_deviation, min_edges: see `imagemill.transforms.tiling.TileOptions`.
        reference: whether each image gets a small version of itself; by default in chunked folders, where it lies
            beside the tiles, and not in packed datasets, where every tile carries it.
        masks: folder of masks named like the images, with the suffix `.png`: tiles less than half marked are left out.
        quality: of the JPEGs, 1–100.
        lossless: tiles as PNG; packed datasets only.
        format: "chunked", or one that `pack` writes.
        limit: only the first so many images.
        pack_options: with a packed format, whatever `pack` takes besides (`split`, `shard_size`, …), and options of
            the source.

    Raises:
        ConfigError: options, source or output that cannot work.
        OutputInUse: another run is writing OUT.
        NoSpace: the disk is full.
    """
    options = TileOptions(
        scales=tuple(scales),
        threshold=threshold,
        reference_side=reference_side,
        halve_above=halve_above,
        min_side=min_side,
        vertical_split=vertical_split,
        whole=whole,
        resize_only=resize_only,
        min_deviation=min_deviation,
        min_edges=min_edges,
    )
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality is 1 to 100, got {quality}")
    maker = TileMaker(
        options,
        Limits(max_pixels, max_bytes, max_seconds, max_memory_bytes),
        quality,
        reference=format == CHUNKED if reference is None else reference,
        masks=None if masks is None else _folder(masks),
    )
    if format == CHUNKED:
        if lossless:
            raise ConfigError("chunked folders hold JPEGs: lossless tiles need a packed format, as --format arrow")
        for name in pack_options.keys() & signature(pack).parameters.keys():
            raise ConfigError(f"{name} is for packed tiles: give a packed format, too, as --format arrow")
        found = open_source(source, kind, pack_options)
        ours = membership(rank, world_size)
        return cut_tiles(
            found,
            local_path(out),
            maker,
            open_engine(engine, workers),
            ours,
            limit=limit,
            on_total=on_total,
            on_progress=on_progress,
        )
    of_source = {name: pack_options.pop(name) for name in tuple(pack_options) if name in _SOURCE_OPTIONS}
    as_arrays = pack_options.get("pixels") == "raw"
    found = open_source(source, kind, of_source)
    tiled = TiledSource(found, maker, lossless=lossless, as_arrays=as_arrays, limit=limit)
    # Whole images are decoded to be cut; what is made of them needs no proof.
    pack_options.setdefault("decode", "headers")
    return pack(
        tiled,
        out,
        format=format,
        workers=workers,
        engine=engine,
        rank=rank,
        world_size=world_size,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        max_memory_bytes=max_memory_bytes,
        on_plan=None if on_total is None else lambda job: on_total(job.listing.num_rows),
        on_progress=on_progress,
        **pack_options,
    )


def _folder(path: PathLike) -> Path:
    folder = local_path(path)
    if not folder.is_dir():
        raise ConfigError(f"masks: {folder} is no folder")
    return folder.resolve()


def read_tile_recipe(path: PathLike) -> dict[str, Any]:
    """Options of `tile` from the table `[tile]` of a TOML file, its scales as `[[tile.scales]]`.

    Raises:
        ConfigError: the file cannot be read, or names an option that is none.
    """
    try:
        table = tomllib.loads(local_path(path).read_text("utf-8")).get("tile", {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
    known = {*(field.name for field in fields(TileOptions)), "masks", "quality", "reference", "format", "lossless"}
    known |= {"pixels", "size", "split", "shard_size"}
    _refuse_unknown("tile", table, known)
    scales = table.pop("scales", None)
    if scales is None:
        return dict(table)
    for scale in scales:
        _refuse_unknown("tile.scales", scale, {field.name for field in fields(TileScale)})
    try:
        return {**table, "scales": tuple(TileScale(**scale) for scale in scales)}
    except TypeError as error:
        raise ConfigError(f"{path}: every [[tile.scales]] needs crop and step ({error})") from None


def _refuse_unknown(where: str, table: dict[str, Any], known: set[str]) -> None:
    for name in table:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"unknown option {where}.{name}; known: {', '.join(sorted(known))}{hint}")
