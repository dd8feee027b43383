"""Staged files on their way into OUT: each whole or not at all, a part of the plan at a time.

A part that is done has a commit record, written after its files were synced; a part without one is done
again, and renames the same bytes over whatever lies there.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imagemill.core.sample import Reject
from imagemill.engines.local import is_disposable
from imagemill.prepare.commit import WORK_NAME, atomic_write, clear_disk_errors, scratch_folder, sync_all
from imagemill.prepare.folder_job import plan_rows
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.stage_pictures import Staged, StageMaker
from imagemill.prepare.stage_plan import OUT, Naming
from imagemill.sources.base import Source

FICLONE = 0x40049409
"""Linux's request to share a file's blocks until one of the two is written to (btrfs, XFS, bcachefs, ZFS)."""


@dataclass(frozen=True)
class StageTask:
    """Some rows of a plan to stage; picklable."""

    out: Path
    source: Source
    maker: StageMaker
    start: int
    stop: int

    def __str__(self) -> str:
        return f"samples {self.start}–{self.stop}"

    @property
    def name(self) -> str:
        """Unique in the run."""
        return f"{self.start:012d}"


@dataclass
class StageCommit:
    """What became of a part of the plan.

    Args:
        rejects: its bad samples.
        samples: good ones.
        kept_files: files of the source that went into them.
        written: files in OUT; `unchanged` of them have the source's bytes, `linked` are symbolic links.
        bytes_in, bytes_out: read, and lying in OUT.
        notes: what the pixel policy met → samples.
        splits: split → samples.
    """

    rejects: list[Reject] = field(default_factory=list)
    samples: int = 0
    kept_files: int = 0
    written: int = 0
    unchanged: int = 0
    linked: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)

    def add(self, other: StageCommit) -> None:
        """Takes another part's account into this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def to_json(self) -> bytes:
        """As a commit record."""
        return json.dumps({**vars(self), "rejects": [asdict(reject) for reject in self.rejects]}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> StageCommit:
        """What `to_json` wrote."""
        record = json.loads(text)
        record["rejects"] = [Reject(**reject) for reject in record["rejects"]]
        record["notes"], record["splits"] = Counter(record["notes"]), Counter(record["splits"])
        return cls(**record)


def commit_path(out: Path, name: str) -> Path:
    """Where the commit record of a part lies."""
    return out / WORK_NAME / "commits" / f"{name}.json"


def stage_part(task: StageTask) -> StageCommit:
    """Stages some samples and commits them."""
    work = task.out / WORK_NAME
    commit = StageCommit()
    guarded = GuardedRows(task.source, task.maker, work, task.name, watch=is_disposable())
    with clear_disk_errors(task.out), scratch_folder(work / "tmp" / task.name) as scratch, guarded:
        places = _Places(task, scratch)
        for row, result in guarded.make(plan_rows(task.out, task.start, task.stop)):
            if isinstance(result, Reject):
                commit.rejects.append(result)
                continue
            commit.samples += 1
            commit.kept_files += row["files"]
            commit.bytes_in += row["size"]
            commit.notes.update(note.partition("=")[0] for note in result.notes)
            commit.splits.update([row["split"]] if row["split"] is not None else ())
            places.put(row, result, commit)
        places.sync()
        atomic_write(commit_path(task.out, task.name), commit.to_json())
    return commit


class _Places:
    """Brings files to their places in OUT."""

    def __init__(self, task: StageTask, scratch: Path) -> None:
        self._out = os.fsencode(task.out)
        self._source = os.fsencode(task.source.path)
        self._naming = Naming(task.source.kind, task.maker.options)
        self._link = task.maker.options.link
        self._temporary = os.fsencode(scratch / "file")
        self._may_clone = True
        self._written: list[bytes] = []
        self._folders: set[bytes] = set()

    def put(self, row: Mapping[str, Any], staged: Staged, commit: StageCommit) -> None:
        """All files of one sample."""
        for name, content in staged.contents.items():
            original = None
            if name in staged.unchanged:
                original = os.path.join(self._source, self._naming.origin(row, name))
                commit.unchanged += 1
            linked = original is not None and self._link
            if original is not None and linked:
                os.symlink(os.path.realpath(original), self._temporary)
                commit.linked += 1
            elif original is None or not self._cloned(original, len(content)):
                with open(self._temporary, "wb") as file:
                    file.write(content)
            commit.written += 1
            commit.bytes_out += 0 if linked else len(content)
            self._move(os.path.join(self._out, row[OUT + name]), linked)

    def _cloned(self, original: bytes, size_bytes: int) -> bool:
        """Whether the temporary file shares the original's blocks now, which must still be as many as were read."""
        self._may_clone = self._may_clone and clone(original, self._temporary)
        return self._may_clone and os.path.getsize(self._temporary) == size_bytes

    def _move(self, target: bytes, linked: bool) -> None:
        folder = os.path.dirname(target)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
            while folder != self._out:  # the names of new folders are to last, too
                folder = os.path.dirname(folder)
                self._folders.add(folder)
        os.replace(self._temporary, target)
        if not linked:
            self._written.append(target)

    def sync(self) -> None:
        """Makes everything put so far survive a power cut."""
        sync_all(self._written, sorted(self._folders))


def clone(original: bytes, target: bytes) -> bool:
    """Makes `target` a copy of `original` that shares its blocks; False where system or file system cannot.

    Neither file is ever seen to change by what is written to the other.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with open(original, "rb") as source, open(target, "wb") as copy:
            fcntl.ioctl(copy.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    return True
