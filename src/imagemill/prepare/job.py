"""A job: recipe, schema, listing and plan, frozen in OUT before the first shard is made.

Every rank, and every later run that finishes the job, works from these files:

    OUT/.imagemill/plan/job.json       recipe, versions, schema, splits, what the scan found
    OUT/.imagemill/plan/listing.arrow  a row a sample
    OUT/.imagemill/plan/order.npy      listing rows, split by split, shard by shard (int64)
    OUT/.imagemill/plan/groups.npy     group hash of every listing row (uint64)
    OUT/.imagemill/plan/rejects.jsonl  what scan and plan rejected
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imagemill.core.files import REJECTS_NAME
from imagemill.core.recipe import Recipe
from imagemill.core.sample import Reject
from imagemill.core.schema import Schema
from imagemill.prepare.commit import WORK_NAME
from imagemill.prepare.leaks import Leak, leak_from_json
from imagemill.prepare.plan import HashArray, Plan
from imagemill.sources.base import GROUP_HASH, open_listing

JOB_NAME = "job.json"
LISTING_NAME = "listing.arrow"
ROWS_AT_ONCE = 256
"""Listing rows turned into Python objects at a time."""

ROWS_TAKEN = 4096
"""Listing rows taken at a time: scattered ones come from every batch of the listing, whatever their number."""


@dataclass(frozen=True)
class Move:
    """A sample that was brought into another split, to be with what it belongs to; a line of `moved.jsonl`."""

    key: str
    was: str
    now: str

    def line(self) -> str:
        """A line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Job:
    """Everything that decides the bytes of a dataset.

    Args:
        recipe: the data part.
        pixels: how the dataset's pixels were made; of a converted dataset, as it was there.
        versions: of imagemill and the libraries that write bytes.
        schema: fields of the dataset.
        plan: splits and shards.
        listing: a row a sample, mapped.
        groups: uint64, shape (rows,), mapped.
        found: files found.
        ignored: suffix or name → files passed over.
        remarks: sentences for the user.
        fingerprint: hash of the listing: which samples, of which sizes.
        leaks: what given or earlier splits part, as it was found.
        moved: samples that were brought into another split because of it.
    """

    recipe: Recipe
    pixels: str
    versions: Mapping[str, str]
    schema: Schema
    plan: Plan
    listing: pa.Table
    groups: HashArray
    found: int
    ignored: Mapping[str, int]
    remarks: tuple[str, ...]
    fingerprint: str
    leaks: tuple[Leak, ...] = ()
    moved: tuple[Move, ...] = ()

    def save(self, folder: Path, rejects: Sequence[Reject]) -> None:
        """Writes everything but the listing, which the scan wrote, into `folder`."""
        np.save(folder / "order.npy", self.plan.order)
        np.save(folder / "groups.npy", self.groups)
        with open(folder / REJECTS_NAME, "w", encoding="utf-8") as file:
            file.writelines(reject_line(reject) for reject in rejects)
        record = {
            "recipe": self.recipe.to_json(),
            "pixels": self.pixels,
            "versions": dict(self.versions),
            "schema": self.schema.to_json(),
            "splits": {name: self.plan.bounds[name].tolist() for name in self.plan.splits},
            "found": self.found,
            "ignored": dict(self.ignored),
            "remarks": list(self.remarks),
            "fingerprint": self.fingerprint,
            "leaks": [asdict(leak) for leak in self.leaks],
            "moved": [asdict(move) for move in self.moved],
        }
        (folder / JOB_NAME).write_text(json.dumps(record, indent=1), "utf-8")

    @staticmethod
    def open(out: Path) -> Job:
        """The job frozen in OUT; kept open, since a worker makes many of its shards."""
        folder = out / WORK_NAME / "plan"
        status = (folder / JOB_NAME).stat()
        return _open_job(folder, status.st_ino, status.st_mtime_ns)

    def listing_rows(self, rows: npt.NDArray[np.int64]) -> Iterator[dict[str, Any]]:
        """These rows of the listing as plain dicts, with `group_hash`, a few at a time."""
        for start in range(0, len(rows), ROWS_TAKEN):
            part = rows[start : start + ROWS_TAKEN]
            hashes = iter(self.groups[part].tolist())
            for batch in take(self.listing, part).to_batches(max_chunksize=ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    record[GROUP_HASH] = next(hashes)
                    yield record

    def scan_rejects(self, out: Path) -> Iterator[Reject]:
        """What scan and plan rejected."""
        with open(out / WORK_NAME / "plan" / REJECTS_NAME, encoding="utf-8") as file:
            for line in file:
                yield Reject(**json.loads(line))


@lru_cache(maxsize=2)
def _open_job(folder: Path, inode: int, changed_ns: int) -> Job:
    """The job in `folder`; inode and time tell a job from an earlier one at the same place."""
    record = json.loads((folder / JOB_NAME).read_text("utf-8"))
    bounds = {name: np.array(cuts, np.int64) for name, cuts in record["splits"].items()}
    order = np.load(folder / "order.npy", mmap_mode="r")
    return Job(
        recipe=recipe_from_json(record["recipe"]),
        pixels=record["pixels"],
        versions=record["versions"],
        schema=Schema.from_json(record["schema"]),
        plan=Plan(tuple(bounds), order, bounds),
        listing=open_listing(folder / LISTING_NAME),
        groups=np.load(folder / "groups.npy", mmap_mode="r"),
        found=record["found"],
        ignored=record["ignored"],
        remarks=tuple(record["remarks"]),
        fingerprint=record["fingerprint"],
        leaks=tuple(leak_from_json(leak) for leak in record["leaks"]),
        moved=tuple(Move(**move) for move in record["moved"]),
    )


def take(listing: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Rows of a listing, in the order asked for; a run of neighbours is a slice, which copies nothing.

    Other rows are taken from each of the listing's batches in turn: Arrow's own `take` first
    joins all batches into one, which for ten million rows copies a gigabyte a call.
    """
    if not len(rows):
        return listing.slice(0, 0)
    if rows[-1] - rows[0] == len(rows) - 1 and np.all(np.diff(rows) == 1):
        return listing.slice(int(rows[0]), len(rows))
    ends = np.cumsum([0, *(len(chunk) for chunk in listing.column(0).chunks)])
    batches = np.searchsorted(ends, rows, side="right") - 1
    order = np.argsort(batches, kind="stable")
    pieces = []
    for places in np.split(order, np.flatnonzero(np.diff(batches[order])) + 1):
        start, end = ends[batches[places[0]] : batches[places[0]] + 2].tolist()
        pieces.append(listing.slice(start, end - start).take(pa.array(rows[places] - start)))
    return pa.concat_tables(pieces).take(pa.array(np.argsort(order)))


def reject_line(reject: Reject) -> str:
    """A reject as a line of JSON."""
    return json.dumps(asdict(reject), ensure_ascii=False) + "\n"


def recipe_from_json(record: Mapping[str, Any]) -> Recipe:
    """The recipe that `Recipe.to_json` described."""
    values = dict(record)
    values["size"] = None if record["size"] is None else tuple(record["size"])
    values["split"] = {name: Fraction(share) for name, share in record["split"].items()}
    values["split_lists"] = {name: tuple(keys) for name, keys in record["split_lists"].items()}
    values["exclude"] = tuple(record.get("exclude", ()))
    return Recipe(**values)
