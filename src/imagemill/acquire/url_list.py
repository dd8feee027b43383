"""A list of URLs as a stream of entries, whatever it is written in: never in memory as a whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import quote

from imagemill.acquire.list_files import (
    TAR_SUFFIXES,
    ListFile,
    content_sha256,
    is_list_name,
    list_files,
    list_paths,
    plain_name,
)
from imagemill.acquire.list_rows import BadRow, Row, begins_like_url, clean_text, peeked, rows_of, types_of
from imagemill.acquire.urls import MAX_URL_LENGTH, BadUrl, locate, shown
from imagemill.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

URL_NAMES = (
    "url",
    "urls",
    "imageurl",
    "imgurl",
    "photoimageurl",
    "contenturl",
    "originalurl",
    "cocourl",
    "flickrurl",
    "downloadurl",
    "fileurl",
    "image",
    "img",
    "link",
    "href",
    "src",
    "uri",
)
"""Of several columns with URLs the first of these is taken; names count without case, `_`, `-` and spaces."""

CAPTION_NAMES = ("caption", "captions", "text", "alttext", "alt")
ID_NAMES = ("id", "imageid", "key", "uid")
_SAMPLE_ROWS = 100
_SHOWN_CHARACTERS = 60
_PLAIN_URL = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(:([1-9][0-9]{0,3}|[1-5][0-9]{4}))?/", re.IGNORECASE)
"""What need not be taken apart to know that it can be: 20 us less a row."""
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class ListOptions:
    """How a list is read.

    Args:
        url_column: column of a table with the URLs; None takes the one whose values are URLs.
        id_column: column with a name for each image; None guesses by name.
        caption_column: column with text; None guesses by name.
        skip: so many URLs at the beginning are left out.
        count: so many are taken at most; None is all.
    """

    url_column: str | None = None
    id_column: str | None = None
    caption_column: str | None = None
    skip: int = 0
    count: int | None = None

    def __post_init__(self) -> None:
        if self.skip < 0 or (self.count is not None and self.count < 1):
            raise ConfigError(f"skip must be 0 or more, count 1 or more; got {self.skip} and {self.count}")


class Columns(NamedTuple):
    """Columns with a meaning of their own."""

    url: str
    id: str | None
    caption: str | None


class Beginning(NamedTuple):
    """A file of the list begins: its name, its kind (`KINDS`), its columns, and their types where it says so."""

    name: str
    kind: str
    columns: Columns
    types: Mapping[str, pa.DataType]


class Entry(NamedTuple):
    """A URL of the list.

    Args:
        number: its place among all URLs of the list, from 0; skipped ones count.
        url: as given; it may hold secrets.
        id: the name that the list gives it, or None.
        caption: its text, or None.
        further: {column: value} of what else the list says.
    """

    number: int
    url: str
    id: str | None
    caption: str | None
    further: Mapping[str, Any]


class BadLine(NamedTuple):
    """A line that has no usable URL: where it stands, and what is wrong, fit to be shown."""

    place: str
    detail: str


Item: TypeAlias = Beginning | Entry | BadLine
TEXT_COLUMNS = Columns("url", "id", None)


@dataclass(frozen=True)
class UrlList:
    """A list of URLs on disk.

    Args:
        path: a file (text, CSV, TSV, JSON, JSON Lines, Parquet; compressed; in a tar), or a folder of such.
        options: how it is read.
    """

    path: Path
    options: ListOptions = field(default_factory=ListOptions)

    def identity(self) -> str:
        """Two lists of equal identity have equal entries: sha256 over the files and the options.

        Raises:
            ConfigError: there is no such list.
        """
        content = content_sha256(list_paths(self.path))
        return hashlib.sha256(json.dumps([content, asdict(self.options)]).encode()).hexdigest()

    def items(self) -> Iterator[Item]:
        """Every URL from `skip` on, `count` at most, and the bad lines among them, in the list's order.

        Raises:
            ConfigError: a file is damaged, or no column has URLs.
        """
        first, end = self.options.skip, None if self.options.count is None else self.options.skip + self.options.count
        number = 0
        for path in list_paths(self.path):
            for file in list_files(path):
                for item in self._of_file(file):
                    if isinstance(item, Entry):
                        if number >= first:
                            yield item._replace(number=number)
                        number += 1
                        if number == end:
                            return
                    elif number >= first or isinstance(item, Beginning):
                        yield item

    def entries(self) -> Iterator[Entry]:
        """The URLs of `items`."""
        return (item for item in self.items() if isinstance(item, Entry))

    def _of_file(self, file: ListFile) -> Iterator[Item]:
        types = types_of(file)
        sample, rows = peeked(rows_of(file), _SAMPLE_ROWS)
        if not sample and not types:
            columns = TEXT_COLUMNS
        else:
            columns = find_columns(file, sample, list(types), self.options)
        yield Beginning(file.name, file.kind, columns, types)
        unit = "row" if file.kind in ("json", "parquet") else "line"
        for row in rows:
            place = f"{file.name}, {unit} {row.line}"
            yield BadLine(place, row.detail) if isinstance(row, BadRow) else _entry(row, columns, place)


def find_columns(file: ListFile, sample: Sequence[Row], names: Sequence[str], options: ListOptions) -> Columns:
    """Which columns of a list are what: as the options say, else by their values and names.

    Args:
        sample: the first rows.
        names: all columns, where they are known before the rows.

    Raises:
        ConfigError: a given column is not there, or none or several could be the URL.
    """
    given_columns = [
        name for name in (options.url_column, options.id_column, options.caption_column) if name is not None
    ]
    if file.kind == "text":
        if given_columns:
            raise ConfigError(f"{file.name} is a list of lines and has no columns such as {given_columns[0]!r}")
        return TEXT_COLUMNS
    names = list(dict.fromkeys([*names, *(name for row in sample for name in row.values)]))
    for given in given_columns:
        if given not in names:
            raise ConfigError(f"{file.name} has no column {given!r}; the columns are {', '.join(names)}")
    url = options.url_column or _url_column(file.name, sample, names)
    left = [name for name in names if name != url]
    return Columns(
        url,
        options.id_column or _named(left, ID_NAMES),
        options.caption_column or _named(left, CAPTION_NAMES),
    )


def _url_column(file: str, sample: Sequence[Row], names: Sequence[str]) -> str:
    with_urls = [name for name in names if any(_is_url(row.values.get(name)) for row in sample)]
    found = with_urls[0] if len(with_urls) == 1 else _named(with_urls or names, URL_NAMES)
    if found is None:
        there = f"columns with URLs are {', '.join(with_urls)}" if with_urls else f"the columns are {', '.join(names)}"
        raise ConfigError(f"{file}: --url-column must say which column has the URLs of the images; {there}")
    return found


def _is_url(value: object) -> bool:
    return isinstance(value, str) and begins_like_url(value.strip())


def _named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    plain = {re.sub(r"[\s_-]", "", name.lower()): name for name in reversed(names)}
    return next((plain[name] for name in wanted if name in plain), None)


def _entry(row: Row, columns: Columns, place: str) -> Entry | BadLine:
    given = row.values.get(columns.url)
    if not isinstance(given, str) or not (url := given.strip(" \t\r\n\"'`<>")):
        what = "is empty" if given is None or isinstance(given, str) else f"holds {type(given).__name__}, not text"
        return BadLine(place, f"column {columns.url!r} {what}")
    if not url.isascii():
        url = _ESCAPED_BYTE.sub(lambda match: quote(bytes([ord(match[0]) - 0xDC00]), safe=""), url)
        if clean_text(url) != url:
            return BadLine(place, "characters that no text has (lone surrogates)")
    if not _PLAIN_URL.match(url) or len(url) > MAX_URL_LENGTH:
        try:
            locate(url)
        except BadUrl as error:
            text = clean_text(shown(url))
            return BadLine(place, f"{error}: {text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''}")
    name = None if columns.id is None else row.values.get(columns.id)
    caption = None if columns.caption is None else row.values.get(columns.caption)
    further = {clean_text(key): _plain(value) for key, value in row.values.items() if key not in columns}
    return Entry(
        0, url, None if name is None else as_text(name), None if caption is None else as_text(caption), further
    )


def _plain(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value


def as_text(value: Any) -> str:
    """A value as text: text as it is, all else as JSON."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return clean_text(value)


def is_url_list(path: Path) -> bool:
    """Whether a file is a list of URLs rather than a table of files: its first rows have URLs, and none names a file.

    Archives and folders are not looked into.
    """
    from imagemill.sources.table_columns import PATH_NAMES  # whoever asks has tables imported anyway

    if not is_list_name(path.name) or not path.is_file() or Path(plain_name(path.name)).suffix.lower() in TAR_SUFFIXES:
        return False
    try:
        first = list(islice(UrlList(path).items(), _SAMPLE_ROWS))
    except ConfigError:
        return False
    columns = next((item.columns for item in first if isinstance(item, Beginning)), TEXT_COLUMNS)
    entries = [item for item in first if isinstance(item, Entry)]
    others = {name for entry in entries for name in entry.further} - {columns.url}
    return bool(entries) and others.isdisjoint(PATH_NAMES)
