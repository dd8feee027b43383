"""Where every staged file goes, settled before the first one is written.

The plan is an Arrow table, a row a sample: the listing's columns, `split`, and an `out.NAME` column
(bytes, relative to OUT) for each file that the sample becomes. Names depend on the listing and the options
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.errors import ConfigError
from imagemill.prepare.exact import split_exactly
from imagemill.prepare.identity import listing_hashes, repeated
from imagemill.prepare.plan import UNASSIGNED, HashArray, split_by_hash
from imagemill.prepare.planning import ListedScan
from imagemill.prepare.stage_options import StageOptions, written_suffix
from imagemill.sources.image_files import suffix_of
from imagemill.sources.layout import split_named
from imagemill.sources.pairs import marker_of, without_marker
from imagemill.sources.walk import join, path_text

OUT = "out."
"""Prefix of the columns with the places of files in OUT."""

PATHS = {
    "folder": {"image": "path"},
    "pairs": {"before": "before", "after": "after"},
    "masks": {"image": "image", "mask": "mask"},
}
"""Kinds of sources that are folders of pictures and can become one again: field → column with its path."""

Splits = Sequence[str | None]
Names = Mapping[str, bytes]


@dataclass(frozen=True)
class Naming:
    """Names staged files.

    Args:
        kind: of the source, one of `PATHS`.
        options: what is asked for.
    """

    kind: str
    options: StageOptions

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that each sample becomes."""
        return ("before", "after") if self.options.grey_before else tuple(PATHS[self.kind])

    def origin(self, row: Mapping[str, Any], name: str) -> bytes:
        """Path in the source of what a file is made from."""
        columns = PATHS[self.kind]
        if self.options.grey_before:
            name = "after" if "after" in columns else "image"
        origin: bytes = row[columns[name]]
        return origin

    def names(self, row: Mapping[str, Any], split: str | None, number: int = 1) -> Names:
        """Where a sample's files go, relative to OUT.

        Args:
            row: of the listing.
            split: that it is dealt to; None beside the split folders.
            number: 1, or what tells it from other samples of the same name.
        """
        options = self.options
        told = b"" if number == 1 else b"-%d" % number
        folder = (split or "").encode() if options.deals else b""
        given = row["split"] if options.deals or options.restore else None
        return {
            name: join(folder, stem + told + marker + written_suffix(suffix, options, mask=name == "mask"))
            for name, (stem, marker, suffix) in self._parts(row, given).items()
        }

    def _parts(self, row: Mapping[str, Any], given: str | None) -> dict[str, tuple[bytes, bytes, bytes]]:
        """(stem with its folders, `_before` or `_after` or nothing, suffix) of each file."""
        paths = {name: _cut(_without_split(row[column], given)) for name, column in PATHS[self.kind].items()}
        if self.kind == "pairs":
            stem = _without_split(row["key"].encode(), given)
            halves = {name: paths["after" if self.options.grey_before else name][1] for name in paths}
            return {name: (stem, b"_" + name.encode(), suffix) for name, suffix in halves.items()}
        stem, suffix = paths["image"]
        folder, _, name = stem.rpartition(b"/")
        if self.options.grey_before:
            stem = join(folder, without_marker(name))
            return {half: (stem, b"_" + half.encode(), suffix) for half in ("before", "after")}
        marker = b"_before" if self.options.rename and marker_of(name) is None else b""
        return {field: (stem, marker if field == "image" else b"", end) for field, (stem, end) in paths.items()}


def write_plan(scan: ListedScan, naming: Naming, path: Path) -> list[str]:
    """Plans every sample of a scan, limited already, into an Arrow file.

    Returns:
        Remarks for the user.

    Raises:
        ConfigError: a split table that names none of these samples.
    """
    splits, remarks = _splits(scan, naming)
    numbers = _numbers(scan.listing, splits, naming)
    own = [field for field in scan.listing.schema if field.name != "split"]
    outs = [pa.field(OUT + name, pa.binary()) for name in naming.files]
    schema = pa.schema([*own, pa.field("split", pa.string()), *outs])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        start = 0
        for batch in scan.listing.to_batches(max_chunksize=65_536):
            part = splits[start : start + len(batch)]
            names = [
                naming.names(row, split, numbers.get(start + place, 1))
                for place, (row, split) in enumerate(zip(batch.to_pylist(), part, strict=True))
            ]
            arrays = [batch.column(field.name) for field in own] + [pa.array(part, pa.string())]
            arrays += [pa.array([entry[name] for entry in names], pa.binary()) for name in naming.files]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            start += len(batch)
    return remarks


def _splits(scan: ListedScan, naming: Naming) -> tuple[Splits, list[str]]:
    """The split of every row, and remarks."""
    listing, options = scan.listing, naming.options
    if options.split_table:
        return _splits_of_table(listing, naming)
    if not options.split:
        return listing["split"].to_pylist(), []
    names, shares = list(options.split), list(options.split.values())
    groups = listing_hashes(scan.listing_path, listing.num_rows).groups
    if options.split_counts == "exact":
        free = np.full(len(groups), UNASSIGNED, np.int16)
        numbers = split_exactly(groups, shares, options.seed, free)
    else:
        numbers = split_by_hash(groups, shares, options.seed)
    given = listing["split"].null_count < listing.num_rows
    remarks = ["--split given: the source's own splits are not used"] if given else []
    return [names[number] for number in numbers.tolist()], remarks


def _splits_of_table(listing: pa.Table, naming: Naming) -> tuple[Splits, list[str]]:
    column = next(iter(PATHS[naming.kind].values()))
    table = naming.options.split_table
    splits = [table.get(path_text(path)) for path in listing[column].to_pylist()]
    unknown = splits.count(None)
    if unknown == len(splits):
        raise ConfigError(
            f"the split table names none of the samples; theirs look like {path_text(listing[column][0].as_py())!r}"
        )
    remarks = [f"{unknown} samples are not in the split table: they go to no split's folder"] if unknown else []
    return splits, remarks


def _numbers(listing: pa.Table, splits: Splits, naming: Naming) -> dict[int, int]:
    """Row → number of the samples whose names another one has too, if by case alone: no file may cover another."""
    width = len(naming.files)
    named = (naming.names(row, split) for row, split in zip(_rows(listing), splits, strict=True))
    hashes = np.fromiter((_hash(name) for names in named for name in names.values()), np.uint64)
    rows: npt.NDArray[np.int64] = np.unique(repeated(hashes) // width)
    if not len(rows):
        return {}
    hashes.sort()
    given: set[int] = set()
    numbers = {}
    for row in rows.tolist():
        record = listing.slice(row, 1).to_pylist()[0]
        for number in count(1):
            own = {_hash(name) for name in naming.names(record, splits[row], number).values()}
            if not own & given and (number == 1 or not any(_holds(hashes, name) for name in own)):
                given |= own
                numbers[row] = number
                break
    return numbers


def _holds(ordered: HashArray, wanted: int) -> bool:
    """Whether a sorted array holds a number."""
    place = np.searchsorted(ordered, np.uint64(wanted))
    return bool(place < len(ordered) and ordered[place] == np.uint64(wanted))


def _rows(listing: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in listing.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def _hash(name: bytes) -> int:
    """Equal for names that are one file where case does not count."""
    return xxhash.xxh3_64_intdigest(path_text(name).casefold().encode())


def _without_split(path: bytes, split: str | None) -> bytes:
    """The path inside the split's folder, where the source has one."""
    first, _, rest = path.partition(b"/")
    return rest if split is not None and rest and split_named(path_text(first)) == split else path


def _cut(path: bytes) -> tuple[bytes, bytes]:
    """A path without its suffix, and the suffix as it is written, `.JPG`."""
    end = len(path) - len(suffix_of(path))
    return path[:end], path[end:]
