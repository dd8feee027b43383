"""The walk through folders that all file sources share, and the account that they keep.

Paths are bytes relative to the source, joined with `/` on every system: they survive names
that are no UTF-8, and sort the same everywhere.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from imagemill.core.sample import Encoded, Reject
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan
from imagemill.sources.image_files import (
    SNIFF_BYTES,
    UNREAD_IMAGE_SUFFIXES,
    has_image_suffix,
    ignored_label,
    is_hidden,
    is_image_head,
    needs_sniffing,
)

_Chain = tuple[tuple[int, int], ...]


class File(NamedTuple):
    """A regular file: its name without folder, its bytes."""

    name: bytes
    size: int


class Level(NamedTuple):
    """What lies in one folder, or in the same folder below several parallel ones.

    Args:
        path: the folder, relative to each prefix; empty for the prefix itself.
        files: for each prefix its files, sorted by name; none where the folder is not there.
    """

    path: bytes
    files: tuple[list[File], ...]


def join(*parts: bytes) -> bytes:
    """A relative path from its parts, empty ones left out."""
    return b"/".join(part for part in parts if part)


def path_text(path: bytes) -> str:
    """A relative path as valid Unicode: bytes that are no UTF-8 appear as `\\xNN`."""
    return path.decode("utf-8", "backslashreplace")


def read_file(root: Path, path: bytes, key: str) -> Encoded:
    """The bytes of a file of the source.

    Raises:
        SampleError: "unreadable", with key and origin.
    """
    try:
        with open(os.path.join(os.fsencode(root), path), "rb") as file:
            return Encoded(file.read())
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SampleError("unreadable", detail, key=key, origin=path_text(path)) from None


@dataclass
class Tally:
    """The account of a scan: what was found, and what became of it if no sample."""

    found: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)

    def ignore(self, label: str) -> None:
        """Counts one found file as passed over on purpose."""
        self.ignored[label] += 1

    def reject(self, path: bytes, reason: str, detail: str, *, key: str | None = None, files: int = 1) -> None:
        """Records a reject; its key is the path where no other is given."""
        text = path_text(path)
        self.rejects.append(Reject(text if key is None else key, text, reason, detail, files))

    def scan(self, listing: pa.Table, fields: Iterable[Field], remarks: Iterable[str]) -> Scan:
        """The finished scan; empty remarks are left out."""
        kept = [remark for remark in (*remarks, self._unread_images()) if remark]
        ignored = dict(sorted(self.ignored.items()))
        return Scan(listing, tuple(fields), tuple(self.rejects), ignored, self.found, tuple(kept))

    def _unread_images(self) -> str:
        unread = [f"{self.ignored[suffix]} {suffix}" for suffix in UNREAD_IMAGE_SUFFIXES if self.ignored[suffix]]
        if not unread:
            return ""
        return (
            f"ignored images that no decoder here reads ({', '.join(unread)}): convert them to PNG or JPEG to use them"
        )


class Walker:
    """Walks one source folder in an order that depends on its content only.

    Args:
        root: the source.
        tally: where found, ignored and unreadable files are counted.
        sizes: whether to ask for the size of every file; without it sizes are 0.
    """

    def __init__(self, root: Path, tally: Tally, *, sizes: bool = True) -> None:
        self.path = root
        self._root = os.fsencode(root)
        self._tally = tally
        self._sizes = sizes

    def levels(self, prefixes: Sequence[bytes] = (b"",), skip: Collection[bytes] = ()) -> Iterator[Level]:
        """Every folder below the prefixes, the same sub-folder of each prefix at the same time.

        A folder comes before its sub-folders, sub-folders in the order of their names. Memory is
        that of one folder's names. A symbolic link to a folder is followed, unless it leads back to a
        folder it lies in. Hidden files and folders are counted as ignored.

        Args:
            prefixes: folders to walk in parallel, relative to the source.
            skip: folders, relative to the source, that are neither entered nor counted.
        """
        start: tuple[_Chain | None, ...] = tuple(() for _ in prefixes)
        pending = [(b"", start)]
        while pending:
            path, chains = pending.pop()
            files: list[list[File]] = []
            below: dict[bytes, list[_Chain | None]] = {}
            for at, (prefix, chain) in enumerate(zip(prefixes, chains, strict=True)):
                own = None if chain is None else self._enter(join(prefix, path), chain)
                found, folders = ([], []) if own is None else self._entries(join(prefix, path), skip)
                files.append(found)
                for folder in folders:
                    below.setdefault(folder, [None] * len(prefixes))[at] = own
            yield Level(path, tuple(files))
            pending.extend((join(path, name), tuple(below[name])) for name in sorted(below, reverse=True))

    def has_folder(self, folder: bytes) -> bool:
        """Whether there is such a folder in the source."""
        return os.path.isdir(os.path.join(self._root, folder))

    def folders(self, folder: bytes = b"") -> list[bytes]:
        """Names of the sub-folders of a folder, sorted, hidden ones left out; nothing is counted."""
        return sorted(Walker(self.path, Tally(), sizes=False)._entries(folder, ())[1])

    def images(self, folder: bytes, files: Iterable[File]) -> Iterator[File]:
        """Those of a folder's files that are images by suffix or first bytes; the others are ignored.

        Args:
            folder: relative to the source.
            files: files in it.
        """
        for file in files:
            if has_image_suffix(file.name):
                yield file
            elif needs_sniffing(file.name):
                yield from self._sniffed(folder, file)
            else:
                self._tally.ignore(ignored_label(file.name))

    def _sniffed(self, folder: bytes, file: File) -> Iterator[File]:
        path = join(folder, file.name)
        try:
            with open(os.path.join(self._root, path), "rb") as opened:
                head = opened.read(SNIFF_BYTES)
        except OSError as error:
            self._tally.reject(path, "unreadable", error.strerror or str(error))
            return
        if is_image_head(head):
            yield file
        else:
            self._tally.ignore(ignored_label(file.name))

    def _enter(self, folder: bytes, chain: _Chain) -> _Chain | None:
        """The chain of open folders with this one added; None where it cannot or should not be entered."""
        try:
            status = os.stat(os.path.join(self._root, folder))
        except OSError as error:
            self._unreadable_folder(folder, error)
            return None
        identity = (status.st_dev, status.st_ino)
        if identity in chain:
            self._tally.found += 1
            self._tally.ignore("link to a parent folder")
            return None
        return (*chain, identity)

    def _entries(self, folder: bytes, skip: Collection[bytes]) -> tuple[list[File], list[bytes]]:
        """Files and sub-folders of one folder, files sorted; what is neither is accounted for."""
        files: list[File] = []
        folders: list[bytes] = []
        neither: list[bytes] = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    self._sort_entry(entry, files, folders, neither)
        except OSError as error:
            self._unreadable_folder(folder, error)
        for name in sorted(neither):
            self._account_for_no_file(folder, name)
        files.sort()
        return files, [name for name in folders if join(folder, name) not in skip]

    def _sort_entry(
        self, entry: os.DirEntry[bytes], files: list[File], folders: list[bytes], neither: list[bytes]
    ) -> None:
        name = entry.name
        try:
            is_folder = entry.is_dir()
            is_file = not is_folder and entry.is_file()
            size = entry.stat().st_size if self._sizes and is_file else 0
        except OSError:
            is_folder, is_file, size = False, False, 0
        if is_hidden(name):
            self._tally.found += 1
            self._tally.ignore(ignored_label(name) + ("/" if is_folder else ""))
        elif is_folder:
            folders.append(name)
        elif is_file:
            self._tally.found += 1
            files.append(File(name, size))
        else:
            self._tally.found += 1
            neither.append(name)

    def _account_for_no_file(self, folder: bytes, name: bytes) -> None:
        if has_image_suffix(name):
            self._tally.reject(join(folder, name), "unreadable", "a broken link, or no regular file")
        else:
            self._tally.ignore("broken link or special file")

    def _unreadable_folder(self, folder: bytes, error: OSError) -> None:
        self._tally.found += 1
        self._tally.reject(folder or b".", "unreadable", f"the folder cannot be read: {error.strerror or error}")


class Keys:
    """Keeps keys unique where two names read the same once their bytes are made valid Unicode."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._escaped: set[str] = set()

    def claim(self, key: str, path: bytes, files: int = 1) -> bool:
        """Whether the key is still free; if not, its path becomes a reject."""
        if "\\x" not in key:
            return True
        if key in self._escaped:
            self._tally.reject(path, "duplicate-key", "another name reads the same once it is made UTF-8", files=files)
            return False
        self._escaped.add(key)
        return True


def require_folder(path: Path) -> None:
    """Raises ConfigError unless the path is a folder that is there."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist: give a folder with images")
    if not path.is_dir():
        raise ConfigError(f"{path} is a file: give the folder with the images")
