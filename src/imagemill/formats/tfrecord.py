"""`tfrecord`: one TFRecord file of `tf.train.Example` a shard, `NAME.tfrecord`, written without TensorFlow.

Also compressed as a whole, as `tf.data.TFRecordDataset(…, compression_type=…)` wants it: `tfrecord-gzip`
(`NAME.tfrecord.gz`) and `tfrecord-zlib` (`NAME.tfrecord.zlib`).

====================  =========================================================================
field                 features
====================  =========================================================================
image, mask           `FIELD`: the file's bytes; `FIELD/path`: where it came from
raw image, raw mask   `FIELD`: the elements for `tf.io.decode_raw`; `FIELD/path`; `FIELD/shape`
vector                `FIELD`: float list (float32), int64 list (integers), else bytes of all elements
label, number         `FIELD`: one float (float32), one int64 (integers), else the bytes of the element
text                  `FIELD`: UTF-8
key                   `key`: UTF-8
====================  =========================================================================

The lengths in the file are checked by their CRC when it is opened. The CRCs of the contents are written and left
to other readers: the digest of a value names the sample.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats.base import Buffers, value_size
from imagemill.formats.mapped import Bytes, Integers, MappedReader, damage_of, map_file
from imagemill.formats.protobuf import Kind, example_head, feature_head, find_features, varint, varints
from imagemill.formats.record_file import MAX_RECORD_BYTES, ZlibFile, find_records, framed, unpack

Compression = Literal["", "gzip", "zlib"]

SUFFIXES: dict[Compression, str] = {"": ".tfrecord", "gzip": ".tfrecord.gz", "zlib": ".tfrecord.zlib"}

COMPRESSION_LEVEL = 6


@dataclass(frozen=True)
class Feature:
    """One entry of an Example.

    Args:
        name: `FIELD`, `FIELD/path`, `FIELD/shape` or `key`.
        kind: what its list holds.
        field: the field it belongs to; None for `key`.
    """

    name: str
    kind: Kind
    field: Field | None

    @property
    def is_value(self) -> bool:
        """Whether it holds the field's value (or the key), not its path or shape."""
        return self.field is None or self.name == self.field.name


class TFRecordFormat:
    """The formats `tfrecord`, `tfrecord-gzip` and `tfrecord-zlib`; see `imagemill.formats.base.Format`."""

    def __init__(self, compression: Compression = "") -> None:
        self.name = f"tfrecord-{compression}" if compression else "tfrecord"
        self._compression = compression

    def _file(self, path: Path) -> Path:
        return path.with_name(path.name + SUFFIXES[self._compression])

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".tfrecord"` (`.gz`, `.zlib`); see `Format.write`."""
        target = self._file(path)
        features = example_features(schema)
        with create(target, self._compression) as file:
            for row in rows:
                file.write(framed(_example(features, row)))
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> TFRecordReader:
        """Maps the file, unpacked into the cache folder if it is compressed; see `Format.open`."""
        target = self._file(path)
        features = example_features(schema)
        with damage_of(path.name, target):
            values = map_file(target) if target.stat().st_size else np.frombuffer(b"", np.uint8)
        if self._compression:
            values = unpack(path.name, target, values, count)
        with damage_of(path.name, target):
            columns = _find_values(values, features, count)
        return TFRecordReader(path.name, schema, count, columns)


FORMAT = TFRecordFormat()
GZIP = TFRecordFormat("gzip")
ZLIB = TFRecordFormat("zlib")


def example_features(schema: Schema) -> list[Feature]:
    """The features of every Example, sorted by name."""
    features = [Feature("key", "bytes", None)]
    for field in schema:
        features.append(Feature(field.name, value_kind(field), field))
        if field.is_file:
            features.append(Feature(f"{field.name}/path", "bytes", field))
            if field.storage == "fixed":
                features.append(Feature(f"{field.name}/shape", "int64", field))
    return sorted(features, key=lambda feature: feature.name)


def value_kind(field: Field) -> Kind:
    """The kind of list that holds a field's values."""
    if field.is_file or field.storage in ("bytes", "text"):
        return "bytes"
    if field.numpy_dtype == np.dtype("<f4"):
        return "float"
    return "int64" if field.numpy_dtype.kind in "biu" else "bytes"


# Writing


@contextmanager
def create(target: Path, compression: Compression) -> Iterator[BinaryIO | gzip.GzipFile | ZlibFile]:
    """A file for records, compressed as a whole."""
    with target.open("wb") as file:
        if compression == "gzip":
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as packed:
                yield packed
        elif compression == "zlib":
            with closing(ZlibFile(file, COMPRESSION_LEVEL)) as deflated:
                yield deflated
        else:
            yield file


def _example(features: Sequence[Feature], row: Row) -> bytes:
    parts: list[Buffer] = []
    size_bytes = 0
    for feature in features:
        value, length = _feature_value(feature, row)
        head = feature_head(feature.name.encode(), feature.kind, length)
        parts += (head, value)
        size_bytes += len(head) + length
    if size_bytes > MAX_RECORD_BYTES:
        raise ConfigError(
            f"sample {row.key!r} has {size_bytes} bytes; format 'tfrecord' holds rows below 2 GiB: "
            "use --format memmap or hdf5"
        )
    return b"".join([example_head(size_bytes), *parts])


def _feature_value(feature: Feature, row: Row) -> tuple[Buffer, int]:
    """What a feature holds as it stands in the file, and its length in bytes."""
    field = feature.field
    if field is not None and feature.is_value:
        size_bytes = value_size(field, row)
        if feature.kind != "int64":
            return row.values[field.name], size_bytes
        value = b"".join(map(varint, np.frombuffer(row.values[field.name], field.numpy_dtype).tolist()))
    elif field is None:
        value = row.key.encode()
    elif feature.kind == "bytes":
        value = row.origins.get(field.name, "").encode()
    else:
        value = _packed_shape(field)
    return value, len(value)


def _packed_shape(field: Field) -> bytes:
    return b"".join(varint(side or 0) for side in field.shape or ())


# Reading


class TFRecordReader(MappedReader):
    """One open shard. Integers are unpacked when asked for; all else lies in the file as it is."""

    def __init__(self, shard: str, schema: Schema, count: int, columns: Mapping[str, Buffers]) -> None:
        super().__init__(shard, count, columns)
        self._integers = {field.name: field for field in schema if value_kind(field) == "int64"}

    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        """Values of these rows; see `Reader.read`."""
        return [
            {name: self._unpacked(name, value) if name in self._integers else value for name, value in row.items()}
            for row in super().read(indices, fields)
        ]

    def _unpacked(self, name: str, value: Buffer) -> bytes:
        field = self._integers[name]
        try:
            numbers = np.array(varints(memoryview(value)), np.uint64)
        except ValueError as error:
            raise ShardError(self._shard, f"field {name!r}: {error}") from None
        unpacked = numbers.astype(field.numpy_dtype).tobytes()
        if field.size_bytes not in (None, len(unpacked)):
            raise ShardError(self._shard, f"field {name!r} has {len(numbers)} elements instead of shape {field.shape}")
        return unpacked

    def buffers(self, field: str) -> Buffers | None:  # type: ignore[override]
        """Where this field's bytes lie; None for integers, which are packed."""
        return None if field in self._integers else super().buffers(field)


def _find_values(values: Bytes, features: Sequence[Feature], count: int) -> dict[str, Buffers]:
    """Where the values of every field lie.

    Raises:
        ValueError: they are not `count` Examples with these features.
    """
    starts, ends = find_records(values)
    if len(starts) != count:
        raise ValueError(f"it has {len(starts)} records, {count} are expected")
    found = find_features(values, starts, ends, [(feature.name.encode(), feature.kind) for feature in features])
    columns = {}
    for feature, (first, lengths) in zip(features, found, strict=True):
        field = feature.field
        if feature.is_value:
            fixed_bytes = field.size_bytes if field is not None and feature.kind != "int64" else None
            if fixed_bytes is not None and (lengths != fixed_bytes).any():
                raise ValueError(f"values of field {feature.name!r} have not {fixed_bytes} bytes each")
            columns[feature.name] = Buffers(values, first, lengths)
        elif field is not None and feature.kind == "int64":
            _check_shape(values, first, lengths, field)
    return columns


def _check_shape(values: Bytes, starts: Integers, lengths: Integers, field: Field) -> None:
    """All shapes are that of the field.

    Raises:
        ValueError: they are not.
    """
    shape = _packed_shape(field)
    found = np.unique(lengths)
    if (
        found.tolist() not in ([], [len(shape)])
        or (values[starts[:, None] + np.arange(len(shape))] != np.frombuffer(shape, np.uint8)).any()
    ):
        raise ValueError(f"values of field {field.name!r} have not shape {field.shape}")
