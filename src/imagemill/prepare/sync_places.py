"""Folders that `sync` reads from and writes to: on this machine, or at any URL that fsspec knows.

A stamp is what tells, without reading a file, that it is the one whose digest is known already: size, times and
inode here; size, ETag and times elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import quote, unquote

from imagemill.core.remote import RemoteFolder, in_words, open_file_system
from imagemill.errors import ConfigError, RemoteError
from imagemill.prepare.commit import BLOCK_BYTES, WORK_NAME, sync_folder

RECORD_NAME = ".imagemill-sync.jsonl"
"""What lies in a synced folder: where it came from, and size and sha256 of every file."""

_LEFT_OUT = frozenset((".git", WORK_NAME))
_ATOMIC = frozenset(("memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"))
"""File systems on which a file is not seen before it is whole, and needs no folder made for it."""

Stamp: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class LocalTree:
    """A folder on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        """The same for the same folder, however it was named."""
        return str(self.path.resolve())

    def files(self) -> dict[str, Stamp]:
        """Relative path with `/` → stamp of every file but those of git and of sync itself.

        Links to files are files; links to folders, broken ones and special files are listed, and cannot be copied.

        Raises:
            ConfigError: a name that is no valid Unicode, which a record could not hold.
        """
        found: dict[str, Stamp] = {}
        for folder, folders, names in os.walk(self.path, onerror=_raise):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
            for name in (*names, *links):
                if name not in _LEFT_OUT and name != RECORD_NAME:
                    relative = Path(folder, name).relative_to(self.path).as_posix()
                    _require_text(relative)
                    found[relative] = self.stamp(relative)
        return found

    def stamp(self, name: str) -> Stamp:
        """Of one file."""
        try:
            status = (self.path / name).stat()
        except FileNotFoundError:
            status = (self.path / name).lstat()
        return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def copy_to(self, name: str, out: BinaryIO) -> str:
        """Copies a file; its sha256 in hex."""
        sha256 = hashlib.sha256()
        if not (self.path / name).is_file():
            raise FileNotFoundError(f"{self.path / name} is a broken link, a link to a folder, or no regular file")
        with open(self.path / name, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                out.write(block)
                sha256.update(block)
        return sha256.hexdigest()

    def digest(self, name: str) -> str:
        """sha256 of a file, in hex; empty, which no file has, for what is no regular file."""
        if not (self.path / name).is_file():
            return ""
        with open(self.path / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def temporary(self) -> Iterator[BinaryIO]:
        """A file to fill, on the disk that it is to be on."""
        folder = self.path / WORK_NAME / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / uuid.uuid4().hex
        try:
            with open(path, "xb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def put(self, temporary: BinaryIO, name: str) -> None:
        """Makes a filled temporary file the file of that name: there whole or not at all."""
        temporary.flush()
        os.fsync(temporary.fileno())
        target = self._inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary.name, target)
        sync_folder(target.parent)

    def write(self, name: str, content: bytes) -> None:
        """A small file, whole or not at all."""
        with self.temporary() as file:
            file.write(content)
            self.put(file, name)

    def read(self, name: str) -> bytes:
        """A small file; FileNotFoundError where there is none."""
        return (self.path / name).read_bytes()

    def _inside(self, name: str) -> Path:
        """Where a file lies, which no link may lead out of the folder.

        Raises:
            ConfigError: one does.
        """
        place, root = self.path / name, self.path.resolve()
        if root not in (place.parent.resolve(), *place.parent.resolve().parents):
            raise ConfigError(f"{place.parent} is a link that leads out of {self.path}: nothing is written there")
        return place

    def delete(self, name: str) -> None:
        """Removes a file, and the folders that are empty without it."""
        self._inside(name).unlink()
        for folder in Path(name).parents[:-1]:
            with suppress(OSError):
                (self.path / folder).rmdir()


def _raise(error: OSError) -> None:
    raise error


def _require_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name!r} is no valid Unicode and cannot be recorded: rename it") from None


class RemoteTree:
    """A folder at a URL."""

    def __init__(self, place: RemoteFolder) -> None:
        self._place = place
        self._scheme = place.url.partition("://")[0]

    def __str__(self) -> str:
        return str(self._place)

    @property
    def identity(self) -> str:
        """The same for the same folder."""
        return str(self._place).rstrip("/")

    @property
    def is_web(self) -> bool:
        """Whether it is a web server's, which cannot be written to."""
        return self._scheme in ("http", "https")

    def files(self) -> dict[str, Stamp]:
        """See `LocalTree.files`; a web server's are those that its index pages link to.

        Raises:
            RemoteError: the place cannot be listed.
        """
        files, root = self._open()
        found = self._ask(lambda: files.find(root, detail=True), FileNotFoundError)
        stamps = {}
        for path, info in ({} if found is None else found).items():
            name = path[path.index(root.strip("/")) + len(root.strip("/")) :].lstrip("/")
            name = unquote(name) if self.is_web else name
            # Consoles of object stores make empty objects called `folder/`, so that a folder is shown.
            if name and not name.endswith("/") and name != RECORD_NAME and not _LEFT_OUT.intersection(name.split("/")):
                stamps[name] = self.stamp(name) if self.is_web else _stamp(info)
        return stamps

    def stamp(self, name: str) -> Stamp:
        """Of one file."""
        files, root = self._open()
        return _stamp(self._ask(lambda: files.info(f"{root.rstrip('/')}/{quote(name) if self.is_web else name}")))

    def copy_to(self, name: str, out: BinaryIO) -> str:
        """Copies a file, again from its beginning after an error that may pass by; its sha256 in hex."""
        return self._place.fetch(quote(name) if self.is_web else name, out)[1]

    def digest(self, name: str) -> str:
        """sha256 of a file, in hex; it is fetched for it."""
        with tempfile.TemporaryFile() as file:
            return self.copy_to(name, file)

    @contextmanager
    def temporary(self) -> Iterator[BinaryIO]:
        """A file on this machine to fill."""
        with tempfile.TemporaryDirectory(prefix="imagemill-sync-") as folder, open(f"{folder}/file", "xb") as file:
            yield file

    def put(self, temporary: BinaryIO, name: str) -> None:
        """Uploads a filled temporary file: seen whole or not at all where the file system can.

        Elsewhere it is uploaded under another name and then renamed.
        """
        temporary.flush()
        files, root = self._open()
        target = f"{root.rstrip('/')}/{name}"
        if self._scheme in _ATOMIC:
            self._ask(lambda: files.put_file(temporary.name, target))
            return
        first = f"{target}.imagemill-part"
        self._ask(lambda: files.makedirs(target.rpartition("/")[0], exist_ok=True))
        try:
            self._ask(lambda: files.put_file(temporary.name, first))
            self._ask(lambda: files.mv(first, target))
        except RemoteError:
            with suppress(Exception):
                files.rm_file(first)
            raise

    def write(self, name: str, content: bytes) -> None:
        """A small file."""
        with self.temporary() as file:
            file.write(content)
            self.put(file, name)

    def read(self, name: str) -> bytes:
        """A small file; FileNotFoundError where there is none."""
        return self._place.read(name)

    def delete(self, name: str) -> None:
        """Removes a file."""
        files, root = self._open()
        self._ask(lambda: files.rm_file(f"{root.rstrip('/')}/{name}"))

    def _open(self) -> tuple[Any, str]:
        files, root, _ = open_file_system(self._place.url)
        files.invalidate_cache()
        return files, root.partition("?")[0] if self.is_web else root

    def _ask(self, action: Callable[[], Any], expected: type[Exception] | None = None) -> Any:
        """What the file system answers; None where it raises the expected error."""
        try:
            return action()
        except Exception as error:  # every file system of fsspec has error classes of its own
            if expected is not None and isinstance(error, expected):
                return None
            raise RemoteError(f"{self} refuses: {in_words(error)}") from error


def _stamp(info: dict[str, Any]) -> Stamp:
    """Whatever changes with a file's content, of what a file system says about it."""
    names = ("size", "ETag", "etag", "md5Hash", "Content-MD5", "created", "mtime", "LastModified", "Last-Modified")
    return tuple(json.loads(json.dumps([info.get(name) for name in names], default=str)))


Tree: TypeAlias = LocalTree | RemoteTree


def tree_of(place: Path | RemoteFolder) -> Tree:
    """The folder that a person named."""
    return RemoteTree(place) if isinstance(place, RemoteFolder) else LocalTree(place)
