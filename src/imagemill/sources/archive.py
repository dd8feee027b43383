"""Images in tar and zip archives, read in place."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from imagemill.core.sample import Encoded, Sample, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.archive_members import (
    DAMAGE,
    Member,
    Method,
    archive_stem,
    is_archive,
    members,
    open_archive,
    read_member,
)
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.handles import Handles
from imagemill.sources.image_files import has_image_suffix, ignored_label, is_hidden, is_image_head
from imagemill.sources.layout import NO_LABEL, Labels, class_folder, divide, group_finder, read_layout, split_folders
from imagemill.sources.repeats import Repeats
from imagemill.sources.walk import Tally, Walker, join, path_text

_MEMBER_COLUMNS = {
    "archive": pa.binary(),
    "member": pa.binary(),
    "offset": pa.int64(),
    "packed_size": pa.int64(),
    "method": pa.int8(),
    "crc": pa.int64(),
}


class ArchiveSource(Source):
    """Every image in an archive, or in all archives below a folder; the key is its path there.

    Archives are .tar, .tar.gz, .tar.bz2, .tar.xz and .zip. They are indexed in one pass and never extracted.
    Members of a plain tar or a zip are read at random; in a compressed tar only by unpacking it up to
    them, so each process keeps its place and is fast as long as it reads in the archive's order.

    Folders inside an archive are splits and classes as in a folder of images, but for a single one around
    everything, which is neither. Of several archives the
    name without suffix comes before the member's path in the key, and `train.tar`, `val.tar` are splits; names
    of archives are classes where `SourceOptions.labels` is true and no folder inside them is one.
    """

    kind = "archive"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._open_archives: Handles[Path, IO[bytes]] = Handles(open_archive)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern", "class_to_idx", "labels"))
        if not self.path.exists():
            raise ConfigError(f"{self.path} does not exist: give an archive or a folder of archives")
        tally = Tally()
        index_path = listing_path.with_name(f"{listing_path.name}.members")
        try:
            index = _Index(tally)
            with ListingBuilder(index_path, _MEMBER_COLUMNS) as builder:
                for archive in self._archives(tally):
                    index.add_archive(builder, self._file(archive), archive)
                found = builder.finish()
            if not builder.rows and not tally.rejects:
                raise ConfigError(f"{self.path} holds no images: {tally.found} members or files that are none")
            listing, fields, remarks = self._list(index, found, listing_path, tally)
        finally:
            index_path.unlink(missing_ok=True)
        return tally.scan(listing, fields, (self.reason, *remarks))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key, archive = row["key"], row["archive"]
        member = Member(
            row["member"], row["size"], row["offset"], row["packed_size"], Method(row["method"]), row["crc"]
        )
        origin = path_text(join(archive, member.name))
        try:
            content = read_member(self._open_archives.get(self._file(archive)), member)
        except DAMAGE as error:
            raise SampleError("unreadable", str(error), key=key, origin=origin) from None
        values: dict[str, Value] = {"image": Encoded(content)}
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        return Sample(key, values, {"image": origin})

    def _file(self, archive: bytes) -> Path:
        return self.path / os.fsdecode(archive) if archive else self.path

    def _archives(self, tally: Tally) -> Iterator[bytes]:
        """Archives relative to the source, the source itself being the empty path; other files are ignored."""
        if self.path.is_file():
            yield b""
            return
        for level in Walker(self.path, tally).levels():
            for file in level.files[0]:
                if is_archive(file.name):
                    # Its members are what is found, not the archive.
                    tally.found -= 1
                    yield join(level.path, file.name)
                else:
                    tally.ignore(f"{ignored_label(file.name)} beside the archives")

    def _list(
        self, index: _Index, found: pa.Table, listing_path: Path, tally: Tally
    ) -> tuple[pa.Table, tuple[Field, ...], tuple[str, ...]]:
        """The listing of the members found, now that all folder names are known."""
        naming = _Naming(index, self.options)
        group = group_finder(self.options.group_pattern)
        labels = Labels(self.options.class_to_idx) if naming.has_labels else None
        unlabelled = 0
        columns = _MEMBER_COLUMNS | ({"label": labels.type} if labels else {})
        with ListingBuilder(listing_path, columns) as builder:
            for row in _rows(found):
                path, own = join(row["archive"], row["member"]), {name: row[name] for name in _MEMBER_COLUMNS}
                split, name = naming.split_and_class(row["archive"], row["member"])
                if not index.repeats.claim(row["key"]):
                    tally.reject(
                        path, "duplicate-key", "the same path comes twice; the first one is taken", key=row["key"]
                    )
                    continue
                if labels is not None and name and not labels.knows(name):
                    tally.reject(path, "bad-value", f"class {name!r} is not in class_to_idx", key=row["key"])
                    continue
                if labels is not None:
                    own["label"] = labels.label(name) if name else None
                    unlabelled += not name
                builder.add(key=row["key"], size=row["size"], split=split, group=group(row["key"]), **own)
            listing = builder.finish()
        remark = labels.remark(unlabelled) if labels else "no class folders: no labels"
        return listing, (IMAGE_FIELD, labels.field()) if labels else (IMAGE_FIELD,), (remark,)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


class _Index:
    """Members that are images, and the folders they lie in; everything else is accounted for."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.repeats = Repeats()
        self.outer: set[bytes] = set()
        """Paths of archives without suffix; empty for a single one."""
        self.inner: set[bytes] = set()
        """The first three folders of every path inside an archive."""

    def add_archive(self, builder: ListingBuilder, file: Path, archive: bytes) -> None:
        """Indexes one archive; damage costs what lies behind it, and is a reject."""
        outer = archive_stem(archive)
        self.outer.add(outer)
        entries = 0
        try:
            for member in members(file):
                entries += 1
                self._tally.found += 1
                self._add_member(builder, member, archive, outer)
        except DAMAGE as error:
            self._tally.found += 1
            detail = f"the archive is damaged behind its first {entries} members: {error}"
            self._tally.reject(archive or os.fsencode(file.name), "unreadable", detail)

    def _add_member(self, builder: ListingBuilder, member: Member, archive: bytes, outer: bytes) -> None:
        parts = [part for part in member.name.split(b"/") if part not in (b"", b".")]
        name = b"/".join(parts)
        outside = member.name.startswith(b"/") or b".." in parts or name[1:2] == b":"
        hidden = next((part for part in parts if is_hidden(part) and part != b".."), None)
        if hidden is not None:
            self._tally.ignore(ignored_label(hidden))
        elif not has_image_suffix(name) and not is_image_head(member.head):
            self._tally.ignore(ignored_label(name.rpartition(b"/")[2]))
        elif outside:
            self._tally.reject(join(archive, name), "bad-value", "the path leads outside the archive")
        elif member.problem:
            self._tally.reject(join(archive, name), "unsupported", member.problem)
        else:
            self.inner.add(b"/".join(parts[:-1][:3]))
            key = path_text(join(outer, name))
            self.repeats.note(key)
            own = member._asdict() | {"archive": archive, "member": name}
            builder.add(key=key, size=member.size, **{column: own[column] for column in _MEMBER_COLUMNS})


class _Naming:
    """What the folders of archives and members mean, once all are known."""

    def __init__(self, index: _Index, options: SourceOptions) -> None:
        wanted = bool(options.labels) or options.class_to_idx is not None
        self._inner = read_layout(_MemberTree(index.inner), keep_classes=wanted)
        self._outer_splits = split_folders({outer.partition(b"/")[0] for outer in index.outer if outer})
        several = any(divide(outer, self._outer_splits)[1] for outer in index.outer)
        self._archives_are_classes = wanted and not self._inner.has_classes and several
        self.has_labels = options.labels is not False and (self._inner.has_classes or self._archives_are_classes)
        if wanted and not self.has_labels:
            raise ConfigError(
                "labels are asked for, and neither folders in the archive nor archives' names can be classes"
            )

    def split_and_class(self, archive: bytes, member: bytes) -> tuple[str | None, str]:
        """The split, if the source gives one, and the class name, empty where there is none."""
        outer_split, outer = divide(archive_stem(archive), self._outer_splits)
        inner_split, inner = self._inner.divide(member.rpartition(b"/")[0])
        folder = outer.rpartition(b"/")[2] if self._archives_are_classes else class_folder(inner)
        return outer_split or inner_split, path_text(folder)


class _MemberTree:
    """The folders of an archive's members, of which the first three components are enough."""

    def __init__(self, folders: Collection[bytes]) -> None:
        self._with_images = folders
        self._below: dict[bytes, set[bytes]] = {}
        for folder in folders:
            parts = folder.split(b"/") if folder else []
            for depth, name in enumerate(parts):
                self._below.setdefault(b"/".join(parts[:depth]), set()).add(name)

    def names(self, folder: bytes) -> list[bytes]:
        """See `Tree.names`."""
        return sorted(self._below.get(folder, ()))

    def holding(self, folder: bytes) -> Iterator[bytes]:
        """See `Tree.holding`."""
        return iter(self.names(folder))

    def has_images(self, folder: bytes) -> bool:
        """See `Tree.has_images`."""
        return folder in self._with_images
