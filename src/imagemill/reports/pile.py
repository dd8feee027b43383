"""What a report is about: a packed dataset or any source, as one table of rows and a way to read some of them.

The table has the columns of `imagemill.curate.table`; of a dataset that was not checked, those that its indices know.
Rows are Arrow columns throughout, so that a pile of millions needs no Python object a sample.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.manifest import Manifest
from imagemill.core.recipe import Recipe
from imagemill.core.remote import Place
from imagemill.core.sample import Row
from imagemill.core.schema import Schema
from imagemill.curate.table import COMPARED_COLUMNS, SAMPLE_COLUMNS, check_metadata
from imagemill.errors import ConfigError, SampleError
from imagemill.formats.store import Store
from imagemill.prepare.job import LISTING_NAME, take
from imagemill.prepare.planning import numbered
from imagemill.prepare.rows import RowMaker
from imagemill.sources.base import Scan, Source
from imagemill.sources.layout import NO_LABEL
from imagemill.sources.packed import label_field, read_labels

SHOWN_COLUMNS = ("height", "width", "format", "mode", "bits", "orientation", "brightness", "entropy", "sharpness")
"""Columns of an image field that a report says something of."""


def is_shown(column: str) -> bool:
    """Whether a report says something of a column of a table of checks; digests and hashes take most of the memory."""
    part, _, field = column.partition(".")
    return part in SHOWN_COLUMNS if field else column in (*SAMPLE_COLUMNS, *COMPARED_COLUMNS)


class Pile(ABC):
    """Rows of a pile, and what is known of it as a whole.

    Args:
        name: of its folder or file.
        schema: fields of every sample.
        table: a row a sample, by key; columns as `imagemill.curate.table` has them, perhaps not all.
        checks: what the table of checks says of itself; None where there is none.
        good: the rows of the table that no check rejected.
    """

    def __init__(self, name: str, schema: Schema, table: pa.Table, checks: Mapping[str, object] | None) -> None:
        self.name = name
        self.schema = schema
        self.table = table
        self.checks = checks

    @cached_property
    def good(self) -> pa.Table:
        if "reason" not in self.table.column_names:
            return self.table
        good = pc.equal(self.table["reason"], "")
        return self.table if pc.all(good).as_py() in (True, None) else self.table.filter(good)

    @abstractmethod
    def rows(self, keys: Sequence[str]) -> Iterator[tuple[str, Row | SampleError]]:
        """(key, row, or why there is none) of these samples, in the order of the pile.

        Raises:
            DamageError: a stored value is not what was written.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of files and of what was written for the time being."""


class DatasetPile(Pile):
    """A packed dataset, here or elsewhere.

    Args:
        place: folder or URL.
        checks: table of its check; None reads the indices only.

    Raises:
        ConfigError: no finished dataset there, or the checks are of another pile.
        DamageError: an index is damaged.
    """

    def __init__(self, place: Place, checks: pa.Table | None) -> None:
        self.store = Store(place)
        self.manifest: Manifest = self.store.manifest
        self._listing = _listing_of(self.store)
        name = place.resolve().name if isinstance(place, Path) else place.name
        if checks is None:
            super().__init__(name, self.store.schema, _indexed(self.store, self._listing), None)
            return
        table = _with_class_names(checks, self.store.schema)
        _refuse_other_checks(checks, self._listing["key"], name)
        super().__init__(name, self.store.schema, table, check_metadata(checks))

    def rows(self, keys: Sequence[str]) -> Iterator[tuple[str, Row | SampleError]]:
        """See `Pile.rows`."""
        for place in _found(self._listing["key"], keys):
            split = self._listing["split"][place].as_py()
            row = self.store.read(split, [self._listing["position"][place].as_py()])[0]
            yield row.key, row

    def close(self) -> None:
        """See `Pile.close`."""
        self.store.close()


class SourcePile(Pile):
    """Anything that can be packed.

    Args:
        source: the pile.
        checks: table of its check.
        work: new folder for the listing; it goes away with `close`.

    Raises:
        ConfigError: nothing to read there, or the checks are of another pile.
    """

    def __init__(self, source: Source, checks: pa.Table, work: Path) -> None:
        self.source = source
        work.mkdir()
        self._work = work
        self.scan: Scan = source.scan(work / LISTING_NAME)
        self._listing = self.scan.listing
        schema = Schema(tuple(numbered(field, self._listing) for field in self.scan.fields))
        # A dataset in Python lies nowhere.
        path: Path | None = source.path
        name = source.kind if path is None else path.resolve().name
        _refuse_other_checks(checks, self._listing["key"], name)
        super().__init__(name, schema, checks, check_metadata(checks))
        self._maker = RowMaker(schema, Recipe(decode="headers"))

    def rows(self, keys: Sequence[str]) -> Iterator[tuple[str, Row | SampleError]]:
        """See `Pile.rows`."""
        for listed in take(self._listing, _found(self._listing["key"], keys)).to_pylist():
            try:
                yield listed["key"], self._maker(self.source.read(listed))
            except SampleError as error:
                yield listed["key"], error

    def close(self) -> None:
        """See `Pile.close`."""
        shutil.rmtree(self._work, ignore_errors=True)


def _found(keys: pa.ChunkedArray, wanted: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where these keys lie; the table of hashes holds the few that are wanted, not all."""
    hits = pc.is_in(keys, value_set=pa.array(wanted, pa.string()))
    return np.flatnonzero(hits.to_numpy()).astype(np.int64)


def _with_class_names(table: pa.Table, schema: Schema) -> pa.Table:
    """The table with the names of classes that its source gives as numbers; -1 is no class."""
    field = label_field(schema)
    if field is None:
        return table
    given = table["label"]
    named = pc.if_else(pc.equal(given, str(NO_LABEL)), pa.scalar(None, pa.string()), given)
    if field.class_names is not None:
        numbers = pa.array([str(number) for number in range(len(field.class_names))], pa.string())
        named = pc.coalesce(pc.take(pa.array(field.class_names, pa.string()), pc.index_in(named, numbers)), named)
    return table.set_column(table.column_names.index("label"), "label", named)


def _refuse_other_checks(table: pa.Table, keys: pa.ChunkedArray, name: str) -> None:
    strangers = table.num_rows - int(pc.sum(pc.is_in(table["key"], value_set=keys)).as_py() or 0)
    if strangers or table.num_rows != len(keys):
        raise ConfigError(
            f"the checks are not of {name} as it is now: it has {len(keys):,} samples, the checks have "
            f"{table.num_rows:,}, {strangers:,} of them are not in it; run `imagemill check` again"
        )


def _listing_of(store: Store) -> pa.Table:
    """Key, split and position of every sample, from the indices."""
    keys, splits, positions = [], [], []
    for split, shards in store.manifest.splits.items():
        start = 0
        for number, info in enumerate(shards):
            keys.append(store.index(split, number).column("key"))
            splits.append(pa.array([split] * info.count, pa.string()))
            positions.append(np.arange(start, start + info.count, dtype=np.int64))
            start += info.count
    return pa.table(
        {
            "key": pa.chunked_array(keys, pa.string()),
            "split": pa.chunked_array(splits, pa.string()),
            "position": pa.array(np.concatenate([np.empty(0, np.int64), *positions])),
        }
    )


def _indexed(store: Store, listing: pa.Table) -> pa.Table:
    """What indices know of every sample, and its class where the dataset lies here."""
    shards = [(split, number) for split, infos in store.manifest.splits.items() for number in range(len(infos))]
    columns = {"key": listing["key"], "split": listing["split"]}
    names = ["notes"] + [
        f"{side}.{field.name}" for field in store.schema if field.is_file for side in ("height", "width")
    ]
    for name in names:
        columns[name] = pa.chunked_array([store.index(*shard).column(name) for shard in shards] or [pa.array([])])
    field = label_field(store.schema)
    if field is not None and isinstance(store.folder, Path):
        labels = [pa.array(map(str, read_labels(store.shard(*shard)) or ()), pa.string()) for shard in shards]
        table = pa.table({**columns, "label": pa.chunked_array(labels, pa.string())})
        return _with_class_names(table, store.schema)
    return pa.table({**columns, "label": pa.nulls(listing.num_rows, pa.string())})
