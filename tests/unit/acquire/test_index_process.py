"""The process that writes the index: the same index, an end with its parent, and none of its faults in the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from imagemill.acquire.index import write_index as write_here
from imagemill.acquire.index_process import IndexProcess, index_process, write_index
from imagemill.acquire.journal import Journal, Record
from imagemill.acquire.survey import Survey, survey, url_hash
from imagemill.acquire.url_list import ListOptions, UrlList
from imagemill.errors import ConfigError

FACTS = {"found": 3, "hosts": [["a.org", "dns", 1]]}


def surveyed(folder: Path) -> tuple[UrlList, Survey]:
    """A table with a further column, of which the first row is skipped."""
    folder.mkdir(exist_ok=True)
    table = folder / "urls.csv"
    table.write_text("url,width\n" + "".join(f"http://a.org/{number},{number}\n" for number in range(4)))
    urls = UrlList(table, ListOptions(skip=1))
    return urls, survey(urls, folder / "survey")


def fill(journal: Journal) -> None:
    """A record of each URL, one of them failed."""
    for number in range(1, 4):
        hashed = url_hash(f"http://a.org/{number}")
        failed = {"status": "failed", "reason": "dns", "detail": "no such name"}
        fetched = {"status": "fetched", "path": f"images/{number}", "size_bytes": number}
        given: dict[str, Any] = failed if number == 2 else fetched
        journal.put(Record(number=number, url_hash=hashed, **given))


def written(root: Path, process: IndexProcess | None) -> tuple[Any, ...]:
    """What is in index and rejects, written by the process, else here."""
    root.mkdir(parents=True)
    urls, found = surveyed(root / "list")
    with Journal(root / "journal.sqlite") as journal:
        fill(journal)
        if process is None:
            write_here(root, urls, found, journal, FACTS)
        else:
            assert process.write(root, urls, found, journal, FACTS)
    table = pq.read_table(root / "index.parquet")
    return table.schema.metadata, table.to_pylist(), (root / "rejects.jsonl").read_bytes()


@pytest.fixture
def process() -> Any:
    started = IndexProcess()
    yield started
    started.end()


def test_it_writes_what_this_process_would(process: IndexProcess, tmp_path: Path) -> None:
    assert written(tmp_path / "there", process) == written(tmp_path / "here", None)


def test_a_relative_path_means_what_it_means_here(
    process: IndexProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(written(Path("there"), process)[1]) == 3


def test_where_it_died_this_process_writes(tmp_path: Path) -> None:
    urls, found = surveyed(tmp_path)
    process = IndexProcess()
    process.end()
    with Journal(tmp_path / "journal.sqlite") as journal:
        fill(journal)
        assert not process.write(tmp_path, urls, found, journal, FACTS)
    assert not (tmp_path / "index.parquet").exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_what_it_cannot_do_is_told_by_this_process(wanted: bool, tmp_path: Path) -> None:
    urls, found = surveyed(tmp_path)
    with index_process(wanted=wanted), Journal(tmp_path / "journal.sqlite") as journal:
        fill(journal)
        write_index(tmp_path, urls, found, journal, FACTS)
        before = (tmp_path / "index.parquet").read_bytes()
        urls.path.write_text("url\nhttp://b.org/1\nhttp://b.org/2\n")
        with pytest.raises(ConfigError, match="was changed while"):
            write_index(tmp_path, urls, found, journal, FACTS)
    assert (tmp_path / "index.parquet").read_bytes() == before


def test_it_ends_when_its_parent_does_and_was_asked_for_nothing(process: IndexProcess) -> None:
    process._asks.close()
    assert process._process.wait(120) == 0
