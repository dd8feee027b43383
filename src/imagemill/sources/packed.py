"""Our own datasets as a source: to be packed again, in another format, shard size or pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.core.manifest import Manifest
from imagemill.core.remote import Place
from imagemill.core.sample import Buffer, Encoded, Reject, Sample, Value
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import scalar_from_bytes
from imagemill.formats.store import OpenShard, Store
from imagemill.sources.base import GROUP_HASH, ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.layout import NO_LABEL, group_finder
from imagemill.sources.value_labels import NumberedLabels

BLOCK_ROWS = 256


class DatasetSource(Source):
    """A finished dataset: keys, splits, groups, class names, origins and values as they are stored.

    Values are not touched: encoded images and masks come byte for byte, raw ones as arrays. Every
    digest is checked. Groups are known by their hash only; a sample that is a group of its own stays one. A
    `group_pattern` makes new ones of the keys.

    Damage is no reject: reading a damaged value, or a shard that is gone, raises `DamageError`, so that no
    sample of a dataset that was once whole gets lost on the way.

    Args:
        path: folder of the dataset; or where it lies elsewhere, then shards come through the cache.
        options: `group_pattern` applies, and `class_to_idx` where the label has class names.

    Raises:
        ConfigError: no finished dataset is there.
    """

    kind = "dataset"

    def __init__(self, path: Place, options: SourceOptions) -> None:
        super().__init__(path if isinstance(path, Path) else None, options)  # type: ignore[arg-type]
        self.place = path
        self.remote = not isinstance(path, Path)
        self.pixels = Manifest.load(path).pixels
        self._store: Store | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}

    def scan(self, listing_path: Path) -> Scan:
        """Reads the indices and the labels; see `Source.scan`.

        Raises:
            DamageError: an index or a label is damaged.
        """
        refuse_other_options(self.kind, self.options, ("class_to_idx", "group_pattern"))
        store = Store(self.place)
        label = label_field(store.schema)
        numbers = self._renumbering(label)
        group = None if self.options.group_pattern is None else group_finder(self.options.group_pattern)
        rejects: list[Reject] = []
        columns = {"position": pa.int64(), GROUP_HASH: pa.uint64(), **({"label": pa.int64()} if label else {})}
        with ListingBuilder(listing_path, columns) as builder:
            for split in store.splits:
                position = 0
                for number, info in enumerate(store.manifest.splits[split]):
                    rejects += _list_shard(builder, store.shard(split, number), split, position, numbers, group)
                    position += info.count
            listing = builder.finish()
        store.close()
        fields = [
            replace(field, class_names=numbers.field().class_names) if field == label and numbers else field
            for field in store.schema
        ]
        counts = ", ".join(f"{split} {store.count(split)}" for split in store.splits)
        remark = f"imagemill dataset, format {store.manifest.format}, pixels {store.manifest.pixels}: {counts}"
        remarks = tuple(text for text in (self.reason, remark, numbers.remark() if numbers else "") if text)
        found = listing.num_rows + len(rejects)
        return Scan(listing, tuple(fields), rejects=tuple(rejects), found=found, remarks=remarks)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """The sample of one listing row.

        Raises:
            DamageError: its bytes are not what was written, or the shard cannot be read.
        """
        store = self.store()
        stored = store.read(row["split"], [row["position"]])[0]
        values = {field.name: value_of(field, stored.values[field.name]) for field in store.schema}
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        return Sample(stored.key, values, {name: origin or stored.key for name, origin in stored.origins.items()})

    def fetch(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Brings the shard of a sample into the cache, where the dataset lies elsewhere; raises as `Store.shard`."""
        store = self.store()
        store.shard(row["split"], int(store.locate(row["split"], [row["position"]])[0][0]))
        return row

    def store(self) -> Store:
        """The dataset, open."""
        if self._store is None:
            self._store = Store(self.place)
        return self._store

    def _renumbering(self, label: Field | None) -> NumberedLabels | None:
        """What `class_to_idx` makes of the labels, None where they stay."""
        if self.options.class_to_idx is None:
            return None
        if label is None or label.class_names is None:
            raise ConfigError(f"class_to_idx is given, and {self.place} has no labels with class names")
        return NumberedLabels(dict(enumerate(label.class_names)), self.options.class_to_idx)


def label_field(schema: Schema) -> Field | None:
    """The field called `label`, if it is one."""
    return next((field for field in schema.of_kind("label") if field.name == "label"), None)


def _list_shard(
    builder: ListingBuilder,
    shard: OpenShard,
    split: str,
    position: int,
    numbers: NumberedLabels | None,
    group: Callable[[str], str | None] | None,
) -> Iterator[Reject]:
    """Lists the rows of a shard whose first one is at `position` of its split; yields those that cannot be used."""
    keys, groups = shard.index.column("key").to_pylist(), shard.index.numbers("group")
    sizes, labels = value_sizes(shard), read_labels(shard)
    for row, key in enumerate(keys):
        text = group_text(key, int(groups[row])) if group is None else group(key)
        group_hash = groups[row] if group is None else xxhash.xxh3_64_intdigest((text or key).encode())
        own: dict[str, Any] = {"position": position + row, GROUP_HASH: group_hash}
        if labels is not None:
            label = labels[row]
            if numbers is not None and not numbers.knows(label):
                yield Reject(key, key, "bad-value", f"class_to_idx leaves class {label} out")
                continue
            own["label"] = label if numbers is None else numbers.label(label)
        builder.add(key=key, size=int(sizes[row]), split=split, group=text, **own)


def group_text(key: str, group_hash: int) -> str | None:
    """A group as text, from its hash; None for a sample that is its own group."""
    return None if group_hash == xxhash.xxh3_64_intdigest(key.encode()) else f"{group_hash:016x}"


def read_labels(shard: OpenShard) -> list[int] | None:
    """The field `label` of all rows, None where there is none."""
    field = label_field(shard.schema)
    if field is None:
        return None
    labels: list[int] = []
    for start in range(0, shard.info.count, BLOCK_ROWS):
        rows = range(start, min(start + BLOCK_ROWS, shard.info.count))
        values = shard.reader.read(rows, ["label"])
        shard.check(rows, values, ["label"])
        labels += [scalar_from_bytes(field, value["label"]) for value in values]
    return labels


def value_sizes(shard: OpenShard) -> npt.NDArray[np.int64]:
    """Stored bytes of each row, int64, shape (rows,); an even share of the files where lengths are not known unread."""
    total = np.zeros(shard.info.count, np.int64)
    for field in shard.schema:
        buffers = shard.reader.buffers(field.name)
        if field.size_bytes is not None:
            total += field.size_bytes
        elif buffers is not None:
            total += buffers.lengths
        elif field.is_file:
            return np.full(len(total), sum(file.size_bytes for file in shard.info.files) // max(len(total), 1))
    return total


def value_of(field: Field, stored: Buffer) -> Value:
    """A stored value as a source gives it.

    Args:
        field: says how the bytes look.
        stored: they may lie in a memory map; what is returned is a copy, or a view of one.
    """
    content = bytes(stored)
    if field.storage == "text":
        return content.decode()
    if field.storage == "bytes":
        return Encoded(content)
    if field.storage == "scalar":
        return scalar_from_bytes(field, content)  # type: ignore[no-any-return]
    shape = [-1 if side is None else side for side in field.shape or (None,)]
    return np.frombuffer(content, field.numpy_dtype).reshape(shape)
