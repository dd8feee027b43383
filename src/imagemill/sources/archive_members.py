"""What lies in tar and zip archives, found in one pass without extracting anything, and read again in place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from imagemill.sources.image_files import SNIFF_BYTES, has_image_suffix, needs_sniffing

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")

_SUFFIXES = tuple(suffix.encode() for suffix in ARCHIVE_SUFFIXES)

DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, ValueError)
"""What the readers of archives raise on damaged ones."""

_LOCAL_HEADER_BYTES = 30
_LOCAL_HEADER_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 1
_DRAIN_BYTES = 1 << 20


class Method(IntEnum):
    """How the bytes of a member are had again."""

    PLAIN = 0
    """They lie at the offset, in a tar that is not compressed."""
    STREAM = 1
    """They lie at the offset of a compressed tar's content."""
    ZIP_STORED = 2
    """They lie behind the local header at the offset."""
    ZIP_DEFLATED = 3
    ZIP_BZIP2 = 4


_ZIP_METHODS = {
    zipfile.ZIP_STORED: Method.ZIP_STORED,
    zipfile.ZIP_DEFLATED: Method.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2: Method.ZIP_BZIP2,
}


class Member(NamedTuple):
    """One entry of an archive that is no folder.

    Args:
        name: path in the archive.
        size: bytes of its content.
        offset: where it begins, as `method` says.
        packed_size: bytes that it takes in a zip.
        method: how to read it.
        crc: CRC-32 of its content, in a zip; else 0.
        head: its first bytes, where its suffix does not tell whether it is an image.
        problem: why it cannot be read; empty where it can.
    """

    name: bytes
    size: int = 0
    offset: int = 0
    packed_size: int = 0
    method: Method = Method.PLAIN
    crc: int = 0
    head: bytes = b""
    problem: str = ""


def is_archive(name: bytes) -> bool:
    """Whether a file name has one of `ARCHIVE_SUFFIXES`, in any case."""
    return name.lower().endswith(_SUFFIXES)


def archive_stem(name: bytes) -> bytes:
    """A file name or path without its archive suffix."""
    suffix = next((suffix for suffix in sorted(_SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)), b"")
    return name[: len(name) - len(suffix)]


def members(path: Path) -> Iterator[Member]:
    """Every entry of an archive but folders, in the archive's order, in bounded memory for a tar.

    Raises:
        DAMAGE: the archive is damaged or cut, maybe after some members.
    """
    return _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)


def _tar_members(path: Path) -> Iterator[Member]:
    method = Method.PLAIN if path.name.lower().endswith(".tar") else Method.STREAM
    with tarfile.open(path, "r:*", encoding="utf-8", errors="surrogateescape") as archive:
        while (info := archive.next()) is not None:
            # Without this the reader keeps every member it has seen.
            archive.members.clear()  # type: ignore[attr-defined]
            name = info.name.encode("utf-8", "surrogateescape")
            if info.isreg() and not info.issparse():
                head = _head(name, partial(archive.extractfile, info))
                yield Member(name, info.size, info.offset_data, info.size, method, head=head)
            elif not info.isdir():
                yield Member(
                    name, problem="a link inside an archive" if info.issym() or info.islnk() else "no plain file"
                )
        _check_end(archive, compressed=method == Method.STREAM)


def _check_end(archive: tarfile.TarFile, *, compressed: bool) -> None:
    """Raises unless the tar ends with a block of zeros, where the reader takes a damaged header for the end, too."""
    file = cast("IO[bytes]", archive.fileobj)
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        raise tarfile.ReadError(f"it ends at byte {archive.offset} without the blocks of zeros that end a tar")
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {archive.offset}")
    if compressed:
        # Only at its very end does a compressed stream say whether its checksum holds.
        while file.read(_DRAIN_BYTES):
            pass


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Some writers on Windows separate folders by backslashes; elsewhere one may be part of a name.
        separator = "/" if any("/" in info.filename for info in entries) else "\\"
        for info in entries:
            plain = info.filename.replace(separator, "/")
            if plain.endswith("/"):
                continue
            name = plain.encode("utf-8", "surrogateescape")
            if info.flag_bits & _ENCRYPTED:
                yield Member(name, problem="encrypted")
            elif info.compress_type not in _ZIP_METHODS:
                yield Member(name, problem=f"zip compression method {info.compress_type}")
            else:
                head = _head(name, partial(archive.open, info))
                method = _ZIP_METHODS[info.compress_type]
                yield Member(name, info.file_size, info.header_offset, info.compress_size, method, info.CRC, head)


def _head(name: bytes, open_member: Callable[[], IO[bytes] | None]) -> bytes:
    if has_image_suffix(name) or not needs_sniffing(name):
        return b""
    file = open_member()
    if file is None:
        return b""
    with file:
        return file.read(SNIFF_BYTES)


def open_archive(path: Path) -> IO[bytes]:
    """The bytes in which offsets count: of the file, or of a compressed tar's content."""
    name = path.name.lower()
    if name.endswith(("gz", "tgz")):
        return cast("IO[bytes]", gzip.open(path))
    if name.endswith("bz2"):
        return bz2.open(path)
    if name.endswith("xz"):
        return lzma.open(path)
    return open(path, "rb")


def read_member(file: IO[bytes], member: Member) -> bytes:
    """The content of a member, of exactly its size, its CRC-32 checked where there is one.

    Raises:
        DAMAGE: the archive is damaged or cut here.
    """
    file.seek(member.offset)
    if member.method in (Method.PLAIN, Method.STREAM):
        content = file.read(member.size)
    else:
        content = _unzipped(file, member)
    if len(content) != member.size:
        raise EOFError(f"{len(content)} bytes where {member.size} are announced")
    if member.method >= Method.ZIP_STORED and zlib.crc32(content) != member.crc:
        raise ValueError("its checksum does not match")
    return content


def _unzipped(file: IO[bytes], member: Member) -> bytes:
    """Content of a zip member; never more than one byte beyond the announced size is unpacked."""
    header = file.read(_LOCAL_HEADER_BYTES)
    if header[:4] != _LOCAL_HEADER_MAGIC or len(header) < _LOCAL_HEADER_BYTES:
        raise ValueError("no local header where the zip's directory says")
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    packed = file.read(member.packed_size)
    if member.method == Method.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
    if member.method == Method.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, member.size + 1)
    return packed
