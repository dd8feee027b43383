"""The format under imagemill's own conformance suite: all that a format has to promise."""

import json
from pathlib import Path

import pytest
from imagemill_lines import FORMAT

from imagemill.formats import FORMATS, Format
from imagemill.testing.formats import SCHEMAS, FormatConformance, make_rows


class TestLines(FormatConformance):
    @pytest.fixture
    def format(self) -> Format:
        return FORMAT


def test_it_is_registered() -> None:
    assert FORMATS.get("lines") is FORMAT


def test_a_shard_is_read_without_imagemill(tmp_path: Path) -> None:
    rows = make_rows(SCHEMAS["text"], 3)
    (file,) = FORMAT.write(tmp_path / "train-00000-of-00001", SCHEMAS["text"], rows)
    _, *records = (json.loads(line) for line in file.read_text().splitlines())
    assert [record["key"] for record in records] == [row.key for row in rows]
