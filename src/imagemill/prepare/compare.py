"""Samples of a check compared with each other: equal and nearly equal pictures, clusters, flags.

Pictures are compared on the first image field alone: what a network is fed with is what must not be in two
splits. How alike two samples then are is said by all their images and masks together: "bytes" and "pixels" mean that
every one of them is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.clusters import NONE, numbered
from imagemill.curate.flags import BoolArray, Thresholds, picture_flags
from imagemill.curate.near import IntArray
from imagemill.curate.preference import ranks
from imagemill.curate.table import COMPARED_COLUMNS, DUPLICATE_FLAGS, SIMILARITIES
from imagemill.errors import ConfigError
from imagemill.prepare.looked import LookedPile, thumbnails_by_key
from imagemill.prepare.near_links import NO_PAIRS, ThumbnailColumn, link_near
from imagemill.prepare.vector_column import VectorColumn


@dataclass(frozen=True)
class Comparison:
    """What comparing samples found.

    Args:
        clusters: cluster of each row, `NONE` for those alone; int64, shape (rows,).
        kept: row that is kept in place of each row, itself where it is kept; int64, shape (rows,).
        similarity: place in `SIMILARITIES` of how a row resembles the one kept, `NONE` for those kept.
        flags: flag → whether each row has it, each of shape (rows,).
        remarks: sentences for the user.
    """

    clusters: IntArray
    kept: IntArray
    similarity: IntArray
    flags: dict[str, BoolArray]
    remarks: tuple[str, ...]


def compare(
    table: pa.Table,
    thumbnails: ThumbnailColumn | None,
    images: Sequence[str],
    masks: Sequence[str],
    thresholds: Thresholds,
    vectors: VectorColumn | None = None,
) -> Comparison:
    """Compares all samples.

    Args:
        table: size, and header and pixel columns of every field, ordered by key.
        thumbnails: of the first image field, in the same order; None where there is no image field.
        images, masks: names of the fields.
        thresholds: for flags and near-duplicates.
        vectors: embeddings, in the same order, where near-duplicates are sought by them too.
    """
    flags = picture_flags(table, tuple(images), thresholds)
    rows = np.arange(table.num_rows)
    if not images or thumbnails is None:
        alone = np.full(len(rows), NONE, np.int64)
        return Comparison(alone, rows, alone, flags, ())
    same_files = equal_groups([table[f"content.{field}"] for field in (*images, *masks)])
    same_pixels = equal_groups(
        [*(table[f"pixels.{field}"] for field in images), *(table[f"content.{field}"] for field in masks)]
    )
    contents, pixels = table[f"content.{images[0]}"], table[f"pixels.{images[0]}"]
    same = same_pictures(contents, pixels, thumbnails, thresholds, ranks(table, images[0]), vectors)
    similarity = _similarity(rows, same.kept, same_files, same_pixels)
    flags[DUPLICATE_FLAGS["bytes"]] = (same_files != NONE) & (same_files != rows)
    flags[DUPLICATE_FLAGS["pixels"]] = (same_pixels != NONE) & ~_equal(same_files, rows, same_pixels)
    flags[DUPLICATE_FLAGS["near"]] = similarity == SIMILARITIES.index("near")
    return Comparison(numbered(same.roots), same.kept, similarity, flags, same.remarks)


@dataclass(frozen=True)
class SamePictures:
    """Which pictures show the same.

    Args:
        kept: row that is kept in place of each row; int64, shape (rows,).
        roots: smallest row of each row's cluster; int64, shape (rows,).
        remarks: sentences for the user.
    """

    kept: IntArray
    roots: IntArray
    remarks: tuple[str, ...]


def same_pictures(
    contents: pa.ChunkedArray,
    pixels: pa.ChunkedArray,
    thumbnails: ThumbnailColumn,
    thresholds: Thresholds,
    preferred: IntArray | None = None,
    vectors: VectorColumn | None = None,
) -> SamePictures:
    """Pictures with the same bytes, the same pixels, or nearly the same to see.

    Of equal pixels the first row is kept, of what nearly looks the same the one that is preferred.

    Args:
        contents, pixels: digests of each picture; null where there is none.
        thumbnails: of each picture.
        preferred: rank of each row, the smallest is kept; None prefers the first row.
        vectors: embeddings of each picture; those that point nearly the same way show nearly the same.
    """
    rows = np.arange(len(contents))
    shown = equal_groups([pixels])
    shown = np.where(shown == NONE, equal_groups([contents]), shown)
    shown = np.where(shown == NONE, rows, shown)
    best = np.full(len(rows), len(rows))
    np.minimum.at(best, shown, rows if preferred is None else preferred)
    # From here to the end rows go by preference; pictures of equal pixels are side by side, the first row first.
    order = np.lexsort((rows, best[shown]))
    places = np.empty_like(order)
    places[order] = rows
    shown = places[shown[order]]
    different = np.flatnonzero(shown == rows)
    similar, said = NO_PAIRS, tuple[str, ...]()
    if vectors is not None:
        (first, second), said = vectors.similar(np.sort(order[different]), thresholds.cosine)
        similar = places[first], places[second]
    leaders, links, remarks = link_near(thumbnails.reordered(order), different, thresholds, similar)
    leaders = leaders[shown][places]
    labels = links.roots()[leaders]
    roots = np.full(len(rows), len(rows))
    np.minimum.at(roots, labels, rows)
    return SamePictures(order[links.kept[leaders]], roots[labels], (*remarks, *said))


def match_piles(pile: LookedPile, other: LookedPile, thresholds: Thresholds) -> pa.Table:
    """Samples of a pile whose first image another pile has, too.

    Returns:
        key, other (key there), similarity (of these two images), label, other_label; by key.

    Raises:
        ConfigError: one of them has no images.
    """
    if not (pile.images and other.images):
        raise ConfigError("--against compares images, and one of the two has none")
    tables = [
        part.by_key(["key", "label", f"content.{part.images[0]}", f"pixels.{part.images[0]}"]).rename_columns(
            ["key", "label", "content", "pixels"]
        )
        for part in (other, pile)
    ]
    table = pa.concat_tables(tables)
    same = same_pictures(table["content"], table["pixels"], thumbnails_by_key(other, pile), thresholds)
    borders = tables[0].num_rows
    rows = np.flatnonzero((same.roots < borders) & (np.arange(table.num_rows) >= borders))
    found = np.where(same.kept[rows] < borders, same.kept[rows], same.roots[rows])
    groups = [equal_groups([table[name]]) for name in ("content", "pixels")]
    similarity = _similarity(rows, found, *groups)
    mine, theirs = table.take(pa.array(rows)), table.take(pa.array(found))
    return pa.table(
        {
            "key": mine["key"],
            "other": theirs["key"],
            "similarity": pa.array(SIMILARITIES).take(pa.array(similarity)),
            "label": mine["label"],
            "other_label": theirs["label"],
        }
    )


def _similarity(rows: IntArray, others: IntArray, same_files: IntArray, same_pixels: IntArray) -> IntArray:
    """Place in `SIMILARITIES` of how each row resembles another row, `NONE` where it is the row itself."""
    similarity = np.full(len(rows), SIMILARITIES.index("near"))
    similarity[_equal(same_pixels, rows, others)] = SIMILARITIES.index("pixels")
    similarity[_equal(same_files, rows, others)] = SIMILARITIES.index("bytes")
    similarity[rows == others] = NONE
    return similarity


def _equal(groups: IntArray, rows: IntArray, others: IntArray) -> BoolArray:
    """Whether each row is in the same group as another row."""
    return np.asarray((groups[rows] != NONE) & (groups[rows] == groups[others]))


def equal_groups(columns: Sequence[pa.ChunkedArray]) -> IntArray:
    """First row with the same digests in all these columns, for each row; `NONE` where one is missing.

    Args:
        columns: at least one, of 16 bytes a row.

    Returns:
        int64, shape (rows,).
    """
    groups = np.full(len(columns[0]), NONE, np.int64)
    present = np.flatnonzero(~np.any([pc.is_null(column).to_numpy() for column in columns], axis=0))
    if not len(present):
        return groups
    keys = [half[present] for column in columns for half in _halves(column)]
    order = np.lexsort(keys)  # stable: the first of each run of equals is the smallest row
    changes = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    starts = np.concatenate([[True], changes])
    groups[present[order]] = present[order][np.flatnonzero(starts)][np.cumsum(starts) - 1]
    return groups


def _halves(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Digests of 16 bytes as two numbers each, zero where null; uint64, shape (2, rows)."""
    filled = column.fill_null(bytes(16)) if column.null_count else column
    parts = [np.empty((0, 2), np.uint64)]
    for chunk in filled.chunks:
        content = np.frombuffer(chunk.buffers()[1], np.uint8)
        parts.append(content[16 * chunk.offset : 16 * (chunk.offset + len(chunk))].view(np.uint64).reshape(-1, 2))
    return np.concatenate(parts).T


def compared_columns(keys: pa.ChunkedArray, comparison: Comparison, start: int, stop: int) -> dict[str, pa.Array]:
    """The columns of the table of checks that comparing gives, of rows `start` to `stop`.

    Args:
        keys: of all rows.
    """
    rows = slice(start, stop)
    replaced = comparison.kept[rows] != np.arange(start, stop)
    kinds = pa.array(SIMILARITIES).take(pa.array(comparison.similarity[rows], mask=~replaced))
    return {
        "flags": _flag_lists({name: held[rows] for name, held in comparison.flags.items()}),
        "cluster": pa.array(comparison.clusters[rows], mask=comparison.clusters[rows] == NONE),
        "duplicate_of": _taken(keys, comparison.kept[rows], replaced),
        "similarity": kinds.cast(COMPARED_COLUMNS["similarity"]),
    }


def _taken(keys: pa.ChunkedArray, rows: IntArray, wanted: BoolArray) -> pa.Array:
    """Keys of rows, null where not wanted."""
    taken = keys.take(pa.array(rows[wanted])).combine_chunks() if wanted.any() else pa.array([], pa.string())
    if isinstance(taken, pa.ChunkedArray):
        taken = pa.concat_arrays(taken.chunks)
    return taken.take(pa.array(np.cumsum(wanted) - 1, mask=~wanted))


def _flag_lists(flags: dict[str, BoolArray]) -> pa.Array:
    """Names of the flags that each row has, sorted."""
    names = sorted(flags)
    held = np.stack([flags[name] for name in names], axis=1)
    offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
    values = pa.array(names).take(pa.array(np.nonzero(held)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
