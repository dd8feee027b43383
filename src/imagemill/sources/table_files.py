"""CSV, TSV, JSON Lines, JSON and Parquet tables, read in batches of typed columns."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from imagemill.errors import ConfigError
from imagemill.sources.text_rows import json_lines, sniff_delimiter

Kind = Literal["none", "integer", "float", "text", "list", "other"]
"""What a column holds: nothing but nulls, int64, float64, text, lists of numbers, or what cannot be a field."""

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
"""Suffixes of tables beside .parquet, which may also hold the images themselves."""

ARROW_TYPES: Mapping[Kind, pa.DataType] = {
    "none": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "list": pa.list_(pa.float32()),
}

BATCH_ROWS = 4096
_CSV_BLOCK_BYTES = 1 << 20
_SNIFFED_CHARACTERS = 1 << 14
_SNIFFED_LINES = 8
_INTEGER = r"^-?(0|[1-9][0-9]*)$"
"""Integers as a program prints them: `007` and `+1` are text."""
_FLOAT = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$|^-?(nan|NaN|inf|Infinity)$"


class Table(ABC):
    """A table on disk, read as often as needed, in memory bounded by a batch (but for .json, read whole).

    Args:
        path: the file.
        names: its columns, in order.

    Attributes:
        bad_rows: rows that the last pass left out, by number from 1, and what is wrong with each; complete up
            to the batch that was given out last.
    """

    def __init__(self, path: Path, names: Collection[str]) -> None:
        self.path = path
        self.names = tuple(names)
        self.bad_rows: dict[int, str] = {}
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ConfigError(f"{path}: two columns are called {repeated[0]!r}; column names must differ")

    @abstractmethod
    def kinds(self, as_text: Collection[str], as_list: Collection[str]) -> dict[str, Kind]:
        """What each column holds, over all rows.

        Args:
            as_text: columns that are text whatever they look like.
            as_list: columns that are lists of numbers; in CSV their text is parsed as JSON.
        """

    @abstractmethod
    def batches(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        """All rows, with the columns of `kinds` cast to `ARROW_TYPES`; columns not in the file are null."""


def open_table(path: Path) -> Table:
    """The table of that file, by suffix.

    Raises:
        ConfigError: it cannot be read, or is no such table.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return ParquetTable(path)
        if suffix in (".csv", ".tsv"):
            return CsvTable(path)
        if suffix in TABLE_SUFFIXES:
            return JsonTable(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    raise ConfigError(f"{path} is no table: {', '.join((*TABLE_SUFFIXES, '.parquet'))} are read")


def merge_kinds(first: Kind, second: Kind) -> Kind:
    """What holds both: numbers of two sorts are floats, other scalars together are text."""
    if first == second or second == "none":
        return first
    if first == "none":
        return second
    kinds = {first, second}
    if kinds == {"integer", "float"}:
        return "float"
    return "other" if kinds & {"list", "other"} else "text"


def _unreadable(path: Path, error: Exception | str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as a {path.suffix.lower()} table: {error}")


class CsvTable(Table):
    """UTF-8 text with a header line; commas, semicolons, tabs or bars divide it; an empty field without quotes is null.

    A row with more or fewer fields than the header is left out, and counted in `bad_rows`.
    """

    def __init__(self, path: Path) -> None:
        self.bad_rows = {}
        self._delimiter = _delimiter(path)
        # Opened on its own: the reader would infer types from the first block only.
        super().__init__(path, self._open(path, pa_csv.ConvertOptions()).schema.names)

    def _open(self, path: Path, convert: pa_csv.ConvertOptions) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            path,
            # With threads the reader does not know the numbers of rows.
            read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=self._leave_out
            ),
            convert_options=convert,
        )

    def _leave_out(self, row: pa_csv.InvalidRow) -> str:
        self.bad_rows[row.number - 1] = f"{row.actual_columns} fields, the header has {row.expected_columns}"
        return "skip"

    def _texts(self) -> Iterator[pa.RecordBatch]:
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        self.bad_rows.clear()
        try:
            yield from self._open(self.path, convert)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from None

    def kinds(self, as_text: Collection[str], as_list: Collection[str]) -> dict[str, Kind]:
        """See `Table.kinds`."""
        kinds: dict[str, Kind] = dict.fromkeys(self.names, "none")
        fixed = {*as_text, *as_list}
        for name in fixed:
            kinds[name] = "text" if name in as_text else "list"
        for batch in self._texts():
            for name in self.names:
                if name not in fixed and kinds[name] != "text":
                    kinds[name] = merge_kinds(kinds[name], kind_of_texts(batch[name]))
        return kinds

    def batches(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        """See `Table.batches`."""
        for batch in self._texts():
            columns = {name: batch[name] if name in self.names else None for name in kinds}
            yield _typed(batch.num_rows, columns, kinds, self.path)


def _delimiter(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        lines = file.read(_SNIFFED_CHARACTERS).splitlines()[:_SNIFFED_LINES]
    return sniff_delimiter(lines, "\t" if path.suffix.lower() == ".tsv" else ",")


def kind_of_texts(column: pa.Array) -> Kind:
    """What all the texts of a column can be read as; nulls do not count."""
    import pyarrow.compute as pc  # 40 ms: `fetch` wants names from here, and needs none of it

    values = column.drop_null()
    if not len(values):
        return "none"
    if pc.all(pc.match_substring_regex(values, _INTEGER)).as_py():
        try:
            values.cast(pa.int64())
        except pa.ArrowInvalid:
            return "text"
        return "integer"
    return "float" if pc.all(pc.match_substring_regex(values, _FLOAT)).as_py() else "text"


def _typed(rows: int, columns: Mapping[str, pa.Array | None], kinds: Mapping[str, Kind], path: Path) -> pa.RecordBatch:
    arrays = []
    for name, kind in kinds.items():
        column = columns[name]
        try:
            arrays.append(pa.nulls(rows, ARROW_TYPES[kind]) if column is None else _cast(column, kind))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise ConfigError(f"{path}: column {name!r} does not hold {kind} values: {error}") from None
    return pa.record_batch(arrays, names=list(kinds))


def _cast(column: pa.Array, kind: Kind) -> pa.Array:
    target = ARROW_TYPES[kind]
    if kind == "list" and (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
        return pa.array([None if text is None else json.loads(text) for text in column.to_pylist()], target)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind == "text" and pa.types.is_floating(column.type):
        return pa.array([None if value is None else repr(value) for value in column.to_pylist()], target)
    return column if column.type == target else column.cast(target, safe=kind != "list")


class ParquetTable(Table):
    """A Parquet file; its column types decide, dates and times become text."""

    def __init__(self, path: Path) -> None:
        self._schema = pq.read_schema(path)
        super().__init__(path, self._schema.names)

    def kinds(self, as_text: Collection[str], as_list: Collection[str]) -> dict[str, Kind]:
        """See `Table.kinds`."""
        kinds = {column.name: kind_of_type(column.type) for column in self._schema}
        for name in as_text:
            kinds[name] = "text" if kinds[name] in ("none", "integer", "float") else kinds[name]
        return kinds

    def batches(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        """See `Table.batches`."""
        try:
            with pq.ParquetFile(self.path) as file:
                wanted = [name for name in kinds if name in self.names]
                for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                    columns = {name: batch[name] if name in self.names else None for name in kinds}
                    yield _typed(batch.num_rows, columns, kinds, self.path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from None


def kind_of_type(kind: pa.DataType) -> Kind:
    """What a column of that Arrow type holds."""
    types = pa.types
    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
    if types.is_null(kind):
        return "none"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_temporal(kind):
        return "text"
    if types.is_boolean(kind) or types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "list" if kind_of_type(kind.value_type) in ("integer", "float") else "other"
    return "other"


class JsonTable(Table):
    """One JSON object a line, or a .json file with a list of objects; a key that is absent is null."""

    def __init__(self, path: Path) -> None:
        self._path = path
        names: dict[str, None] = {}
        for row in self._rows():
            names |= dict.fromkeys(row)
        super().__init__(path, names)

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            with open(self._path, encoding="utf-8-sig") as file:
                if self._path.suffix.lower() == ".json":
                    rows = json.load(file)
                    yield from self._checked(enumerate(rows if isinstance(rows, list) else [None], 1))
                else:
                    yield from self._checked(self._lines(file))
        except (ValueError, OSError) as error:
            if isinstance(error, ConfigError):
                raise
            raise _unreadable(self._path, error) from None

    def _lines(self, file: Iterable[str]) -> Iterator[tuple[int, Any]]:
        for line in json_lines(file):
            if line.error:
                raise _unreadable(self._path, f"line {line.number}: {line.error}")
            yield line.number, line.value

    def _checked(self, rows: Iterator[tuple[int, Any]]) -> Iterator[dict[str, Any]]:
        for number, row in rows:
            if not isinstance(row, dict):
                whole = self._path.suffix.lower() == ".json"
                wanted, what = ("a list of objects", "row") if whole else ("one object a line", "line")
                raise ConfigError(f"{self._path}: {wanted} is wanted; {what} {number} is {type(row).__name__}")
            yield row

    def kinds(self, as_text: Collection[str], as_list: Collection[str]) -> dict[str, Kind]:
        """See `Table.kinds`."""
        kinds: dict[str, Kind] = dict.fromkeys(self.names, "none")
        for row in self._rows():
            for name, value in row.items():
                if value is not None:
                    kinds[name] = merge_kinds(kinds[name], kind_of_value(value))
        return kinds | {name: "text" for name in as_text if kinds[name] not in ("list", "other")}

    def batches(self, kinds: Mapping[str, Kind]) -> Iterator[pa.RecordBatch]:
        """See `Table.batches`."""
        rows = self._rows()
        while chunk := list(islice(rows, BATCH_ROWS)):
            columns = {}
            for name, kind in kinds.items():
                values = [None if row.get(name) is None else _FROM_JSON[kind](row[name]) for row in chunk]
                columns[name] = pa.array(values, ARROW_TYPES[kind])
            yield _typed(len(chunk), columns, kinds, self.path)


def kind_of_value(value: Any) -> Kind:
    """What a value of JSON is."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, int):
        return "integer" if -(2**63) <= value < 2**63 else "text"
    if isinstance(value, float):
        return "float"
    if isinstance(value, list):
        return "list" if all(item is None or isinstance(item, int | float) for item in value) else "other"
    return "other"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as_floats(values: list[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


_FROM_JSON: Mapping[Kind, Callable[[Any], Any]] = {
    "none": _as_text,
    "integer": int,
    "float": float,
    "text": _as_text,
    "list": _as_floats,
}
