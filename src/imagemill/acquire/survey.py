"""A first pass over a list: how many URLs, which come twice, what the further columns hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from imagemill.acquire.repeats import FEW, HASH_BYTES, Repeats, find_few_repeats, find_repeats
from imagemill.acquire.url_list import BadLine, Beginning, Entry, UrlList
from imagemill.core.files import atomic_write, file_digest
from imagemill.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from imagemill.acquire.further import FurtherColumns

HOSTS_COUNTED = 100_000
"""Hosts that are counted one by one; the URLs of all others together."""

LIST_CHANGED = "the list was changed while it was being fetched: the same command goes on with what it is now"

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
    """

    folder: Path
    identity: str
    first: int
    urls: int
    bad_lines: int
    hosts: Mapping[str, int]

    @staticmethod
    def load(folder: Path) -> Survey:
        """The one that was finished in a folder.

        Raises:
            FileNotFoundError, ValueError: none was.
        """
        record = json.loads((folder / _RECORD).read_bytes())
        del record["digests"]
        return Survey(folder=folder, **record)

    @cached_property
    def further(self) -> pa.Schema:
        """The list's further columns, and the types they have in the index."""
        import pyarrow as pa

        content = (self.folder / _COLUMNS).read_bytes()
        return pa.ipc.read_schema(pa.py_buffer(content)) if content else pa.schema({})

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """`url_hash` of every URL in the list's order, uint64, shape (urls, 2), mapped."""
        import numpy as np

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
        if not self.urls:
            return memoryview(b"")
        with open(self.folder / _HASHES, "rb") as file:
            return memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))

    def repeats(self) -> Repeats:
        """Which URLs come again, and where they come first."""
        return find_few_repeats(self._bytes) if self.urls <= FEW else find_repeats(self.hashes)

    def bad(self) -> Iterator[BadLine]:
        """The bad lines."""
        with open(self.folder / _BAD_LINES, encoding="utf-8") as file:
            for line in file:
                yield BadLine(*json.loads(line))


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
    columns, hosts = _Columns(), HostCounts()
    count = bad_lines = 0
    with open(folder / _HASHES, "wb") as hashes, open(folder / _BAD_LINES, "w", encoding="utf-8") as bad:
        for item in urls.items():
            if isinstance(item, Entry):
                hashes.write(url_hash(item.url))
                hosts.add(item.url)
                columns.add(item)
                count += 1
            elif isinstance(item, BadLine):
                bad.write(json.dumps(item) + "\n")
                bad_lines += 1
            else:
                columns.begin(item)
    if not count and not bad_lines:
        raise ConfigError(f"{urls.path} has no URLs{' from --skip on' if urls.options.skip else ''}")
    (folder / _COLUMNS).write_bytes(columns.schema())
    record = {"identity": identity, "first": urls.options.skip, "urls": count, "bad_lines": bad_lines}
    record |= {"hosts": hosts.most(), "digests": _digests(folder)}
    atomic_write(folder / _RECORD, json.dumps(record).encode(), durable=False)
    return Survey(folder, identity, urls.options.skip, count, bad_lines, hosts.most())


class _Columns:
    """The further columns of a list: nothing is imported for a list that has none."""

    def __init__(self) -> None:
        self._found: FurtherColumns | None = None
        self._file: Beginning | None = None

    def begin(self, file: Beginning) -> None:
        """A file begins."""
        self._file = file
        if self._found is not None or file.types:
            self._some().begin(file)

    def add(self, entry: Entry) -> None:
        """A row of the file."""
        if entry.further:
            self._some().add(entry.further)

    def _some(self) -> FurtherColumns:
        if self._found is None:
            from imagemill.acquire.further import FurtherColumns

            self._found = FurtherColumns()
            if self._file is not None:
                self._found.begin(self._file)
        return self._found

    def schema(self) -> bytes:
        """Names and types, as Arrow writes a schema; nothing where there are no such columns."""
        return b"" if self._found is None else self._found.schema().serialize().to_pybytes()


def _earlier(folder: Path) -> Survey | None:
    """What an earlier run found. Nothing of it was synced: what a power cut left of it is told by its digests."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        return Survey.load(folder) if record.get("digests") == _digests(folder) else None
    except (FileNotFoundError, ValueError):
        return None


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
