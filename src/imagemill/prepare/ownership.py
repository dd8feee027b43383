"""Who may write into OUT: one run at a time, or the ranks of one job.

An owner holds an operating-system lock on a file of its own, `.imagemill/owners/ID.lock`, and
says in `ID.json` who it is. The system drops the lock when the process ends, however it ends,
so an entry whose lock can be taken is stale. `guard.lock` beside them guards looking and entering.

The folder may be taken away, but only whole: whoever waits for the guard has put the file of a lock of
his own beside it first, and so sees that the guard he got is that of a folder that is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from imagemill.engines.ranks import Membership
from imagemill.errors import OutputInUse
from imagemill.prepare.commit import WORK_NAME, atomic_write

GUARD_TIMEOUT_S = 30.0
"""How long to wait for others that look at the owners; each holds the guard for milliseconds."""

GUARD_NAME = "guard.lock"
_TRIES = 100


@contextmanager
def own(out: Path, membership: Membership, *, leave_nothing: bool = False) -> Iterator[None]:
    """Owns OUT while the block runs.

    Args:
        leave_nothing: the last owner takes away what this module keeps in OUT, however the block ends.

    Raises:
        OutputInUse: another run, or the same rank of this job, is at work there; names it.
    """
    folder = out / WORK_NAME / "owners"
    name = uuid.uuid4().hex
    lock = filelock.FileLock(folder / f"{name}.lock")
    _insisting(lambda: _enter(out, folder, name, lock, membership))
    try:
        yield
    finally:
        if leave_nothing:
            _take_away(folder, name)
        # The folder may be gone already: whoever finishes a job removes it.
        with suppress(OSError):
            (folder / f"{name}.json").unlink(missing_ok=True)
        _drop(lock)
        if leave_nothing:
            _take_away_emptied(folder)


def _enter(out: Path, folder: Path, name: str, lock: filelock.BaseFileLock, membership: Membership) -> None:
    """Takes the lock of an owner and makes its entry."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        # Nobody else knows this name: the file went with its folder between opening and locking it.
        raise FileNotFoundError(f"{folder} was taken away meanwhile") from None
    try:
        with _guard(folder):
            if not Path(lock.lock_file).exists():
                raise FileNotFoundError(f"{folder} was taken away meanwhile")
            for other in _living(folder):
                if other["job"] != membership.job or other["rank"] == membership.rank:
                    raise OutputInUse(
                        f"{out} is being written by process {other['pid']} on {other['host']} "
                        f"(rank {other['rank']} of {other['world_size']}, since {other['since']}): "
                        "wait until it is done, or stop it, then run the same command again"
                    )
            atomic_write(folder / f"{name}.json", json.dumps(_entry(membership)).encode())
    except BaseException:
        _drop(lock)
        raise


def _entry(membership: Membership) -> dict[str, Any]:
    """Who owns OUT, as others are told it."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "rank": membership.rank,
        "world_size": membership.world_size,
        "job": membership.job,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _drop(lock: filelock.BaseFileLock) -> None:
    """Lets go of an owner's lock and removes its file."""
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)


def _take_away(folder: Path, name: str) -> None:
    """Takes the owners' folder away if its caller, who still owns, is the only owner; all at once, by a rename."""
    gone = folder.with_name(name)
    with suppress(OSError, OutputInUse), _guard(folder):
        if len(_living(folder)) == 1:
            os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _take_away_emptied(folder: Path) -> None:
    """Takes away what holds nothing any more.

    Windows renames no folder with open files in it; but it does not unlink a file either that somebody has open.
    """
    with suppress(OSError):
        if os.name == "nt":
            (folder / GUARD_NAME).unlink(missing_ok=True)
            folder.rmdir()
        folder.parent.rmdir()


@contextmanager
def alone(out: Path) -> Iterator[bool]:
    """Whether nobody owns OUT; nobody can begin to while the block runs."""
    folder = out / WORK_NAME / "owners"
    with _guard(folder):
        yield not _living(folder)


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """While the block runs no other process looks at the owners in this folder, which is there."""
    lock = filelock.FileLock(folder / GUARD_NAME, timeout=GUARD_TIMEOUT_S)

    def take() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()

    try:
        _insisting(take)
    except filelock.Timeout:
        raise OutputInUse(f"{folder} stayed locked for {GUARD_TIMEOUT_S:.0f} s by another process") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        lock.release()


def _insisting(step: Callable[[], None]) -> None:
    """Takes a step again where its folder is gone: whoever finishes a dataset takes it away, at any moment.

    A folder that is there when `mkdir` begins and gone when it looks what is there is a `FileExistsError`.
    """
    for _ in range(_TRIES - 1):
        try:
            return step()
        except (FileNotFoundError, FileExistsError):
            continue
    return step()


def _living(folder: Path) -> list[dict[str, Any]]:
    """Records of owners that are alive; those of dead ones are removed."""
    found = []
    for path in sorted(folder.glob("*.json")):
        probe = filelock.FileLock(path.with_suffix(".lock"))
        try:
            probe.acquire(timeout=0)
        except filelock.Timeout:
            with suppress(FileNotFoundError):  # who is about to leave counts as gone
                found.append(json.loads(path.read_bytes()))
            continue
        path.unlink(missing_ok=True)
        probe.release()
        path.with_suffix(".lock").unlink(missing_ok=True)
    return found
