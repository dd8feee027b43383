"""The rows of one list, whatever it is written in; a row that cannot be read costs itself."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from imagemill.acquire.list_files import BROKEN_STREAM, ListFile, Peekable
from imagemill.errors import ConfigError
from imagemill.sources.text_rows import parsed_json, sniff_delimiter

if TYPE_CHECKING:
    import pyarrow as pa  # imported for lists that are Parquet only

MAX_LINE_CHARACTERS = 1 << 20
"""No line of a list is longer; one that is is bad, and memory stays bounded."""

MAX_QUOTED_LINES = 100
"""A quoted field has fewer line ends than that: a quote that does not end costs its own line, not the rest."""

BATCH_ROWS = 4096
_SNIFFED_LINES = 8
_PLAIN_LINE = re.compile(r"(?:(?!https?:)([\w./:-]+)\s+)?(https?://[^\s\"'`<>,;]+)", re.ASCII)
_NEXT_URL = re.compile(r"[\"'`>]*\s*[,;][\s,;]*[\"'`<]*(?=https?://)", re.IGNORECASE)
"""A URL may hold commas, but where one is before `http://` the next URL begins."""
_URL_STARTS = ("http://", "https://")
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_NAMES = ("images", "data", "urls", "rows", "items")


class Row(NamedTuple):
    """A row as the list has it: line (or row, where there are no lines) from 1, and {column: value}."""

    line: int
    values: Mapping[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be read, and why."""

    line: int
    detail: str


Rows: TypeAlias = Iterator[Row | BadRow]


def rows_of(file: ListFile) -> Rows:
    """Every row of a list that is not empty and no comment.

    Raises:
        ConfigError: the file as a whole cannot be read.
    """
    try:
        yield from _READERS[file.kind](file)
    except UnicodeError as error:
        raise ConfigError(f"{file.name} cannot be read as {file.kind}: {error}") from None
    except BROKEN_STREAM as error:
        raise ConfigError(f"{file.name} cannot be read to its end: {error}") from None


def types_of(file: ListFile) -> dict[str, pa.DataType]:
    """{column: type} where the list says so itself, as Parquet does; else nothing."""
    if file.kind != "parquet":
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file.stream)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file.name} cannot be read as parquet: {error}") from None
    finally:
        file.stream.seek(0)
    return {field.name: _readable(field.type) for field in schema}


def _readable(kind: pa.DataType) -> pa.DataType:
    """A type whose values Python can hold: nanoseconds it has only with pandas."""
    import pyarrow as pa

    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) and kind.unit == "ns" else kind


def begins_like_url(text: str) -> bool:
    """Whether text begins with http:// or https://, in any case."""
    return text[:8].lower().startswith(_URL_STARTS)


def clean_text(text: str) -> str:
    """Valid Unicode: bytes that were no UTF-8 appear as `\\xNN`, lone surrogates as U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub(lambda match: _in_words(ord(match[0])), text)


def _in_words(surrogate: int) -> str:
    return f"\\x{surrogate - 0xDC00:02x}" if 0xDC80 <= surrogate <= 0xDCFF else "\ufffd"


def _text_of(stream: Peekable, newline: str | None = None) -> io.TextIOWrapper:
    """A stream as text: UTF-8 with or without BOM, or UTF-16 with one, as Windows writes it."""
    head = stream.peek(2)[:2]
    encoding = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    return io.TextIOWrapper(stream, encoding, errors, newline=newline)


def _lines(text: io.TextIOWrapper) -> Iterator[str | None]:
    """Lines with their ends; None for one that is too long."""
    while line := text.readline(MAX_LINE_CHARACTERS):
        if len(line) < MAX_LINE_CHARACTERS or line[-1] in "\r\n":
            yield line
            continue
        while (rest := text.readline(MAX_LINE_CHARACTERS)) and rest[-1] not in "\r\n":
            pass
        yield None


_TOO_LONG = f"longer than {MAX_LINE_CHARACTERS:,} characters"


def _text_rows(file: ListFile) -> Rows:
    """One URL a line, before it perhaps an id: `n02084071_1 http://…`; or several URLs, with commas between.

    Quotes and commas around them do not count.
    """
    with _text_of(file.stream) as text:
        for number, line in enumerate(_lines(text), 1):
            if line is None:
                yield BadRow(number, _TOO_LONG)
                continue
            line = line.strip("\ufeff\0 \t\r\n")
            if line and not line.startswith("#"):
                yield from _text_line(number, line)


def _text_line(number: int, line: str) -> Rows:
    """What a line that is not empty has: a URL, several, or what is wrong."""
    first, *more = _NEXT_URL.split(line) if "," in line or ";" in line else (line,)
    if more and begins_like_url(first.lstrip("\"'`<,; ")):
        for url in (first, *more):
            yield _text_row(number, url)
        return
    count = len(more) + any(start in first.lower() for start in _URL_STARTS)
    yield BadRow(number, f"{count} URLs behind one id: one is wanted") if count > 1 else _text_row(number, line)


def _text_row(number: int, line: str) -> Row | BadRow:
    plain = _PLAIN_LINE.fullmatch(line)
    if plain:
        return Row(number, {"url": plain[2], "id": plain[1]})
    parts = [part for part in (token.strip("\"'`<>,;") for token in _spread(line).split()) if part]
    urls = [place for place, part in enumerate(parts) if begins_like_url(part)]
    if len(urls) > 1:
        return BadRow(number, f"{len(urls)} URLs in one line: one a line is wanted")
    if urls and urls[0] != len(parts) - 1:
        return BadRow(number, "text behind the URL, or a space in it (a space is written %20)")
    if not urls:
        return BadRow(number, "no URL: the last word of a line must begin with http:// or https://")
    return Row(number, {"url": parts[-1], "id": clean_text(" ".join(parts[:-1])) or None})


def _spread(line: str) -> str:
    """`id,http://…` and `"id","http://…"` as words of their own; commas within a URL stay."""
    first = min((place for start in _URL_STARTS if (place := line.lower().find(start)) >= 0), default=0)
    before = line[:first]
    return f"{before.rstrip(chr(34) + chr(39))} {line[first:]}" if before.rstrip("\"'").endswith((",", ";")) else line


class _Lines:
    """Lines with their numbers; some can be taken back."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._source = _lines(text)
        self._back: list[tuple[int, str | None]] = []
        self._number = 0

    def next(self) -> tuple[int, str | None] | None:
        """The next line and its number, None at the end."""
        if self._back:
            return self._back.pop()
        for line in self._source:
            self._number += 1
            return self._number, line
        return None

    def take_back(self, lines: list[tuple[int, str | None]]) -> None:
        """Gives these out again, in their order."""
        self._back.extend(reversed(lines))


def _csv_rows(file: ListFile) -> Rows:
    """A table with a header line; without one (a URL stands in the first line) columns are called 1, 2, …"""
    with _text_of(file.stream, newline="") as text:
        yield from _csv_rows_of(file.name, _Lines(text))


def _csv_rows_of(file: str, lines: _Lines) -> Rows:
    first = list(islice(iter(lines.next, None), _SNIFFED_LINES))
    lines.take_back(first)
    delimiter = sniff_delimiter([text for _, text in first if text], "\t" if ".tsv" in file.lower() else ",")
    names: list[str] = []
    for parsed in _csv_fields(lines, delimiter, names):
        if isinstance(parsed, BadRow):
            yield parsed
        elif not names:
            names += _column_names(file, parsed[1])
            if any(map(begins_like_url, parsed[1])):
                yield Row(parsed[0], dict(zip(names, parsed[1], strict=True)))
        else:
            yield Row(parsed[0], {name: value or None for name, value in zip(names, parsed[1], strict=True)})


def _column_names(file: str, header: list[str]) -> list[str]:
    if any(map(begins_like_url, header)):
        return [str(place) for place in range(1, len(header) + 1)]
    names = [clean_text(name).strip() for name in header]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"{file}: two columns are called {repeated[0]!r}; column names must differ")
    return names


def _csv_fields(lines: _Lines, delimiter: str, names: Sequence[str]) -> Iterator[tuple[int, list[str]] | BadRow]:
    """(line, fields) of every row; one whose quotes do not end, or that has not as many fields as names, is bad.

    Args:
        names: of the columns; empty until the first row was given out.
    """
    while (taken := lines.next()) is not None:
        number, text = taken
        if text is None:
            yield BadRow(number, _TOO_LONG)
            continue
        if not text.strip("\0 \r\n"):
            continue
        quoted = _Quoted(lines)
        try:
            fields = next(csv.reader(quoted.beginning_with(text), delimiter=delimiter))
            problem = "a quote does not end" if quoted.ended or quoted.swallowed_row(delimiter, names) else ""
        except csv.Error as error:
            problem = str(error)
        if not problem and names and len(fields) != len(names):
            problem = f"{len(fields)} fields, the header has {len(names)}"
        if problem:
            # What looked like the rest of a quoted field gets another chance as rows.
            lines.take_back(quoted.taken)
            yield BadRow(number, problem)
        else:
            yield number, fields


class _Quoted:
    """The lines of one row of CSV; its reader asks for another only within quotes."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self.taken: list[tuple[int, str | None]] = []
        self.ended = False

    def beginning_with(self, text: str) -> Iterator[str]:
        yield text
        while len(self.taken) < MAX_QUOTED_LINES and (more := self._lines.next()) is not None:
            self.taken.append(more)
            yield more[1] or ""
        self.ended = True

    def swallowed_row(self, delimiter: str, names: Sequence[str]) -> bool:
        """Whether one of the further lines is a row of its own, with a URL: then the quote was none."""
        for _, text in self.taken:
            fields = next(csv.reader((text or "",), delimiter=delimiter), [])
            if len(fields) == len(names) and any(begins_like_url(value) for value in fields):
                return True
        return False


def _jsonl_rows(file: ListFile) -> Rows:
    """One object or one URL a line."""
    with _text_of(file.stream) as text:
        for number, line in enumerate(_lines(text), 1):
            if line is None:
                yield BadRow(number, _TOO_LONG)
            elif not line.isspace():
                value, error = parsed_json(line)
                yield BadRow(number, error) if error else _json_row(number, value)


def _json_row(number: int, value: Any) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(number, value)
    if isinstance(value, str):
        return Row(number, {"url": value})
    return BadRow(number, f"an object or a URL is wanted, not {type(value).__name__}")


def _json_rows(file: ListFile) -> Rows:
    """A list of objects or URLs, alone or as the one list in an object, or columns as pandas has them; read whole."""
    try:
        with _text_of(file.stream) as text:
            content = json.load(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file.name} is no JSON: {error}") from None
    rows = _json_list(content) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        what = "a list of objects or URLs is wanted, an object with one such list, or columns of equal length"
        raise ConfigError(f"{file.name}: {what}")
    for number, value in enumerate(rows, 1):
        yield _json_row(number, value)


def _json_list(content: Mapping[str, Any]) -> list[Any] | None:
    """The rows in an object: its columns (lists, or objects of row numbers), or its one list; None without either."""
    columns = {
        name: list(value.values()) if isinstance(value, dict) and value and all(map(str.isdecimal, value)) else value
        for name, value in content.items()
    }
    if len(columns) > 1 and all(isinstance(values, list) for values in columns.values()):
        plain = not any(isinstance(value, dict | list) for values in columns.values() for value in values)
        if plain and len({len(values) for values in columns.values()}) == 1:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lists = {name: value for name, value in columns.items() if isinstance(value, list)}
    named = next((lists[name] for name in _JSON_NAMES if name in lists), None)
    return named if named is not None else next(iter(lists.values())) if len(lists) == 1 else None


def _parquet_rows(file: ListFile) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file.stream) as table:
            for batch in table.iter_batches(BATCH_ROWS):
                readable = pa.schema([field.with_type(_readable(field.type)) for field in batch.schema])
                if readable != batch.schema:
                    batch = batch.cast(readable, safe=False)
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except pa.ArrowException as error:
        raise ConfigError(f"{file.name} cannot be read as parquet: {error}") from None


_READERS: dict[str, Callable[[ListFile], Rows]] = {
    "text": _text_rows,
    "csv": _csv_rows,
    "json": _json_rows,
    "jsonl": _jsonl_rows,
    "parquet": _parquet_rows,
}


def peeked(rows: Rows, count: int) -> tuple[list[Row], Rows]:
    """The good ones among the first rows, and all of them."""
    first = list(islice(rows, count))
    return [row for row in first if isinstance(row, Row)], _chained(first, rows)


def _chained(first: list[Row | BadRow], rows: Rows) -> Rows:
    yield from first
    yield from rows
