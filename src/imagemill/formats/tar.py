"""`tar`: one ustar archive a shard, `NAME.tar`, as webdataset and plain `tar` read it.

The members of a sample are neighbours and share a numeric name, `00003000017.jpg`: number of the shard in five
digits (of `train-00003-of-00012`; left out where the shard's name has none), then row in six. So names stay unique
where the shards of a split are unpacked into one folder, and webdataset, which cuts a key at its first dot, finds
none in it.

===================  =====================================================================
value                member (the only one of its kind / where there are several)
===================  =====================================================================
image                `.jpg`, `.png`, … by its bytes / `.FIELD.jpg`
mask                 `.FIELD.png`, `.FIELD.npy`
raw uint8 pixels     as above, `.ppm` (three channels) or `.pgm` (one)
other arrays         `.FIELD.npy`
label                `.cls`, in decimal / `.FIELD.cls`
text                 `.txt`, UTF-8 / `.FIELD.txt`
key and the rest     `.json`: `{"key": …, "origins": {FIELD: …}, "notes": …, "numbers": {FIELD: …}}`
===================  =====================================================================

A number that JSON cannot say exactly (not finite) stands there as "0x" and its little-endian bytes in hex.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats.base import Buffers, scalar_from_bytes, scalar_to_bytes, value_size
from imagemill.formats.headers import file_suffix, netpbm_header
from imagemill.formats.mapped import Bytes, MappedReader, damage_of, map_file
from imagemill.formats.memmap import npy_header
from imagemill.formats.ustar import NAME_BYTES, end_of_archive, find_members, member_header, padding

_NUMBERED = re.compile(r".*-(\d{5})-of-\d+$", re.DOTALL)


class TarFormat:
    """The format `tar`; see `imagemill.formats.base.Format`."""

    name = "tar"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".tar"`; see `Format.write`."""
        target = _file(path)
        names = member_names(schema)
        numbered = _NUMBERED.match(path.name)
        first = numbered[1] if numbered else ""
        with target.open("wb") as file:
            for number, row in enumerate(rows):
                _write_sample(file, f"{first}{number:06d}.", schema, names, row)
            file.write(end_of_archive(file.tell()))
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> TarReader:
        """Maps the archive and walks over its headers; see `Format.open`."""
        target = _file(path)
        with damage_of(path.name, target):
            values = map_file(target)
            columns = _find_values(values, schema, count)
        return TarReader(path.name, schema, count, columns)


FORMAT = TarFormat()


def _file(path: Path) -> Path:
    return path.with_name(path.name + ".tar")


# Names


def is_number(field: Field) -> bool:
    """Whether a field's values stand in the `.json` member."""
    return field.storage == "scalar" and not is_class(field)


def is_class(field: Field) -> bool:
    """Whether a field's values have a `.cls` member."""
    return field.storage == "scalar" and field.kind == "label" and field.numpy_dtype.kind in "iu"


def member_names(schema: Schema) -> dict[str, str]:
    """Field → what stands after a sample's number and dot; "" or "FIELD." where the bytes decide the suffix.

    Raises:
        ConfigError: names that are too long, or differ by case only, which webdataset does not see.
    """
    names = {field.name: _member_name(field, schema) for field in schema if not is_number(field)}
    if len({name.lower() for name in names.values()}) < len(names):
        raise ConfigError(f"format 'tar' needs field names that differ in more than case: {', '.join(schema.names)}")
    for name in names:
        if len(name) > NAME_BYTES // 2:
            raise ConfigError(f"format 'tar' takes field names of up to {NAME_BYTES // 2} letters, not {name!r}")
    return names


def _member_name(field: Field, schema: Schema) -> str:
    alike = [other.name for other in schema if _sort(other) == _sort(field)]
    stem = "" if alike == [field.name] and _sort(field) in ("image", "cls", "txt") else f"{field.name}."
    if _sort(field) in ("cls", "txt"):
        return stem + _sort(field)
    if field.storage == "bytes":
        return stem
    return stem + (file_suffix(netpbm_header(field)) if netpbm_header(field) else "npy")


def _sort(field: Field) -> str:
    if is_class(field):
        return "cls"
    return "txt" if field.storage == "text" else field.kind


# Writing


def _write_sample(file: BinaryIO, stem: str, schema: Schema, names: Mapping[str, str], row: Row) -> None:
    sizes = {field.name: value_size(field, row) for field in schema}
    for field in schema:
        if is_number(field):
            continue
        value, size_bytes = row.values[field.name], sizes[field.name]
        name, header = names[field.name], b""
        if is_class(field):
            value = b"%d" % scalar_from_bytes(field, value)
            size_bytes = len(value)
        elif field.storage == "bytes":
            name += file_suffix(value)
        elif field.storage != "text":
            header = array_header(field, size_bytes)
        _write_member(file, stem + name, header, value, size_bytes)
    about = json.dumps(_about(schema, row), ensure_ascii=False, separators=(",", ":")).encode()
    _write_member(file, stem + "json", b"", about, len(about))


def _write_member(file: BinaryIO, name: str, header: bytes, value: Buffer, size_bytes: int) -> None:
    size_bytes += len(header)
    file.write(member_header(name, size_bytes) + header)
    file.write(value)
    file.write(padding(size_bytes))


@lru_cache(maxsize=1024)
def array_header(field: Field, size_bytes: int) -> bytes:
    """What makes a file of an array of this field, so many bytes long: a Netpbm or a `.npy` header."""
    count = size_bytes // field.numpy_dtype.itemsize
    shape = tuple(count if side is None else side for side in field.shape or ())
    return netpbm_header(field) or npy_header(field.numpy_dtype, shape)


def _about(schema: Schema, row: Row) -> dict[str, Any]:
    about: dict[str, Any] = {"key": row.key}
    if row.origins:
        about["origins"] = {name: row.origins[name] for name in schema.names if name in row.origins}
    if row.notes:
        about["notes"] = row.notes
    numbers = {field.name: _to_json(field, row.values[field.name]) for field in schema if is_number(field)}
    if numbers:
        about["numbers"] = numbers
    return about


def _to_json(field: Field, value: Buffer) -> int | float | str:
    number = scalar_from_bytes(field, value)
    if isinstance(number, int) or (isinstance(number, float) and math.isfinite(number)):
        return number
    return f"0x{bytes(value).hex()}"


def _from_json(field: Field, number: Any) -> bytes:
    if isinstance(number, str) and number.startswith("0x"):
        value = bytes.fromhex(number[2:])
    elif isinstance(number, int | float):
        value = scalar_to_bytes(field, number)
    else:
        raise ValueError(f"field {field.name!r} is no number: {number!r}")
    if len(value) != field.size_bytes or _to_json(field, value) != number:
        raise ValueError(f"field {field.name!r} is no {field.dtype}: {number!r}")
    return value


# Reading


class TarReader(MappedReader):
    """One open archive. Labels, numbers and keys are parsed when asked for; all else lies in the file as it is.

    Args:
        columns: where the values of every member of a sample lie; the `.json` members under "key".
    """

    def __init__(self, shard: str, schema: Schema, count: int, columns: Mapping[str, Buffers]) -> None:
        super().__init__(shard, count, columns)
        self._schema = schema
        self._parsed = {field.name: field for field in schema if field.storage == "scalar"}

    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        """Values of these rows; see `Reader.read`."""
        names = self._schema.names if fields is None else fields
        in_json = {name for name in names if name == "key" or (name in self._parsed and is_number(self._parsed[name]))}
        members = [name for name in names if name not in in_json]
        rows = super().read(indices, [*members, "key"] if in_json else members)
        if not in_json and not any(name in self._parsed for name in names):
            return rows
        return [self._parse(row, names, in_json) for row in rows]

    def _parse(self, row: Mapping[str, Buffer], names: Sequence[str], in_json: set[str]) -> dict[str, Buffer]:
        try:
            about = json.loads(bytes(row["key"])) if in_json else {}
            return {name: self._value(name, row, about, name in in_json) for name in names}
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ShardError(self._shard, f"a label, number or key cannot be read: {error!r}") from None

    def _value(self, name: str, row: Mapping[str, Buffer], about: Any, in_json: bool) -> Buffer:
        if name == "key":
            return str(about["key"]).encode()
        if in_json:
            return _from_json(self._parsed[name], about["numbers"][name])
        if name in self._parsed:
            return scalar_to_bytes(self._parsed[name], int(bytes(row[name])))
        return row[name]

    def buffers(self, field: str) -> Buffers | None:  # type: ignore[override]
        """Where this field's bytes lie in the file; None for labels, numbers and keys, which are text there."""
        return None if field == "key" or field in self._parsed else super().buffers(field)


def _find_values(values: Bytes, schema: Schema, count: int) -> dict[str, Buffers]:
    """Where the members of every field lie, once they are known to be those of `count` samples.

    Raises:
        ValueError: they are not.
    """
    names = [*member_names(schema).items(), ("key", "json")]
    members = find_members(values)
    if len(members.names) != count * len(names):
        raise ValueError(f"it has {len(members.names)} members, {count} samples of {len(names)} are expected")
    prefix = members.names[0].partition(".")[0][:-6] if count else ""
    columns = {}
    for place, (field, name) in enumerate(names):
        found = members.names[place :: len(names)]
        for number, member in enumerate(found):
            stem = f"{prefix}{number:06d}.{name}"
            if member != stem and not (name[-1:] in ("", ".") and member.startswith(stem)):
                raise ValueError(f"member {member!r} stands where {stem!r} is expected")
        columns[field] = Buffers(values, members.starts[place :: len(names)], members.sizes[place :: len(names)])
    return {name: _without_header(name, column, schema) for name, column in columns.items()}


def _without_header(name: str, column: Buffers, schema: Schema) -> Buffers:
    """The values of a member without what makes files of arrays.

    Raises:
        ValueError: a value has not the header that this field's have.
    """
    if name == "key" or schema[name].storage not in ("fixed", "ragged"):
        return column
    field = schema[name]
    # As long for every length of a ragged value.
    header_bytes = len(array_header(field, field.size_bytes or 0))
    lengths = column.lengths - header_bytes
    for start, size_bytes in zip(column.starts.tolist(), lengths.tolist(), strict=True):
        header = column.values[start : start + header_bytes].tobytes()
        if field.size_bytes not in (None, size_bytes) or header != array_header(field, size_bytes):
            raise ValueError(f"a value of field {name!r} is no {field.dtype} array of shape {field.shape}")
    return Buffers(column.values, column.starts + header_bytes, lengths)
