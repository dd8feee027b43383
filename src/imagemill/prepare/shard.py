"""One shard, from listing rows to committed files: the task that engines run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imagemill.core.manifest import FileInfo, ShardInfo
from imagemill.core.sample import Reject, Row
from imagemill.engines.local import is_disposable
from imagemill.faults import fault_point
from imagemill.formats import FORMATS
from imagemill.formats.base import scalar_from_bytes
from imagemill.formats.index import SUFFIX, IndexBuilder
from imagemill.prepare.claims import claim
from imagemill.prepare.commit import WORK_NAME, atomic_write, clear_disk_errors, publish, scratch_folder, settle
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.job import Job
from imagemill.prepare.rows import RowMaker
from imagemill.sources.base import GROUP_HASH, Source


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to know to make one shard. Picklable.

    Args:
        out: the dataset folder; plan and listing lie in it.
        source: where samples are read from.
        split, number: which shard of the plan.
        shared: whether ranks of one job work on the same plan, so that shards are claimed.
    """

    out: Path
    source: Source
    split: str
    number: int
    shared: bool

    def __str__(self) -> str:
        return f"{self.split} shard {self.number}"


@dataclass(frozen=True)
class Commit:
    """The commit record of a shard: present means the shard is finished.

    Args:
        shard: its entry in the manifest.
        rejects: of this shard, in the plan's order.
        kept_files: source files that its rows came from.
        bytes_in: bytes of those files.
        classes: class number (as text) → rows, for labelled data.
        notes: pixel policy note → rows.
    """

    shard: ShardInfo
    rejects: tuple[Reject, ...]
    kept_files: int
    bytes_in: int
    classes: Mapping[str, int]
    notes: Mapping[str, int]

    def to_json(self) -> bytes:
        """Canonical JSON."""
        record = asdict(self)
        record["shard"] = self.shard.to_json()
        return json.dumps(record, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Commit:
        """The record that `to_json` wrote."""
        record = json.loads(text)
        record["shard"] = ShardInfo.from_json(record["shard"])
        record["rejects"] = tuple(Reject(**reject) for reject in record["rejects"])
        return cls(**record)


def commit_path(out: Path, name: str) -> Path:
    """Where the commit record of a shard lies."""
    return out / WORK_NAME / "commits" / f"{name}.json"


def write_shard(task: ShardTask) -> str | None:
    """Makes one shard and commits it.

    Returns:
        Its name, or None where another rank works on it or has finished it.
    """
    job = Job.open(task.out)
    name = job.plan.shard_name(task.split, task.number)
    with claim(task.out, name, shared=task.shared) as mine:
        if not mine or commit_path(task.out, name).exists():
            return None
        with clear_disk_errors(task.out):
            commit = _make(task, job, name)
            fault_point("shard.commit.before")
            atomic_write(commit_path(task.out, name), commit.to_json())
            fault_point("shard.commit.after")
    return name


def _make(task: ShardTask, job: Job, name: str) -> Commit:
    fault_point("shard.start")
    work = task.out / WORK_NAME
    tally = _Tally(IndexBuilder(job.schema))
    maker = RowMaker(job.schema, job.recipe)
    guarded = GuardedRows(task.source, maker, work, name, watch=is_disposable())
    with scratch_folder(work / "tmp" / f"{name}.{os.getpid()}") as scratch, guarded:
        planned = job.listing_rows(job.plan.rows(task.split, task.number))
        fault_point("shard.write.before")
        files = FORMATS.get(job.recipe.format).write(scratch / name, job.schema, tally.rows(guarded.make(planned)))
        index_path = scratch / f"index{SUFFIX}"
        tally.index.write(index_path)
        fault_point("shard.write.after")
        infos = tuple(settle(path, f"data/{path.name}") for path in files)
        index = settle(index_path, f"index/{name}{SUFFIX}")
        fault_point("shard.fsync.after")
        publish([(path, task.out / "data" / path.name) for path in files] + [(index_path, task.out / index.path)])
    return tally.commit(name, infos, index)


@dataclass
class _Tally:
    """Passes rows on to the format and counts on the way."""

    index: IndexBuilder
    rejects: list[Reject] = field(default_factory=list)
    count: int = 0
    kept_files: int = 0
    bytes_in: int = 0
    classes: Counter[bytes] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def rows(self, made: Iterator[tuple[Mapping[str, Any], Row | Reject]]) -> Iterator[Row]:
        labels = self.index.schema.of_kind("label")
        for listing_row, result in made:
            if isinstance(result, Reject):
                self.rejects.append(result)
                continue
            self.index.add(result, listing_row[GROUP_HASH])
            self.count += 1
            self.kept_files += listing_row["files"]
            self.bytes_in += listing_row["size"]
            if labels:
                self.classes[bytes(result.values[labels[0].name])] += 1
            self.notes.update(result.notes.split(";") if result.notes else ())
            yield result
            if self.count == 1:
                fault_point("shard.write.middle")

    def commit(self, name: str, files: tuple[FileInfo, ...], index: FileInfo) -> Commit:
        labels = self.index.schema.of_kind("label")
        classes = {str(scalar_from_bytes(labels[0], value)): count for value, count in self.classes.items()}
        return Commit(
            shard=ShardInfo(name, self.count, files, index),
            rejects=tuple(self.rejects),
            kept_files=self.kept_files,
            bytes_in=self.bytes_in,
            classes=dict(sorted(classes.items())),
            notes=dict(sorted(self.notes.items())),
        )
