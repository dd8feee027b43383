"""An index of chunked folders, built once, kept in the cache, and never trusted blindly.

For every folder it holds the tiles' names and centres, and the moments at which the folder, its `centers.pt` and its
`tiles.json` last changed; a folder of which one is another now is read again, one that is gone is dropped. Paths are
relative to the set, and the cache may be deleted at any time. Nothing is written into the set, no pickle anywhere.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from imagemill.config import cache_dir
from imagemill.core.files import atomic_write
from imagemill.core.sample import Reject
from imagemill.datasets.pictures import REFERENCE_MARK, SUFFIXES
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.chunked import CENTERS_NAME, REFERENCE_NAME, TILES_NAME, read_chunk, tile_number

VERSION = 1
SCHEMA = pa.schema(
    {
        "folder": pa.string(),
        "stamps": pa.list_(pa.int64()),
        "names": pa.list_(pa.string()),
        "centers": pa.list_(pa.int32()),
        "group": pa.string(),
        "reference": pa.bool_(),
        "trouble": pa.string(),
    },
    metadata={"imagemill_chunk_index": str(VERSION)},
)
"""A row a folder; `centers` has (row, column, size) a tile, -1 where there is none; `trouble` why it cannot be used."""


class Tile(NamedTuple):
    """One tile of a set.

    Args:
        folder: number of its folder.
        path: of the tile.
        center: (row, column, size) in pixels of the reference; None where nothing is known.
        reference: path of the reference image, None where there is none.
    """

    folder: int
    path: str
    center: tuple[int, int, int] | None
    reference: str | None


class ChunkIndex:
    """The tiles of a chunked set, folder by folder in the order of their names; or images that lie in one folder.

    Args:
        root: the set.
        ignore_first: leaves out the first so many tiles of each folder.

    Attributes:
        rejects: folders that cannot be used, each with its reason.

    Raises:
        ConfigError: there are no tiles.
    """

    def __init__(self, root: str | os.PathLike[str], ignore_first: int = 0) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise ConfigError(f"{root} is no folder")
        table = fresh_table(self.root)
        usable = pc.and_(
            pc.equal(table["trouble"], ""),
            pc.greater(pc.list_value_length(table["names"]), ignore_first),
        )
        below = pc.and_(usable, pc.not_equal(table["folder"], ""))
        if pc.any(below).as_py():  # images beside folders of tiles are none
            usable = below
        bad = table.filter(pc.not_equal(table["trouble"], ""))
        self.rejects = tuple(
            Reject(folder, f"{folder}/{CENTERS_NAME}", *trouble.split(": ", 1))
            for folder, trouble in zip(bad["folder"].to_pylist(), bad["trouble"].to_pylist(), strict=True)
        )
        self._table = table.filter(usable)
        self._ignore_first = ignore_first
        counts = pc.list_value_length(self._table["names"]).to_numpy() - ignore_first
        self._ends = np.cumsum(counts, dtype=np.int64)
        if not len(self._ends):
            why = f"; {self.rejects[0].reason}: {self.rejects[0].detail}" if self.rejects else ""
            raise ConfigError(f"{root} holds no chunked folders with tiles, and no images{why}")
        # All folders' tiles in one row each, which is read from a hundred times as fast as a list of lists.
        self._starts = self._ends - counts + ignore_first * np.arange(1, len(counts) + 1)
        self._names = pc.list_flatten(self._table["names"]).combine_chunks()
        self._centers = pc.list_flatten(self._table["centers"]).to_numpy().reshape(-1, 3)
        self._folders = self._table["folder"].combine_chunks()
        self._references = self._table["reference"].to_numpy()
        self._last_base = -1, ""

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def folders(self) -> int:
        """Number of folders that have tiles."""
        return len(self._ends)

    def folder_name(self, folder: int) -> str:
        """Name of a folder, relative to the set."""
        return str(self._folders[folder])

    def folder_of(self, index: int) -> tuple[int, int]:
        """(folder, offset in it) of a tile."""
        folder = bisect_right(self._ends, index)
        return folder, index - (int(self._ends[folder - 1]) if folder else 0)

    def count(self, folder: int) -> int:
        """Tiles of a folder."""
        return int(self._ends[folder]) - (int(self._ends[folder - 1]) if folder else 0)

    def has_tiles(self, folder: int) -> bool:
        """Whether a folder tells places of tiles or has a reference, and does not just hold images."""
        start = int(self._starts[folder])
        return bool(self._references[folder]) or bool((self._centers[start : start + self.count(folder), 2] >= 0).any())

    def tile_name(self, folder: int, offset: int) -> str:
        """Name of a tile, relative to the set."""
        base, name = self.folder_name(folder), str(self._names[int(self._starts[folder]) + offset])
        return f"{base}/{name}" if base else name

    def tile(self, folder: int, offset: int) -> Tile:
        """A tile by its folder and place in it."""
        row, column, size = self._centers[int(self._starts[folder]) + offset].tolist()
        reference = os.path.join(self._base(folder), REFERENCE_NAME) if self._references[folder] else None
        center = (row, column, size) if size >= 0 else None
        return Tile(folder, self.tile_path(folder, offset), center, reference)

    def tile_path(self, folder: int, offset: int) -> str:
        """Where a tile lies."""
        return os.path.join(self._base(folder), self._names[int(self._starts[folder]) + offset].as_py())

    def _base(self, folder: int) -> str:
        last = self._last_base  # another thread may change it meanwhile
        if last[0] != folder:
            self._last_base = last = folder, os.path.join(self.root, *self._folders[folder].as_py().split("/"))
        return last[1]


def fresh_table(root: Path) -> pa.Table:
    """The index of a set as it is now; what has not changed comes from the cache."""
    cached = _cached(root)
    names = [] if cached is None else cached["folder"].to_pylist()
    earlier = {} if cached is None else dict(zip(names, cached["stamps"].to_pylist(), strict=True))
    places = {name: row for row, name in enumerate(names)}
    rows: list[dict[str, Any]] = []
    kept: list[int] = []
    changed = False
    order: list[tuple[str, int | None]] = []
    for name, stamps in _folders(root, earlier):
        if earlier.get(name) == stamps:
            kept.append(places[name])
            order.append((name, None))
        else:
            rows.append(_read_folder(root, name, stamps))
            order.append((name, len(rows) - 1))
            changed = True
    if cached is not None and not changed and len(kept) == cached.num_rows:
        return cached
    parts = [pa.Table.from_pylist(rows, SCHEMA)]
    if cached is not None and kept:
        parts.append(cached.take(kept))
    table = pa.concat_tables(parts).sort_by("folder").combine_chunks()
    _store(root, table)
    return table


def _folders(root: Path, earlier: Mapping[str, list[int]]) -> Iterator[tuple[str, list[int]]]:
    """(name relative to the set, stamps) of every folder that may hold tiles, below splits too; the set's own is "".

    Args:
        earlier: the same as they were; a folder that has not changed has the folders that it had, and is not listed.
    """
    below: dict[str, list[str]] = {}
    for name in earlier:
        below.setdefault(name.rpartition("/")[0], []).append(name)
    pending = [""]
    while pending:
        name = pending.pop()
        stamps = _stamps(os.path.join(root, name))
        if name and earlier.get(name, [None])[0] == stamps[0]:
            found = sorted(below.get(name, ()))
        else:
            with os.scandir(root / name) as entries:
                children = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
            found = [f"{name}/{child}" if name else child for child in children]
        pending += reversed(found)
        yield name, stamps


def _stamps(folder: str) -> list[int]:
    stamps = []
    for path in (folder, f"{folder}/{CENTERS_NAME}", f"{folder}/{TILES_NAME}"):
        try:
            status = os.stat(path)
            stamps += [status.st_mtime_ns, status.st_size if path is not folder else 0]
        except OSError:
            stamps += [-1, -1]
    return stamps


def _read_folder(root: Path, name: str, stamps: list[int]) -> dict[str, Any]:
    folder = root / name
    entries = sorted(os.listdir(folder))
    names = [entry for entry in entries if entry.lower().endswith(SUFFIXES) and REFERENCE_MARK not in entry]
    row = {"folder": name, "stamps": stamps, "names": names, "reference": REFERENCE_NAME in entries, "trouble": ""}
    try:
        chunk = read_chunk(folder)
    except SampleError as error:
        return row | {"centers": [-1] * 3 * len(names), "group": None, "trouble": f"{error.reason}: {error.detail}"}
    centers: list[int] = []
    for entry in names:
        number = tile_number(entry.encode())
        found = None if number is None or chunk.centers is None else chunk.centers.get(number)
        centers += (-1, -1, -1) if found is None else (*found[0], found[1])
    return row | {"centers": centers, "group": chunk.group}


def _cache_path(root: Path) -> Path:
    name = xxhash.xxh3_128_hexdigest(os.fsencode(root.resolve()))
    return cache_dir() / "chunks" / f"{name}.arrow"


def _cached(root: Path) -> pa.Table | None:
    """The index kept in the cache, mapped; None where there is none, or it cannot be read."""
    try:
        with pa.memory_map(str(_cache_path(root))) as file:
            table = pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException):
        return None
    return table if table.schema.equals(SCHEMA, check_metadata=True) else None


def _store(root: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    try:
        atomic_write(_cache_path(root), sink.getvalue(), durable=False)
    except OSError:
        # A cache that cannot be written costs time, nothing else.
        return
