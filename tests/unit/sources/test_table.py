"""Tables that name images: formats, types of columns, roles, and rows that do not fit."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.sources.source_files import JPEG, column, pile, rejects, scan_of

from imagemill.core.sample import Encoded, Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions
from imagemill.sources.repeats import Repeats
from imagemill.sources.table import TableSource, find_tables
from imagemill.sources.table_files import CsvTable, JsonTable, merge_kinds, open_table

Rows = Sequence[Mapping[str, Any]]


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), sink)
    return sink.getvalue()


WRITERS: Mapping[str, Callable[[Rows], bytes]] = {
    ".csv": as_csv,
    ".tsv": lambda rows: as_csv(rows, "\t"),
    ".jsonl": lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows),
    ".json": lambda rows: json.dumps(list(rows)).encode(),
    ".parquet": as_parquet,
}

every_format = pytest.mark.parametrize("suffix", list(WRITERS))


def table(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(WRITERS[path.suffix](rows))
    return path


def scan(path: Path, listing: Path, **options: object) -> Scan:
    return scan_of(TableSource, path, listing, **options)


def samples(path: Path, found: Scan, **options: Any) -> list[Sample]:
    source = TableSource(path, SourceOptions(**options))
    return [source.read(row) for row in found.listing.to_pylist()]


def values(path: Path, found: Scan, name: str) -> list[Any]:
    return [sample.values[name] for sample in samples(path, found)]


def described(fields: Sequence[Field]) -> dict[str, tuple[str, str, object]]:
    return {field.name: (field.kind, field.dtype, field.shape) for field in fields}


# Every format alike


@every_format
def test_every_format_gives_the_same(tmp_path: Path, listing: Path, suffix: str) -> None:
    pile(tmp_path, "a.jpg", "x/b.png", "unnamed.jpg")
    rows = [
        {"file_name": "a.jpg", "label": "cat", "caption": 'a "café", red', "age": 3, "weight": 1.5, "note": "x"},
        {"file_name": "x/b.png", "label": "ant", "caption": "two\nlines", "age": 4, "weight": 2, "note": "y"},
    ]
    path = table(tmp_path / f"list{suffix}", rows)
    found = scan(path, listing)
    assert column(found, "key") == ["a.jpg", "x/b.png"]
    assert column(found, "label") == ["cat", "ant"]
    assert found.fields[1].class_names == ("ant", "cat")
    assert [(field.name, field.kind) for field in found.fields] == [
        ("image", "image"),
        ("label", "label"),
        ("text", "text"),
        ("age", "number"),
        ("weight", "number"),
        ("note", "text"),
    ]
    read = samples(path, found)
    assert read[0].values == {
        "image": Encoded(JPEG), "label": "cat", "text": 'a "café", red', "age": 3, "weight": 1.5, "note": "x"
    }  # fmt: skip
    assert read[1].values["text"] == "two\nlines"
    assert read[1].origins == {"image": "x/b.png"}
    assert type(read[0].values["age"]) is int
    assert type(read[1].values["weight"]) is float
    assert (found.found, found.ignored) == (2, {}), "a table given by itself says nothing about other files"


@every_format
def test_numbers_with_gaps(tmp_path: Path, listing: Path, suffix: str) -> None:
    pile(tmp_path, "a.jpg", "b.jpg")
    path = table(
        tmp_path / f"list{suffix}", [{"path": "a.jpg", "n": 3, "t": None}, {"path": "b.jpg", "n": None, "t": "x"}]
    )
    found = scan(path, listing)
    assert described(found.fields[1:]) == {"n": ("number", "float64", ()), "t": ("text", "uint8", None)}
    first, second = values(path, found, "n")
    assert first == 3.0
    assert math.isnan(second)
    assert values(path, found, "t") == ["", "x"]


@every_format
def test_integer_labels_stay_integers(tmp_path: Path, listing: Path, suffix: str) -> None:
    pile(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [{"path": "a.jpg", "label": 7}, {"path": "b.jpg", "label": None}, {"path": "c.jpg", "label": 0}]
    path = table(tmp_path / f"list{suffix}", rows)
    found = scan(path, listing)
    assert column(found, "label") == [7, None, 0]
    assert values(path, found, "label") == [7, -1, 0]
    assert found.fields[1] == Field("label", "label", "int64", (), "raw")
    assert "1 rows have no label" in found.remarks[0]


@every_format
@pytest.mark.parametrize("given", [{"7": 0, "9": 1}, {"7": 10, "9": 20}])
def test_class_to_idx_names_integer_labels(tmp_path: Path, listing: Path, suffix: str, given: dict[str, int]) -> None:
    pile(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = [{"path": "a.jpg", "label": 7}, {"path": "b.jpg", "label": 8}, {"path": "c.jpg", "label": 9}]
    found = scan(table(tmp_path / f"list{suffix}", rows), listing, class_to_idx=given)
    dense = sorted(given.values()) == [0, 1]
    assert column(found, "label") == (["7", "9"] if dense else [10, 20])
    assert found.fields[1].class_names == (("7", "9") if dense else None)
    assert rejects(found) == [("b.jpg", "bad-value", 1)]


@every_format
def test_vectors(tmp_path: Path, listing: Path, suffix: str) -> None:
    pile(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    as_text = suffix in (".csv", ".tsv")
    vectors: list[Any] = [[0.1, 2.0], [3.0, 16777217.0], None]
    rows = [
        {"path": name, "emb": json.dumps(vector) if as_text and vector else vector}
        for name, vector in zip(("a.jpg", "b.jpg", "c.jpg"), vectors, strict=True)
    ]
    path = table(tmp_path / f"list{suffix}", rows)
    found = scan(path, listing, vector_column="emb")
    assert described(found.fields[1:]) == {"vector": ("vector", "float32", (2,))}
    assert rejects(found) == [("c.jpg", "bad-value", 1)]
    read = values(path, found, "vector")
    assert [vector.dtype for vector in read] == [np.float32, np.float32]
    np.testing.assert_array_equal(read, np.array(vectors[:2], np.float32))


@every_format
def test_an_empty_table(tmp_path: Path, listing: Path, suffix: str) -> None:
    path = table(tmp_path / f"list{suffix}", [{"path": "a.jpg"}])
    if suffix == ".parquet":
        pq.write_table(pa.table({"path": pa.array([], pa.string())}), path)
    else:
        path.write_bytes({".json": b"[]", ".jsonl": b"\n"}.get(suffix, b"path\n"))
    with pytest.raises(ConfigError, match="no rows|no column"):
        scan(path, listing)


# Columns


def test_roles_by_name_and_by_option(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "m.png")
    row = {
        "where": "a.jpg",
        "what": "cat",
        "says": "hi",
        "seg": "m.png",
        "part": "Validation",
        "clip": "c1",
        "text": "t",
    }
    path = table(tmp_path / "list.csv", [row])
    options = {
        "path_column": "where", "label_column": "what", "caption_column": "says", "mask_column": "seg",
        "split_column": "part", "group_column": "clip",
    }  # fmt: skip
    found = scan(path, listing, **options)
    assert [field.name for field in found.fields] == ["image", "mask", "label", "text", "text_2"]
    assert found.listing.to_pylist()[0] | {"value.text": "hi"} == {
        "key": "a.jpg", "group": "c1", "split": "val", "size": 2 * len(JPEG), "files": 2, "path": b"a.jpg",
        "mask": b"m.png", "label": "cat", "value.text": "hi", "value.text_2": "t",
    }  # fmt: skip
    sample = samples(path, found)[0]
    assert sample.origins == {"image": "a.jpg", "mask": "m.png"}
    assert "label from column 'what'" in found.remarks[0]


@pytest.mark.parametrize("name", ["file_name", "path", "file", "image", "filename", "filepath", "image_path"])
def test_names_that_mean_a_path(tmp_path: Path, listing: Path, name: str) -> None:
    pile(tmp_path, "a.jpg")
    assert column(scan(table(tmp_path / "t.csv", [{"n": 1, name: "a.jpg"}]), listing), "key") == ["a.jpg"]


def test_columns_that_are_not_there(tmp_path: Path, listing: Path) -> None:
    path = table(tmp_path / "t.csv", [{"picture": "a.jpg", "kind": "cat"}])
    with pytest.raises(ConfigError, match="path_column says which one does. The columns are picture, kind"):
        scan(path, listing)
    with pytest.raises(ConfigError, match="no column 'klass'; the columns are picture, kind"):
        scan(path, listing, path_column="picture", label_column="klass")
    with pytest.raises(ConfigError, match="label_column says which of picture, kind"):
        scan(path, listing, path_column="picture", labels=True)


def test_labels_switched_off(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    found = scan(table(tmp_path / "t.csv", [{"path": "a.jpg", "label": 3}]), listing, labels=False)
    assert described(found.fields[1:]) == {"label": ("number", "int64", ())}
    assert "label" not in found.listing.column_names


def test_a_label_column_without_any_label(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    found = scan(table(tmp_path / "t.csv", [{"path": "a.jpg", "label": None}]), listing)
    assert [field.name for field in found.fields] == ["image"]


def test_labels_that_spreadsheets_made_floats_of(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "b.jpg")
    path = table(tmp_path / "t.csv", [{"path": "a.jpg", "label": "3.0"}, {"path": "b.jpg", "label": None}])
    assert column(scan(path, listing), "label") == [3, None]
    with pytest.raises(ConfigError, match="holds fractions"):
        scan(table(tmp_path / "t.csv", [{"path": "a.jpg", "label": 0.5}]), listing)


def test_roles_that_hold_the_wrong_thing(tmp_path: Path, listing: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"path": "a.jpg", "label": [1, 0], "v": "text"}])
    with pytest.raises(ConfigError, match="'label' cannot be the label"):
        scan(path, listing)
    with pytest.raises(ConfigError, match="'v' must hold lists of numbers, not text"):
        scan(path, listing, labels=False, vector_column="v")
    with pytest.raises(ConfigError, match="give one of them"):
        scan(path, listing, group_column="v", group_pattern="(x)")


def test_field_names_are_made_to_fit(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    row = {"path": "a.jpg", "key": 1, "image": 2, "my col": 3, "my-col": 4, "My_Col": 5, "größe": 6, "": 7}
    found = scan(table(tmp_path / "t.csv", [row]), listing)
    names = [field.name for field in found.fields[1:]]
    assert names == ["key_2", "image_2", "my_col", "my_col_2", "My_Col_3", "gr__e", "column"]
    assert [samples(tmp_path / "t.csv", found)[0].values[name] for name in names] == [1, 2, 3, 4, 5, 6, 7]


def test_types_of_csv_columns_look_at_every_row(tmp_path: Path) -> None:
    """The reader of CSV decides by the first block; here the odd row comes long after it."""
    rows = [{"path": f"{number:06d}", "a": number, "b": number, "c": number} for number in range(60_000)]
    rows[-1] |= {"a": "x", "b": 1.5, "c": "007"}
    read = CsvTable(table(tmp_path / "t.csv", rows))
    assert (tmp_path / "t.csv").stat().st_size > 1 << 20
    assert read.kinds((), ()) == {"path": "text", "a": "text", "b": "float", "c": "text"}
    last = list(read.batches({"a": "text", "b": "float"}))[-1].to_pylist()[-2:]
    assert last == [{"a": "59998", "b": 59998.0}, {"a": "x", "b": 1.5}]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", "0"], "integer"),
        (["1", "007"], "text"),
        (["1", "1.5", "1e3", ".5", "-nan"], "float"),
        (["1", "+1"], "text"),
        (["9223372036854775807"], "integer"),
        (["9223372036854775808"], "text"),
        (["true"], "text"),
        (["", ""], "none"),
        (["1", ""], "integer"),
        (["0x10"], "text"),
        ([" 1"], "text"),
    ],
)
def test_kinds_of_csv_columns(tmp_path: Path, texts: list[str], kind: str) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["p,n", *(f"x,{text}" for text in texts)]))
    read = CsvTable(tmp_path / "t.csv")
    assert read.kinds((), ())["n"] == kind
    assert sum(batch.num_rows for batch in read.batches(read.kinds((), ()))) == len(texts)


@pytest.mark.parametrize(
    ("items", "kind", "stored"),
    [
        ([1, True], "integer", [1, 1]),
        ([1, 2.5, None], "float", [1.0, 2.5, None]),
        ([1, "x"], "text", ["1", "x"]),
        ([2**70], "text", [str(2**70)]),
        ([None], "none", [None]),
        ([[1, 2.5], [], [None]], "list", [[1.0, 2.5], [], [None]]),
        ([[1, "x"]], "other", None),
        ([{"a": 1}], "other", None),
        ([[1], 1], "other", None),
    ],
)
def test_kinds_of_json_columns(tmp_path: Path, items: list[Any], kind: str, stored: list[Any] | None) -> None:
    read = JsonTable(table(tmp_path / "t.jsonl", [{"n": item} for item in items]))
    assert read.kinds((), ()) == {"n": kind}
    if stored is not None:
        assert [row["n"] for batch in read.batches({"n": kind}) for row in batch.to_pylist()] == stored  # type: ignore[dict-item]


def test_kinds_of_parquet_columns(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "b.jpg")
    columns = {
        "path": pa.array(["a.jpg", "b.jpg"]).dictionary_encode(),
        "label": pa.array(["x", "y"], pa.large_string()),
        "flag": pa.array([True, False]),
        "small": pa.array([1, 2], pa.uint8()),
        "half": pa.array([0.5, 1.5], pa.float16()),
        "day": pa.array([date(2026, 1, 2)] * 2),
        "fixed": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2)),
        "ragged": pa.array([[1], [2, 3]]),
        "boxes": pa.array([[[1.0]], [[2.0]]]),
        "raw": pa.array([b"1", b"2"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = scan(tmp_path / "t.parquet", listing)
    assert described(found.fields[2:]) == {
        "flag": ("number", "int64", ()),
        "small": ("number", "int64", ()),
        "half": ("number", "float64", ()),
        "day": ("text", "uint8", None),
        "fixed": ("vector", "float32", (2,)),
        "ragged": ("vector", "float32", (None,)),
    }
    assert "left out: boxes, raw" in found.remarks[1]
    sample = samples(tmp_path / "t.parquet", found)[0]
    assert (sample.values["flag"], sample.values["half"], sample.values["day"]) == (1, 0.5, "2026-01-02")
    np.testing.assert_array_equal(sample.values["fixed"], np.array([1, 2], np.float32))


def test_kinds_merge_the_same_in_any_order() -> None:
    kinds = ("none", "integer", "float", "text", "list", "other")
    for one in kinds:
        assert merge_kinds(one, one) == one  # type: ignore[arg-type]
        for other in kinds:
            assert merge_kinds(one, other) == merge_kinds(other, one)  # type: ignore[arg-type]


# Rows that do not fit


def test_rows_that_name_nothing(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    (tmp_path / "folder.jpg").mkdir()
    rows = [{"path": name} for name in ("a.jpg", "nope.jpg", None, "folder.jpg", "a\0b.jpg", "a.jpg", "x/../a.jpg")]
    found = scan(table(tmp_path / "t.jsonl", rows), listing)
    assert column(found, "key") == ["a.jpg"]
    assert [(reject.key, reject.reason, reject.files) for reject in found.rejects] == [
        ("nope.jpg", "missing-file", 0),
        ("row 3 of t.jsonl", "bad-value", 0),
        ("folder.jpg", "missing-file", 0),
        ("a\0b.jpg", "missing-file", 0),
        ("a.jpg", "duplicate-key", 0),
        ("x/../a.jpg", "duplicate-key", 0),
    ]
    assert found.rejects[0].detail == "row 2 of t.jsonl names it, and there is no such file"
    assert found.found == 1


@every_format
def test_rows_are_counted_through_large_tables(tmp_path: Path, listing: Path, suffix: str) -> None:
    pile(tmp_path, "a.jpg")
    names = ["a.jpg", *(f"missing {number:06d} {'x' * 200}.jpg" for number in range(2, 10_001))]
    found = scan(table(tmp_path / f"t{suffix}", [{"path": name} for name in names]), listing)
    assert [reject.detail.split()[1] for reject in found.rejects] == [str(number) for number in range(2, 10_001)]


def test_quotes_tell_empty_text_from_none(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text('path,text\na.jpg,""\nb.jpg,\n')
    found = scan(tmp_path / "t.csv", listing, caption_column="text")
    assert values(tmp_path / "t.csv", found, "text") == [""]
    assert rejects(found) == [("b.jpg", "missing-caption", 1)]


def test_masks_that_are_missing_or_shared(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "m.png")
    rows = [
        {"path": f"{name}.jpg", "mask": mask}
        for name, mask in zip("abcd", ("m.png", "m.png", "x.png", None), strict=True)
    ]
    path = table(tmp_path / "t.csv", rows)
    found = scan(path, listing, mask_column="mask")
    assert column(found, "files") == [2, 1]
    assert rejects(found) == [("c.jpg", "missing-mask", 1), ("d.jpg", "missing-mask", 1)]
    assert found.found == 5


def test_captions_are_demanded_only_by_option(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "b.jpg")
    path = table(tmp_path / "t.jsonl", [{"path": "a.jpg", "text": "hi"}, {"path": "b.jpg"}])
    found = scan(path, listing)
    assert values(path, found, "text") == ["hi", ""]
    assert rejects(scan(path, listing, caption_column="text")) == [("b.jpg", "missing-caption", 1)]


def test_paths_may_lead_anywhere(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "elsewhere/a.jpg", "set/b.jpg")
    absolute = str(tmp_path / "elsewhere" / "a.jpg")
    path = table(tmp_path / "set" / "t.csv", [{"path": absolute}, {"path": "../elsewhere/a.jpg"}, {"path": "./b.jpg"}])
    found = scan(path, listing)
    assert column(found, "key") == [absolute, "../elsewhere/a.jpg", "./b.jpg"]
    assert all(sample.values["image"] == Encoded(JPEG) for sample in samples(path, found))


def test_a_file_that_is_gone_at_reading(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    path = table(tmp_path / "t.csv", [{"path": "a.jpg"}])
    row = scan(path, listing).listing.to_pylist()[0]
    os.unlink(tmp_path / "a.jpg")
    with pytest.raises(SampleError) as caught:
        TableSource(path, SourceOptions()).read(row)
    assert (caught.value.reason, caught.value.key, caught.value.origin) == ("unreadable", "a.jpg", "a.jpg")


# Folders with a table


def test_a_folder_as_hugging_face_has_it(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "train/a.jpg", "train/x/b.jpg", "test/a.jpg", "train/extra.png", "train/.hidden.jpg")
    table(tmp_path / "train" / "metadata.csv", [{"file_name": "a.jpg", "n": 1}, {"file_name": "x/b.jpg", "n": 2}])
    table(tmp_path / "test" / "metadata.jsonl", [{"file_name": "a.jpg", "n": 2.5, "more": "x"}])
    assert [path.parent.name for path in find_tables(tmp_path)] == ["test", "train"]
    found = scan(tmp_path, listing)
    assert [(row["key"], row["split"]) for row in found.listing.to_pylist()] == [
        ("test/a.jpg", "test"),
        ("train/a.jpg", "train"),
        ("train/x/b.jpg", "train"),
    ]
    assert described(found.fields[1:]) == {"n": ("number", "float64", ()), "more": ("text", "uint8", None)}
    assert values(tmp_path, found, "n") == [2.5, 1.0, 2.0]
    assert values(tmp_path, found, "more") == ["x", "", ""]
    assert found.ignored == {".csv": 1, ".jsonl": 1, ".png not in the table": 1, "hidden": 1}
    assert found.found == 7


def test_what_the_table_does_not_name(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "m.npy", "b.jpg", "x/c.jpg", "notes.txt")
    table(tmp_path / "metadata.csv", [{"file_name": "./a.jpg", "mask": "x/../m.npy"}])
    found = scan(tmp_path, listing, mask_column="mask")
    assert found.ignored == {".csv": 1, ".jpg not in the table": 2, ".txt": 1}
    assert found.found == 6


def test_the_first_of_several_tables_counts(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    table(tmp_path / "metadata.csv", [{"file_name": "a.jpg", "from": "csv"}])
    table(tmp_path / "metadata.parquet", [{"file_name": "a.jpg", "from": "parquet"}])
    assert values(tmp_path, scan(tmp_path, listing), "from") == ["csv"]


# Files that are no tables


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "cannot be read"),
        ("t.csv", b"path,n\na.jpg,\xff\n", "UTF8"),
        ("t.csv", b"path,path\na.jpg,b.jpg\n", "two columns are called 'path'"),
        ("t.jsonl", b'{"path": "a.jpg"}\n\n{broken\n', "line 3: Expecting property name"),
        ("t.jsonl", b'{"path": "a.jpg"}\n\n[1]\n', "one object a line is wanted; line 3 is list"),
        ("t.json", b'{"images": []}', "a list of objects is wanted"),
        ("t.json", b"[1]", "row 1 is int"),
        ("t.parquet", b"PAR1 is not all", "cannot be read"),
        ("t.xlsx", b"", "is no table"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, listing: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        scan(tmp_path / name, listing)


def test_ragged_rows_cost_themselves_only(tmp_path: Path, listing: Path) -> None:
    good = b"".join(b"some_longer_folder_name_%020d.jpg,%d\n" % (number, number) for number in range(30_000))
    content = b'path,n\na.jpg,1\nb.jpg\n\nc.jpg,3,4\n"d\n.jpg",5\n' + good + b"e.jpg\nf.jpg,7\n"
    (tmp_path / "t.csv").write_bytes(content)
    for name in ("a.jpg", "d\n.jpg", "f.jpg"):
        (tmp_path / name).write_bytes(JPEG)
    found = scan(tmp_path / "t.csv", listing)
    assert found.listing["key"].to_pylist() == ["a.jpg", "d\n.jpg", "f.jpg"]
    ragged = [reject for reject in found.rejects if reject.reason == "bad-value"]
    assert [(reject.key, reject.detail, reject.files) for reject in ragged] == [
        ("row 2 of t.csv", "row 2 of t.csv: 1 fields, the header has 2", 0),
        ("row 3 of t.csv", "row 3 of t.csv: 3 fields, the header has 2", 0),
        ("row 30005 of t.csv", "row 30005 of t.csv: 1 fields, the header has 2", 0),
    ]
    missing = [reject.detail for reject in found.rejects if reject.reason == "missing-file"]
    assert missing[0] == "row 5 of t.csv names it, and there is no such file"
    assert missing[-1] == "row 30004 of t.csv names it, and there is no such file"


@pytest.mark.parametrize("delimiter", [";", "|", "\t", ","])
def test_what_divides_the_columns_is_seen(tmp_path: Path, listing: Path, delimiter: str) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    lines = ["path|label|text", 'a.jpg|x|"one, two"', "b.jpg|y|three"]
    (tmp_path / "t.csv").write_text("\n".join(line.replace("|", delimiter) for line in lines))
    found = scan(tmp_path / "t.csv", listing)
    assert found.listing["label"].to_pylist() == ["x"]
    assert found.listing["value.text"].to_pylist() == ["one, two"]
    assert [reject.path for reject in found.rejects] == ["b.jpg"]


def test_a_vector_column_that_is_no_json(tmp_path: Path, listing: Path) -> None:
    path = table(tmp_path / "t.csv", [{"path": "a.jpg", "v": "1;2"}])
    with pytest.raises(ConfigError, match="column 'v' does not hold list values"):
        scan(path, listing, vector_column="v")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    for name, content in (("t.csv", b"path\na.jpg\n"), ("t.jsonl", b'{"path": "a.jpg"}\n')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
        assert open_table(tmp_path / name).names == ("path",)


def test_nothing_there(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        scan(tmp_path / "t.csv", listing)
    with pytest.raises(ConfigError, match=r"holds no metadata\.csv"):
        scan(tmp_path, listing)


# What repeats


def test_repeats_are_told_from_first_uses() -> None:
    repeats = Repeats()
    names = [f"name {number % 700}" for number in range(1000)]
    for name in names:
        repeats.note(name)
    assert [repeats.claim(name) for name in names] == [True] * 700 + [False] * 300
    assert len(repeats.noted()) == 1000
    empty = Repeats()
    assert empty.claim("anything")
    assert len(empty.noted()) == 0
