"""From a source and a recipe to a frozen job: scan, classes, schema, splits, shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.codecs import image as images
from imagemill.core.recipe import RECODED_PIXELS, Recipe
from imagemill.core.remote import Place
from imagemill.core.sample import Encoded, Reject, Sample
from imagemill.core.schema import Field, Schema
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError, SampleError
from imagemill.faults import fault_point
from imagemill.formats import FORMATS
from imagemill.prepare.assign import Assignment, assign, earlier_splits
from imagemill.prepare.clips import LOOKED_AT, clip_remark
from imagemill.prepare.commit import WORK_NAME, sync_all, sync_folder
from imagemill.prepare.exclusions import match_checks
from imagemill.prepare.identity import Hashes, fingerprint, listing_hashes, repeated
from imagemill.prepare.job import LISTING_NAME, Job, Move, take
from imagemill.prepare.plan import UNASSIGNED, HashArray, Plan, make_plan
from imagemill.prepare.rows import RowMaker
from imagemill.sources import SOURCES
from imagemill.sources.base import Scan, Source, account
from imagemill.versions import library_versions

PROBED_SAMPLES = 1000
"""How many samples are tried to learn the size and type of raw pixels before giving up."""


@dataclass(frozen=True)
class ListedScan(Scan):
    """A scan, and the file that its listing is mapped from."""

    listing_path: Path = Path()


@contextmanager
def scan_source(source: Source, folder: Path) -> Iterator[ListedScan]:
    """The source's scan, its listing in a folder that goes away with the block."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        scan = account(source.scan(folder / LISTING_NAME))
        yield ListedScan(**vars(scan), listing_path=folder / LISTING_NAME)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fingerprint_of(scan: ListedScan, recipe: Recipe) -> str:
    """Which samples, of which sizes, a recipe takes from a scan."""
    listing = limited(scan, recipe.limit).listing
    return fingerprint(listing_hashes(scan.listing_path, listing.num_rows), listing["size"].to_numpy())


@dataclass(frozen=True)
class Beside:
    """What a recipe names by its sha256 only.

    Args:
        previous: place of the earlier dataset whose splits are kept.
        checks: the table of checks, or the folder it lies in.
    """

    previous: Place | None = None
    checks: Path | None = None


NOTHING_BESIDE = Beside()


def freeze(source: Source, out: Path, recipe: Recipe, beside: Beside = NOTHING_BESIDE) -> Job:
    """Scans and plans, and freezes the job in OUT; other ranks and later runs take it up.

    Raises:
        ConfigError: nothing to pack, a split without samples, raw pixels without a size, …
    """
    folder = out / WORK_NAME / f"plan.{os.getpid()}"
    with scan_source(source, folder) as scan:
        job, rejects = make_job(source, scan, recipe, beside)
        job.save(folder, rejects)
        fault_point("plan.write.before")
        sync_all(list(folder.iterdir()), [folder])
        os.replace(folder, out / WORK_NAME / "plan")
        sync_folder(out / WORK_NAME)
        fault_point("plan.write.after")
    return job


def make_job(source: Source, scan: ListedScan, recipe: Recipe, beside: Beside) -> tuple[Job, list[Reject]]:
    """The job that a scan and a recipe make, and what scan and plan reject.

    Pure but for a look at the first pictures of raw datasets.
    """
    scan = limited(scan, recipe.limit)
    if scan.listing.num_rows == 0:
        raise ConfigError(f"no sample to pack in {source.path or 'the dataset'}: {_why_nothing(scan)}")
    listing = scan.listing
    hashes = listing_hashes(scan.listing_path, listing.num_rows)
    sizes = listing["size"].to_numpy()
    _check_unique(listing, hashes.keys)
    assigned = assign(
        listing,
        hashes,
        recipe,
        None if beside.previous is None else earlier_splits(beside.previous),
        None if beside.checks is None else match_checks(beside.checks, listing, recipe.exclude),
    )
    plan = make_plan(
        assigned.names,
        assigned.splits,
        hashes.keys,
        sizes,
        shard_samples=recipe.shard_samples,
        shard_bytes=recipe.shard_bytes,
        shuffle_seed=recipe.seed if recipe.order == "shuffled" else None,
        units=assigned.units,
    )
    job = Job(
        recipe=recipe,
        pixels=_pixels_of(source, recipe),
        versions=writer_versions(recipe),
        schema=dataset_schema(source, scan, recipe, plan),
        plan=plan,
        listing=listing,
        groups=hashes.groups,
        found=scan.found,
        ignored={**scan.ignored, **_in_no_list(listing, assigned)},
        remarks=(*scan.remarks, *assigned.remarks, *_on_clips(listing, hashes, recipe)),
        fingerprint=fingerprint(hashes, sizes),
        leaks=assigned.leaks,
        moved=tuple(
            Move(listing["key"][row].as_py(), was, assigned.names[assigned.splits[row]])
            for row, was in sorted(assigned.moved.items())
        ),
    )
    return job, [*scan.rejects, *_left_out(listing, assigned)]


def _on_clips(listing: pa.Table, hashes: Hashes, recipe: Recipe) -> list[str]:
    """What to say where shares are dealt sample by sample, and samples look like frames."""
    if not recipe.shares or not np.array_equal(hashes.keys, hashes.groups):
        return []
    remark = clip_remark(listing["key"].slice(0, LOOKED_AT).to_pylist())
    return [remark] if remark else []


def _in_no_list(listing: pa.Table, assigned: Assignment) -> dict[str, int]:
    unlisted = assigned.splits == UNASSIGNED
    unlisted[list(assigned.left_out)] = False
    if not unlisted.any():
        return {}
    return {"(in no split list)": int(listing["files"].to_numpy()[unlisted].sum())}


def _left_out(listing: pa.Table, assigned: Assignment) -> Iterator[Reject]:
    for row, (reason, detail) in sorted(assigned.left_out.items()):
        key = listing["key"][row].as_py()
        yield Reject(key, key, reason, detail, listing["files"][row].as_py())


def writer_versions(recipe: Recipe) -> dict[str, str]:
    """Versions of everything that writes these bytes, outside packages of format and source among it."""
    outside = (FORMATS.distribution(recipe.format), SOURCES.distribution(str(recipe.source.get("kind", ""))))
    return library_versions(recipe.format) | dict(found for found in outside if found is not None)


def _why_nothing(scan: Scan) -> str:
    if not scan.rejects:
        return f"{scan.found} files found, nothing that looks like an image"
    first = scan.rejects[0]
    count = f"{scan.found} files found, {len(scan.rejects)} rejects"
    return f"{count}, the first: {first.path}: {first.reason}: {first.detail}"


def limited(scan: ListedScan, limit: int | None) -> ListedScan:
    """The first samples of a scan, all without a limit; the files of the others count as ignored."""
    if limit is None or scan.listing.num_rows <= limit:
        return scan
    beyond = int(scan.listing["files"].to_numpy()[limit:].sum())
    ignored = {**scan.ignored, "(beyond --limit)": beyond}
    return replace(scan, listing=scan.listing.slice(0, limit), ignored=ignored)


def _check_unique(listing: pa.Table, keys: HashArray) -> None:
    rows = repeated(keys)
    for first, second in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
        if listing["key"][first] == listing["key"][second]:
            raise ConfigError(f"the source gives the key {listing['key'][first].as_py()!r} twice; keys must be unique")


def dataset_schema(source: Source, scan: Scan, recipe: Recipe, plan: Plan) -> Schema:
    """Fields of the dataset: the source's, with classes numbered and pixels as the recipe stores them."""
    fields = [numbered(field, scan.listing) for field in scan.fields]
    if recipe.pixels == "original":
        return Schema(tuple(replace(field, codec="encoded") if field.codec == "recoded" else field for field in fields))
    if recipe.pixels in RECODED_PIXELS:
        return Schema(tuple(as_recoded(field) for field in fields))
    if recipe.pixels == "resized":
        return Schema(tuple(as_encoded(field) for field in fields))
    probe = first_readable(source, scan, recipe, plan)
    return Schema(tuple(as_raw(field, probe, recipe) for field in fields))


def numbered(field: Field, listing: pa.Table) -> Field:
    """A label field with its class names, sorted, where the source gives names and no numbers."""
    if field.kind != "label" or field.class_names is not None or "label" not in listing.column_names:
        return field
    if not pa.types.is_string(listing.schema.field("label").type):
        return field
    found = sorted(name for name in pc.unique(listing["label"]).to_pylist() if name is not None)
    return replace(field, class_names=tuple(found))


def _pixels_of(source: Source, recipe: Recipe) -> str:
    """What the manifest says of pixels: original ones of a dataset are what that has, recoded ones given back."""
    if recipe.pixels != "original":
        return recipe.pixels
    return "original" if source.pixels in RECODED_PIXELS else source.pixels


def as_recoded(field: Field) -> Field:
    """An image field whose JPEGs are recoded; masks stay, and so does what is no file."""
    return replace(field, codec="recoded") if field.kind == "image" and field.codec == "encoded" else field


def as_encoded(field: Field) -> Field:
    """An image or mask field whose values are files."""
    if not field.is_file:
        return field
    return replace(field, dtype="uint8", shape=None, codec="encoded")


def as_raw(field: Field, probe: Mapping[str, npt.NDArray[Any]], recipe: Recipe) -> Field:
    """An image or mask field whose values are arrays of one shape."""
    if not field.is_file:
        return field
    array = probe[field.name]
    height, width = recipe.size or array.shape[:2]
    if field.kind == "mask":
        return replace(field, dtype=array.dtype.name, shape=(height, width, *array.shape[2:]), codec="raw")
    return replace(field, dtype="uint8", shape=(height, width, len(recipe.mode)), codec="raw")


def first_readable(source: Source, scan: Scan, recipe: Recipe, plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """Pixels of the first planned sample that can be read, which give raw fields their shape.

    Raises:
        ConfigError: none of the first `PROBED_SAMPLES` can be read.
    """
    count = min(PROBED_SAMPLES, len(plan.order))
    first = np.sort(np.partition(plan.order, count - 1)[:count])
    rows = take(scan.listing, first)
    limits, last = RowMaker(Schema(scan.fields), recipe).limits, ""
    for row in rows.to_pylist():
        try:
            return decoded(source.read(row), scan.fields, limits)
        except SampleError as error:
            last = str(error)
    raise ConfigError(f"none of the first {rows.num_rows} samples can be read, the last one: {last}")


def decoded(sample: Sample, fields: Sequence[Field], limits: Limits) -> dict[str, npt.NDArray[Any]]:
    """The pixels of a sample's pictures."""
    arrays = {}
    for field in fields:
        if not field.is_file:
            continue
        value = sample.values[field.name]
        if isinstance(value, Encoded):
            inspect(value.data, limits, full=False)
            value = images.decode_mask(value.data) if field.kind == "mask" else images.decode(value.data)
        arrays[field.name] = np.asarray(value)
    return arrays
