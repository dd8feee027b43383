"""What a person reads: counts that add up, and a line a row where the screen is a file."""

from __future__ import annotations

import pytest

from imagemill.cli.console import account_rows, kind_counts, print_rows


def rows(**changes: object) -> dict[str, str]:
    given: dict[str, object] = {"found": 10, "kept": 6, "rejected": 1, "ignored": 3}
    given |= {"reasons": {"corrupt": 1}, "ignored_kinds": {".txt": 2, "hidden": 1}, "notes": {}}
    return {name: value for name, value in account_rows(given | changes) if name}


def test_what_is_ignored_is_named_the_most_frequent_first() -> None:
    assert rows()["ignored"] == "3: 2 .txt, 1 hidden"
    assert rows(ignored=0, ignored_kinds={})["ignored"] == "0"
    assert kind_counts({f".{number}": 1 for number in range(14)}).endswith(", … and 2 more")


def test_rejected_files_and_samples_are_both_said_where_they_differ() -> None:
    assert rows()["rejected"] == "1"
    assert rows(reasons={"missing-file": 4, "corrupt": 1})["rejected"] == "1 (5 samples)"


def test_rows_in_a_pipe_are_neither_wrapped_nor_padded(capsys: pytest.CaptureFixture[str]) -> None:
    long = "[word] " * 40
    print_rows([("a", "1"), ("name", long.strip())])
    assert capsys.readouterr().out == f"a     1\nname  {long.strip()}\n"
