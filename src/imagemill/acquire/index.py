"""`index.parquet`: a row for every URL of the list, in its order; and what could not be fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.acquire.further import column_array
from imagemill.acquire.journal import Journal, Record
from imagemill.acquire.survey import LIST_CHANGED, Survey, url_hash
from imagemill.acquire.url_list import Entry, UrlList
from imagemill.acquire.urls import shown
from imagemill.core.files import REJECTS_NAME, replacing
from imagemill.errors import ConfigError
from imagemill.faults import fault_point
from imagemill.sources.fetched_index import INDEX_MARK, INDEX_NAME, row_key

BATCH_ROWS = 16_384

_TIME = pa.timestamp("ms", "UTC")
_TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
_OF_THE_LIST = {"number": pa.int64(), "id": pa.string(), "url": pa.string(), "caption": pa.string()}
_OF_THE_RECORD = {
    field.name: _TIME if field.name in ("time", "checked_time") else _TYPES[str(field.type)]
    for field in fields(Record)
    if field.name not in ("number", "url_hash")
}
OWN_COLUMNS = {**_OF_THE_LIST, "origin": pa.string(), "repeat_of": pa.int64(), **_OF_THE_RECORD}
"""Columns of the index beside those that the list brings along. What is empty, or says nothing as 0, is null."""


def further_names(further: pa.Schema) -> dict[str, str]:
    """{column of the list: its name in the index}: `list_NAME` where the index has a column of that name itself."""
    taken = {name.lower() for name in OWN_COLUMNS}
    names = {}
    for name in further.names:
        free = name
        while free.lower() in taken:
            free = f"list_{free}"
        taken.add(free.lower())
        names[name] = free
    return names


def write_index(root: Path, urls: UrlList, survey: Survey, journal: Journal, facts: Mapping[str, Any]) -> None:
    """Writes index and rejects from the list and the journal, which has a record for every first URL.

    Args:
        root: of the pile.
        facts: kept in the file's metadata, besides what is the list's.
    """
    names = further_names(survey.further)
    types = {**OWN_COLUMNS, **{names[field.name]: field.type for field in survey.further}}
    mark = {"list": survey.identity, "columns": list(names.values()), **facts}
    schema = pa.schema(types, metadata={INDEX_MARK: json.dumps(mark).encode()})
    with (
        replacing(root / REJECTS_NAME) as rejects_path,
        replacing(root / INDEX_NAME) as index_path,
        open(rejects_path, "w", encoding="utf-8") as rejects,
        pq.ParquetWriter(index_path, schema) as writer,
    ):
        rejects.writelines(_reject(line.place, urls.path.name, "bad-line", line.detail) for line in survey.bad())
        for entries, records, repeats in joined(urls, survey, journal):
            batch = pa.record_batch(_columns(entries, records, repeats, survey.further), schema=schema)
            writer.write_batch(batch)
            for entry, record in zip(entries, records, strict=True):
                if record.status == "failed":
                    key = row_key(entry.id, entry.number)
                    rejects.write(_reject(key, shown(entry.url), record.reason, record.detail))
            fault_point("index.rows.middle")


def joined(
    urls: UrlList, survey: Survey, journal: Journal
) -> Iterator[tuple[list[Entry], list[Record], Mapping[int, int]]]:
    """(entries, a record for each, {number: number of the same URL's first coming}) for some rows at a time.

    Raises:
        ConfigError: the list changed since the survey.
    """
    repeats, first = survey.repeats(), survey.first
    entries, passed = urls.entries(), 0
    while batch := list(islice(entries, BATCH_ROWS)):
        for entry in batch:
            survey.check(entry)
        passed += len(batch)
        start, stop = batch[0].number, batch[-1].number + 1
        again = {row + first: there + first for row, there in repeats.first_of(start - first, stop - first).items()}
        records = {record.number: record for record in journal.between(start, stop)}
        elsewhere = journal.get([number for number in again.values() if number not in records])
        records |= {row: replace(elsewhere.get(there) or records[there], number=row) for row, there in again.items()}
        yield batch, [records[entry.number] for entry in batch], again
    if passed != survey.urls:
        raise ConfigError(LIST_CHANGED)


def _columns(
    entries: Sequence[Entry], records: Sequence[Record], repeats: Mapping[int, int], further: pa.Schema
) -> list[pa.Array]:
    columns = [
        [entry.number for entry in entries],
        [entry.id for entry in entries],
        [entry.url for entry in entries],
        [entry.caption for entry in entries],
        [shown(entry.url) for entry in entries],
        [repeats.get(entry.number) for entry in entries],
    ]
    for name, kind in _OF_THE_RECORD.items():
        values = [getattr(record, name) for record in records]
        if kind == _TIME:
            values = [round(value * 1000) for value in values]
        columns.append([value or None for value in values] if name not in ("seconds", "attempts") else values)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, OWN_COLUMNS.values(), strict=True)]
    own = ([entry.further.get(field.name) for entry in entries] for field in further)
    return [*arrays, *(column_array(values, field.type) for values, field in zip(own, further, strict=True))]


def _reject(key: str, path: str, reason: str, detail: str) -> str:
    record = {"key": key, "path": path, "reason": reason, "detail": detail, "files": 1}
    return json.dumps(record, ensure_ascii=False) + "\n"


def index_facts(root: Path) -> dict[str, Any]:
    """What the metadata of an index say.

    Raises:
        ConfigError: the file there is no index of a fetched pile.
    """
    path = root / INDEX_NAME
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if INDEX_MARK not in metadata:
        raise ConfigError(f"{path} is no index of a fetched pile: give another folder")
    facts: dict[str, Any] = json.loads(metadata[INDEX_MARK])
    return facts


def index_records(root: Path) -> Iterator[Record]:
    """The records that an index was written from, ascending."""
    wanted = ["number", "url", "repeat_of", *_OF_THE_RECORD]
    with pq.ParquetFile(root / INDEX_NAME) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
            for name in ("time", "checked_time"):
                position = batch.schema.get_field_index(name)
                batch = batch.set_column(position, name, batch.column(position).cast(pa.int64()))
            for row in batch.to_pylist():
                if row.pop("repeat_of") is None:
                    yield _record(row)


def _record(row: dict[str, Any]) -> Record:
    found = {name: value for name, value in row.items() if value is not None and name != "url"}
    for name in ("time", "checked_time"):
        found[name] = found.get(name, 0) / 1000
    return Record(url_hash=url_hash(row["url"]), **found)
