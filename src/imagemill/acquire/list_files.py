"""The files that a list of URLs is made of: plain, compressed or in a tar; read as streams, nothing is extracted."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from imagemill.errors import ConfigError

KINDS = {
    ".txt": "text",
    ".lst": "text",
    ".list": "text",
    ".urls": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""How a list is read, by suffix; without one of these, by its first bytes."""

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz")
TAR_SUFFIXES = (".tar", ".tgz")
_DECOMPRESSORS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_HEAD_BYTES = 512
_BUFFER_BYTES = 1 << 16
BROKEN_STREAM = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, OSError)
"""What reading a damaged archive raises."""


Peekable: TypeAlias = "io.BufferedReader[Any]"


class ListFile(NamedTuple):
    """One list.

    Args:
        name: file name, `archive.tgz/member.txt` inside an archive.
        kind: a value of `KINDS`.
        stream: its bytes, decompressed; seekable where the kind is "parquet".
    """

    name: str
    kind: str
    stream: Peekable


def is_list_name(name: str) -> bool:
    """Whether a file name is that of a list, or of an archive that may hold some."""
    plain = plain_name(name)
    return not name.startswith(".") and Path(plain).suffix.lower() in (*KINDS, *TAR_SUFFIXES)


def plain_name(name: str) -> str:
    """A file name without a suffix that says how it is compressed."""
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in COMPRESSED_SUFFIXES else name


def list_paths(path: Path) -> list[Path]:
    """The file itself, or the lists of a folder by name.

    Raises:
        ConfigError: nothing there, or no list.
    """
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.is_file() and is_list_name(entry.name))
        if not found:
            raise ConfigError(f"{path} holds no list of URLs: {', '.join(KINDS)}, or those compressed, are wanted")
        return found
    if not path.exists():
        raise ConfigError(f"{path} does not exist: give a list of URLs ({', '.join(KINDS)}), or the URL of one")
    if not path.is_file():
        raise ConfigError(f"{path} is neither a file nor a folder: give a list of URLs")
    return [path]


def content_sha256(paths: list[Path]) -> str:
    """sha256 over names and bytes of the files as they lie there."""
    sha256 = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    return sha256.hexdigest()


def list_files(path: Path) -> Iterator[ListFile]:
    """The lists in a file, one after the other; each is closed when the next is asked for.

    Raises:
        ConfigError: the archive is damaged, or holds no list.
    """
    try:
        with ExitStack() as opened:
            stream = opened.enter_context(decompressed(opened.enter_context(open(path, "rb", buffering=0))))
            if not _is_tar(stream):
                yield opened.enter_context(_list_file(path.name, stream))
                return
            yield from _members(path, stream)
    except BROKEN_STREAM as error:
        raise ConfigError(f"{path} cannot be read to its end: {error}") from None


def _members(path: Path, stream: Peekable) -> Iterator[ListFile]:
    from imagemill.sources.walk import path_text  # imports pyarrow

    found = False
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is None or not is_list_name(member.name.rpartition("/")[2]):
                continue
            found = True
            name = f"{path.name}/{path_text(os.fsencode(member.name))}"
            with decompressed(_Stream(file)) as plain, _list_file(name, plain) as inner:
                yield inner
    if not found:
        raise ConfigError(f"{path} holds no list of URLs: members called *{', *'.join(KINDS)} are wanted")


class _Stream(io.RawIOBase):
    """Something that can only be read on, as a file that the text and decompression layers take."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def decompressed(stream: io.RawIOBase) -> Iterator[Peekable]:
    """A stream without its compression, whatever it is called; it can be peeked into."""
    with io.BufferedReader(stream) as buffered:
        head = buffered.peek(_HEAD_BYTES)
        opener = next((opener for magic, opener in _DECOMPRESSORS if head.startswith(magic)), None)
        if opener is None:
            yield buffered
            return
        with opener(buffered, "rb") as compressed, io.BufferedReader(_Stream(compressed), _BUFFER_BYTES) as plain:
            yield plain


def _is_tar(stream: Peekable) -> bool:
    return stream.peek(_HEAD_BYTES)[257:262] == b"ustar"


@contextmanager
def _list_file(name: str, stream: Peekable) -> Iterator[ListFile]:
    head = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    kind = KINDS.get(Path(plain_name(name)).suffix.lower()) or _kind_of_head(head)
    if kind == "parquet" and not _seekable(stream):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield ListFile(name, kind, cast(Peekable, copy))
        return
    if kind != "parquet" and not head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head:
        raise ConfigError(f"{name} is no text, and no list of URLs: {', '.join(KINDS)}, or those compressed, are read")
    yield ListFile(name, kind, stream)


def _seekable(stream: Peekable) -> bool:
    return isinstance(stream.raw, io.FileIO)


def _kind_of_head(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return {b"{": "jsonl", b"[": "json"}.get(start[:1], "text")
