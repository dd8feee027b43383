"""Who may write into OUT: one run at a time, or the ranks of one job.

An owner holds an operating-system lock on a file of its own, `.imagemill/owners/ID.lock`, and
says in `ID.json` who it is. The system drops the lock when the process ends, however it ends,
so an entry whose lock can be taken is stale. `owners.lock` guards looking and entering.
"""

from __future__ import annotations

import json
import os
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

_TRIES = 100


@contextmanager
def own(out: Path, membership: Membership) -> Iterator[None]:
    """Owns OUT while the block runs.

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
        # The folder may be gone already: whoever finishes a job removes it.
        with suppress(OSError):
            (folder / f"{name}.json").unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            (folder / f"{name}.lock").unlink(missing_ok=True)


def _enter(out: Path, folder: Path, name: str, lock: filelock.BaseFileLock, membership: Membership) -> None:
    """Makes the entry of an owner and takes its lock."""
    with _guard(folder):
        for other in _living(folder):
            if other["job"] != membership.job or other["rank"] == membership.rank:
                raise OutputInUse(
                    f"{out} is being written by process {other['pid']} on {other['host']} "
                    f"(rank {other['rank']} of {other['world_size']}, since {other['since']}): "
                    "wait until it is done, or stop it, then run the same command again"
                )
        lock.acquire(timeout=0)
        record = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "rank": membership.rank,
            "world_size": membership.world_size,
            "job": membership.job,
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        try:
            atomic_write(folder / f"{name}.json", json.dumps(record).encode())
        except FileNotFoundError:
            lock.release()
            raise


@contextmanager
def alone(out: Path) -> Iterator[bool]:
    """Whether nobody owns OUT; nobody can begin to while the block runs."""
    folder = out / WORK_NAME / "owners"
    with _guard(folder):
        yield not _living(folder)


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """While the block runs no other process looks at the owners in this folder, which is there."""
    lock = filelock.FileLock(folder.parent / "owners.lock", timeout=GUARD_TIMEOUT_S)

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
    """Takes a step again where its folder is gone: whoever finishes a dataset takes it away, at any moment."""
    for _ in range(_TRIES - 1):
        try:
            return step()
        except FileNotFoundError:
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
            found.append(json.loads(path.read_bytes()))
            continue
        path.unlink(missing_ok=True)
        probe.release()
        path.with_suffix(".lock").unlink(missing_ok=True)
    return found
