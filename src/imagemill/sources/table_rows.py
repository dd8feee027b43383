"""From the rows of a table to a listing: what repeats, what is missing, what does not fit."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import LISTING_COLUMNS, ListingBuilder, SourceOptions
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.image_files import ignored_label
from imagemill.sources.layout import Labels, group_finder, split_named
from imagemill.sources.masks import MASK_FIELD
from imagemill.sources.repeats import Repeats, name_hash
from imagemill.sources.table_columns import ColumnFacts, Roles, value_fields
from imagemill.sources.table_files import Kind, Table
from imagemill.sources.walk import Tally, Walker, join, path_text

VALUE_PREFIX = "value."
"""Before the names of listing columns that hold values of fields."""


class OpenedTable(NamedTuple):
    """A table, the folder its paths are relative to, and the split that this folder is."""

    table: Table
    folder: bytes
    split: str | None

    @property
    def name(self) -> str:
        """The table's path relative to the source."""
        return path_text(join(self.folder, os.fsencode(self.table.path.name)))


class TableSurvey:
    """A first pass over all rows: what repeats, and what the columns hold."""

    def __init__(self, opened: list[OpenedTable], roles: Roles, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds
        self.facts = ColumnFacts()
        self.paths = Repeats()
        self.masks = Repeats()
        for one in opened:
            for batch in one.table.batches(kinds):
                self.facts.note(batch)
                note_paths(self.paths, one, batch[roles.path])
                if roles.mask is not None:
                    note_paths(self.masks, one, batch[roles.mask])


def note_paths(repeats: Repeats, opened: OpenedTable, column: pa.Array) -> None:
    for written in column.to_pylist():
        if written:
            repeats.note(plain_path(relative_path(opened, written)))


def relative_path(opened: OpenedTable, written: str) -> bytes:
    """A path as a table writes it, relative to the source, or absolute."""
    path = os.fsencode(written)
    return path if os.path.isabs(path) else join(opened.folder, path)


def plain_path(path: bytes) -> str:
    return path_text(posixpath.normpath(path))


class LabelColumn:
    """How the values of a label column become labels.

    Text gives class names, integers are labels as they are.

    Raises:
        ConfigError: the column holds numbers that are not whole.
    """

    def __init__(self, name: str, kind: Kind, facts: ColumnFacts, options: SourceOptions) -> None:
        if kind == "float" and not facts.whole_numbers.get(name, True):
            raise ConfigError(
                f"column {name!r} cannot be the label: it holds fractions, text or whole numbers are wanted"
            )
        self._labels = Labels(options.class_to_idx) if kind == "text" else None

    @property
    def type(self) -> pa.DataType:
        """Type of the listing's label column."""
        return self._labels.type if self._labels else pa.int64()

    def knows(self, value: Any) -> bool:
        """Whether the value can be a label, or says that there is none."""
        return value is None or self._labels is None or self._labels.knows(value)

    def label(self, value: Any) -> str | int | None:
        """What the listing says for a value of the column; None stays None."""
        if value is None:
            return None
        return int(value) if self._labels is None else self._labels.label(value)

    def field(self) -> Field:
        """The label field."""
        if self._labels is None:
            return Field("label", "label", dtype="int64", shape=(), codec="raw")
        return self._labels.field()


class _RefusedRow(Exception):
    """A row that is no sample, and why."""

    def __init__(self, path: bytes, reason: str, detail: str, key: str, files: int) -> None:
        super().__init__(detail)
        self.path = path
        self.reason = reason
        self.detail = detail
        self.key = key
        self.files = files


class TableListing:
    """Writes the rows of tables into a listing, and rejects those that name nothing or do not fit."""

    def __init__(
        self, listing_path: Path, root: Path, options: SourceOptions, roles: Roles, survey: TableSurvey, tally: Tally
    ) -> None:
        self._root = os.fsencode(root)
        self._roles = roles
        self._survey = survey
        self._tally = tally
        self._label = (
            LabelColumn(roles.label, survey.kinds[roles.label], survey.facts, options) if roles.label else None
        )
        self._caption_demanded = options.caption_column is not None
        self._group = group_finder(options.group_pattern)
        self._values = value_fields(survey.kinds, roles, survey.facts)
        self._unlabelled = 0
        own = {"path": pa.binary()} | ({"mask": pa.binary()} if roles.mask else {})
        own |= {"label": self._label.type} if self._label else {}
        values = {f"{VALUE_PREFIX}{field.name}": arrow_type(field) for field in self._values.values()}
        self._builder = ListingBuilder(listing_path, own | values)
        self._row_types = {**LISTING_COLUMNS, **own}

    def __enter__(self) -> TableListing:
        self._builder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._builder.__exit__(kind, error, trace)

    def finish(self) -> pa.Table:
        """The listing, mapped."""
        return self._builder.finish()

    def fields(self) -> tuple[Field, ...]:
        """Fields of every sample."""
        mask = (MASK_FIELD,) if self._roles.mask else ()
        label = (self._label.field(),) if self._label else ()
        return (IMAGE_FIELD, *mask, *label, *self._values.values())

    def remark(self) -> str:
        """Which column was taken for what."""
        columns = self._roles.columns()
        parts = [f"{role} from column {name!r}" for role, name in columns.items()]
        further = [field.name for column, field in self._values.items() if column not in columns.values()]
        parts += [f"further fields: {', '.join(further)}"] if further else []
        parts += [f"{self._unlabelled} rows have no label"] if self._unlabelled else []
        return "; ".join(parts)

    def add_table(self, opened: OpenedTable) -> None:
        """Lists every row of a table."""
        last, bad_rows = 0, opened.table.bad_rows
        for batch in opened.table.batches(self._survey.kinds):
            numbers = []
            for _ in range(batch.num_rows):
                last = next(number for number in count(last + 1) if number not in bad_rows)
                numbers.append(last)
            self._add_batch(opened, batch, numbers)
        for number, problem in bad_rows.items():
            where = f"row {number} of {opened.name}"
            self._tally.reject(os.fsencode(opened.name), "bad-value", f"{where}: {problem}", key=where, files=0)

    def _add_batch(self, opened: OpenedTable, batch: pa.RecordBatch, numbers: Sequence[int]) -> None:
        given = {role: batch[name].to_pylist() for role, name in self._roles.columns().items() if role != "vector"}
        lists = [name for name, field in self._values.items() if field.kind == "vector"]
        nulls = {name: batch[name].is_null().to_numpy(zero_copy_only=False) for name in lists if batch[name].null_count}
        kept: list[int] = []
        rows: list[dict[str, Any]] = []
        for index in range(batch.num_rows):
            row = {role: values[index] for role, values in given.items()}
            missing = next((name for name, null in nulls.items() if null[index]), None)
            try:
                rows.append(self._accept(row, opened, f"row {numbers[index]} of {opened.name}", missing))
                kept.append(index)
            except _RefusedRow as refused:
                self._tally.found += refused.files
                self._tally.reject(refused.path, refused.reason, refused.detail, key=refused.key, files=refused.files)
        if not kept:
            return
        columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in self._row_types.items()}
        taken = batch.take(pa.array(kept, pa.int64()))
        for column, field in self._values.items():
            columns[f"{VALUE_PREFIX}{field.name}"] = filled(taken[column], field)
        self._builder.add_batch(columns)

    def _accept(
        self, row: Mapping[str, Any], opened: OpenedTable, where: str, missing_vector: str | None
    ) -> dict[str, Any]:
        """The listing columns of a row but its values.

        Raises:
            _RefusedRow: the row is no sample.
        """
        if not row["path"]:
            raise _RefusedRow(os.fsencode(opened.name), "bad-value", f"{where} names no image", where, 0)
        path = relative_path(opened, row["path"])
        key = path_text(path)
        if not self._survey.paths.claim(plain_path(path)):
            raise _RefusedRow(path, "duplicate-key", f"{where} names it again", key, 0)
        size = self._size(path)
        if size is None:
            raise _RefusedRow(path, "missing-file", f"{where} names it, and there is no such file", key, 0)
        own: dict[str, Any] = {"key": key, "path": path, "size": size, "files": 1}
        if self._roles.mask and not self._add_mask(own, row["mask"], opened):
            named = f"the mask {row['mask']!r}, which is not there" if row["mask"] else "no mask"
            raise _RefusedRow(path, "missing-mask", f"{where} names {named}", key, 1)
        problem = self._problem(row, missing_vector)
        if problem:
            raise _RefusedRow(path, problem[0], f"{where}: {problem[1]}", key, own["files"])
        if self._label is not None:
            own["label"] = self._label.label(row["label"])
            self._unlabelled += own["label"] is None
        own["split"] = split_named(row["split"]) if row.get("split") else opened.split
        own["group"] = row.get("group") or self._group(key)
        self._tally.found += own["files"]
        return own

    def _problem(self, row: Mapping[str, Any], missing_vector: str | None) -> tuple[str, str] | None:
        if self._caption_demanded and row["caption"] is None:
            return "missing-caption", f"column {self._roles.caption!r} is empty"
        if missing_vector is not None:
            return "bad-value", f"column {missing_vector!r} is empty"
        if self._label is not None and not self._label.knows(row["label"]):
            return "bad-value", f"class {row['label']!r} is not in class_to_idx"
        return None

    def _add_mask(self, own: dict[str, Any], written: str | None, opened: OpenedTable) -> bool:
        path = relative_path(opened, written) if written else b""
        size = self._size(path) if written else None
        if size is None:
            return False
        own["mask"] = path
        own["size"] += size
        # A mask that several images share is found once.
        own["files"] += self._survey.masks.claim(plain_path(path))
        return True

    def _size(self, path: bytes) -> int | None:
        try:
            status = os.stat(os.path.join(self._root, path))
        except (OSError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None


def arrow_type(field: Field) -> pa.DataType:
    """Type of the listing column that holds a field's values."""
    if field.kind == "vector":
        return pa.list_(pa.float32())
    return pa.string() if field.kind == "text" else pa.type_for_alias(field.dtype)


def filled(column: pa.Array, field: Field) -> pa.Array:
    """A column as its field has it: missing text is empty, a missing number NaN."""
    if field.kind == "text":
        return column.fill_null("")
    return column.cast(pa.float64()).fill_null(float("nan")) if field.dtype == "float64" else column


def count_unnamed(folder: Path, survey: TableSurvey, tally: Tally) -> None:
    """Counts as ignored what lies in the folder and is named by no row."""
    outside = Tally()
    walker = Walker(folder, outside, sizes=False)
    named = np.sort(np.concatenate([survey.paths.noted(), survey.masks.noted()]))
    for level in walker.levels():
        hashes = np.array([name_hash(path_text(join(level.path, file.name))) for file in level.files[0]], np.uint64)
        places = np.minimum(np.searchsorted(named, hashes), max(len(named) - 1, 0))
        is_named = named[places] == hashes if len(named) else np.zeros(len(hashes), bool)
        rest = [file for file, known in zip(level.files[0], is_named, strict=True) if not known]
        for file in walker.images(level.path, rest):
            outside.ignore(f"{ignored_label(file.name)} not in the table")
    tally.ignored.update(outside.ignored)
    tally.rejects.extend(outside.rejects)
    tally.found += outside.ignored.total() + len(outside.rejects)
