"""The first pass over webdataset tars: every member of every sample, and what the samples have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tarfile import TarError
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, SourceOptions
from imagemill.sources.image_files import ignored_label
from imagemill.sources.split_names import split_of_shard
from imagemill.sources.tar_members import TarMember, tar_members
from imagemill.sources.walk import Tally, Walker, join, path_text
from imagemill.sources.webdataset_fields import (
    NPY_HEAD_BYTES,
    PICKLE_EXTENSIONS,
    Census,
    Member,
    Role,
    Vectors,
    parse_record,
    roles_of,
    split_name,
    vector_head,
)

MEMBER_TYPE = pa.struct({"ext": pa.string(), "offset": pa.int64(), "size": pa.int64()})


@dataclass
class _Pending:
    """A sample while its tar is indexed."""

    members: dict[str, Member] = field(default_factory=dict)
    last: int = 0
    scattered: bool = False


class _Tar(NamedTuple):
    """One tar: path relative to the source (empty if it is the source), prefix of its keys, its split, its bytes."""

    path: bytes
    prefix: str
    split: str | None
    size: int


INDEX_COLUMNS = {
    "tar": pa.binary(),
    "name": pa.string(),
    "members": pa.list_(MEMBER_TYPE),
    "unusable": pa.list_(pa.string()),
    "reason": pa.string(),
    "problem": pa.string(),
    "label": pa.string(),
    "record": pa.binary(),
}
"""What the first pass notes of a sample: where its members lie, which of them cannot be used and why,
the text of its label, and its .json."""


class Index:
    """The first pass: every member of every tar, and what the samples have in common."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path = path
        chosen = (options.mask_column, options.label_column, options.caption_column)
        self._role_options = tuple(ext and ext.lower().lstrip(".") for ext in chosen)
        self.tally = Tally()
        self.census = Census()
        self.tars = 0
        self.scattered = 0
        self.pickles = 0

    def build(self, index_path: Path) -> pa.Table:
        """Indexes all tars into a file of `INDEX_COLUMNS`.

        Raises:
            ConfigError: there are no tars, or the only one is none.
        """
        with ListingBuilder(index_path, INDEX_COLUMNS) as builder:
            for tar in self._tars():
                self._add_tar(builder, tar)
            return builder.finish()

    def roles(self, exts: tuple[str, ...]) -> Mapping[str, Role]:
        """Extension in lower case → role, for one sample."""
        return roles_of(exts, self._role_options)

    def _tars(self) -> Iterator[_Tar]:
        if not self._path.is_dir():
            if not self._path.is_file():
                raise ConfigError(f"{self._path} does not exist: give a .tar or a folder of them")
            yield _Tar(b"", "", split_of_shard(os.fsencode(self._path.name)), self._path.stat().st_size)
            return
        walker = Walker(self._path, self.tally)
        for level in walker.levels():
            for file in level.files[0]:
                path = join(level.path, file.name)
                if file.name.lower().endswith(b".tar"):
                    self.tally.found -= 1
                    yield _Tar(path, path_text(path[:-4]) + "/", split_of_shard(path), file.size)
                else:
                    self.tally.ignore(ignored_label(file.name))

    def _add_tar(self, builder: ListingBuilder, tar: _Tar) -> None:
        self.tars += 1
        path = Path(os.fsdecode(os.path.join(os.fsencode(self._path), tar.path))) if tar.path else self._path
        try:
            found = tar_members(path)
            with open(path, "rb") as file:
                for name, pending in self._samples(tar, found.files).items():
                    self._add_sample(builder, tar, name, pending, file)
        except (OSError, TarError) as error:
            if not tar.path:
                raise ConfigError(f"{path} is no tar that can be read (compressed ones cannot): {error}") from None
            self._lose_rest(tar, str(error))
            return
        if found.others:
            self.tally.found += len(found.others)
            self.tally.ignored["link or special file"] += len(found.others)
        if found.problem:
            self._lose_rest(tar, found.problem)

    def _lose_rest(self, tar: _Tar, problem: str) -> None:
        """A damaged tar is one more reject: nobody knows what lay behind the damage."""
        self.tally.found += 1
        self.tally.reject(tar.path or os.fsencode(self._path.name), "corrupt", f"the tar is damaged: {problem}")

    def _samples(self, tar: _Tar, files: list[TarMember]) -> dict[str, _Pending]:
        """Members by sample, samples in the order of their first member."""
        samples: dict[str, _Pending] = {}
        for number, member in enumerate(files):
            self.tally.found += 1
            cut = split_name(member.name)
            raw = member.name.encode("utf-8", "surrogateescape")
            if cut is None:
                self.tally.ignore(ignored_label(raw.rpartition(b"/")[2]))
                continue
            key, ext = path_text(cut[0].encode("utf-8", "surrogateescape")), cut[1]
            pending = samples.setdefault(key, _Pending(last=number - 1))
            if ext.lower() in pending.members:
                detail = "the sample has a member of this name already"
                self.tally.reject(join(tar.path, raw), "duplicate-key", detail)
                continue
            pending.scattered |= pending.last != number - 1
            pending.last = number
            pending.members[ext.lower()] = Member(ext, member.offset, member.size)
        return samples

    def _add_sample(self, builder: ListingBuilder, tar: _Tar, name: str, pending: _Pending, file: BinaryIO) -> None:
        members = pending.members
        self.census.samples += 1
        self.scattered += pending.scattered
        notes = _Notes()
        for ext, role in self.roles(tuple(members)).items():
            if members[ext].offset + members[ext].size > tar.size:
                notes.refuse(ext, "truncated", f"{ext}: the tar ends before the member does")
                continue
            try:
                notes.look(ext, role, members[ext], file, self.census)
            except ValueError as error:
                notes.refuse(ext, "bad-value", f"{ext}: {error}")
                continue
            self.census.counts[role] += 1
        self.pickles += sum(ext.rpartition(".")[2] in PICKLE_EXTENSIONS for ext in members)
        builder.add(
            key=tar.prefix + name,
            size=0,
            files=len(members),
            split=tar.split,
            tar=tar.path,
            name=name,
            members=[member._asdict() for member in members.values()],
            unusable=notes.unusable,
            reason=notes.reason,
            problem=notes.problem,
            label=notes.label,
            record=notes.record,
        )


@dataclass
class _Notes:
    """What is learnt from the members of one sample that are looked into."""

    unusable: list[str] = field(default_factory=list)
    reason: str | None = None
    problem: str | None = None
    label: str | None = None
    record: bytes | None = None

    def refuse(self, ext: str, reason: str, problem: str) -> None:
        """Takes a member for not there, and says why."""
        self.unusable.append(ext)
        self.reason = self.reason or reason
        self.problem = self.problem or problem

    def look(self, ext: str, role: Role, member: Member, file: BinaryIO, census: Census) -> None:
        """Reads labels, .json members and heads of vectors.

        Raises:
            ValueError: the member cannot be used.
        """
        if role.kind not in ("label", "json", "vector"):
            return
        file.seek(member.offset)
        content = file.read(min(member.size, NPY_HEAD_BYTES) if role.kind == "vector" else member.size)
        if role.kind == "vector":
            census.vectors.setdefault(role.name, Vectors()).add(*vector_head(content))
        elif role.kind == "label":
            self.label = content.decode().strip()
            if not self.label:
                raise ValueError("an empty label")
        else:
            census.entries.add(parse_record(content))
            self.record = content
