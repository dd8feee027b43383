"""Hashes of a listing, rows of it, and what a finished dataset remembers of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash

import imagemill
from imagemill.prepare.identity import fingerprint, listing_hashes, repeated
from imagemill.prepare.job import take
from imagemill.sources.base import GROUP_HASH, ListingBuilder
from imagemill.testing.piles import class_folders

KEYS = [f"class/ünïcode {number:03d}.jpg" for number in range(50)]
BATCH = 8


def hashed(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


@pytest.fixture
def listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, pa.Table]:
    """Fifty rows in seven batches; every third has a group; the first batch has none."""
    monkeypatch.setattr("imagemill.sources.base.BATCH_ROWS", BATCH)
    path = tmp_path / "listing.arrow"
    with ListingBuilder(path, {"path": pa.binary()}) as builder:
        for row, key in enumerate(KEYS):
            group = f"group{row // 9}" if row % 3 == 0 and row >= BATCH else None
            builder.add(key=key, size=row, group=group, path=key.encode())
        table = builder.finish()
    assert table.column("key").num_chunks == 7
    return path, table


@pytest.mark.parametrize("rows", [0, 1, BATCH, BATCH + 1, len(KEYS)])
def test_hashes_are_those_of_keys_and_of_groups_where_there_are(listing: tuple[Path, pa.Table], rows: int) -> None:
    path, table = listing
    hashes = listing_hashes(path, rows)
    groups = [group or key for key, group in zip(KEYS, table["group"].to_pylist(), strict=True)]
    assert hashes.keys.tolist() == [hashed(key) for key in KEYS[:rows]]
    assert hashes.groups.tolist() == [hashed(group) for group in groups[:rows]]


def test_known_hashes_of_groups_are_taken_as_they_are(tmp_path: Path) -> None:
    with ListingBuilder(tmp_path / "listing.arrow", {GROUP_HASH: pa.uint64()}) as builder:
        for row, key in enumerate(KEYS):
            builder.add(key=key, size=row, **{GROUP_HASH: 7 * row})
        builder.finish()
    hashes = listing_hashes(tmp_path / "listing.arrow", len(KEYS))
    assert hashes.groups.tolist() == [7 * row for row in range(len(KEYS))]
    assert hashes.keys[3] == hashed(KEYS[3])


def test_the_fingerprint_tells_keys_groups_and_sizes_apart(listing: tuple[Path, pa.Table]) -> None:
    hashes = listing_hashes(listing[0], len(KEYS))
    sizes = np.arange(len(KEYS))
    swapped = hashes._replace(groups=hashes.groups[::-1])
    prints = [fingerprint(hashes, sizes), fingerprint(hashes, sizes + 1), fingerprint(swapped, sizes)]
    assert len(set(prints)) == 3
    assert fingerprint(listing_hashes(listing[0], len(KEYS)), sizes) == prints[0]


def test_repeated_hashes_come_side_by_side() -> None:
    hashes = np.array([5, 2**64 - 1, 3, 5, 8, 2**64 - 1, 5], np.uint64)
    assert repeated(hashes).tolist() == [0, 3, 6, 1, 5]
    assert repeated(hashes[:3]).tolist() == []
    assert repeated(hashes[:0]).tolist() == []


@pytest.mark.parametrize(
    "rows", [[], [4], [3, 4, 5], [49, 0, 25, 24, 8, 7], [9, 9, 1], list(range(49, -1, -1)), list(range(0, 50, 7))]
)
def test_rows_are_taken_across_batches_in_the_order_asked_for(listing: tuple[Path, pa.Table], rows: list[int]) -> None:
    table = listing[1]
    taken = take(table, np.array(rows, np.int64))
    assert taken.schema.equals(table.schema)
    assert taken.to_pylist() == [table.slice(row, 1).to_pylist()[0] for row in rows]


def test_a_finished_dataset_made_with_a_limit_is_recognised(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", classes=2, per_class=3, bad=False)
    first = imagemill.pack(pile, tmp_path / "out", limit=4, workers=0)
    again = imagemill.pack(pile, tmp_path / "out", limit=4, workers=0)
    assert (first.already, again.already) == (False, True)
    assert sum(again.splits.values()) == 4
