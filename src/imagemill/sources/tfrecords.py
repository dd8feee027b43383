"""TFRecord files that others wrote: images, classes, numbers, texts; the colour pipeline's LAB records."""

from __future__ import annotations

import math
import mmap
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imagemill.core.sample import Encoded, Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.formats.example import Feature, parse_example
from imagemill.formats.record_file import find_records, record_content
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.handles import Handles
from imagemill.sources.image_files import is_image_head
from imagemill.sources.layout import NO_LABEL, group_finder
from imagemill.sources.split_names import split_of_shard
from imagemill.sources.walk import Tally, Walker, join, path_text
from imagemill.sources.webdataset_fields import field_name

SUFFIXES = (b".tfrecord", b".tfrecords")
PACKED_SUFFIXES = (b".gz", b".gzip", b".zlib")
SHARD_NAME = re.compile(rb".+-\d{5}-of-\d{5}")
"""How most TFRecord files are called that have no suffix."""

SAMPLED = 32
"""Records of the first file that say what the fields are."""
LABEL_NAMES = ("label", "image/class/label", "class", "class_id")
LAB_CHANNELS = {"image_l": 1, "image_ab": 2}
"""Features of the colour pipeline: square images, row by row, so many numbers a pixel."""
SPOOL_BYTES = 1 << 26
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Role:
    """What a feature becomes."""

    feature: str
    field: Field


class TFRecordSource(Source):
    """Every record of every TFRecord file below a folder, or of one file; the key is `FILE/00000012`.

    What the features are is seen from the first records: bytes that are an image file are an image, other bytes text;
    one integer called `label`, `image/class/label`, `class` or `class_id` the class; other lists numbers and vectors;
    `image_l` and `image_ab` of the colour pipeline square arrays. A file's name tells its split; where some tell
    `val` or `test`, as `val_lab_images_3`, those that tell nothing are `train`. Records are checked by their CRC.
    """

    kind = "tfrecord"

    def __init__(self, path: Path, options: Any) -> None:
        super().__init__(path, options)
        self._roles: tuple[Role, ...] | None = None
        self._files: Handles[Path, RecordFile] = Handles(RecordFile)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern",))
        tally = Tally()
        paths = self._paths(tally)
        self._roles = self._find_roles(paths)
        label = next((role for role in self._roles if role.field.kind == "label"), None)
        splits = {path: split_of_shard(path) for path in paths}
        rest = "train" if any(splits.values()) else None
        columns: dict[str, pa.DataType] = {"path": pa.binary(), "start": pa.int64(), "end": pa.int64()}
        columns |= {"label": pa.int64()} if label else {}
        group = group_finder(self.options.group_pattern)
        with ListingBuilder(listing_path, columns) as builder:
            for path in paths:
                self._list(builder, tally, path, splits[path] or rest, label, group)
            listing = builder.finish()
        remark = f"{listing.num_rows} records in {len(paths)} files: {', '.join(r.feature for r in self._roles)}"
        return tally.scan(listing, [role.field for role in self._roles], (self.reason, remark))

    def _paths(self, tally: Tally) -> list[bytes]:
        if self.path.is_file():
            return [b""]
        walker = Walker(self.path, tally)
        paths = []
        for level in walker.levels():
            for file in level.files[0]:
                if is_tfrecord(file.name):
                    # A record is what is counted, not the file that holds it.
                    tally.found -= 1
                    paths.append(join(level.path, file.name))
                else:
                    tally.ignore(Path(os.fsdecode(file.name)).suffix or os.fsdecode(file.name))
        if not paths:
            raise ConfigError(f"{self.path} holds no TFRecord files: names end in .tfrecord, .tfrecord.gz, …")
        return paths

    def _list(
        self,
        builder: ListingBuilder,
        tally: Tally,
        path: bytes,
        split: str | None,
        label: Role | None,
        group: Any,
    ) -> None:
        name = path_text(path) or self.path.name
        try:
            file = self._files.get(self._place(path))
            starts, ends = find_records(file.values)
        except (OSError, ValueError, zlib.error) as error:
            tally.found += 1
            tally.reject(path or name.encode(), "corrupt", f"no whole TFRecord file: {error}")
            return
        tally.found += len(starts)
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            key = f"{name}/{number:08d}"
            own: dict[str, Any] = {"path": path, "start": start, "end": end}
            if label is not None:
                own["label"] = self._label(file, start, end, label)
            builder.add(key=key, size=end - start, split=split, group=group(key), **own)

    def _label(self, file: RecordFile, start: int, end: int, label: Role) -> int | None:
        # A record that cannot be read is a reject when it is its turn.
        with suppress(ValueError, KeyError, IndexError):
            return int(parse_example(bytes(file.values.data[start:end]))[label.feature][0])
        return None

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: "corrupt", "bad-value", "unreadable".
        """
        key = row["key"]
        try:
            file = self._files.get(self._place(row["path"]))
            features = parse_example(record_content(file.values, row["start"], row["end"]))
        except (ValueError, KeyError, zlib.error) as error:
            raise SampleError("corrupt", str(error), key=key, origin=key) from None
        except OSError as error:
            raise SampleError("unreadable", error.strerror or str(error), key=key, origin=key) from None
        values = {}
        for role in self._settled():
            if role.feature not in features:
                raise SampleError("bad-value", f"no feature {role.feature!r}, which others have", key=key, origin=key)
            values[role.field.name] = value_of(role, features[role.feature], key)
        return Sample(key, values, {role.field.name: key for role in self._settled() if role.field.is_file})

    def _settled(self) -> tuple[Role, ...]:
        """What the features are, found anew in another process."""
        if self._roles is None:
            self._roles = self._find_roles(self._paths(Tally()))
        return self._roles

    def _place(self, path: bytes) -> Path:
        return self.path / os.fsdecode(path) if path else self.path

    def _find_roles(self, paths: Sequence[bytes]) -> tuple[Role, ...]:
        for path in paths:
            with suppress(OSError, ValueError, KeyError, zlib.error):
                file = self._files.get(self._place(path))
                starts, ends = find_records(file.values)
                records = [
                    parse_example(record_content(file.values, start, end))
                    for start, end in zip(starts[:SAMPLED].tolist(), ends[:SAMPLED].tolist(), strict=True)
                ]
                if roles := tuple(find_roles(records)):
                    return roles
        raise ConfigError(f"{self.path}: no TFRecord file here holds an Example that can be read")


class RecordFile:
    """A TFRecord file, mapped; compressed ones are unpacked into a nameless file first.

    Attributes:
        values: uint8, the records.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.encode() in PACKED_SUFFIXES:
            self.values = _unpacked(path)
            return
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self.values = np.frombuffer(mapped, np.uint8)

    def close(self) -> None:
        """Lets go of the file."""
        self.values = np.empty(0, np.uint8)


def _unpacked(path: Path) -> npt.NDArray[np.uint8]:
    stream = zlib.decompressobj(15 + 32)
    with open(path, "rb") as packed, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        while piece := packed.read(PIECE_BYTES):
            file.write(stream.decompress(piece))
        file.write(stream.flush())
        if not stream.eof:
            raise ValueError("the compressed stream is cut off")
        size = file.tell()
        if size > SPOOL_BYTES:
            file.flush()
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        file.seek(0)
        return np.frombuffer(file.read(), np.uint8)


def is_tfrecord(name: bytes) -> bool:
    """Whether a file's name is one of a TFRecord file."""
    name = name.lower()
    for suffix in PACKED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES)


def find_roles(records: Sequence[Mapping[str, Feature]]) -> Iterator[Role]:
    """What each feature is that all these records have."""
    names = sorted(set.intersection(*(set(record) for record in records))) if records else []
    # Of several that could be the class, the first in the order of `LABEL_NAMES` is.
    label = next((name for name in LABEL_NAMES if name in names and _is_class(records, name)), None)
    for name in names:
        field = _field(name, [record[name] for record in records], is_label=name == label)
        if field is not None:
            yield Role(name, field)


def _is_class(records: Sequence[Mapping[str, Feature]], name: str) -> bool:
    return all(
        isinstance(value := record[name], np.ndarray) and value.dtype == np.int64 and len(value) == 1
        for record in records
    )


def _field(feature: str, values: Sequence[Feature], *, is_label: bool) -> Field | None:
    name = "image" if feature == "image/encoded" else field_name(feature)
    if is_label:
        return Field("label", "label", "int64", (), "raw")
    if isinstance(values[0], list):
        return _bytes_field(name, [value for value in values if isinstance(value, list)])
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    lengths = {len(value) for value in arrays}
    dtype = arrays[0].dtype.name
    if channels := LAB_CHANNELS.get(feature):
        side = math.isqrt(min(lengths) // channels)
        if lengths == {side * side * channels}:
            return Field(name, "vector", dtype, (side, side, channels), "raw")
    if lengths == {1}:
        return Field(name, "number", dtype, (), "raw")
    return Field(name, "vector", dtype, (lengths.pop() if len(lengths) == 1 else None,), "raw")


def _bytes_field(name: str, values: Sequence[list[bytes]]) -> Field | None:
    if any(len(value) != 1 for value in values):
        return None
    if all(is_image_head(value[0]) for value in values):
        return Field(name, "image")
    with suppress(UnicodeDecodeError):
        for value in values:
            value[0].decode()
        return Field(name, "text", codec="utf8")
    return None


def value_of(role: Role, feature: Feature, key: str) -> Any:
    """The value of a field.

    Raises:
        SampleError: "bad-value", it is another than the first records have.
    """
    field = role.field
    try:
        if isinstance(feature, list):
            if field.kind == "image":
                return Encoded(feature[0])
            if field.kind == "text":
                return feature[0].decode()
            raise ValueError("bytes where numbers are expected")
        if field.kind in ("image", "text"):
            raise ValueError("numbers where bytes are expected")
        if field.shape == ():
            return feature[0].item() if len(feature) == 1 or field.kind != "label" else NO_LABEL
        return feature if field.shape == (None,) else feature.reshape(field.shape)
    except (ValueError, IndexError) as error:
        raise SampleError("bad-value", f"feature {role.feature!r}: {error}", key=key, origin=key) from None
