"""A finished dataset, open for reading: manifest, indices, readers, and the digest of every value."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from imagemill.core.manifest import Manifest, ShardInfo
from imagemill.core.remote import Place, RemoteFolder, place_of
from imagemill.core.sample import Buffer, Row, digest
from imagemill.core.schema import Schema
from imagemill.errors import ConfigError, DigestError, ShardError
from imagemill.formats import FORMATS
from imagemill.formats.base import Buffers, Reader
from imagemill.formats.index import Index
from imagemill.native import address
from imagemill.native.samples import ADDRESSES

if TYPE_CHECKING:
    from imagemill.formats.cache import ShardCache

Verify = Literal["first", "always", "never"]

OPEN_FILES = 512
"""Files of shards kept open at a time: each may hold a descriptor, and 1024 is a common limit."""


class Columns(NamedTuple):
    """Where the values of a shard lie in memory.

    Args:
        addresses: uint64, shape (fields + 1, `imagemill.native.samples.ADDRESSES`), the keys last.
        kept: what must stay alive for that.
    """

    addresses: npt.NDArray[np.uint64]
    kept: tuple[Buffers, ...]


class OpenShard:
    """One shard with its index: every value is checked against its digest.

    Raises:
        ShardError: a file is missing or has another size, or the structure cannot be read.
    """

    def __init__(self, folder: Path, info: ShardInfo, schema: Schema, format_name: str, verify: Verify) -> None:
        self.info = info
        self.schema = schema
        self._verify = verify
        check_sizes(folder, info)
        self.index = Index(folder, info.index, info.name, info.count)
        self.reader: Reader = FORMATS.get(format_name).open(data_path(folder, info), schema, info.count)
        self._checked = {name: np.zeros(info.count, np.bool_) for name in schema.names}
        self._digests = {name: self.index.numbers(f"digest.{name}") for name in schema.names}

    def read(self, rows: Sequence[int], fields: Sequence[str] | None = None) -> list[Row]:
        """These rows, digests checked as `verify` says.

        Raises:
            DigestError: a value's bytes are not those that were written; names the sample.
            ShardError: the structure of the shard is damaged there.
        """
        names = self.schema.names if fields is None else tuple(fields)
        values = self.reader.read(rows, names)
        if self._verify != "never":
            self.check(rows, values, names)
        return self._rows(rows, values, names)

    def check(self, rows: Sequence[int], values: Sequence[Mapping[str, Buffer]], names: Sequence[str]) -> None:
        """Compares values with their digests; under "first" each value once."""
        for name in names:
            digests, checked = self._digests[name], self._checked[name]
            for row, value in zip(rows, values, strict=True):
                if self._verify == "first" and checked[row]:
                    continue
                if digest(value[name]) != int(digests[row]):
                    raise DigestError(self.info.name, self.index.strings("key", [row])[0], name)
                checked[row] = True

    @cached_property
    def columns(self) -> Columns | None:
        """Where all values lie, for the native core; None where the format has one in pieces or packed."""
        addresses = np.zeros((len(self.schema) + 1, ADDRESSES), np.uint64)
        kept: list[Buffers] = []
        for place, name in enumerate((*self.schema.names, None)):
            buffers = self.index.texts("key") if name is None else self.reader.buffers(name)
            if buffers is None:
                return None
            starts, lengths = (np.ascontiguousarray(each, np.int64) for each in (buffers.starts, buffers.lengths))
            kept.append(Buffers(buffers.values, starts, lengths))
            addresses[place, :3] = [address(each) for each in (buffers.values, starts, lengths)]
            if name is not None:
                addresses[place, 3:] = address(self._digests[name]), address(self._checked[name])
        return Columns(addresses, tuple(kept))

    def _rows(self, rows: Sequence[int], values: Sequence[Mapping[str, Buffer]], names: Sequence[str]) -> list[Row]:
        index, files = self.index, [name for name in names if self.schema[name].is_file]
        origins = {name: index.strings(f"origin.{name}", rows) for name in files}
        heights = {name: index.numbers(f"height.{name}") for name in files}
        widths = {name: index.numbers(f"width.{name}") for name in files}
        texts = zip(index.strings("key", rows), index.strings("notes", rows), strict=True)
        return [
            Row(
                key=key,
                values=value,
                origins={name: origins[name][number] for name in files},
                digests={name: self._digests[name].item(row) for name in names},
                notes=notes,
                sides={name: (heights[name].item(row), widths[name].item(row)) for name in files},
            )
            for number, (row, value, (key, notes)) in enumerate(zip(rows, values, texts, strict=True))
        ]

    def close(self) -> None:
        """Lets go of the files."""
        self.reader.close()


def check_sizes(folder: Path, info: ShardInfo) -> None:
    """Every file of the shard is there and has the length that the manifest says.

    Raises:
        ShardError: it is not; a truncated file is never mapped.
    """
    for file in (*info.files, info.index):
        try:
            size_bytes = os.stat(folder / file.path).st_size
        except OSError as error:
            raise ShardError(info.name, f"{file.path} cannot be opened: {error.strerror}") from None
        if size_bytes != file.size_bytes:
            raise ShardError(info.name, f"{file.path} has {size_bytes} bytes, the manifest says {file.size_bytes}")


def data_path(folder: Path, info: ShardInfo) -> Path:
    """A shard's path without suffix, as formats want it."""
    return folder / "data" / info.name


class Store:
    """A finished dataset. Opening reads the manifest only; shards are opened when first read.

    Picklable and safe after a fork: another process opens its own files. Safe from threads.

    Args:
        folder: the dataset folder, or its URL; shards of a URL come through the cache on this disk.
        verify: check digests at the first read of a value in this process, always, or never.
        cache_limit: bytes ("50GB") that cached shards of all URLs may take; None is `IMAGEMILL_CACHE_LIMIT` or 64 GB.

    Raises:
        ConfigError: no finished dataset there, or an unknown `verify`.
        DamageError: the manifest cannot be read.
        RemoteError: the URL refuses or cannot be reached; also on reading.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | RemoteFolder,
        *,
        verify: Verify = "first",
        cache_limit: int | str | None = None,
    ) -> None:
        if verify not in get_args(Verify):
            raise ConfigError(f"verify {verify!r} is none of {', '.join(get_args(Verify))}")
        self.folder: Place = place_of(folder)
        self.verify: Verify = verify
        self.manifest = Manifest.load(self.folder)
        self._shards: Path | ShardCache = self.folder if isinstance(self.folder, Path) else self._cache(cache_limit)
        self._prepare()

    def _cache(self, limit: int | str | None) -> ShardCache:
        from imagemill.formats.cache import ShardCache  # locks and all: 80 ms that datasets on this disk do without

        assert not isinstance(self.folder, Path)
        return ShardCache(self.folder, self.manifest, limit)

    def _prepare(self) -> None:
        self.schema = self.manifest.schema
        self._infos: dict[str, tuple[ShardInfo, ...]] = {}
        self._starts: dict[str, npt.NDArray[np.int64]] = {}
        for split, shards in self.manifest.splits.items():
            self._add_split(split, shards)
        self._open: OrderedDict[str, OpenShard] = OrderedDict()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "verify": self.verify, "manifest": self.manifest, "_shards": self._shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _add_split(self, name: str, shards: Sequence[ShardInfo]) -> None:
        self._infos[name] = tuple(shards)
        self._starts[name] = np.cumsum([0, *(shard.count for shard in shards)], dtype=np.int64)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the manifest's order."""
        return tuple(self.manifest.splits)

    def shards(self, split: str) -> tuple[ShardInfo, ...]:
        """Shards of a split, or of several joined by `+` (`fold-1+fold-2`), one after the other.

        Raises:
            ConfigError: no such split; the message lists them with their counts.
        """
        self.count(split)
        return self._infos[split]

    def count(self, split: str) -> int:
        """Samples in a split, or in several joined by `+`.

        Raises:
            ConfigError: no such split; the message lists them with their counts.
        """
        if split not in self._starts and "+" in split:
            parts = split.split("+")
            if len(set(parts)) != len(parts):
                raise ConfigError(f"split {split!r} names one split twice")
            self._add_split(split, [shard for part in parts for shard in self.shards(part)])
        if split not in self._starts:
            known = ", ".join(f"{name} ({self.manifest.count(name)})" for name in self.splits)
            raise ConfigError(f"no split {split!r} in {self.folder}; it has {known}")
        return int(self._starts[split][-1])

    def shard(self, split: str, number: int) -> OpenShard:
        """Shard `number` of a split, opened if it is not, fetched before if it lies elsewhere."""
        info = self.shards(split)[number]
        if os.getpid() != self._pid:
            self._prepare()
        if isinstance(self._shards, Path):
            return self._opened(info, self._shards)
        return self._cached(info, self._shards)

    def opened(self, split: str, numbers: Sequence[int]) -> list[OpenShard]:
        """Several shards of a split, as `shard` gives them: a fifth of its cost for each that is open already."""
        infos = self.shards(split)
        found: list[OpenShard | None] = [None] * len(numbers)
        if os.getpid() == self._pid:
            with self._lock:
                for place, number in enumerate(numbers):
                    name = infos[number].name
                    if name in self._open:
                        found[place] = self._open[name]
                        self._open.move_to_end(name)
        if not isinstance(self._shards, Path):
            for shard in found:
                if shard is not None:
                    self._shards.touch(shard.info)
        pairs = zip(numbers, found, strict=True)
        return [self.shard(split, number) if shard is None else shard for number, shard in pairs]

    def index(self, split: str, number: int) -> Index:
        """The index of a shard; of one that lies elsewhere nothing else is fetched."""
        info = self.shards(split)[number]
        if isinstance(self._shards, Path):
            return self.shard(split, number).index
        return self._shards.open(
            info, lambda folder: Index(folder, info.index, info.name, info.count), files=(info.index,)
        )

    def _cached(self, info: ShardInfo, cache: ShardCache) -> OpenShard:
        """A shard of a remote dataset; while it is fetched, others can be read, and fetched."""
        with self._lock:
            shard = self._open.get(info.name)
            if shard is not None:
                self._open.move_to_end(info.name)
                cache.touch(info)
                return shard
        shard = cache.open(info, lambda folder: self._opened(info, folder))
        with self._lock:
            # An evicted shard takes its space on the disk for as long as it is open.
            for other in [other for other in self._open.values() if not cache.has(other.info)]:
                del self._open[other.info.name]
        return shard

    def _opened(self, info: ShardInfo, folder: Path) -> OpenShard:
        with self._lock:
            shard = self._open.get(info.name)
            if shard is None:
                shard = OpenShard(folder, info, self.schema, self.manifest.format, self.verify)
                self._open[info.name] = shard
                if len(self._open) * len(info.files) > OPEN_FILES:
                    # Not closed: another thread may read it; the last reference lets it go.
                    self._open.popitem(last=False)
            self._open.move_to_end(info.name)
            return shard

    def locate(
        self, split: str, positions: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard numbers and rows of positions in a split.

        Args:
            positions: in [0, count).

        Returns:
            int64 shard numbers and int64 rows within them, each of shape (len(positions),).

        Raises:
            IndexError: a position outside the split.
        """
        count = self.count(split)
        wanted = np.asarray(positions, np.int64)
        if np.count_nonzero(wanted.view(np.uint64) >= count):  # a third of the time of min and max
            raise IndexError(
                f"positions must lie in [0, {count}) of split {split!r}, got {wanted.min()}–{wanted.max()}"
            )
        starts = self._starts[split]
        shards = starts.searchsorted(wanted, side="right") - 1
        return shards.astype(np.int64, copy=False), wanted - starts[shards]

    def read(self, split: str, positions: Sequence[int], fields: Sequence[str] | None = None) -> list[Row]:
        """Rows at these positions of a split, in the order asked for, digests checked.

        Raises:
            IndexError: a position outside the split.
            DigestError: a damaged value; names the sample.
            ShardError: a missing or damaged shard.
        """
        shards, rows = self.locate(split, positions)
        if len(shards) == 1:
            return self.shard(split, int(shards[0])).read([int(rows[0])], fields)
        result: list[Row | None] = [None] * len(shards)
        for number in np.unique(shards):
            places = np.flatnonzero(shards == number)
            found = self.shard(split, int(number)).read(rows[places].tolist(), fields)
            for place, row in zip(places.tolist(), found, strict=True):
                result[place] = row
        return [row for row in result if row is not None]

    def rows(self, split: str, fields: Sequence[str] | None = None, *, block: int = 64) -> Iterator[Row]:
        """All rows of a split, in order, a few at a time."""
        for number, info in enumerate(self.shards(split)):
            shard = self.shard(split, number)
            for start in range(0, info.count, block):
                yield from shard.read(range(start, min(start + block, info.count)), fields)

    def close(self) -> None:
        """Closes every open shard."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def shards_of(manifest: Manifest) -> Iterator[tuple[str, int, ShardInfo]]:
    """(split, number, shard) of every shard of a dataset."""
    for split, shards in manifest.splits.items():
        for number, info in enumerate(shards):
            yield split, number, info


__all__ = ["OpenShard", "Store", "Verify", "check_sizes", "data_path", "shards_of"]
