"""Shards of remote datasets on the local disk: fetched when needed, verified on arrival, evicted when old.

::

    IMAGEMILL_CACHE/datasets/
      3f9c…/                              sha256 of the manifest: another dataset at the same URL is another folder
        train-00003-of-00012.lock         held while the shard is fetched and opened, or evicted
        train-00003-of-00012/             laid out as a dataset folder with one shard
          data/…  index/…                 whole and verified files; `*.part` is on its way

Locks are the operating system's: a process that dies, however it dies, loses them. All of it may
be deleted at any time; whoever has a shard open keeps it (on Windows the files stay until closed).
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import filelock

from imagemill.config import cache_dir, cache_limit
from imagemill.core.manifest import FileInfo, Manifest, ShardInfo
from imagemill.core.recipe import parse_bytes
from imagemill.core.remote import RemoteFolder
from imagemill.errors import ConfigError, ImagemillError, NoSpace, ShardError

Opened = TypeVar("Opened")

ATTEMPTS = 5
"""How often a shard that vanishes between arrival and opening is fetched again."""

TOUCH_S = 60.0
"""A shard in use says so at most this often."""

LOCK_OPTIONS: dict[str, Any] = (
    {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(filelock.FileLock).parameters else {}
)
"""Never a lock that is a mere file: a killed process would leave it behind."""


class ShardCache:
    """The shards of one remote dataset. Picklable; safe from threads and processes.

    Args:
        place: where the dataset lies; only read.
        manifest: of the dataset.
        limit: bytes that all cached datasets together may take ("50GB"); None is `IMAGEMILL_CACHE_LIMIT`,
            else 64 GB. The shards being opened are kept even if they are larger.

    Raises:
        ConfigError: `limit` is no size.
    """

    def __init__(self, place: RemoteFolder, manifest: Manifest, limit: int | str | None = None) -> None:
        self.place = place
        self.root = cache_dir().absolute() / "datasets"
        self.folder = self.root / hashlib.sha256(manifest.to_json().encode()).hexdigest()[:32]
        self.limit_bytes = parse_bytes(cache_limit() if limit is None else limit)
        self._touched: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Clocks of other machines show other times.
        return {**self.__dict__, "_touched": {}}

    def open(self, info: ShardInfo, opener: Callable[[Path], Opened], *, files: tuple[FileInfo, ...] = ()) -> Opened:
        """What `opener` makes of the folder with this shard, which is fetched first where it is not there.

        It is not evicted before it is open. If it cannot be opened (bytes damaged on this disk, cache
        deleted in that instant) it is fetched again.

        Args:
            files: only these of the shard; without, its index and then its data.

        Raises:
            ShardError: what the place has is not what was packed, or nothing.
            RemoteError: the place refuses, or cannot be reached.
            NoSpace: the disk is full.
        """
        folder = self.folder / info.name
        files = files or (info.index, *info.files)
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError), _locked(folder):
                fetched = self._fetch_missing(folder, info, files)
                os.utime(folder)
                try:
                    return opener(folder)
                except ShardError:
                    if fetched == len(files) and not _missing(folder, files):
                        raise  # verified just now: it was packed like this
                    shutil.rmtree(folder, ignore_errors=True)
        raise ShardError(info.name, f"it vanished from the cache {self.root} as often as it was fetched")

    def has(self, info: ShardInfo) -> bool:
        """Whether the shard has not been evicted."""
        return all((self.folder / info.name / file.path).exists() for file in info.files)

    def touch(self, info: ShardInfo) -> None:
        """Notes that the shard is in use, for others that look for the least recently used."""
        now = time.monotonic()
        if now - self._touched.get(info.name, -TOUCH_S) >= TOUCH_S:
            self._touched[info.name] = now
            with suppress(OSError):
                os.utime(self.folder / info.name)

    def _fetch_missing(self, folder: Path, info: ShardInfo, files: tuple[FileInfo, ...]) -> int:
        """Brings what is not there; returns how many files it was."""
        missing = _missing(folder, files)
        if not missing:
            return 0
        with _clear_disk_errors(self.root):
            make_room(self.root, self.limit_bytes, sum(file.size_bytes for file in missing), keep=folder)
            for file in missing:
                self._fetch(folder / file.path, info, file)
            # Others may have fetched at the same time.
            make_room(self.root, self.limit_bytes, 0, keep=folder)
        return len(missing)

    def _fetch(self, target: Path, info: ShardInfo, file: FileInfo) -> None:
        """Brings one file, verified, under its final name; damage on the way is tried once more."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{uuid.uuid4().hex}.part")
        try:
            for _ in range(2):
                with open(temporary, "wb") as out:
                    found = self._copy(info, file, out)
                    out.flush()
                    os.fsync(out.fileno())
                if found == (file.size_bytes, file.sha256):
                    os.replace(temporary, target)
                    return
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise ShardError(
            info.name,
            f"{file.path} arrived from {self.place} twice as other bytes than the manifest says ({found[0]} bytes, "
            f"sha256 {found[1][:16]}…; wanted {file.size_bytes}, {file.sha256[:16]}…): it is damaged there, or the "
            "dataset was replaced since it was opened; `imagemill verify` looks at all of it",
        )

    def _copy(self, info: ShardInfo, file: FileInfo, out: BinaryIO) -> tuple[int, str]:
        try:
            return self.place.fetch(file.path, out, file.size_bytes)
        except FileNotFoundError:
            raise ShardError(
                info.name, f"{file.path} is not there: {self.place} has the manifest, not all of it"
            ) from None


def make_room(root: Path, limit_bytes: int, needed_bytes: int, *, keep: Path) -> None:
    """Evicts the least recently used shards until what is needed fits the limit, and the disk.

    Args:
        root: the cache, all datasets of it.
        keep: a shard's folder that stays. Those that others are fetching or opening stay too.
    """
    found = sorted(_cached(root))
    total = sum(size_bytes for _, size_bytes, _ in found)
    allowed = min(limit_bytes, total + shutil.disk_usage(root).free) - needed_bytes
    for _, size_bytes, folder in found:
        if total <= allowed:
            return
        if folder != keep and _evict(folder):
            total -= size_bytes


def _cached(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, folder) of every shard in the cache."""
    for folder in root.glob("*/*/"):
        # Files come and go while others work here.
        with suppress(OSError):
            sizes = [path.stat().st_size for path in folder.glob("*/*")]
            yield folder.stat().st_mtime, sum(sizes), folder


def _evict(folder: Path) -> bool:
    try:
        with _locked(folder, timeout_s=0):
            # A file that is open stays on Windows, and goes elsewhere when it is closed.
            shutil.rmtree(folder, ignore_errors=True)
    except (filelock.Timeout, FileNotFoundError):
        return not folder.exists()
    return not folder.exists()


@contextmanager
def _locked(folder: Path, timeout_s: float = -1) -> Iterator[None]:
    """Alone with a shard's folder while the block runs; a lock that a dead process held is free."""
    lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"), **LOCK_OPTIONS)
    with _clear_disk_errors(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout_s)
    try:
        yield
    finally:
        lock.release()


def _missing(folder: Path, files: tuple[FileInfo, ...]) -> list[FileInfo]:
    return [file for file in files if not _is_there(folder / file.path, file.size_bytes)]


def _is_there(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False


@contextmanager
def _clear_disk_errors(root: Path) -> Iterator[None]:
    """Turns what this disk refuses into errors that say what to do; a vanished cache passes through.

    Raises:
        NoSpace: the disk is full.
        ConfigError: the cache cannot be written, or locks do not work there.
    """
    try:
        yield
    except (ImagemillError, FileNotFoundError, filelock.Timeout):
        raise
    except NotImplementedError as error:
        raise ConfigError(_elsewhere(root, "knows no locks")) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            raise NoSpace(
                f"no space left for the cache in {root}: make room, lower IMAGEMILL_CACHE_LIMIT, or set "
                "IMAGEMILL_CACHE to a folder on another disk"
            ) from error
        raise ConfigError(_elsewhere(root, f"cannot be used: {error.strerror or error}")) from error


def _elsewhere(root: Path, what: str) -> str:
    return f"the cache {root} {what}: set IMAGEMILL_CACHE to a folder of yours on a local disk"
