"""Files that are seen whole or not at all (temporary name, fsync, rename), and many files made durable together."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from imagemill.core.sample import Buffer
from imagemill.faults import fault_point

WORK_NAME = ".imagemill"
"""Folder inside OUT that holds everything of an unfinished run."""

REJECTS_NAME = "rejects.jsonl"
"""File in OUT with a line of JSON a reject."""

AnyPath: TypeAlias = Path | str | bytes

SYNC_THREADS = 8
"""Files synced at a time: a journal takes many of them in one go."""

FEW_FILES = 4
"""So many are synced one by one: a file system has more to write than what is ours."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A path to write a file at that takes the place of `path` once the block has ended well.

    If `durable`, it survives a power cut from then on. Where the block raises, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fault_point("small.write.before")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        fault_point("small.rename.before")
        os.replace(temporary, path)
        fault_point("small.rename.after")
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def atomic_write(path: Path, content: Buffer, *, durable: bool = True) -> None:
    """Writes a file so that it is seen whole or not at all; if `durable`, even after a power cut."""
    with replacing(path, durable=durable) as temporary, open(temporary, "wb") as file:
        file.write(content)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def sync_folder(folder: AnyPath) -> None:
    """Makes renames in a folder durable, where the system can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename itself stands.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_all(files: Sequence[AnyPath], folders: Iterable[AnyPath]) -> None:
    """Makes files, and the names that folders hold, survive a power cut.

    Of many files the whole file system is synced where it can be asked to: 500 files of 12 KB took a seventh of the
    CPU time of a call each (ext4). What others write just then is waited for, too.

    Args:
        files: written and closed, by whatever process.
        folders: all in which something is new, each one's parent after it if the folder itself is.
    """
    folders = list(folders)
    if folders and len(files) + len(folders) > FEW_FILES and all(map(_sync_file_system, _one_a_device(folders))):
        return
    if len(files) <= FEW_FILES:
        for path in files:
            _sync_file(path)
    else:
        with ThreadPoolExecutor(SYNC_THREADS) as threads:
            for _ in threads.map(_sync_file, files):
                pass
    for folder in folders:
        sync_folder(folder)


def _sync_file(path: AnyPath) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _one_a_device(folders: Iterable[AnyPath]) -> Iterable[AnyPath]:
    return {os.stat(folder).st_dev: folder for folder in folders}.values()


def _sync_file_system(folder: AnyPath) -> bool:
    """Whether all that a folder's file system had to write is on the disk now; Python has no call for it.

    `os.sync` would do on Linux, but tells no error, and elsewhere it may return before anything is written.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)
