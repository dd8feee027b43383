"""`lines`: a line of JSON a sample, values in base64; to be read by anything, and by eye.

The first line is the schema; every other one is `{"key": …, FIELD: base64, …}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Schema
from imagemill.errors import ShardError
from imagemill.formats.base import Reader, value_size


class LinesFormat:
    """The format `lines`; see `imagemill.formats.base.Format`."""

    name = "lines"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".jsonl"`."""
        target = path.with_name(path.name + ".jsonl")
        with target.open("wb") as file:
            file.write(_line(schema.to_json()))
            for row in rows:
                for field in schema:
                    value_size(field, row)
                values = {name: base64.b64encode(row.values[name]).decode() for name in schema.names}
                file.write(_line({"key": row.key, **values}))
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> LinesReader:
        """Finds out where every line begins, and checks the schema."""
        return LinesReader(path.with_name(path.name + ".jsonl"), path.name, schema, count)


FORMAT = LinesFormat()


class LinesReader(Reader):
    """An open shard: the place of every line. The file is opened for each read, so threads share nothing."""

    def __init__(self, file: Path, shard: str, schema: Schema, count: int) -> None:
        self._file = file
        self._shard = shard
        self._schema = schema
        with self._damage(), file.open("rb") as lines:
            ends = [0]
            for line in lines:
                ends.append(ends[-1] + len(line))
                if len(ends) == 2 and json.loads(line) != schema.to_json():
                    raise ValueError("it has other fields")
            if len(ends) != count + 2 or not line.endswith(b"\n"):
                raise ValueError(f"it has {len(ends) - 1} lines, the last one perhaps cut; {count + 1} are expected")
        self._places: list[tuple[int, int]] | None = list(pairwise(ends[1:]))

    def __len__(self) -> int:
        return len(self._open_places())

    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        """See `Reader.read`."""
        places = self._open_places()
        names = self._schema.names if fields is None else fields
        if any(not 0 <= index < len(places) for index in indices):
            raise IndexError(f"shard {self._shard}: rows must lie in [0, {len(places)}), got {list(indices)}")
        if unknown := set(names) - {"key", *self._schema.names}:
            raise KeyError(f"shard {self._shard} has no field {', '.join(unknown)}")
        rows: list[Mapping[str, Buffer]] = []
        with self._damage(), self._file.open("rb") as lines:
            for index in indices:
                start, end = places[index]
                lines.seek(start)
                record = json.loads(lines.read(end - start))
                rows.append({name: self._value(record, name) for name in names})
        return rows

    def close(self) -> None:
        """See `Reader.close`."""
        self._places = None

    def _value(self, record: Mapping[str, str], name: str) -> bytes:
        if name == "key":
            return record["key"].encode()
        value = base64.b64decode(record[name], validate=True)
        value_size(self._schema[name], Row(record["key"], {name: value}))
        return value

    def _open_places(self) -> list[tuple[int, int]]:
        if self._places is None:
            raise ValueError(f"shard {self._shard}: the reader is closed")
        return self._places

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Whatever a damaged file leads to, as the one error that callers expect."""
        try:
            yield
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ShardError(self._shard, f"{self._file.name} cannot be read: {error}") from error


def _line(record: object) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
