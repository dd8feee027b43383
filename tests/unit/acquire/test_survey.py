"""A first pass over a list: repeats, kinds of columns, and that the list is still the same later."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.acquire.further import column_array
from imagemill.acquire.survey import Survey, survey, url_hash
from imagemill.acquire.url_list import Entry, ListOptions, UrlList
from imagemill.errors import ConfigError


def surveyed(path: Path, content: str, **options: Any) -> Survey:
    path.write_text(content)
    return survey(UrlList(path, ListOptions(**options)), path.parent / "survey")


def test_what_a_survey_counts(tmp_path: Path) -> None:
    found = surveyed(
        tmp_path / "u.txt", "http://A.org/1\nbad\nhttp://u:p@b.org:81/2\nhttp://a.org/1?x\nhttp://A.org/1\n"
    )
    assert (found.first, found.urls, found.bad_lines) == (0, 4, 1)
    assert dict(found.hosts) == {"a.org": 3, "b.org:81": 1}
    assert [line.place for line in found.bad()] == ["u.txt, line 2"]
    assert found.repeats().first_of(0, 4) == {3: 0}
    assert found.hashes.tobytes()[16:32] == url_hash("http://u:p@b.org:81/2")


def test_a_survey_of_the_same_list_is_reused_and_of_another_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = surveyed(tmp_path / "u.jsonl", '{"url": "http://a.org/1", "n": 1}\n')
    with monkeypatch.context() as patch:
        patch.setattr(UrlList, "items", lambda self: pytest.fail("the list was read again"))
        again = surveyed(tmp_path / "u.jsonl", '{"url": "http://a.org/1", "n": 1}\n')
    assert again == first
    other = surveyed(tmp_path / "u.jsonl", '{"url": "http://a.org/1", "m": "x"}\n')
    assert other.further.names == ["m"]
    assert surveyed(tmp_path / "u.jsonl", '{"url": "http://a.org/1", "m": "x"}\n', count=1).identity != other.identity


@pytest.mark.parametrize("name", ["urls.hashes", "bad-lines.jsonl", "columns.arrow", "list.json"])
def test_a_survey_of_which_a_power_cut_left_a_part_is_made_again(name: str, tmp_path: Path) -> None:
    first = surveyed(tmp_path / "u.txt", "http://a.org/1\nbad\n")
    hashes = first.hashes.tobytes()
    for left in (bytes(4), None):
        path = first.folder / name
        if left is None:
            path.unlink()
        else:
            path.write_bytes(left)
        again = surveyed(tmp_path / "u.txt", "http://a.org/1\nbad\n")
        assert (again, again.hashes.tobytes(), len(list(again.bad()))) == (first, hashes, 1)


def test_a_list_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    found = surveyed(tmp_path / "u.txt", "http://a.org/0\nhttp://a.org/1\nhttp://a.org/2\n", skip=1)
    found.check(Entry(1, "http://a.org/1", None, None, {}))
    for number, url in ((1, "http://a.org/2"), (3, "http://a.org/3")):
        with pytest.raises(ConfigError, match="was changed while"):
            found.check(Entry(number, url, None, None, {}))


def test_nothing_to_fetch_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no URLs"):
        surveyed(tmp_path / "u.txt", "# only a comment\n")
    with pytest.raises(ConfigError, match="has no URLs from --skip on"):
        surveyed(tmp_path / "u.txt", "http://a.org/1\n", skip=5)
    assert surveyed(tmp_path / "u.txt", "bad\n").urls == 0


VALUES: dict[str, tuple[list[Any], str]] = {
    "whole": ([1, None, 3], "int64"),
    "truth": ([True, False], "int64"),
    "numbers": ([1, 2.5], "double"),
    "words": (["a", "b"], "string"),
    "digits": (["1", "22"], "string"),
    "mixed": ([1, "a"], "string"),
    "lists": ([[1, 2.5], [3]], "list<item: float>"),
    "objects": ([{"a": 1}, {"b": [2]}], "string"),
    "nothing": ([None, None], "string"),
    "huge": ([2**70, 1], "string"),
    "surrogates": (["\ud800x", "caf\udce9"], "string"),
}


@pytest.mark.parametrize("name", VALUES)
def test_further_columns_have_the_type_of_their_values(tmp_path: Path, name: str) -> None:
    values, kind = VALUES[name]
    lines = [json.dumps({"url": "http://a.org/1", name: value}) for value in values]
    found = surveyed(tmp_path / "u.jsonl", "\n".join(lines))
    assert str(found.further.field(name).type).replace("element", "item") == kind
    entries = UrlList(tmp_path / "u.jsonl").entries()
    column = column_array([entry.further.get(name) for entry in entries], found.further.field(name).type)
    column.validate(full=True)
    assert column.null_count == sum(value is None for value in values)


def test_columns_of_csv_have_the_type_that_their_text_reads_as(tmp_path: Path) -> None:
    content = "url,whole,number,zeros,words,nothing\nhttp://a.org/1,1,2.5,007,a,\nhttp://a.org/2,22,3,1,,\n"
    (tmp_path / "u.csv").write_text(content)
    urls = UrlList(tmp_path / "u.csv")
    found = survey(urls, tmp_path / "survey").further
    assert [str(kind) for kind in found.types] == ["int64", "double", "string", "string", "string"]
    columns = {
        field.name: column_array([one.further[field.name] for one in urls.entries()], field.type) for field in found
    }
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "whole": [1, 22],
        "number": [2.5, 3.0],
        "zeros": ["007", "1"],
        "words": ["a", None],
        "nothing": [None, None],
    }


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    table = pa.table(
        {
            "url": ["http://a.org/1"],
            "small": pa.array([1], pa.int16()),
            "when": pa.array([when], pa.timestamp("us", "UTC")),
            "box": pa.array([{"x": 1.5}], pa.struct({"x": pa.float32()})),
            "raw": pa.array([b"\xff"], pa.binary()),
            "word": pa.array(["x"]).dictionary_encode(),
            "long": pa.array(["x"], pa.large_string()),
            "nano": pa.array([1_767_312_000_000_000_001], pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "u.parquet")
    urls = UrlList(tmp_path / "u.parquet")
    found = survey(urls, tmp_path / "survey")
    assert found.further.field("nano").type == pa.timestamp("us")
    assert found.further.remove(6) == table.drop_columns(["url", "nano"]).schema
    entry = next(urls.entries())
    assert column_array([entry.further["nano"]], pa.timestamp("us")).cast(pa.int64()).to_pylist() == [
        1_767_312_000_000_000
    ]
    for field in found.further.remove(6):
        assert column_array([entry.further[field.name]], field.type).equals(table[field.name].combine_chunks())


def test_columns_that_differ_between_files_meet(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    pq.write_table(pa.table({"url": ["http://a.org/1"], "n": pa.array([1], pa.int16())}), folder / "a.parquet")
    pq.write_table(pa.table({"url": ["http://a.org/2"], "n": pa.array([2.5])}), folder / "b.parquet")
    (folder / "c.csv").write_text("url,n,m\nhttp://a.org/3,4,x\n")
    found = survey(UrlList(folder), tmp_path / "survey")
    assert found.further == pa.schema({"n": pa.float64(), "m": pa.string()})
    values = [entry.further.get("n") for entry in UrlList(folder).entries()]
    assert column_array(values, pa.float64()).to_pylist() == [1.0, 2.5, 4.0]
