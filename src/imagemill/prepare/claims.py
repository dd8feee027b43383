"""Who does which part, among the ranks of one job; apart from `ownership`, since every worker imports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.prepare.commit import WORK_NAME


@contextmanager
def claim(out: Path, name: str, *, shared: bool) -> Iterator[bool]:
    """Whether this process may do the part of that name; a dead rank's claim is dropped by the system.

    Args:
        shared: whether ranks of one job share the parts at all.
    """
    if not shared:
        yield True
        return
    import filelock  # 30 ms, for ranks only

    folder = out / WORK_NAME / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
