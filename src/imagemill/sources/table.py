"""Images named by a table, with labels, captions, vectors and numbers beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.core.sample import Sample, Value
from imagemill.errors import ConfigError
from imagemill.sources.base import Scan, Source, refuse_other_options
from imagemill.sources.layout import NO_LABEL, split_folders
from imagemill.sources.table_columns import Roles, find_roles
from imagemill.sources.table_files import Kind, merge_kinds, open_table
from imagemill.sources.table_rows import VALUE_PREFIX, OpenedTable, TableListing, TableSurvey, count_unnamed
from imagemill.sources.walk import Tally, Walker, path_text, read_file

TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables that are found in a folder; the first one counts. The names are those of Hugging Face's imagefolder."""


def find_tables(path: Path) -> list[Path]:
    """Tables of `TABLE_NAMES` in a folder, or else in its split folders; of several in one folder the first."""
    own = _first_table(path)
    if own is not None:
        return [own]
    splits = split_folders(Walker(path, Tally()).folders())
    found = (_first_table(path / os.fsdecode(folder)) for folder in sorted(splits))
    return [table for table in found if table is not None]


def _first_table(folder: Path) -> Path | None:
    return next((folder / name for name in TABLE_NAMES if (folder / name).is_file()), None)


class TableSource(Source):
    """A sample for every row of a table that names an image; the key is the path as it is written.

    The path is a table (.csv, .tsv, .jsonl, .json, .parquet), or a folder that holds `metadata.csv`, `.jsonl`
    or `.parquet`, itself or in its split folders. Images are relative to their table. Columns are what the
    options say, or what their names suggest (`table_columns`); every further column of text, numbers or lists
    of numbers becomes a field of its own.

    Labels that are text are class names; integers are labels as they are (`007` is text; floats such as
    `3.0`, which spreadsheets make of integers beside empty cells, are integers). A row without a label gets
    null in the listing and -1 when read; one without a caption is a reject only where `caption_column` asks for
    captions. Rows count from 1, the header and empty lines aside.
    """

    kind = "table"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        options = self.options
        columns = [f"{part}_column" for part in ("path", "label", "caption", "vector", "mask", "split", "group")]
        refuse_other_options(self.kind, options, (*columns, "group_pattern", "class_to_idx", "labels"))
        if options.group_column is not None and options.group_pattern is not None:
            raise ConfigError("group_column and group_pattern both say what a group is: give one of them")
        opened = self._open_tables()
        names = list(dict.fromkeys(name for one in opened for name in one.table.names))
        roles = find_roles(names, options, opened[0].name)
        kinds = _kinds(opened, names, roles, labels_are_names=options.class_to_idx is not None)
        if roles.label is not None and kinds[roles.label] == "none":
            del kinds[roles.label]
            roles = replace(roles, label=None)
        survey = TableSurvey(opened, roles, {name: kind for name, kind in kinds.items() if kind != "other"})
        tally = Tally()
        with TableListing(listing_path, self._root, options, roles, survey, tally) as rows:
            for one in opened:
                rows.add_table(one)
            listing = rows.finish()
        if self.path.is_dir():
            count_unnamed(self.path, survey, tally)
        if not listing.num_rows and not tally.rejects:
            raise ConfigError(f"{self.path}: the table has no rows")
        left_out = ", ".join(name for name, kind in kinds.items() if kind == "other")
        remark = f"columns that are neither text nor numbers are left out: {left_out}" if left_out else ""
        return tally.scan(listing, rows.fields(), (self.reason, rows.remark(), remark))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key = row["key"]
        values: dict[str, Value] = {"image": read_file(self._root, row["path"], key)}
        origins = {"image": path_text(row["path"])}
        if "mask" in row:
            values["mask"] = read_file(self._root, row["mask"], key)
            origins["mask"] = path_text(row["mask"])
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        for name, value in row.items():
            if name.startswith(VALUE_PREFIX):
                values[name.removeprefix(VALUE_PREFIX)] = (
                    np.asarray(value, np.float32) if isinstance(value, list) else value
                )
        return Sample(key, values, origins)

    @property
    def _root(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def _open_tables(self) -> list[OpenedTable]:
        if not self.path.exists():
            raise ConfigError(f"{self.path} does not exist: give a table, or a folder with {', '.join(TABLE_NAMES)}")
        if not self.path.is_dir():
            return [OpenedTable(open_table(self.path), b"", None)]
        found = find_tables(self.path)
        if not found:
            raise ConfigError(
                f"{self.path} holds no {', '.join(TABLE_NAMES)}, nor do its split folders: give the table itself"
            )
        tables = []
        for path in found:
            folder = b"" if path.parent == self.path else os.fsencode(path.parent.name)
            tables.append(OpenedTable(open_table(path), folder, split_folders([folder]).get(folder)))
        return tables


def _kinds(opened: list[OpenedTable], names: list[str], roles: Roles, *, labels_are_names: bool) -> dict[str, Kind]:
    """What every column holds, over all tables; a column with a role holds what it must.

    Raises:
        ConfigError: a path, label, split or group is no text or number, or a table has no path column.
    """
    texts = {roles.path, roles.split, roles.group, roles.mask, roles.caption}
    as_text = {name for name in (*texts, roles.label if labels_are_names else None) if name is not None}
    kinds: dict[str, Kind] = dict.fromkeys(names, "none")
    for one in opened:
        own = set(one.table.names)
        if roles.path not in own:
            raise ConfigError(f"{one.name} has no column {roles.path!r}; the columns are {', '.join(one.table.names)}")
        for name, kind in one.table.kinds(as_text & own, {roles.vector} & own if roles.vector else set()).items():
            kinds[name] = merge_kinds(kinds[name], kind)
    for role, name in roles.columns().items():
        if role != "vector" and kinds[name] in ("list", "other"):
            raise ConfigError(
                f"column {name!r} cannot be the {role}: it holds lists or objects, text or numbers are wanted"
            )
    return kinds
