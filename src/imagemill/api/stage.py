"""`stage`: folder → folder of pictures ready to be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagemill.api.given import OnProgress, PathLike, Size, default_fit, open_engine, open_source, parse_sides
from imagemill.core.recipe import Recipe, parse_split
from imagemill.core.remote import local_path
from imagemill.curate.limits import Limits
from imagemill.engines.base import Engine
from imagemill.errors import ConfigError
from imagemill.prepare.stage import plan_only, stage_source
from imagemill.prepare.stage_options import StageOptions, parse_colour, size_of_config
from imagemill.prepare.stage_totals import StageResult, read_split_table

PICTURE_FOLDERS = ("captions", "table", "chunked", "fetched")
"""Kinds that a folder of pictures may be taken for, of which `stage` wants the pictures only."""


def stage(
    source: Any,
    out: PathLike,
    *,
    size: Size | None = None,
    config: PathLike | None = None,
    fit: str | None = None,
    fill: str | tuple[int, int, int] = "white",
    filter: str = "lanczos",
    orient: str | None = None,
    grey_before: bool = False,
    to: str | None = None,
    quality: int = 95,
    subsampling: str = "444",
    split: str | Mapping[str, float] | None = None,
    split_counts: str = "hash",
    split_table: PathLike | None = None,
    seed: int = 0,
    link: bool = False,
    restore: bool = False,
    rename: bool = False,
    limit: int | None = None,
    kind: str | None = None,
    workers: int | None = None,
    engine: str | Engine = "local",
    dry_run: bool = False,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> StageResult:
    """Makes a folder of pictures fit for training, in a new folder; the same call again finishes what a kill left.

    Args:
        source: folder of pictures, of pairs, or of images and masks.
        out: new or empty folder; neither inside the source nor around it.
        size: (height, width), one side for a square, or "WIDTHxHEIGHT"; None keeps each picture's own.
        config: a Color-Reverser `config.json`, or the project that holds it: `img_height` and `img_width` are the size.
        fit: "exact", "contain", "cover", "short" or "long"; by default "short" with one side given, else "exact".
        fill: colour around the picture with fit "contain": a name, "#rrggbb" or (red, green, blue).
        filter: resampling filter of images; masks take the nearest pixel.
        orient: "portrait" or "landscape", decided once a pair.
        grey_before: each `before` becomes the grey of its `after`; single pictures become pairs.
        to: "jpg", "png" or "webp"; None keeps JPEG, PNG and WebP, and makes others PNG where their pixels change.
        quality: of JPEG and WebP, 1–100.
        subsampling: of the colours in JPEG, "444" (none), "422", "420".
        split: shares, "80/12/8": pictures go to a folder a split.
        split_counts: "hash" (no picture ever moves) or "exact" (int(n·share), the last takes the rest).
        split_table: a `splits.csv` of an earlier run, which says where each picture goes.
        seed: of the split.
        link: unchanged files become symbolic links to the originals.
        restore: takes split folders together again; `splits.csv` remembers which was which.
        rename: adds `_before` to every name that has neither that nor `_after`.
        limit: only the first so many samples.
        kind: "folder", "pairs" or "masks" where the guess is wrong.
        workers: processes; None is one a core, 0 works in this process.
        engine: "local", "ray", or an `Engine`.
        dry_run: says what would be done and writes nothing.
        max_pixels, max_bytes, max_seconds, max_memory_bytes: what one picture may cost.
        on_total: called once with the number of samples.
        on_progress: called with the number of samples done since the last call.
        source_options: see `imagemill.sources.SourceOptions` (before=…, after=…, group_pattern=…).

    Raises:
        ConfigError: options, source or output that cannot work.
        OutputInUse: another run is writing OUT.
        NoSpace: the disk is full; the same call goes on later.
    """
    if config is not None and size is not None:
        raise ConfigError("size and config both say the size: give one of them")
    sides = parse_sides(size) if config is None else size_of_config(local_path(config))
    options = StageOptions(
        size=sides,
        fit=fit or default_fit("resized", size),
        fill=parse_colour(fill) if isinstance(fill, str) else fill,
        filter=filter,
        orient=orient,
        grey_before=grey_before,
        to=to,
        quality=quality,
        subsampling=subsampling,
        split=parse_split(split),
        split_counts=split_counts,
        seed=seed,
        split_table={} if split_table is None else read_split_table(local_path(split_table)),
        link=link,
        restore=restore,
        rename=rename,
        limit=limit,
        limits=Limits(max_pixels, max_bytes, max_seconds, max_memory_bytes),
    )
    found = open_source(source, "folder" if rename else kind, source_options)
    if kind is None and found.kind in PICTURE_FOLDERS and Path(found.path).is_dir():
        found = open_source(source, "folder", source_options)
    if dry_run:
        return plan_only(found, local_path(out), options)
    running = open_engine(engine, workers)
    return stage_source(found, local_path(out), options, running, on_total=on_total, on_progress=on_progress)
