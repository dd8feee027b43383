"""What a table of checks says of the samples of a listing: which are near-duplicates, which are to be left out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.preference import ranks
from imagemill.curate.table import DUPLICATE_FLAGS, FILE_NAME, FLAGS, image_fields, read_checks
from imagemill.errors import ConfigError
from imagemill.prepare.units import NO_CLUSTER, ClusterArray, Mask

EXCLUDED = "excluded-"
"""Begins the reason code of a sample that `--exclude FLAG` left out: `excluded-dark`."""


_AGAIN = "Run `imagemill check SRC --out NEW` once more (only what is new is decoded) and give NEW as --checks"


@dataclass(frozen=True)
class Checked:
    """A table of checks, brought into the order of a listing.

    Args:
        clusters: int64, shape (rows,); equal numbers show the same picture, `NO_CLUSTER` is alone.
        left_out: row → the flag that it is left out for, and what there is to say about it.
        remarks: sentences for the user.
    """

    clusters: ClusterArray
    left_out: dict[int, tuple[str, str]]
    remarks: tuple[str, ...] = ()


def parse_flags(flags: str | Sequence[str]) -> tuple[str, ...]:
    """Names of flags as a person writes them, "dark,near-duplicate", or as a list.

    Raises:
        ConfigError: one is none; the message lists them and the nearest.
    """
    names = [name.strip() for name in flags.split(",") if name.strip()] if isinstance(flags, str) else flags
    for name in names:
        if name not in FLAGS:
            near = difflib.get_close_matches(name, FLAGS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"--exclude {name!r} is no flag of a check; flags are {', '.join(FLAGS)}{hint}")
    return tuple(dict.fromkeys(names))


def checks_path(path: Path) -> Path:
    """The file of a table of checks, from that or its folder.

    Raises:
        ConfigError: there is none.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{file} is not there: `imagemill check SRC --out {path}` writes it")
    return file


def match_checks(path: Path, listing: pa.Table, exclude: Sequence[str]) -> Checked:
    """Reads a table of checks against a listing.

    Args:
        path: `checks.parquet`.
        listing: of the source that was checked.
        exclude: flags whose samples are left out.

    Raises:
        ConfigError: there is no such table, or it is of another source, or of another state of this one.
    """
    table = read_checks(path, _is_used)
    places = pc.index_in(listing["key"], value_set=table["key"].combine_chunks())
    _refuse_unknown(path, listing, places)
    rows = places.combine_chunks().to_numpy() if isinstance(places, pa.ChunkedArray) else places.to_numpy()
    sizes = table["size"].to_numpy()[rows]
    changed = np.flatnonzero(sizes != listing["size"].to_numpy())
    if len(changed):
        raise ConfigError(
            f"{path} does not fit the source: {len(changed)} samples have changed since they were checked, the first "
            f"is {listing['key'][int(changed[0])].as_py()!r}. {_AGAIN}"
        )
    clusters = table["cluster"].fill_null(NO_CLUSTER).to_numpy()[rows]
    surplus = table.num_rows - len(rows)
    remarks = (f"{surplus} samples of {path} are not in the source, or beyond --limit",) if surplus else ()
    return Checked(clusters, _left_out(table, rows, exclude), remarks)


def _is_used(column: str) -> bool:
    facts = ("height.", "width.", "format.", "mode.", "chroma.")
    return column in ("key", "size", "flags", "cluster", "duplicate_of") or column.startswith(facts)


def _refuse_unknown(path: Path, listing: pa.Table, places: pa.ChunkedArray) -> None:
    if not places.null_count:
        return
    first = pc.index(pc.is_null(places), True).as_py()
    raise ConfigError(
        f"{path} does not fit the source: {places.null_count} of {listing.num_rows} samples are not in it, the first "
        f"is {listing['key'][first].as_py()!r}. {_AGAIN}"
    )


def _left_out(table: pa.Table, rows: npt.NDArray[np.int64], exclude: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Row of the listing → the first of the flags asked for that it has, and in whose place which sample stays.

    A duplicate stays where the sample it resembles goes, the best one, so that one of a kind is left.
    """
    repeated = [flag for flag in exclude if flag in DUPLICATE_FLAGS.values()]
    result: dict[int, tuple[str, str]] = {}
    for flag in exclude:
        if flag not in repeated:
            flagged = np.flatnonzero(_has(table, flag)[rows]).tolist()
            result |= {row: (flag, FLAGS[flag]) for row in flagged if row not in result}
    if not repeated:
        return result
    originals = table["duplicate_of"].take(pa.array(rows)).to_pylist()
    keys = table["key"].take(pa.array(rows)).to_pylist()
    staying = {key: key for row, key in enumerate(keys) if row not in result}
    images = image_fields(table)
    order = np.argsort(ranks(table, images[0])[rows]) if images else np.arange(len(rows))
    for flag in repeated:
        for row in order[_has(table, flag)[rows][order]].tolist():
            if row in result:
                continue
            stands_for = staying.setdefault(originals[row], keys[row])
            if stands_for != keys[row]:
                result[row] = (flag, f"{stands_for} stays")
    return result


def _has(table: pa.Table, flag: str) -> Mask:
    """Which rows of the table have a flag."""
    flags = table["flags"].combine_chunks()
    rows = pc.list_parent_indices(flags).to_numpy()[
        pc.equal(pc.list_flatten(flags), flag).to_numpy(zero_copy_only=False)
    ]
    mask: Mask = np.zeros(table.num_rows, np.bool_)
    mask[rows] = True
    return mask
