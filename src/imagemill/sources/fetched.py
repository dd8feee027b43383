"""A pile that `fetch` made: images under the names of their content, and `index.parquet` beside them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.sample import Reject, Sample, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.fetched_index import INDEX_MARK, INDEX_NAME, row_key
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.layout import NO_LABEL, group_finder, split_named
from imagemill.sources.repeats import Repeats
from imagemill.sources.table_columns import ColumnFacts, Roles, find_roles, value_fields
from imagemill.sources.table_files import Kind, ParquetTable
from imagemill.sources.table_rows import VALUE_PREFIX, LabelColumn, arrow_type, filled
from imagemill.sources.walk import read_file

CONTENT_CHARACTERS = 16
"""Of a sha256 that name the group of equal images."""

_NEEDED: dict[str, Kind] = {
    "number": "integer",
    "id": "text",
    "origin": "text",
    "status": "text",
    "reason": "text",
    "path": "text",
    "sha256": "text",
    "size_bytes": "integer",
}
_MADE_KEY = re.compile(r"#[0-9]{9,}\Z")


def is_fetched(folder: Path) -> bool:
    """Whether a folder is a pile that `fetch` finished."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return False
    try:
        return INDEX_MARK in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


class FetchedSource(Source):
    """A sample for every row of `index.parquet` that has an image.

    The key is the id that the list gave, or the row's number; an id that comes again gets `#NUMBER` behind it.
    Rows with the same image are samples of their own, and of one group, so that none straddles splits. The
    list's caption is field `text`, its further columns are fields as a table's are. URLs that could not be
    fetched are counted as ignored: `rejects.jsonl` of the pile has them.
    """

    kind = "fetched"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        columns = [f"{part}_column" for part in ("label", "caption", "vector", "split", "group")]
        refuse_other_options(self.kind, self.options, (*columns, "group_pattern", "class_to_idx", "labels"))
        if self.options.group_column is not None and self.options.group_pattern is not None:
            raise ConfigError("group_column and group_pattern both say what a group is: give one of them")
        survey = self._survey()
        label = self._label(survey)
        values = value_fields(survey.kinds, survey.roles, survey.facts)
        own = {"path": pa.binary(), "origin": pa.string()} | ({"label": label.type} if label else {})
        own |= {f"{VALUE_PREFIX}{field.name}": arrow_type(field) for field in values.values()}
        rejects: list[Reject] = []
        with ListingBuilder(listing_path, own) as builder:
            rows = _Rows(survey, label, values, self.options)
            for batch in self._fetched_rows(survey.needed):
                columns_of, refused = rows.listed(batch)
                rejects += refused
                builder.add_batch(columns_of)
            listing = builder.finish()
        ignored = {f"not fetched ({reason})": count for reason, count in sorted(survey.failed.items())}
        fields = (IMAGE_FIELD, *((label.field(),) if label else ()), *values.values())
        remarks = tuple(remark for remark in (self.reason, rows.remark()) if remark)
        found = listing.num_rows + len(rejects) + sum(ignored.values())
        if not found:
            raise ConfigError(f"{self.path}: the index has no rows")
        return Scan(listing, fields, tuple(rejects), ignored, found, remarks)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        values: dict[str, Value] = {"image": read_file(self.path, row["path"], row["key"])}
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        for name, value in row.items():
            if name.startswith(VALUE_PREFIX):
                field = name.removeprefix(VALUE_PREFIX)
                values[field] = np.asarray(value, np.float32) if isinstance(value, list) else value
        return Sample(row["key"], values, {"image": row["origin"]})

    def _survey(self) -> _Survey:
        """A first pass: roles, what the columns hold where there is an image, ids that repeat."""
        path = self.path / INDEX_NAME
        if not is_fetched(self.path):
            raise ConfigError(f"{self.path} is no finished pile of `imagemill fetch`: {INDEX_NAME} is not there")
        further = json.loads(pq.read_schema(path).metadata[INDEX_MARK])["columns"]
        table = ParquetTable(path)
        given = [getattr(self.options, f"{part}_column") for part in ("label", "vector", "split", "group", "caption")]
        names = list(dict.fromkeys(["path", "caption", *further, *(name for name in given if name is not None)]))
        missing = [name for name in names if name not in table.names]
        if missing:
            raise ConfigError(f"{path} has no column {missing[0]!r}; the columns are {', '.join(table.names)}")
        roles = find_roles(names, replace(self.options, path_column="path"), INDEX_NAME)
        texts = {roles.split, roles.group, roles.caption, roles.label if self.options.class_to_idx else None}
        as_text = {name for name in texts if name is not None}
        kinds = table.kinds(as_text, {roles.vector} if roles.vector else ())
        return self._completed(_Survey(roles, {name: kinds[name] for name in names if kinds[name] != "other"}))

    def _completed(self, survey: _Survey) -> _Survey:
        import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

        for batch in self._batches(survey.needed):
            has_image = pc.equal(batch["status"], "fetched")
            survey.failed.update(batch["reason"].filter(pc.invert(has_image)).to_pylist())
            fetched = batch.filter(has_image)
            survey.facts.note(fetched.select(list(survey.kinds)))
            survey.rows += fetched.num_rows
            for name in fetched["id"].to_pylist():
                if name is not None:
                    survey.ids.note(name)
                    survey.has_ids = True
        roles = survey.roles
        empty = {name for name in survey.kinds if survey.facts.null_counts.get(name, 0) == survey.rows}
        if roles.caption in empty and self.options.caption_column is None:
            del survey.kinds[roles.caption]
            roles = replace(roles, caption=None)
        if roles.label in empty:
            del survey.kinds[roles.label]
            roles = replace(roles, label=None)
        survey.roles = roles
        return survey

    def _label(self, survey: _Survey) -> LabelColumn | None:
        name = survey.roles.label
        return None if name is None else LabelColumn(name, survey.kinds[name], survey.facts, self.options)

    def _batches(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        return ParquetTable(self.path / INDEX_NAME).batches(kinds)

    def _fetched_rows(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

        for batch in self._batches(kinds):
            yield batch.filter(pc.equal(batch["status"], "fetched"))


class _Survey:
    """What a first pass over the index says of the rows with an image."""

    def __init__(self, roles: Roles, kinds: dict[str, Kind]) -> None:
        self.roles = roles
        self.kinds = kinds
        self.facts = ColumnFacts()
        self.failed: Counter[str] = Counter()
        self.ids = Repeats()
        self.has_ids = False
        self.rows = 0

    @property
    def needed(self) -> dict[str, Kind]:
        """Every column that is read, and what it holds."""
        return {**self.kinds, **_NEEDED}


@dataclass
class _Rows:
    """Makes listing columns of rows of the index."""

    survey: _Survey
    label: LabelColumn | None
    values: Mapping[str, Field]
    options: SourceOptions
    repeated_ids: int = 0

    def listed(self, batch: pa.RecordBatch) -> tuple[dict[str, pa.Array], list[Reject]]:
        """Listing columns of the rows that are samples, and rejects for the others."""
        keys = self._keys(batch["id"].to_pylist(), batch["number"].to_pylist())
        problems = self._problems(batch)
        origins = batch["origin"].to_pylist()
        rejects = [Reject(keys[row], origins[row], *problem) for row, problem in problems.items()]
        kept = [row for row in range(batch.num_rows) if row not in problems]
        keys = [keys[row] for row in kept]
        batch = batch.take(pa.array(kept, pa.int64()))
        roles = self.survey.roles
        splits = [None] * len(kept) if roles.split is None else batch[roles.split].to_pylist()
        columns = {
            "key": pa.array(keys, pa.string()),
            "group": self._groups(batch, keys),
            "split": pa.array([split_named(split) if split else None for split in splits], pa.string()),
            "size": batch["size_bytes"],
            "files": pa.array(np.ones(len(kept), np.int32)),
            "path": batch["path"].cast(pa.binary()),
            "origin": batch["origin"],
        }
        if self.label is not None and roles.label is not None:
            labels = [self.label.label(value) for value in batch[roles.label].to_pylist()]
            columns["label"] = pa.array(labels, self.label.type)
        for name, field in self.values.items():
            columns[f"{VALUE_PREFIX}{field.name}"] = filled(batch[name], field)
        return columns, rejects

    def _keys(self, ids: Sequence[str | None], numbers: Sequence[int]) -> list[str]:
        keys = []
        for name, number in zip(ids, numbers, strict=True):
            if name is None:
                keys.append(f"#{number:09d}" if self.survey.has_ids else row_key(None, number))
            elif _MADE_KEY.search(name) or not self.survey.ids.claim(name):
                self.repeated_ids += 1
                keys.append(f"{name}#{number:09d}")
            else:
                keys.append(name)
        return keys

    def _groups(self, batch: pa.RecordBatch, keys: Sequence[str]) -> pa.Array:
        """Equal images are one group, unless the user says what a group is."""
        import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

        content = pc.utf8_slice_codeunits(batch["sha256"], 0, CONTENT_CHARACTERS)
        if self.survey.roles.group is not None:
            return pc.coalesce(batch[self.survey.roles.group], content)
        if self.options.group_pattern is not None:
            return pa.array(list(map(group_finder(self.options.group_pattern), keys)), pa.string())
        return content

    def _problems(self, batch: pa.RecordBatch) -> dict[int, tuple[str, str]]:
        """{row: (reason, detail)} of rows that are no sample."""
        found: dict[int, tuple[str, str]] = {}
        roles = self.survey.roles
        if self.label is not None and roles.label is not None:
            for row, value in enumerate(batch[roles.label].to_pylist()):
                if not self.label.knows(value):
                    found[row] = ("bad-value", f"class {value!r} is not in class_to_idx")
        demanded = [(name, "bad-value") for name, field in self.values.items() if field.kind == "vector"]
        if self.options.caption_column is not None and roles.caption is not None:
            demanded.append((roles.caption, "missing-caption"))
        for name, reason in demanded:
            for row in np.flatnonzero(batch[name].is_null().to_numpy(zero_copy_only=False)).tolist():
                found[row] = (reason, f"column {name!r} is empty")
        return found

    def remark(self) -> str:
        """Which column was taken for what."""
        columns = self.survey.roles.columns()
        parts = [f"{role} from column {name!r}" for role, name in columns.items() if role != "path"]
        further = [field.name for column, field in self.values.items() if column not in columns.values()]
        parts += [f"further fields: {', '.join(further)}"] if further else []
        parts += [f"{self.repeated_ids} ids come again and got a number"] if self.repeated_ids else []
        return "; ".join(parts)
