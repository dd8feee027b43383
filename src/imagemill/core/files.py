"""Files that are seen whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imagemill.core.sample import Buffer
from imagemill.faults import fault_point

WORK_NAME = ".imagemill"
"""Folder inside OUT that holds everything of an unfinished run."""


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


def sync_folder(folder: Path) -> None:
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
