"""Files that are there whole or not at all: temporary name, fsync, rename, commit record."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash

from imagemill.core.files import WORK_NAME as WORK_NAME
from imagemill.core.files import atomic_write as atomic_write
from imagemill.core.files import sync_all as sync_all
from imagemill.core.files import sync_folder as sync_folder
from imagemill.core.manifest import FileInfo
from imagemill.errors import ConfigError, NoSpace
from imagemill.faults import fault_point

BLOCK_BYTES = 1 << 20


def refuse_inside(out: Path, source: Path | None) -> None:
    """Nothing is ever written into a source.

    Raises:
        ConfigError: OUT is the source, or lies in it.
    """
    if source is None:
        return
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise ConfigError(f"{out} lies inside the source {source}: choose a folder outside, nothing is written there")


def make_output(out: Path) -> None:
    """Makes the folder OUT and those above it, where they are not there yet.

    Raises:
        ConfigError: there can be no such folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise ConfigError(f"{out} cannot be made: {error.strerror}; give another folder") from None


@contextmanager
def made_output(out: Path) -> Iterator[None]:
    """Makes the folder OUT; when the block ends, folders that were made for it and hold nothing are taken away.

    Raises:
        ConfigError: there can be no such folder.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        make_output(out)
        yield
    finally:
        for folder in new:
            with suppress(OSError):
                folder.rmdir()


def check_own(out: Path, record_name: str, kind: str) -> None:
    """OUT is new, empty, or an earlier or another rank's work of this kind, finished or not.

    Args:
        record_name: file that a finished OUT holds.
        kind: what OUT should be.

    Raises:
        ConfigError: it is something else.
    """
    if not out.exists():
        return
    # The names first: another rank may begin just now, and there is nothing yet, or end, and there is only the record.
    names = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if names and WORK_NAME not in names and not (out / record_name).exists():
        raise ConfigError(f"{out} exists and is no {kind}: give a new or empty folder")


def clear_temporary(paths: Iterable[Path]) -> None:
    """Removes what killed `atomic_write`s left among these paths."""
    for path in paths:
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)


def settle(path: Path, relative: str) -> FileInfo:
    """Syncs a freshly written file and takes its length and digests.

    Args:
        path: where it lies now.
        relative: the path it will have in the dataset.
    """
    sha256, xxh3, size_bytes = hashlib.sha256(), xxhash.xxh3_64(), 0
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        while block := file.read(BLOCK_BYTES):
            sha256.update(block)
            xxh3.update(block)
            size_bytes += len(block)
    return FileInfo(relative, size_bytes, sha256.hexdigest(), xxh3.hexdigest())


def publish(moves: list[tuple[Path, Path]]) -> None:
    """Renames files into place, one after the other, and makes the renames durable."""
    fault_point("shard.rename.before")
    for number, (source, target) in enumerate(moves):
        if number == len(moves) - 1:
            fault_point("shard.rename.middle")
        os.replace(source, target)
    for folder in {target.parent for _, target in moves}:
        sync_folder(folder)
    fault_point("shard.rename.after")


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder at `path`; whatever an earlier attempt left there goes first, and it goes at the end."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)


@contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into errors that say what to do.

    Raises:
        NoSpace: the disk is full.
        ConfigError: the folder cannot be written.
    """
    try:
        yield
    except NoSpace:
        raise
    except OSError as error:
        if error.errno in _FULL or "No space left" in str(error) or "quota exceeded" in str(error):
            raise NoSpace(
                f"no space left on the disk of {folder}; what is finished is kept: "
                "make room and run the same command again"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise ConfigError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
        raise
