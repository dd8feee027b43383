"""`sync`: a folder brought up to date by digest, or checked; what a person changed in it is told, not lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field

from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError, ImagemillError
from imagemill.prepare.commit import WORK_NAME, clear_disk_errors, made_output
from imagemill.prepare.ownership import own
from imagemill.prepare.sync_digests import Digests, Entry, Record, web_record
from imagemill.prepare.sync_places import RECORD_NAME, LocalTree, RemoteTree, Stamp, Tree

_OF_ONE_FILE = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What may be wrong with one file, and leaves the others to be brought."""

THREADS = 8
"""Files read, fetched or written at a time; digests release the interpreter."""


@dataclass(frozen=True)
class SyncOptions:
    """How a folder is brought up to date.

    Args:
        dry_run: say what would be done, write nothing.
        delete: files that the source has no more are removed, if nobody changed them.
        force: files that were changed by hand are overwritten (removed) too.
        check: the destination's every file is read, whatever its times say.
        full: the source's, too.
    """

    dry_run: bool = False
    delete: bool = False
    force: bool = False
    check: bool = False
    full: bool = False


@dataclass(frozen=True)
class SyncResult:
    """What `sync` did, would do, or found.

    Args:
        source, destination: the two places.
        added, updated, deleted: paths; `updated` had an earlier version of the source's.
        same: files that were right already.
        changed: paths that were changed by hand, or lie in the way; left as they are without `force`.
        gone: paths that the source has no more and the folder still has.
        missing: paths that were there once, by the record, and had to be (or are to be) brought again.
        extra: files of the folder that sync knows nothing about.
        failed: path → why it could not be brought.
        bytes_copied: of added and updated files.
        seconds: wall time.
        written: whether anything was written: False for a dry run or a check.
        clean: whether the folder holds what it should, now.
    """

    source: str
    destination: str
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    same: int = 0
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    bytes_copied: int = 0
    seconds: float = 0.0
    written: bool = False
    clean: bool = True


@dataclass
class _Plan:
    """What is to be done, by path."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: int = 0


def sync_trees(
    source: Tree, destination: Tree, options: SyncOptions, *, on_progress: Callable[[int], None] | None = None
) -> SyncResult:
    """Brings a folder up to date.

    Raises:
        ConfigError: one lies in the other, or the destination cannot be written to.
        OutputInUse: another run is at work there.
        RemoteError: a place cannot be listed.
        NoSpace: the disk is full.
    """
    started = time.monotonic()
    refuse_places(source, destination)
    with _owned(destination, options.dry_run):
        run = _Run(source, destination, options)
        plan = run.plan()
        failed: dict[str, str] = {}
        copied: dict[str, Entry] = {}
        if not options.dry_run:
            failed, copied = run.carry_out(plan, on_progress)
    left = [path for path in plan.changed if not options.force]
    return SyncResult(
        source=str(source),
        destination=str(destination),
        added=tuple(plan.added),
        updated=tuple(plan.updated),
        deleted=tuple(plan.deleted),
        same=len(plan.same),
        changed=tuple(plan.changed),
        gone=tuple(plan.gone),
        missing=tuple(plan.missing),
        extra=plan.extra,
        failed=failed,
        bytes_copied=sum(entry.size_bytes for entry in copied.values()),
        seconds=time.monotonic() - started,
        written=not options.dry_run,
        clean=not left and not failed and not (options.dry_run and (plan.added or plan.updated or plan.deleted)),
    )


def check_record(destination: Tree) -> SyncResult:
    """Whether a synced folder holds what its record says; every file is read, its source is not asked.

    Raises:
        ConfigError: there is no record.
    """
    started = time.monotonic()
    record = require_record(destination)
    there = destination.files()
    digests = Digests(destination, trust=False)
    wanted = {path: entry.sha256 for path, entry in record.files.items() if not entry.gone}
    found = _all_digests(digests, {path: there[path] for path in wanted if path in there})
    changed = tuple(path for path in sorted(found) if found[path] != wanted[path])
    missing = tuple(sorted(set(wanted) - set(found)))
    return SyncResult(
        source=record.source,
        destination=str(destination),
        same=len(found) - len(changed),
        changed=changed,
        missing=missing,
        gone=tuple(sorted(path for path, entry in record.files.items() if entry.gone and path in there)),
        extra=len(set(there) - set(record.files)),
        seconds=time.monotonic() - started,
        clean=not changed and not missing,
    )


def require_record(destination: Tree) -> Record:
    """The record of a synced folder.

    Raises:
        ConfigError: there is none.
    """
    record = Record.of(destination)
    if record is None:
        raise ConfigError(f"{destination} has no {RECORD_NAME}: it was never synced; say imagemill sync SRC DST first")
    return record


def refuse_places(source: Tree, destination: Tree) -> None:
    """Raises ConfigError where the two places cannot be synced."""
    if isinstance(destination, RemoteTree) and destination.is_web:
        raise ConfigError(f"{destination}: a web server is read only; give a folder, or a URL that can be written to")
    if not isinstance(source, LocalTree):
        return
    if not source.path.is_dir():
        raise ConfigError(f"{source} is no folder")
    if isinstance(destination, LocalTree):
        inner, outer = destination.path.resolve(), source.path.resolve()
        if inner == outer or outer in inner.parents or inner in outer.parents:
            raise ConfigError(f"{destination} and {source} lie in each other: choose folders beside one another")


@contextmanager
def _owned(destination: Tree, dry_run: bool) -> Iterator[None]:
    """Owns a folder of this machine while the block runs; what is left there then is files that were brought."""
    if dry_run or not isinstance(destination, LocalTree):
        yield
        return
    out = destination.path
    with clear_disk_errors(out), made_output(out), own(out, membership(0, 1), leave_nothing=True):
        try:
            yield
        finally:
            shutil.rmtree(out / WORK_NAME / "tmp", ignore_errors=True)


class _Run:
    """One comparison of two places, and what follows from it."""

    def __init__(self, source: Tree, destination: Tree, options: SyncOptions) -> None:
        self._source, self._destination, self._options = source, destination, options
        self._digests = Digests(source, trust=not options.full)
        self._own = Digests(destination, trust=not (options.check or options.full))
        self._record = Record.of(destination) or Record()
        self._told = web_record(source)
        self._there: dict[str, Stamp] = {}
        self._offered: dict[str, Stamp] = {}

    def plan(self) -> _Plan:
        """Compares, by digest."""
        if self._told is None:
            self._offered = self._source.files()
            if not self._offered and isinstance(self._source, RemoteTree):
                # An object store knows no folders; --delete would empty DST for a slip of the pen.
                raise ConfigError(f"{self._source} holds no files, or is not there: nothing is copied or deleted")
        else:
            self._offered = {path: (entry.size_bytes,) for path, entry in self._told.files.items() if not entry.gone}
        exists = not isinstance(self._destination, LocalTree) or self._destination.path.is_dir()
        self._there = self._destination.files() if exists else {}
        plan = _Plan()
        both = {path: stamp for path, stamp in self._there.items() if path in self._offered}
        wanted, found = self._wanted(both), _all_digests(self._own, both)
        for path in sorted(self._offered):
            earlier = self._earlier(path)
            if path not in found:
                plan.added.append(path)
                if earlier and self._destination_lost(path):
                    plan.missing.append(path)
            elif found[path] == wanted[path]:
                plan.same[path] = found[path]
            elif found[path] in earlier:
                plan.updated.append(path)
            else:
                plan.changed.append(path)
        self._plan_the_rest(plan)
        return plan

    def _plan_the_rest(self, plan: _Plan) -> None:
        """Files that only the destination has."""
        rest = {path: stamp for path, stamp in self._there.items() if path not in self._offered}
        known = {path: stamp for path, stamp in rest.items() if self._earlier(path)}
        plan.extra = len(rest) - len(known)
        found = _all_digests(self._own, known) if self._options.delete else {}
        for path in sorted(known):
            if not self._options.delete:
                plan.gone.append(path)
            elif found[path] in self._earlier(path) or self._options.force:
                plan.deleted.append(path)
            else:
                plan.changed.append(path)

    def _wanted(self, stamps: Mapping[str, Stamp]) -> dict[str, str]:
        """Digests of the source's files of these names."""
        if self._told is not None:
            return {path: self._told.files[path].sha256 for path in stamps}
        return _all_digests(self._digests, {path: self._offered[path] for path in stamps})

    def _earlier(self, path: str) -> set[str]:
        """Digests that sync brought here under this name: the record's, and an interrupted run's."""
        entry, written = self._record.files.get(path), self._own.written.get(path)
        return {digest for digest in (entry.sha256 if entry else None, written) if digest}

    def _destination_lost(self, path: str) -> bool:
        entry = self._record.files.get(path)
        return entry is not None and not entry.gone

    def carry_out(
        self, plan: _Plan, on_progress: Callable[[int], None] | None
    ) -> tuple[dict[str, str], dict[str, Entry]]:
        """Copies, deletes, writes the record; (path → why it failed, path → what was copied)."""
        forced = [path for path in plan.changed if self._options.force and path in self._offered]
        failed: dict[str, str] = {}
        copied: dict[str, Entry] = {}
        with ThreadPoolExecutor(THREADS) as threads:
            jobs = {threads.submit(self._copy, path): path for path in [*plan.added, *plan.updated, *forced]}
            try:
                for job in as_completed(jobs):
                    try:
                        copied[jobs[job]] = job.result()
                    except (*_OF_ONE_FILE, ImagemillError) as error:
                        failed[jobs[job]] = str(error)
                    if on_progress is not None:
                        on_progress(1)
            except BaseException:
                # Ctrl-C, or a full disk: what is on its way ends, and nothing else begins.
                threads.shutdown(cancel_futures=True)
                raise
        for path in plan.deleted:
            self._destination.delete(path)
        self._write_record(plan, copied)
        self._digests.settle()
        self._own.settle()
        return dict(sorted(failed.items())), copied

    def _copy(self, path: str) -> Entry:
        """Brings one file, and notes its digest before it is seen."""
        with self._destination.temporary() as temporary:
            sha256 = self._source.copy_to(path, temporary)
            size_bytes = temporary.tell()
            if self._told is not None and sha256 != self._told.files[path].sha256:
                raise ConfigError(f"{path}: what arrived is not what {RECORD_NAME} there says; sync again later")
            self._own.keep(path, (), sha256, written=True)
            self._destination.put(temporary, path)
        self._own.keep(path, self._destination.stamp(path), sha256, written=True)
        if self._told is None:
            self._digests.keep(path, self._offered[path], sha256)
        return Entry(size_bytes, sha256)

    def _write_record(self, plan: _Plan, copied: Mapping[str, Entry]) -> None:
        """Says what the folder holds now; files that were left as they are keep the entry they had."""
        left = {*plan.changed, *plan.updated}
        files = {path: entry for path, entry in self._record.files.items() if path in left}
        files |= {path: Entry(self._there[path][0], sha256) for path, sha256 in plan.same.items()}
        files |= copied
        for path in plan.gone:
            entry = self._record.files.get(path)
            if entry is not None:
                files[path] = Entry(entry.size_bytes, entry.sha256, gone=True)
        content = Record(str(self._source), files).to_bytes()
        if content != self._record.to_bytes() or not self._record.source:
            self._destination.write(RECORD_NAME, content)


def _all_digests(digests: Digests, stamps: Mapping[str, Stamp]) -> dict[str, str]:
    """Digest of each file, several read at a time."""
    paths: Iterable[str] = list(stamps)
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(zip(paths, threads.map(lambda path: digests.get(path, stamps[path]), paths), strict=True))
