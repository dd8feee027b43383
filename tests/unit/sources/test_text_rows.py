"""Delimiters and JSON lines."""

from __future__ import annotations

import pytest

from imagemill.sources.text_rows import json_lines, sniff_delimiter


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["a,b", "1,2"], ","),
        (["a;b", "1,5;2,5"], ";"),
        (["a;b, c", "1;2"], ";"),
        (["a|b|c", "1|2"], "|"),
        (["a\tb", "1\t2"], "\t"),
        (["path", "a,b.jpg"], ","),
        (["path", "a;b.jpg"], ","),
        (['"x;y",b', '"1;2",3'], ","),
        (["a;b", "", "1;2"], ";"),
        ([], ","),
    ],
)
def test_the_delimiter_makes_most_columns_in_every_line(lines: list[str], delimiter: str) -> None:
    assert sniff_delimiter(lines) == delimiter


def test_the_usual_delimiter_is_taken_where_nothing_speaks_for_another() -> None:
    assert sniff_delimiter(["path", "a.jpg"], "\t") == "\t"
    assert sniff_delimiter(["a,b", "1,2"], "\t") == ","


def test_json_lines_go_on_after_a_broken_one() -> None:
    found = list(json_lines(['{"a": 1}\n', "\n", "{broken\n", "[" * 100_000 + "\n", "7\n"]))
    assert [(line.number, line.value) for line in found] == [(1, {"a": 1}), (3, None), (4, None), (5, 7)]
    assert found[0].error == ""
    assert "column 2" in found[1].error
    assert found[2].error
