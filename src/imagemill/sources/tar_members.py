"""Where the members of an uncompressed tar lie, found in one pass over its headers."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class TarMember(NamedTuple):
    """A regular file in a tar: its name, where its bytes begin, how many there are."""

    name: str
    offset: int
    size: int


@dataclass
class TarMembers:
    """What a tar holds.

    Args:
        files: regular files, in the archive's order.
        others: names of links, devices and sparse files; folders are not counted.
        problem: why the archive cannot be read beyond the members found; empty where it ends as it should.
    """

    files: list[TarMember] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problem: str = ""


def tar_members(path: Path) -> TarMembers:
    """Lists an archive; a damaged or cut one gives what lies before the damage, and says so.

    Python's own reader takes a damaged header for the end of the archive, so the end is looked at here:
    it must be a block of zeros.

    Raises:
        OSError: the file cannot be opened.
        tarfile.ReadError: it is no tar from its first byte on, or a compressed one.
    """
    found = TarMembers()
    with tarfile.open(path, "r:", errors="surrogateescape") as archive:
        try:
            for member in archive:
                if member.isreg() and not member.issparse():
                    found.files.append(TarMember(member.name, member.offset_data, member.size))
                elif not member.isdir():
                    found.others.append(member.name)
        except tarfile.TarError as error:
            found.problem = str(error)
        else:
            with open(path, "rb") as file:
                file.seek(archive.offset)
                found.problem = _end_problem(file.read(tarfile.BLOCKSIZE), archive.offset)
    return found


def _end_problem(block: bytes, offset: int) -> str:
    if not block:
        return f"it ends at byte {offset} without the two blocks of zeros that end a tar"
    return f"damaged header at byte {offset}" if block.strip(b"\0") else ""
