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
from imagemill.core.recipe import Recipe
from imagemill.core.remote import Place
from imagemill.core.sample import Encoded, Sample
from imagemill.core.schema import Field, Schema
from imagemill.curate.inspect import Limits, inspect
from imagemill.errors import ConfigError, SampleError
from imagemill.faults import fault_point
from imagemill.formats.store import Store, shards_of
from imagemill.prepare.commit import WORK_NAME, sync_folder
from imagemill.prepare.identity import fingerprint, listing_hashes, repeated
from imagemill.prepare.job import LISTING_NAME, Job, take
from imagemill.prepare.plan import (
    UNASSIGNED,
    HashArray,
    Plan,
    SplitArray,
    keep_previous,
    make_plan,
    split_by_hash,
    split_exactly,
)
from imagemill.prepare.rows import RowMaker
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


def freeze(source: Source, out: Path, recipe: Recipe, previous: Place | None) -> Job:
    """Scans and plans, and freezes the job in OUT; other ranks and later runs take it up.

    Raises:
        ConfigError: nothing to pack, a split without samples, raw pixels without a size, …
    """
    folder = out / WORK_NAME / f"plan.{os.getpid()}"
    with scan_source(source, folder) as scan:
        job = make_job(source, scan, recipe, previous)
        job.save(folder, scan.rejects)
        fault_point("plan.write.before")
        _sync_files(folder)
        os.replace(folder, out / WORK_NAME / "plan")
        sync_folder(out / WORK_NAME)
        fault_point("plan.write.after")
    return job


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def make_job(source: Source, scan: ListedScan, recipe: Recipe, previous: Place | None) -> Job:
    """The job that a scan and a recipe make: pure but for a look at the first pictures of raw datasets."""
    scan = limited(scan, recipe.limit)
    if scan.listing.num_rows == 0:
        raise ConfigError(f"no sample to pack in {source.path or 'the dataset'}: {_why_nothing(scan)}")
    listing = scan.listing
    hashes = listing_hashes(scan.listing_path, listing.num_rows)
    sizes = listing["size"].to_numpy()
    _check_unique(listing, hashes.keys)
    names, splits, remarks = assign(listing, hashes.groups, recipe, previous_splits(previous))
    plan = make_plan(
        names,
        splits,
        hashes.keys,
        sizes,
        shard_samples=recipe.shard_samples,
        shard_bytes=recipe.shard_bytes,
        shuffle_seed=recipe.seed if recipe.order == "shuffled" else None,
    )
    ignored = dict(scan.ignored)
    unlisted = np.flatnonzero(splits == UNASSIGNED)
    if len(unlisted):
        ignored["(in no split list)"] = int(listing["files"].to_numpy()[unlisted].sum())
    return Job(
        recipe=recipe,
        pixels=source.pixels if recipe.pixels == "original" else recipe.pixels,
        versions=library_versions(recipe.format),
        schema=dataset_schema(source, scan, recipe, plan),
        plan=plan,
        listing=listing,
        groups=hashes.groups,
        found=scan.found,
        ignored=ignored,
        remarks=(*scan.remarks, *remarks),
        fingerprint=fingerprint(hashes, sizes),
    )


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


def assign(
    listing: pa.Table, groups: HashArray, recipe: Recipe, previous: tuple[tuple[str, ...], HashArray, SplitArray] | None
) -> tuple[tuple[str, ...], SplitArray, list[str]]:
    """Split names, the split of every listing row, and what to tell the user.

    Order of rules: split lists; shares, where they are asked for (an earlier dataset's splits
    first); splits that the source itself gives; else all in `train`.
    """
    if recipe.split_lists:
        return _assign_lists(listing, recipe.split_lists)
    given = listing["split"].combine_chunks() if listing["split"].null_count < listing.num_rows else None
    if recipe.split:
        remarks = [] if given is None else ["--split given: the source's own splits are not used"]
        return (*_assign_shares(listing, groups, recipe, previous), remarks)
    if previous is not None:
        raise ConfigError("--previous keeps earlier splits and needs --split for the new images, as in --split 80/12/8")
    if given is not None:
        return _assign_given(given)
    return ("train",), np.zeros(listing.num_rows, np.int16), []


def _assign_shares(
    listing: pa.Table,
    groups: HashArray,
    recipe: Recipe,
    previous: tuple[tuple[str, ...], HashArray, SplitArray] | None,
) -> tuple[tuple[str, ...], SplitArray]:
    names, shares = tuple(recipe.split), list(recipe.split.values())
    settled = np.full(len(groups), UNASSIGNED, np.int16)
    if previous is not None:
        old_names, old_groups, old_splits = previous
        missing = [name for name in old_names if name not in names]
        if missing:
            raise ConfigError(f"the earlier dataset has split {missing[0]!r}, --split has {', '.join(names)}")
        numbers = np.array([names.index(name) for name in old_names], np.int16)
        settled = keep_previous(groups, old_groups, numbers[old_splits])
    if recipe.split_counts == "exact":
        classes = class_codes(listing) if recipe.stratify else None
        return names, split_exactly(groups, shares, recipe.seed, settled, classes)
    return names, np.where(settled == UNASSIGNED, split_by_hash(groups, shares, recipe.seed), settled)


def class_codes(listing: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each row's label, equal labels equal numbers; int64, shape (rows,).

    Raises:
        ConfigError: the source has no labels.
    """
    if "label" not in listing.column_names:
        raise ConfigError("--stratify needs labels, and this source has none")
    encoded = pc.dictionary_encode(listing["label"], null_encoding="encode").combine_chunks()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0).indices
    return indices.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


SPLIT_ORDER = {"train": 0, "val": 1, "test": 2}


def _assign_given(given: pa.Array) -> tuple[tuple[str, ...], SplitArray, list[str]]:
    found = [name for name in pc.unique(given).to_pylist() if name is not None]
    names = tuple(sorted(found, key=lambda name: (SPLIT_ORDER.get(name, 3), name)))
    if given.null_count and "train" not in names:
        names = ("train", *names)
    splits = pc.index_in(given, pa.array(names)).fill_null(names.index("train") if given.null_count else 0)
    remarks = [f"{given.null_count} samples lie in no split folder: taken into train"] if given.null_count else []
    return names, splits.to_numpy().astype(np.int16), remarks


def _assign_lists(
    listing: pa.Table, lists: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], SplitArray, list[str]]:
    names = tuple(lists)
    wanted: dict[str, int] = {}
    for number, name in enumerate(names):
        for key in lists[name]:
            if wanted.setdefault(key, number) != number:
                raise ConfigError(f"{key!r} is in the lists of both {names[wanted[key]]!r} and {name!r}")
    splits = np.full(listing.num_rows, UNASSIGNED, np.int16)
    used = set()
    for row, key in enumerate(key for chunk in listing["key"].chunks for key in chunk.to_pylist()):
        for name in (key, os.path.splitext(key)[0]):
            if name in wanted:
                splits[row] = wanted[name]
                used.add(name)
                break
    unused = [key for key in wanted if key not in used]
    if unused:
        raise ConfigError(
            f"{len(unused)} entries of the split lists match no sample, the first is {unused[0]!r}; "
            f"keys look like {listing['key'][0].as_py()!r} (with or without suffix)"
        )
    left = int(np.count_nonzero(splits == UNASSIGNED))
    return names, splits, [f"{left} samples are in no split list: ignored"] if left else []


def previous_splits(place: Place | None) -> tuple[tuple[str, ...], HashArray, SplitArray] | None:
    """Split names of an earlier dataset, and for each of its samples group hash and split number."""
    if place is None:
        return None
    store = Store(place)
    names = store.splits
    hashes, splits = [np.empty(0, np.uint64)], [np.empty(0, np.int16)]
    for split, number, info in shards_of(store.manifest):
        hashes.append(np.array(store.index(split, number).numbers("group")))
        splits.append(np.full(info.count, names.index(split), np.int16))
    store.close()
    return names, np.concatenate(hashes), np.concatenate(splits)


def dataset_schema(source: Source, scan: Scan, recipe: Recipe, plan: Plan) -> Schema:
    """Fields of the dataset: the source's, with classes numbered and pixels as the recipe stores them."""
    fields = [numbered(field, scan.listing) for field in scan.fields]
    if recipe.pixels == "original":
        return Schema(tuple(fields))
    if recipe.pixels == "resized":
        return Schema(tuple(as_encoded(field) for field in fields))
    probe = first_readable(source, scan, recipe)
    return Schema(tuple(as_raw(field, probe, recipe) for field in fields))


def numbered(field: Field, listing: pa.Table) -> Field:
    """A label field with its class names, sorted, where the source gives names and no numbers."""
    if field.kind != "label" or field.class_names is not None or "label" not in listing.column_names:
        return field
    if not pa.types.is_string(listing.schema.field("label").type):
        return field
    found = sorted(name for name in pc.unique(listing["label"]).to_pylist() if name is not None)
    return replace(field, class_names=tuple(found))


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


def first_readable(source: Source, scan: Scan, recipe: Recipe) -> dict[str, npt.NDArray[Any]]:
    """Pixels of the first sample that can be read, which give raw fields their shape.

    Raises:
        ConfigError: none of the first `PROBED_SAMPLES` can be read.
    """
    rows = take(scan.listing, np.arange(min(PROBED_SAMPLES, scan.listing.num_rows)))
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
