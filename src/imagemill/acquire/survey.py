"""A first pass over a list: how many URLs, which come twice, what the further columns hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.acquire.url_list import BadLine, Beginning, Entry, UrlList, as_text
from imagemill.core.files import atomic_write, file_digest
from imagemill.errors import ConfigError
from imagemill.sources.table_files import ARROW_TYPES, Kind, kind_of_texts, kind_of_type, kind_of_value, merge_kinds

IntArray = npt.NDArray[np.int64]

BATCH_ROWS = 4096
HASH_BYTES = 16
HOSTS_COUNTED = 100_000
"""Hosts that are counted one by one; the URLs of all others together."""

LIST_CHANGED = "the list was changed while it was being fetched: the same command goes on with what it is now"

_BUCKET_ROWS = 1 << 22
_HASHES, _BAD_LINES, _RECORD, _COLUMNS = "urls.hashes", "bad-lines.jsonl", "list.json", "columns.arrow"


def url_hash(url: str) -> bytes:
    """xxh3-128 of a URL as given: so few bytes that two URLs of a billion do not meet (p < 1e-20)."""
    return xxhash.xxh3_128_digest(url.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Survey:
    """What a list holds.

    Args:
        folder: where its files lie.
        identity: of the list (`UrlList.identity`).
        first: number of the first URL; what was skipped before it.
        urls: how many there are.
        bad_lines: lines without a usable URL.
        hosts: the most frequent hosts with their URLs.
        further: the list's further columns, and the types they have in the index.
    """

    folder: Path
    identity: str
    first: int
    urls: int
    bad_lines: int
    hosts: Mapping[str, int]
    further: pa.Schema

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """`url_hash` of every URL in the list's order, uint64, shape (urls, 2), mapped."""
        if not self.urls:
            return np.empty((0, 2), np.uint64)
        return np.memmap(self.folder / _HASHES, np.uint64, "r", shape=(self.urls, 2))

    def check(self, entry: Entry) -> None:
        """Makes sure that the list is still the one that was surveyed.

        Raises:
            ConfigError: the URL of that number was another one.
        """
        if entry.number - self.first >= self.urls or self.hash_of(entry.number) != url_hash(entry.url):
            raise ConfigError(
                "the list was changed while it was being fetched: the same command goes on with the new one"
            )

    def hash_of(self, number: int) -> bytes:
        """`url_hash` of the URL with this number."""
        start = (number - self.first) * HASH_BYTES
        return bytes(self._bytes[start : start + HASH_BYTES])

    @cached_property
    def _bytes(self) -> memoryview:
        return np.asarray(self.hashes).view(np.uint8).reshape(-1).data

    def repeats(self) -> Repeats:
        """Which URLs come again, and where they come first."""
        return find_repeats(self.hashes)

    def bad(self) -> Iterator[BadLine]:
        """The bad lines."""
        with open(self.folder / _BAD_LINES, encoding="utf-8") as file:
            for line in file:
                yield BadLine(*json.loads(line))


@dataclass(frozen=True)
class Repeats:
    """Rows whose URL came before.

    Args:
        rows: int64, ascending, 0 for the survey's first URL.
        firsts: for each the row of the same URL's first coming.
    """

    rows: IntArray
    firsts: IntArray

    def first_of(self, start: int, stop: int) -> dict[int, int]:
        """{row: first row} for the repeats from start up to stop."""
        low, high = np.searchsorted(self.rows, [start, stop])
        return dict(zip(self.rows[low:high].tolist(), self.firsts[low:high].tolist(), strict=True))


def find_repeats(hashes: npt.NDArray[np.uint64]) -> Repeats:
    """Rows whose hash came before, in memory for 4 million rows at a time."""
    rows, firsts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    buckets = -(-len(hashes) // _BUCKET_ROWS) or 1
    for bucket in range(buckets):
        members = np.flatnonzero(hashes[:, 0] % buckets == bucket) if buckets > 1 else np.arange(len(hashes))
        own = hashes[members]
        order = np.lexsort((own[:, 1], own[:, 0]))
        ordered = own[order]
        again = np.concatenate([[False], (ordered[1:] == ordered[:-1]).all(axis=1)])[: len(own)]
        beginning = np.maximum.accumulate(np.where(again, 0, np.arange(len(own))))
        rows.append(members[order[again]])
        firsts.append(members[order[beginning[again]]])
    all_rows, all_firsts = np.concatenate(rows), np.concatenate(firsts)
    order = np.argsort(all_rows)
    return Repeats(all_rows[order], all_firsts[order])


def survey(urls: UrlList, folder: Path) -> Survey:
    """Passes over the list once and keeps what it finds in the folder; an earlier survey of the same list is reused.

    Raises:
        ConfigError: the list cannot be read, or has neither a URL nor a bad line.
    """
    identity = urls.identity()
    earlier = _earlier(folder)
    if earlier is not None and earlier.identity == identity:
        return earlier
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _RECORD).unlink(missing_ok=True)
    columns, hosts = FurtherColumns(), HostCounts()
    count = bad_lines = 0
    with open(folder / _HASHES, "wb") as hashes, open(folder / _BAD_LINES, "w", encoding="utf-8") as bad:
        for item in urls.items():
            if isinstance(item, Entry):
                hashes.write(url_hash(item.url))
                hosts.add(item.url)
                columns.add(item.further)
                count += 1
            elif isinstance(item, BadLine):
                bad.write(json.dumps(item) + "\n")
                bad_lines += 1
            else:
                columns.begin(item)
    if not count and not bad_lines:
        raise ConfigError(f"{urls.path} has no URLs{' from --skip on' if urls.options.skip else ''}")
    further = columns.schema()
    (folder / _COLUMNS).write_bytes(further.serialize().to_pybytes())
    record = {"identity": identity, "first": urls.options.skip, "urls": count, "bad_lines": bad_lines}
    record |= {"hosts": hosts.most(), "digests": _digests(folder)}
    atomic_write(folder / _RECORD, json.dumps(record).encode(), durable=False)
    return Survey(folder, identity, urls.options.skip, count, bad_lines, hosts.most(), further)


def _earlier(folder: Path) -> Survey | None:
    """What an earlier run found. Nothing of it was synced: what a power cut left of it is told by its digests."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        if record.pop("digests", None) != _digests(folder):
            return None
        further = pa.ipc.read_schema(pa.py_buffer((folder / _COLUMNS).read_bytes()))
    except (FileNotFoundError, ValueError):
        return None
    return Survey(folder=folder, further=further, **record)


def _digests(folder: Path) -> list[str]:
    return [file_digest(folder / name) for name in (_HASHES, _BAD_LINES, _COLUMNS)]


class HostCounts:
    """URLs a host, for so many hosts as fit into memory."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._others = 0

    def add(self, url: str) -> None:
        """Counts the host of a URL."""
        host = host_of(url)
        if host in self._counts or len(self._counts) < HOSTS_COUNTED:
            self._counts[host] += 1
        else:
            self._others += 1

    def most(self, count: int = 20) -> dict[str, int]:
        """The most frequent hosts."""
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:count])


def host_of(url: str) -> str:
    """Host and port of a URL as written, in lower case, without what stands before an @."""
    after = url.partition("://")[2]
    for end in "/?#":
        after = after.partition(end)[0]
    return after.rpartition("@")[2].lower()


class FurtherColumns:
    """What the further columns of a list hold: as Parquet says, else as the values are."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._types: dict[str, pa.DataType | None] = {}
        self._pending: list[Mapping[str, Any]] = []
        self._typed = self._all_text = False

    def begin(self, file: Beginning) -> None:
        """A file begins."""
        self._flush()
        self._typed, self._all_text = bool(file.types), file.kind == "csv"
        for name, kind in file.types.items():
            if name in file.columns:
                continue
            known = self._types.get(name, kind)
            self._types[name] = kind if kind == known else None
            self._kinds[name] = merge_kinds(self._kinds.get(name, "none"), kind_of_type(kind))

    def add(self, further: Mapping[str, Any]) -> None:
        """A row of the file."""
        if self._typed or not further:
            return
        self._pending.append(further)
        if len(self._pending) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        names = dict.fromkeys(name for row in self._pending for name in row)
        for name in names:
            values = [value for row in self._pending if (value := row.get(name)) is not None]
            self._types[name] = None
            kind = self._kinds.get(name, "none")
            if self._all_text:
                kind = merge_kinds(kind, kind_of_texts(pa.array(values, pa.string())))
            else:
                for value in values:
                    kind = merge_kinds(kind, kind_of_value(value))
            self._kinds[name] = kind
        self._pending.clear()

    def schema(self) -> pa.Schema:
        """The columns with their types; what is neither text, number nor list of numbers becomes JSON."""
        self._flush()
        types = {name: self._types[name] or ARROW_TYPES.get(kind, pa.string()) for name, kind in self._kinds.items()}
        return pa.schema(types)


def column_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values of a further column, from whatever file, as an array of its type."""
    if pa.types.is_string(kind):
        return pa.array([None if value is None else as_text(value) for value in values], kind)
    if pa.types.is_int64(kind):
        return pa.array([None if value is None else int(value) for value in values], kind)
    if pa.types.is_float64(kind):
        return pa.array([None if value is None else float(value) for value in values], kind)
    return pa.array(values, kind)
