"""The scan of Parquet files with images: small columns are read, images are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, SourceOptions
from imagemill.sources.image_files import SNIFF_BYTES, ignored_label
from imagemill.sources.layout import group_finder, split_named
from imagemill.sources.parquet_columns import Columns, Role, find_columns, is_bytes, is_text, plain_type
from imagemill.sources.parquet_files import READ_ERRORS, SUFFIXES, OpenParquet
from imagemill.sources.repeats import Repeats
from imagemill.sources.split_names import split_of_shard
from imagemill.sources.value_labels import ValueLabels
from imagemill.sources.walk import Tally, Walker, join, path_text

ROLE = "/"
"""Between kind, field and column in the name of a listing column of nulls, which takes no space and tells
`read` what each column of the file is."""


@dataclass
class _Facts:
    """What a pass over the small columns says.

    Args:
        nulls: column → how many values are null.
        lengths: column → shortest and longest list.
        keys: of the column that may be the key.
    """

    nulls: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: Repeats = field(default_factory=Repeats)

    def note(self, table: pa.Table, columns: Columns) -> None:
        """Takes in one row group."""
        for name in table.column_names:
            column = table.column(name)
            self.nulls[name] += column.null_count
            if name == columns.key:
                for text in column.to_pylist():
                    self.keys.note(text or "")
            elif name in columns.of_kind("vector"):
                found = pc.min_max(pc.list_value_length(column)).as_py()
                if found["min"] is not None:
                    low, high = self.lengths.get(name, (found["min"], found["max"]))
                    self.lengths[name] = min(low, found["min"]), max(high, found["max"])

    def keys_differ(self) -> bool:
        """Whether every key is there, and no two are equal."""
        noted = self.keys.noted()
        return not (noted[1:] == noted[:-1]).any()


class _File(NamedTuple):
    """One Parquet file: path relative to the root, how its keys begin, its split."""

    path: bytes
    prefix: str
    split: str | None


class _Group(NamedTuple):
    """One row group: its first row, rows, some of its columns (None where damaged), why, bytes a row."""

    start: int
    rows: int
    table: pa.Table | None
    problem: str
    row_bytes: int


class Scanner:
    """One scan in the making.

    Args:
        path: Parquet file or folder of them.
        root: the folder that files are relative to.
        options: what the user said.
    """

    def __init__(self, path: Path, root: Path, options: SourceOptions) -> None:
        self._path = path
        self._root = root
        self._options = options
        self._tally = Tally()
        self._facts = _Facts()
        self._types: dict[str, pa.DataType] = {}

    def scan(self, listing_path: Path, reason: str) -> Scan:
        """The whole scan."""
        files = self._readable(list(self._files()))
        columns = self._columns(files, use_key=True)
        self._survey(files, columns)
        repeats = ""
        if columns.key is not None and not self._facts.keys_differ():
            repeats = f"values of column {columns.key!r} repeat: keys are file and row instead"
            columns = self._columns(files, use_key=False)
        labels = self._labels(columns)
        with _Listing(listing_path, columns, labels, self._options, self._tally) as listing:
            for file in files:
                self._list_file(listing, file, columns)
            table = listing.finish()
        if not table.num_rows and not self._tally.rejects:
            raise ConfigError(f"{self._path}: the Parquet files have no rows")
        used = ", ".join(f"{role.field} from {name!r}" for name, role in columns.roles.items() if role.field != name)
        remarks = (
            reason,
            f"{table.num_rows} rows in {len(files)} Parquet files" + (f"; {used}" if used else ""),
            f"columns left out: {', '.join(columns.left_out)}" if columns.left_out else "",
            repeats,
            labels.remark() if labels else "",
        )
        return self._tally.scan(table, self._fields(columns, labels), remarks)

    def _files(self) -> Iterator[_File]:
        if not self._path.exists():
            raise ConfigError(f"{self._path} does not exist: give a Parquet file or a folder of them")
        if not self._path.is_dir():
            yield _file(os.fsencode(self._path.name))
            return
        for level in Walker(self._path, self._tally).levels():
            for file in level.files[0]:
                if file.name.lower().endswith(SUFFIXES):
                    self._tally.found -= 1
                    yield _file(join(level.path, file.name))
                else:
                    self._tally.ignore(ignored_label(file.name))

    def _open(self, file: _File) -> OpenParquet:
        return OpenParquet(self._root / os.fsdecode(file.path))

    def _readable(self, files: list[_File]) -> list[_File]:
        """The files that open; the others are rejects.

        Raises:
            ConfigError: none opens, or they differ in their columns.
        """
        good: list[_File] = []
        for file in files:
            try:
                with closing(self._open(file)) as opened:
                    types = {item.name: plain_type(item.type) for item in opened.schema}
            except READ_ERRORS as error:
                self._tally.found += 1
                self._tally.reject(file.path, "corrupt", f"the Parquet file cannot be opened: {error}")
                continue
            good.append(file)
            self._types = self._types or types
            if types != self._types:
                odd = sorted(name for name in {*types, *self._types} if types.get(name) != self._types.get(name))
                raise ConfigError(
                    f"{path_text(file.path)} has other columns than {path_text(good[0].path)} ({', '.join(odd)}): "
                    "give a folder, or a file, of one schema"
                )
        if not good:
            first = f": {self._tally.rejects[0].detail}" if self._tally.rejects else ""
            raise ConfigError(f"{self._path}: no Parquet file that can be read{first}")
        return good

    def _columns(self, files: list[_File], *, use_key: bool) -> Columns:
        with closing(self._open(files[0])) as opened:
            schema = opened.schema
        binary = [name for name, kind in self._types.items() if is_bytes(kind)]
        return find_columns(schema, self._first_bytes(files, binary), self._options, use_key=use_key)

    def _first_bytes(self, files: list[_File], names: list[str]) -> dict[str, bytes]:
        """The beginning of the first value of each column of byte strings that is not null."""
        found: dict[str, bytes] = {}
        for file in files:
            for name in [name for name in names if name not in found]:
                with closing(self._open(file)) as opened:
                    first = opened.first_value(name)
                if first is not None:
                    found[name] = first[:SNIFF_BYTES]
        return found

    def _survey(self, files: list[_File], columns: Columns) -> None:
        small = [*([columns.key] if columns.key else []), *columns.of_kind("number", "vector")]
        for file in files:
            for group in self._groups(file, small):
                if group.table is not None:
                    self._facts.note(group.table, columns)

    def _groups(self, file: _File, names: list[str], sized: Collection[str] = ()) -> Iterator[_Group]:
        """The row groups of a file: these columns of each, and the bytes that the `sized` ones take."""
        with closing(self._open(file)) as opened:
            start = 0
            for number, rows in enumerate(opened.group_rows):
                table, problem = None, ""
                try:
                    table = opened.file.read_row_group(number, names)
                except READ_ERRORS as error:
                    problem = str(error)
                yield _Group(start, rows, table, problem, opened.group_bytes(number, sized) // max(rows, 1))
                start += rows

    def _labels(self, columns: Columns) -> ValueLabels | None:
        if columns.label is None:
            return None
        names = dict(enumerate(columns.class_names.get(columns.label, ())))
        return ValueLabels(is_text(self._types[columns.label]), names, self._options.class_to_idx)

    def _list_file(self, listing: _Listing, file: _File, columns: Columns) -> None:
        small = [name for name in (columns.key, columns.label, columns.split, columns.group) if name is not None]
        for group in self._groups(file, small, columns.of_kind("image", "mask")):
            self._tally.found += group.rows
            if group.table is None:
                for row in range(group.start, group.start + group.rows):
                    self._tally.reject(file.path, "corrupt", group.problem, key=f"{file.prefix}{row:08d}")
                continue
            values = group.table.to_pylist() if small else [{}] * group.rows
            for at, value in enumerate(values):
                listing.add(file, group.start + at, group.row_bytes, value)

    def _fields(self, columns: Columns, labels: ValueLabels | None) -> list[Field]:
        return [self._field(name, role, columns, labels) for name, role in columns.roles.items()]

    def _field(self, column: str, role: Role, columns: Columns, labels: ValueLabels | None) -> Field:
        kind = self._types[column]
        if role.kind in ("image", "mask"):
            return Field(role.field, "image" if role.kind == "image" else "mask")
        if role.kind == "label" and labels is not None:
            return labels.field()
        if role.kind == "classes":
            names = columns.class_names[column]
            return Field(role.field, "label", dtype="int64", shape=(), codec="raw", class_names=names)
        if role.kind == "text":
            return Field(role.field, "text", codec="utf8")
        if role.kind == "vector":
            low, high = self._facts.lengths.get(column, (0, 0))
            shape = (high if low == high else None,)
            return Field(role.field, "vector", dtype=_dtype(kind.value_type), shape=shape, codec="raw")
        dtype = "float64" if self._facts.nulls[column] and not pa.types.is_floating(kind) else _dtype(kind)
        return Field(role.field, "number", dtype=dtype, shape=(), codec="raw")


def _file(path: bytes) -> _File:
    return _File(path, f"{path_text(path).rpartition('.')[0]}/", split_of_shard(path))


def _dtype(kind: pa.DataType) -> str:
    return "int64" if pa.types.is_boolean(kind) else np.dtype(kind.to_pandas_dtype()).name


class _Listing:
    """The listing in the making."""

    def __init__(
        self, path: Path, columns: Columns, labels: ValueLabels | None, options: SourceOptions, tally: Tally
    ) -> None:
        self._columns = columns
        self._labels = labels
        self._group = group_finder(options.group_pattern)
        self._tally = tally
        roles = {name: role for name, role in columns.roles.items() if role.kind != "label"}
        self._markers = dict.fromkeys(ROLE.join((role.kind, role.field, name)) for name, role in roles.items())
        types = {"file": pa.binary(), "row": pa.int64(), **({"label": labels.type} if labels else {})}
        self._builder = ListingBuilder(path, {**types, **dict.fromkeys(self._markers, pa.null())})

    def __enter__(self) -> _Listing:
        self._builder.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._builder.__exit__(*error)

    def finish(self) -> pa.Table:
        """The listing, mapped."""
        return self._builder.finish()

    def add(self, file: _File, row: int, size: int, value: Mapping[str, Any]) -> None:
        """Lists one row; `value` has its small columns."""
        columns = self._columns
        key = f"{file.prefix}{row:08d}" if columns.key is None else value[columns.key]
        own: dict[str, Any] = {"file": file.path, "row": row, **self._markers}
        if self._labels is not None:
            stored = value[columns.label or ""]
            if not self._labels.knows(stored):
                self._tally.reject(file.path, "bad-value", f"label {stored!r}: {self._labels.problem}", key=key)
                return
            own["label"] = self._labels.label(stored)
        split = file.split if columns.split is None else value[columns.split]
        group = self._group(key) if columns.group is None else value[columns.group]
        split = None if split is None else split_named(str(split))
        group = None if group is None else str(group)
        self._builder.add(key=key, size=size, split=split, group=group, **own)
