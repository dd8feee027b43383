"""Counts over the columns of piles that are no datasets, and the samples drawn from them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.reports.pages import IMAGE, checks_of

from imagemill.core.schema import Field, Schema
from imagemill.reports.counted import classes_of_source, codes_of, count_notes, notes_of, shapes_of, splits_of_source
from imagemill.reports.drawn import drawn_evenly

LABELLED = Schema((IMAGE, Field("label", "label", "int64", (), "raw", class_names=("ant", "bee"))))


def column(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:2], pa.string()), pa.array(values[2:], pa.string())])


def test_codes_count_on_over_chunks() -> None:
    codes, names = codes_of(column("a", None, "b", "a", "c"))
    assert codes.tolist() == [0, -1, 1, 0, 2]
    assert names == ["a", "b", "c"]
    assert [list(part) for part in codes_of(column())] == [[], []]


def test_splits_of_a_source_come_in_their_usual_order_with_the_rest_last() -> None:
    rows = [
        {"key": f"{number}", "split": split, "label": label, "size": 10}
        for number, (split, label) in enumerate(
            [("val", "ant"), ("train", "bee"), ("train", "ant"), ("zoo", None), (None, "bee")]
        )
    ]
    found = splits_of_source(checks_of(rows))
    assert [(split.name, split.samples, split.classes, split.size_bytes) for split in found] == [
        ("train", 2, 2, 20),
        ("val", 1, 1, 10),
        ("(no split)", 1, 1, 10),
        ("zoo", 1, 0, 10),
    ]
    assert sum(split.share for split in found) == pytest.approx(1)
    assert splits_of_source(checks_of([{"key": "a"}])) == ()


def test_classes_of_a_source() -> None:
    rows = [
        {"key": "1", "split": "train", "label": "ant"},
        {"key": "2", "split": "train", "label": "ant"},
        {"key": "3", "split": "val", "label": "bee"},
        {"key": "4", "split": "val"},
    ]
    classes = classes_of_source(checks_of(rows), LABELLED)
    assert classes is not None
    assert (classes.splits, classes.shown) == (("train", "val"), (("ant", (2, 0)), ("bee", (0, 1))))
    assert (classes.count, classes.largest, classes.smallest, classes.unlabelled) == (2, 2, 1, 1)
    assert classes.missing == {"train": (1, ("bee",)), "val": (1, ("ant",))}
    assert classes_of_source(checks_of(rows), Schema((IMAGE,))) is None


def test_thousands_of_classes_are_cut_down() -> None:
    rows = [{"key": f"{number:05d}", "label": f"c{number % 2000:04d}"} for number in range(5000)]
    classes = classes_of_source(checks_of(rows), LABELLED)
    assert classes is not None
    assert len(classes.shown) == 30
    assert classes.left_out[0] == 1970
    assert classes.left_out[1] + sum(sum(counts) for _, counts in classes.shown) == 5000


def test_sizes_and_encodings_of_a_field() -> None:
    rows = [
        {"key": f"{n}", "height.image": h, "width.image": w, "format.image": "JPEG", "mode.image": m, "bits.image": 8}
        for n, (h, w, m) in enumerate([(100, 200, "RGB"), (100, 200, "RGB"), (300, 50, "L")])
    ]
    (shape,) = shapes_of(checks_of([*rows, {"key": "unknown"}]), Schema((IMAGE,)))
    assert shape.common == (((100, 200), 2), ((300, 50), 1))
    assert (shape.samples, shape.sizes, shape.single) == (3, 2, None)
    assert shape.encodings == (("JPEG", "RGB", 8, 2), ("JPEG", "L", 8, 1))
    assert shape.shorter is not None
    assert shape.longer is not None
    assert (shape.shorter.lowest, shape.longer.highest) == (50, 300)
    (single,) = shapes_of(checks_of(rows[:2]), Schema((IMAGE,)))
    assert (single.single, single.shorter) == ("200x100", None)
    assert shapes_of(checks_of([]), Schema((IMAGE,))) == ()


def test_notes_are_counted_by_kind_and_masks_have_none_on_colour() -> None:
    table = checks_of(
        [
            {"key": "1", "notes": "image:frames=12;image:orientation=6"},
            {"key": "2", "notes": "image:frames=3;mask:grey;mask:orientation=6"},
        ]
    )
    counts = count_notes(table)
    assert counts == {"image:frames": 2, "image:orientation=6": 1, "mask:grey": 1, "mask:orientation=6": 1}
    notes = notes_of(counts, Schema((IMAGE, Field("mask", "mask"))))
    assert [(note.field, note.name) for note in notes] == [
        ("image", "frames"),
        ("image", "orientation=6"),
        ("mask", "orientation=6"),
    ]
    assert all(note.meaning for note in notes)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60), st.integers(0, 70))
def test_samples_are_drawn_evenly_over_the_classes(labels: list[str | None], count: int) -> None:
    table = checks_of([{"key": f"{number:03d}", "label": label} for number, label in enumerate(labels)])
    rows = drawn_evenly(table, count)
    assert len(rows) == min(count, len(labels))
    assert (np.diff(rows) > 0).all()
    drawn, there = Counter(labels[row] for row in rows), Counter(labels)
    if drawn and set(labels) != {None}:
        most = max(drawn.values())
        assert all(drawn[label] >= min(most - 1, there[label]) for label in there)


def test_every_split_has_a_sample_where_there_are_no_classes() -> None:
    rows = [{"key": f"{number:04d}", "split": "test" if number == 777 else "train"} for number in range(1000)]
    assert 777 in drawn_evenly(checks_of(rows), 5)
