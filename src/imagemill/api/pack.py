"""`pack`: source → dataset."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.api.given import (
    OnProgress,
    PathLike,
    Size,
    default_fit,
    open_engine,
    open_source,
    options_record,
    parse_sides,
    read_list,
)
from imagemill.core.recipe import Recipe, parse_shard_size, parse_split
from imagemill.core.remote import Place, local_path, place_of
from imagemill.engines.base import Engine
from imagemill.engines.ranks import membership
from imagemill.formats import FORMATS
from imagemill.prepare.job import Job
from imagemill.prepare.planning import make_job, scan_source
from imagemill.prepare.run import RunOptions, manifest_sha256, run
from imagemill.prepare.totals import SHOWN_REJECTS, PackResult
from imagemill.sources.base import Source


def pack(
    source: Any,
    out: PathLike,
    *,
    format: str = "arrow",
    pixels: str = "original",
    size: Size | None = None,
    fit: str | None = None,
    filter: str = "bicubic",
    mode: str = "RGB",
    quality: int = 90,
    decode: str = "full",
    split: str | Mapping[str, float] | None = None,
    split_counts: str = "hash",
    split_lists: Mapping[str, PathLike | Sequence[str]] | None = None,
    stratify: bool = False,
    seed: int = 0,
    shard_size: int | str = 1000,
    order: str = "source",
    limit: int | None = None,
    previous: PathLike | None = None,
    workers: int | None = None,
    engine: str | Engine = "local",
    rank: int | None = None,
    world_size: int | None = None,
    kind: str | None = None,
    dry_run: bool = False,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_plan: Callable[[Job], None] | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> PackResult:
    """Packs a source into a dataset. The same call again finishes what a kill left undone.

    Args:
        source: folder, table, archive or dataset (path), or a torch `Dataset` or sequence.
        out: new or empty folder for the dataset; nothing is ever written anywhere else.
        format: "arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord", or a registered one.
        pixels: "original" (bytes as they came), "resized" (JPEG, once), "raw" (uint8 arrays).
        size: (height, width), one side for a square, or "WIDTHxHEIGHT"; for resized and raw.
        fit: "exact", "contain", "cover", "short" or "long"; by default "short" for resized
            with one side given, else "exact".
        filter: resampling filter of images; masks take the nearest pixel.
        mode: "RGB" or "L".
        quality: JPEG quality of resized images, 1–100.
        decode: "full" proves every image whole, "headers" trusts the pixels.
        split: shares, "80/12/8", "train=90,holdout=10", or a mapping; None keeps the source's own.
        split_counts: "hash" (no image ever moves) or "exact" (int(n·share), the last takes the rest).
        split_lists: split name → list of keys, or a file with one a line.
        stratify: exact counts within every class.
        seed: of the split and the shuffled order.
        shard_size: samples a shard (1000) or bytes ("256MB").
        order: "source", or "shuffled" for formats that are read as streams.
        limit: only the first so many samples.
        previous: an earlier dataset, whose samples keep their splits.
        workers: processes; None is one a core, 0 works in this process (no guard against
            decoders that crash).
        engine: "local", "ray", or an `Engine`.
        rank, world_size: this process's share; None takes torchrun's or SLURM's.
        kind: kind of the source where the guess is wrong ("folder", "pairs", "masks", …).
        dry_run: plan and count, write nothing.
        max_pixels, max_bytes, max_seconds, max_memory_bytes: what one image may cost.
        on_plan: called with the job once it is planned.
        on_progress: called with the number of samples done since the last call.
        source_options: see `imagemill.sources.SourceOptions` (label_column=…, masks=…, …).

    Raises:
        ConfigError: options, source or output that cannot work.
        OutputInUse: another run is writing OUT.
        NoSpace: the disk is full; the same call goes on later.
        EngineError: workers could not be kept alive.
    """
    FORMATS.get(format)
    found = open_source(source, kind, source_options)
    sides = parse_sides(size)
    recipe = Recipe(
        format=format,
        pixels=pixels,  # type: ignore[arg-type] # checked by Recipe itself
        size=sides,
        fit=fit or default_fit(pixels, size),  # type: ignore[arg-type]
        filter=filter,  # type: ignore[arg-type]
        mode=mode,
        quality=quality,
        decode=decode,  # type: ignore[arg-type]
        split=parse_split(split),
        split_counts=split_counts,  # type: ignore[arg-type]
        split_lists={name: read_list(keys) for name, keys in (split_lists or {}).items()},
        stratify=stratify,
        seed=seed,
        **parse_shard_size(shard_size),
        order=order,  # type: ignore[arg-type]
        limit=limit,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        max_memory_bytes=max_memory_bytes,
        source={"kind": found.kind, **options_record(found.options)},
        previous=None if previous is None else manifest_sha256(place_of(previous)),
    )
    earlier = None if previous is None else place_of(previous)
    if dry_run:
        return dry(found, local_path(out), recipe, earlier)
    running = open_engine(engine, workers)
    options = RunOptions(
        membership=membership(rank, world_size),
        previous=earlier,
        on_plan=on_plan,
        on_progress=on_progress,
        describe={"engine": type(running).__name__, "workers": workers},
    )
    return run(found, local_path(out), recipe, running, options)


def dry(source: Source, out: Path, recipe: Recipe, previous: Place | None) -> PackResult:
    """What `pack` would do, from a scan and a plan alone; nothing is written outside a temporary folder."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, scan_source(source, Path(folder) / "scan") as scan:
        job = make_job(source, scan, recipe, previous)
        rejects = scan.rejects
        ignored = sum(job.ignored.values())
        rejected = sum(reject.files for reject in rejects)
        return PackResult(
            path=out,
            found=job.found,
            kept=job.found - ignored - rejected,
            rejected=rejected,
            ignored=ignored,
            ignored_kinds=job.ignored,
            reasons=dict(sorted(Counter(reject.reason for reject in rejects).items())),
            rejects=rejects[:SHOWN_REJECTS],
            splits={name: job.plan.count(name) for name in job.plan.splits},
            seconds=time.monotonic() - started,
            finished=False,
            remarks=(*job.remarks, "dry run: nothing was written, no image was decoded"),
        )
