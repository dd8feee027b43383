"""Webdataset tars that others wrote: members that share a name up to its first dot are one sample.

Tars are indexed by one pass over their headers and never extracted; only labels, .json members and the heads
of .npy members are read while indexing. Nothing is unpickled.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.sample import Encoded, Sample, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.handles import Handles
from imagemill.sources.layout import NO_LABEL, group_finder
from imagemill.sources.value_labels import ValueLabels
from imagemill.sources.walk import join, path_text
from imagemill.sources.webdataset_fields import entry_value, is_integer, parse_record
from imagemill.sources.webdataset_index import MEMBER_TYPE, Index

OPTIONS = ("class_to_idx", "group_pattern", "labels", "mask_column", "label_column", "caption_column")
FILE_KINDS = ("image", "mask", "text", "vector")
"""Kinds of members that are read with the sample; their listing columns are called `kind:field`."""


def open_binary(path: bytes) -> BinaryIO:
    """A file to seek in."""
    return open(path, "rb")


class WebDatasetSource(Source):
    """A .tar in webdataset's layout, or a folder of them.

    Keys are the samples' own, after the tar's path where a folder is given (`train-000/000017`). The first
    word of a tar's name (or of its folders) that is a split's name gives the split. Fields follow from extensions:

    ===============================  =====================================================
    `.jpg`, `.png`, `.webp`, …       `image`; a word before it names the field (`.before.png`)
    `.seg.png`, `.mask.npy`, …       `mask`
    `.cls`                           `label`, an integer or a class name
    `.txt`, `.caption`               `text`
    `.npy`                           `vector`, if it is one
    `.json`                          its entry `label`, and every scalar entry that all have
    `.pyd`, `.pkl`, `.pth`           ignored: pickles are not opened
    ===============================  =====================================================

    `mask_column`, `label_column` and `caption_column` name an extension where that is not enough, `label_column`
    also an entry of the .json. A sample without what at least half of all have is a reject that names it.
    """

    kind = "webdataset"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._files: Handles[bytes, BinaryIO] = Handles(open_binary)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, OPTIONS)
        index = Index(self.path, self.options)
        members_path = listing_path.with_name(listing_path.name + ".members")
        try:
            samples = index.build(members_path)
            return _Listed(index, self.options).scan(samples, listing_path, self.reason)
        finally:
            members_path.unlink(missing_ok=True)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: "unreadable", "truncated", or "bad-value" where a text is no UTF-8.
        """
        values: dict[str, Value] = {}
        origins: dict[str, str] = {}
        for column, value in row.items():
            kind, _, name = column.partition(":")
            if kind == "entry":
                values[name] = value
            elif kind in FILE_KINDS:
                origin = f"{path_text(row['tar'])}/" * bool(row["tar"]) + f"{row['name']}.{value['ext']}"
                content = self._content(row, value, origin)
                values[name] = _decoded(kind, content, row["key"], origin)
                if kind in ("image", "mask"):
                    origins[name] = origin
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        return Sample(row["key"], values, origins)

    def _content(self, row: Mapping[str, Any], member: Mapping[str, Any], origin: str) -> bytes:
        path = os.fsencode(self.path)
        try:
            file = self._files.get(os.path.join(path, row["tar"]) if row["tar"] else path)
            file.seek(member["offset"])
            content = file.read(member["size"])
        except OSError as error:
            raise SampleError("unreadable", str(error), key=row["key"], origin=origin) from None
        if len(content) != member["size"]:
            detail = f"the tar ends after {len(content)} of {member['size']} bytes"
            raise SampleError("truncated", detail, key=row["key"], origin=origin)
        return content


def _decoded(kind: str, content: bytes, key: str, origin: str) -> Value:
    try:
        if kind == "text":
            return content.decode()
        if kind == "vector":
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except ValueError as error:
        raise SampleError("bad-value", str(error), key=key, origin=origin) from None
    return Encoded(content)


class _Listed:
    """The second pass: which members make fields, and the listing."""

    def __init__(self, index: Index, options: SourceOptions) -> None:
        self._index = index
        self._census = index.census
        self._tally = index.tally
        self._options = options
        self._group = group_finder(options.group_pattern)
        self._roles = self._census.roles()
        if options.labels is False:
            self._roles = {role: name for role, name in self._roles.items() if role.kind != "label"}
        if not index.tars:
            raise ConfigError("there is no .tar: a webdataset is a .tar, or a folder with some in it")
        if "image" not in (role.kind for role in self._roles):
            raise ConfigError(
                f"{index.census.samples} samples in {index.tars} tars, and fewer than half of them have an image "
                "(.jpg, .png, .webp, …): is this a webdataset of pictures?"
            )
        self._label_entry = self._find_label_entry()
        self._entries, self._left_entries = self._find_entries()
        if not self._entries and self._label_entry is None:
            self._roles = {role: name for role, name in self._roles.items() if role.kind != "json"}

    def _find_label_entry(self) -> str | None:
        """Entry of the .json members that is the label, where no member of its own is."""
        kinds = [role.kind for role in self._roles]
        if self._options.labels is False or "label" in kinds:
            return None
        wanted = self._options.label_column
        name = wanted or "label"
        if "json" in kinds and self._census.entries.types.get(name, {object}) <= {int, str, type(None)}:
            return name
        if wanted is not None:
            raise ConfigError(
                f"label_column {wanted!r} is neither the extension of a member that the samples have, nor an entry of "
                "their .json members with text or integers"
            )
        return None

    def _find_entries(self) -> tuple[dict[str, Field], list[str]]:
        if "json" not in (role.kind for role in self._roles):
            return {}, []
        taken = [*self._roles.values(), "label", *([self._label_entry] if self._label_entry else [])]
        return self._census.entries.common(taken)

    def scan(self, samples: pa.Table, listing_path: Path, reason: str) -> Scan:
        """The finished scan."""
        labels = self._labels(samples)
        columns: dict[str, pa.DataType] = {"tar": pa.binary(), "name": pa.string()}
        for role, name in self._roles.items():
            if role.kind in FILE_KINDS:
                columns[f"{role.kind}:{name}"] = MEMBER_TYPE
        for entry in self._entries.values():
            columns[f"entry:{entry.name}"] = pa.string() if entry.kind == "text" else pa.type_for_alias(entry.dtype)
        if labels is not None:
            columns["label"] = labels.type
        with ListingBuilder(listing_path, columns) as builder:
            for batch in samples.to_batches():
                for sample in batch.to_pylist():
                    self._add(builder, sample, labels)
            listing = builder.finish()
        return self._tally.scan(listing, self._fields(labels), (reason, *self._remarks(labels)))

    def _labels(self, samples: pa.Table) -> ValueLabels | None:
        if self._label_entry is not None:
            integers = self._census.entries.types[self._label_entry] <= {int, type(None)}
        elif "label" in (role.kind for role in self._roles) and self._options.labels is not False:
            integers = all(text is None or is_integer(text) for text in pc.unique(samples["label"]).to_pylist())
        elif self._options.labels:
            raise ConfigError("labels are asked for, and the samples have neither .cls nor a .json with label")
        else:
            return None
        return ValueLabels(not integers, None, self._options.class_to_idx)

    def _add(self, builder: ListingBuilder, sample: dict[str, Any], labels: ValueLabels | None) -> None:
        members = {member["ext"].lower(): member for member in sample["members"]}
        usable = {
            role: members[ext]
            for ext, role in self._index.roles(tuple(members)).items()
            if role in self._roles and ext not in sample["unusable"]
        }
        missing = [name for role, name in self._roles.items() if role not in usable]
        if missing:
            detail = f"it has no {', no '.join(missing)} ({', '.join(members)} only)"
            self._reject(sample, sample["reason"] or "missing-partner", sample["problem"] or detail)
            return
        own: dict[str, Any] = {"tar": sample["tar"], "name": sample["name"]}
        size = 0
        for role, member in usable.items():
            if role.kind in FILE_KINDS:
                own[f"{role.kind}:{self._roles[role]}"] = member
                size += member["size"]
        record = parse_record(sample["record"]) if sample["record"] and (self._entries or self._label_entry) else {}
        own |= {f"entry:{entry.name}": entry_value(record[name]) for name, entry in self._entries.items()}
        if labels is not None:
            stored = sample["label"] if self._label_entry is None else entry_value(record.get(self._label_entry))
            label = None if stored is None else labels.read(str(stored))
            if not labels.knows(label):
                self._reject(sample, "bad-value", f"label {label!r}: {labels.problem}")
                return
            own["label"] = labels.label(label)
        for ext, member in members.items():
            if member not in usable.values():
                self._tally.ignore(f".{ext.rpartition('.')[2]}")
        builder.add(
            key=sample["key"],
            size=size,
            files=len(usable),
            split=sample["split"],
            group=self._group(sample["key"]),
            **own,
        )

    def _reject(self, sample: dict[str, Any], reason: str, detail: str) -> None:
        path = join(sample["tar"], sample["name"].encode())
        self._tally.reject(path, reason, detail, key=sample["key"], files=len(sample["members"]))

    def _fields(self, labels: ValueLabels | None) -> list[Field]:
        pictures, others = [], []
        for role, name in self._roles.items():
            if role.kind in ("image", "mask"):
                pictures.append(Field(name, "image" if role.kind == "image" else "mask"))
            elif role.kind == "text":
                others.append(Field(name, "text", codec="utf8"))
            elif role.kind == "vector":
                others.append(self._census.vectors[role.name].field(name))
        label = [] if labels is None else [labels.field()]
        return [*pictures, *label, *others, *self._entries.values()]

    def _remarks(self, labels: ValueLabels | None) -> Iterator[str]:
        index, census = self._index, self._census
        yield f"webdataset: {census.samples} samples in {index.tars} tars"
        yield labels.remark() if labels else ""
        if index.scattered:
            yield (
                f"{index.scattered} samples have members that do not lie side by side: joined by name "
                "(webdataset itself would read halves)"
            )
        if index.pickles:
            yield f"{index.pickles} pickles ignored: nothing is unpickled here"
        if self._left_entries:
            shown = ", ".join(self._left_entries[:8]) + (", …" if len(self._left_entries) > 8 else "")
            yield f"entries of .json left out, no scalars of one type in every sample: {shown}"
        rare = sorted(role.name for role in census.counts if role not in self._roles and role.kind != "json")
        if rare:
            yield f"ignored, fewer than half of the samples have it: {', '.join(rare)}"
        if "image_2" in self._roles.values():
            yield "several images in a sample: image and image_2; if one is a mask, say --mask-column png"
