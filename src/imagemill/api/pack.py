"""`pack`: source → dataset."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagemill.api.check import check
from imagemill.api.given import (
    OnProgress,
    PathLike,
    Size,
    default_fit,
    open_engine,
    open_source,
    parse_sides,
    read_list,
)
from imagemill.codecs.recoded import require_core
from imagemill.core.files import file_digest
from imagemill.core.recipe import FILE_PIXELS, RECODED_PIXELS, Recipe, parse_shard_size, parse_split
from imagemill.core.remote import local_path, place_of
from imagemill.curate.limits import Limits
from imagemill.engines.base import Engine
from imagemill.engines.ranks import Membership, membership
from imagemill.errors import ConfigError
from imagemill.formats import FORMATS
from imagemill.prepare.assign import shares_of
from imagemill.prepare.exclusions import checks_path, parse_flags
from imagemill.prepare.job import Job
from imagemill.prepare.planning import Beside, make_job, scan_source
from imagemill.prepare.run import RunOptions, manifest_sha256, run
from imagemill.prepare.totals import SHOWN_REJECTS, PackResult, planned_classes
from imagemill.sources.base import Source
from imagemill.sources.layout import CLIP_PATTERN
from imagemill.transforms.lab_options import LabOptions


def pack(
    source: Any,
    out: PathLike,
    *,
    format: str = "arrow",
    pixels: str = "original",
    size: Size | None = None,
    fit: str | None = None,
    filter: str | None = None,
    mode: str = "RGB",
    quality: int | None = None,
    decode: str = "full",
    split: str | Mapping[str, float] | None = None,
    folds: int | None = None,
    fold: int | None = None,
    split_counts: str | None = None,
    split_lists: Mapping[str, PathLike | Sequence[str]] | None = None,
    stratify: bool = False,
    seed: int = 0,
    shard_size: int | str = 1000,
    order: str = "source",
    limit: int | None = None,
    previous: PathLike | None = None,
    rebalance: bool = False,
    checks: PathLike | None = None,
    exclude: str | Sequence[str] = (),
    mend_leaks: str | None = None,
    clips: bool = False,
    fields: str | None = None,
    lab_dtype: str = LabOptions.dtype,
    lab_plain: bool = False,
    lab_padding: bool = False,
    workers: int | None = None,
    engine: str | Engine = "local",
    ray_address: str | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    kind: str | None = None,
    dry_run: bool = False,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_check: OnProgress | None = None,
    on_plan: Callable[[Job], None] | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> PackResult:
    """Packs a source into a dataset. The same call again finishes what a kill left undone.

    Args:
        source: folder, table, archive or dataset (path), or a torch `Dataset` or sequence.
        out: new or empty folder for the dataset; nothing is ever written anywhere else.
        format: "arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord", or a registered one.
        pixels: "original" (bytes as they came), "recoded" (JPEGs coded anew for decoding speed, without loss; needs the
            native core), "recoded-compact" (the same in fewer bytes, decoding takes a little longer), "resized" (JPEG,
            once), "raw" (uint8 arrays).
        size: (height, width), one side for a square, or "WIDTHxHEIGHT"; for resized and raw.
        fit: "exact", "contain", "cover", "short" or "long"; by default "short" for resized
            with one side given, else "exact".
        filter: resampling filter of images, by default "bicubic"; masks take the nearest pixel.
        mode: "RGB" or "L".
        quality: JPEG quality of resized images, 1–100, by default 90.
        decode: "full" proves every image whole, "headers" trusts the pixels.
        split: shares, "80/12/8", "train=90,holdout=10", or a mapping; None keeps the source's own.
        folds: so many folds of equal size instead of shares: splits `fold-0`, `fold-1`, ….
        fold: with `folds`: this one is `val`, the others are `train`.
        split_counts: "hash" (no image ever moves) or "exact" (int(n·share), the last takes the rest; folds differ
            by one at most); by default "hash", with `stratify` "exact".
        split_lists: split name → list of keys, or a file with one a line; with `split` or `folds` what shares its
            group follows, and the shares are of the rest.
        stratify: counts hold within every class too.
        seed: of the split and the shuffled order.
        shard_size: samples a shard (1000) or bytes ("256MB").
        order: "source", or "shuffled" for formats that are read as streams.
        limit: only the first so many samples.
        previous: an earlier dataset, whose samples keep their splits.
        rebalance: a new sample that belongs with earlier ones of several splits brings them all into one; else it
            is rejected as `bridges-splits`.
        checks: what `check` wrote (folder or `checks.parquet`): its near-duplicates stay in one split.
        exclude: flags of a check, "dark,near-duplicate" or a list of them, whose samples are left out. Without
            `checks` the check is made first.
        mend_leaks: what to do about groups and near-duplicates in several of the splits that are given: "move" (all
            to the one kept most from training: test, val, others, train), "drop" (leave out what is in the others),
            None (tell).
        clips: samples whose keys differ in nothing but the number at the end are frames of one clip: one split.
        workers: processes; None is one a core, 0 works in this process (no guard against
            decoders that crash).
        engine: "local", "ray", or an `Engine`.
        ray_address: of a running Ray cluster; None is RAY_ADDRESS, else one is started here and ends with the run.
        rank, world_size: this process's share; None takes torchrun's or SLURM's.
        kind: kind of the source where the guess is wrong ("folder", "pairs", "masks", …).
        dry_run: plan and count, write nothing.
        max_pixels, max_bytes, max_seconds, max_memory_bytes: what one image may cost.
        fields: "lab" stores `image_name`, `image_l`, `image_ab` in place of the image, contained on white in `size`
            (299 by default); "lab-legacy" exactly what the colour pipeline's code stored at 224.
        lab_dtype: of L and ab: "float32", "float16" or "uint8" (`transforms.lab_options.LabOptions` has the errors).
        lab_plain: LAB in its own units; by default L is scaled to -1–1, a and b by 1/127.
        lab_padding: a field `image_padding` too, 1 where the image is and 0 where white was added.
        on_check: called with the number of samples looked at since the last call by a check that `exclude` asks for.
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
    _refuse_unused(pixels, fit=fit, filter=filter, quality=quality)
    if pixels in RECODED_PIXELS and kind != "dataset":
        require_core(f"--pixels {pixels}")
    limits = Limits(max_pixels, max_bytes, max_seconds, max_memory_bytes)
    flags = parse_flags(exclude)
    found = open_source(source, kind, _with_clips(source_options) if clips else source_options)
    team = membership(rank, world_size)
    sides = parse_sides(size)
    packed = found
    if fields is not None:
        packed = lab_source(found, fields, pixels, sides, limits, lab_dtype, plain=lab_plain, padding=lab_padding)
        sides = None
    earlier = None if previous is None else place_of(previous)
    with _table_of_checks(found, checks, flags, team, workers, limit, on_check) as table:
        recipe = Recipe(
            format=format,
            pixels=pixels,  # type: ignore[arg-type] # checked by Recipe itself
            size=sides,
            fit=fit or default_fit(pixels, size),  # type: ignore[arg-type]
            filter=filter or Recipe.filter,  # type: ignore[arg-type]
            mode=mode,
            quality=Recipe.quality if quality is None else quality,
            decode=decode,  # type: ignore[arg-type]
            split=parse_split(split),
            folds=folds,
            fold=fold,
            split_counts=split_counts or ("exact" if stratify else "hash"),  # type: ignore[arg-type]
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
            source=packed.described(),
            previous=None if earlier is None else manifest_sha256(earlier),
            rebalance=rebalance,
            checks=None if table is None else file_digest(table),
            exclude=flags,
            mend_leaks=mend_leaks,  # type: ignore[arg-type]
        )
        beside = Beside(earlier, table)
        if dry_run:
            return dry(packed, local_path(out), recipe, beside)
        running = open_engine(engine, workers, ray_address)
        options = RunOptions(
            membership=team,
            beside=beside,
            on_plan=on_plan,
            on_progress=on_progress,
            describe={"engine": type(running).__name__, "workers": workers},
        )
        return run(packed, local_path(out), recipe, running, options)


def lab_source(
    source: Source,
    fields: str,
    pixels: str,
    sides: tuple[int, int] | None,
    limits: Limits,
    dtype: str,
    *,
    plain: bool,
    padding: bool,
) -> Source:
    """The source with its image as LAB fields.

    Raises:
        ConfigError: other fields than "lab" and "lab-legacy", or options that do not go with them.
    """
    from imagemill.prepare.lab_source import LabSource

    if fields not in ("lab", "lab-legacy"):
        raise ConfigError(f"unknown fields {fields!r}; known: lab, lab-legacy")
    if pixels != "original":
        raise ConfigError(f"--fields {fields} makes arrays of its own: leave --pixels {pixels} out")
    if fields == "lab-legacy" and (sides is not None or dtype != LabOptions.dtype or plain):
        raise ConfigError("--fields lab-legacy has one size, dtype and range: 224x224, float32, scaled")
    options = LabOptions(
        size=sides or LabOptions.size,
        scaled=not plain,
        dtype=dtype,  # type: ignore[arg-type] # checked by LabOptions itself
        padding=padding,
        legacy=fields == "lab-legacy",
    )
    return LabSource(source, options, limits)


def _refuse_unused(pixels: str, **given: object) -> None:
    """Checks that nothing is asked for that these pixels have no use for.

    Raises:
        ConfigError: an option that would be without effect.
    """
    unused: tuple[str, ...] = ("quality",) if pixels == "raw" else ()
    if pixels in FILE_PIXELS:
        unused = ("fit", "filter", "quality")
    for name in unused:
        if given[name] is not None:
            raise ConfigError(
                f"--{name} has no effect on {pixels} pixels: leave it out, or add --pixels resized --size 256 (JPEG)"
            )


def _with_clips(source_options: Mapping[str, Any]) -> dict[str, Any]:
    """Source options that make frames of one clip a group."""
    for name in ("group_pattern", "group_column"):
        if source_options.get(name) is not None:
            raise ConfigError(f"--clips and {name} both say what a group is: give one of them")
    return {**source_options, "group_pattern": CLIP_PATTERN}


@contextmanager
def _table_of_checks(
    source: Source,
    checks: PathLike | None,
    exclude: Sequence[str],
    team: Membership,
    workers: int | None,
    limit: int | None,
    on_check: OnProgress | None,
) -> Iterator[Path | None]:
    """The table of checks that is given, or that `exclude` asks for; that one goes away with the block."""
    if checks is not None or not exclude:
        yield None if checks is None else checks_path(local_path(checks))
        return
    if team.world_size > 1:
        raise ConfigError(
            "--exclude under several ranks needs a check that is made before: imagemill check SRC --out DIR, then "
            "--checks DIR"
        )
    with tempfile.TemporaryDirectory() as folder:
        check(source, Path(folder) / "checks", workers=workers, limit=limit, on_progress=on_check)
        yield checks_path(Path(folder) / "checks")


def dry(source: Source, out: Path, recipe: Recipe, beside: Beside) -> PackResult:
    """What `pack` would do, from a scan and a plan alone; nothing is written outside a temporary folder."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, scan_source(source, Path(folder) / "scan") as scan:
        job, rejects = make_job(source, scan, recipe, beside)
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
            rejects=tuple(rejects[:SHOWN_REJECTS]),
            splits={name: job.plan.count(name) for name in job.plan.splits},
            classes=planned_classes(job),
            shares={name: float(share) for name, share in shares_of(recipe).items()},
            leaks=job.leaks,
            moved=len(job.moved),
            seconds=time.monotonic() - started,
            finished=False,
            remarks=(*job.remarks, "dry run: nothing was written, no image was decoded"),
        )
