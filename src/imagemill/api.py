"""The verbs, as Python functions with the names they have on the command line.

Everything here parses what a person gives, composes the stages, and returns a result; the
work is done below.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from imagemill.core.manifest import Manifest
from imagemill.core.recipe import Recipe, parse_shard_size, parse_split
from imagemill.core.remote import Place, RemoteFolder, local_path, place_of
from imagemill.doctor import Finding, diagnose
from imagemill.engines import ENGINES
from imagemill.engines.base import Engine
from imagemill.engines.local import LocalEngine
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError
from imagemill.formats import FORMATS
from imagemill.formats.store import Store, shards_of
from imagemill.prepare.check import CheckResult, check_source
from imagemill.prepare.export import export as export_store
from imagemill.prepare.job import Job
from imagemill.prepare.planning import make_job, scan_source
from imagemill.prepare.run import RunOptions, manifest_sha256, run
from imagemill.prepare.totals import SHOWN_REJECTS, PackResult
from imagemill.prepare.verify import Damage, VerifyTask, unlisted_files, verify_shard
from imagemill.sources.base import Source, SourceOptions
from imagemill.sources.detect import detect
from imagemill.transforms.geometry import parse_size

PathLike: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = int | str | tuple[int, int]
OnProgress: TypeAlias = Callable[[int], None]


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


def check(
    source: Any,
    out: PathLike | None = None,
    *,
    workers: int | None = None,
    kind: str | None = None,
    limit: int | None = None,
    decode: str = "full",
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> CheckResult:
    """Looks at every image of a source and changes nothing.

    Args:
        source: as for `pack`.
        out: new or empty folder for `checks.parquet` (a row a sample) and `rejects.jsonl`; None keeps nothing.
        on_total: called once with the number of samples.
        others: as for `pack`.

    Raises:
        ConfigError: source, options or output that cannot work.
    """
    found = open_source(source, kind, source_options)
    recipe = Recipe(
        decode=decode,  # type: ignore[arg-type] # checked by Recipe itself
        limit=limit,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        max_memory_bytes=max_memory_bytes,
    )
    target = None if out is None else local_path(out)
    return check_source(found, target, recipe, LocalEngine(workers), on_total=on_total, on_progress=on_progress)


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found.

    Args:
        path: the dataset folder or URL.
        shards, samples, size_bytes: looked at.
        damages: everything that is not as it was written; empty means clean.
        seconds: wall time.
    """

    path: Path | str
    shards: int
    samples: int
    size_bytes: int
    damages: tuple[Damage, ...]
    seconds: float


def verify(dataset: PathLike, *, workers: int | None = None, on_progress: OnProgress | None = None) -> VerifyResult:
    """Checks every byte of a dataset against its sha256, and names what is damaged.

    Args:
        dataset: folder or URL; of a URL everything is fetched, past the cache.
        on_progress: called with the number of shards done since the last call.

    Raises:
        ConfigError: no finished dataset there.
        DamageError: the manifest itself cannot be read.
        RemoteError: the URL refuses or cannot be reached.
    """
    started = time.monotonic()
    place = place_of(dataset)
    manifest = Manifest.load(place)
    tasks = [VerifyTask(place, info, manifest.schema, manifest.format) for _, _, info in shards_of(manifest)]
    # Starting a process costs as much as hashing half a gigabyte.
    small = sum(file.size_bytes for _, _, info in shards_of(manifest) for file in info.files) < 2**29
    damages: list[Damage] = []
    samples = size_bytes = 0
    for result in LocalEngine(0 if small and workers is None else workers).run(verify_shard, tasks):
        damages.extend(result.damages)
        samples += result.samples
        size_bytes += result.size_bytes
        if on_progress is not None:
            on_progress(1)
    damages.sort(key=lambda damage: damage.shard)
    damages.extend(unlisted_files(place, manifest))
    path = place if isinstance(place, Path) else str(place)
    return VerifyResult(path, len(tasks), samples, size_bytes, tuple(damages), time.monotonic() - started)


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


def convert(
    dataset: PathLike, out: PathLike, *, format: str, shard_size: int | str | None = None, **run: Any
) -> PackResult:
    """A dataset in another format; stored bytes, splits, keys and order stay as they are.

    Args:
        dataset: a finished dataset.
        out: new or empty folder.
        format: registered name.
        shard_size: None keeps the dataset's own.
        run: `workers`, `engine`, `rank`, `world_size`, `on_plan`, `on_progress` as for `pack`.

    Raises:
        ConfigError: no finished dataset there, or an output that cannot be used.
        DamageError: a stored value is damaged.
    """
    recipe = Manifest.load(place_of(dataset)).recipe
    size = shard_size or recipe.get("shard_bytes") or recipe.get("shard_samples", 1000)
    if shard_size is None and recipe.get("shard_bytes"):
        size = f"{size}B"
    return pack(dataset, out, kind="dataset", format=format, decode="headers", shard_size=size, **run)


def export(dataset: PathLike, out: PathLike, *, on_progress: OnProgress | None = None) -> int:
    """A dataset back as plain folders: `OUT/SPLIT/CLASS/NAME`, original files byte for byte.

    Returns:
        Samples written.

    Raises:
        ConfigError: no finished dataset there, or OUT is not empty.
        DamageError: a stored value is damaged.
    """
    count = 0
    for _ in export_store(Store(dataset), local_path(out)):
        count += 1
        if on_progress is not None:
            on_progress(1)
    return count


def report(dataset: PathLike, out: PathLike) -> Path:
    """One self-contained offline HTML page about a dataset.

    Args:
        out: the file to write.

    Raises:
        ConfigError: no finished dataset there.
        DamageError: a stored value is damaged.
    """
    from imagemill.reports.page import write_report

    return write_report(place_of(dataset), local_path(out))


def doctor() -> list[Finding]:
    """What this machine has for imagemill, and whether it works: (name, value, ok) lines."""
    return diagnose()


def open_source(source: Any, kind: str | None, options: Mapping[str, Any]) -> Source:
    """The source that a user means: a path, a `Source`, or a Python dataset."""
    if isinstance(source, Source):
        return source
    known = {field.name for field in fields(SourceOptions)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; options of sources are {', '.join(sorted(known))}")
    parsed = SourceOptions(**options)
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
    return DatasetSource(place, options)


def open_engine(engine: str | Engine, workers: int | None) -> Engine:
    """An engine by name, with so many workers, or the one given."""
    return ENGINES.get(engine)(workers) if isinstance(engine, str) else engine  # type: ignore[call-arg]


def options_record(options: SourceOptions) -> dict[str, Any]:
    """Source options that were given, for the recipe."""
    return {name: value for name, value in asdict(options).items() if value is not None}


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
