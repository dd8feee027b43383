"""The journal remembers what it was told, whole, and finds it again in another order."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imagemill.acquire.contract import Outcome, Verdict
from imagemill.acquire.journal import Journal, Record, remove_journal


def record(number: int, status: str = "fetched", **more: object) -> Record:
    return Record(number, number.to_bytes(16, "little"), status, **more)  # type: ignore[arg-type]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    outcome = Outcome(
        7,
        "fetched",
        host="a.org",
        http_status=200,
        final_url="https://a.org/x?y=…",
        path="images/ab/ab/x.png",
        size_bytes=12,
        sha256="ab" * 32,
        verdict=Verdict(format="PNG", width=3, height=4, notes=("alpha", "grey")),
        headers={"etag": '"x"', "content-type": "image/\udcff", "x-robots-tag": "all"},
        seconds=1.5,
        attempts=2,
    )
    made = Record.of(outcome, b"h" * 16, 123.25)
    assert made.content_type == "image/\\xff"
    assert (made.notes, made.etag, made.width, made.attempts) == ("alpha;grey", '"x"', 3, 2)
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.put(made)
    with Journal(tmp_path / "j.sqlite") as journal:
        assert list(journal.all()) == [made]
        assert journal.get([6, 7]) == {7: made}
        journal.put(replace(made, status="failed", reason="gone"))
        assert journal.counts() == {("failed", "gone"): 1}


def test_ranges_facts_and_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.fact("list") is None
        journal.set_fact("list", "a")
        journal.put_all(record(number, sha256=str(number % 3), size_bytes=10) for number in range(10))
        journal.put(record(10, "failed", reason="dns", host="b.org"))
        journal.put(record(11, "failed", reason="html", host="a.org"))
        journal.put(record(12, "failed", reason="html", host="a.org"))
        assert journal.fact("list") == "a"
        assert [one.number for one in journal.between(3, 6)] == [3, 4, 5]
        assert journal.images() == (3, 30)
        assert journal.failures_by_host(5) == [("a.org", "html", 2), ("b.org", "dns", 1)]
        journal.remove([0, 1])
        journal.forget_failures(["html"])
        assert journal.count() == 9
        journal.forget_failures(None)
        assert journal.counts() == {("fetched", ""): 8}


def test_checks_are_forgotten_and_counted(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.put(record(0, checked="changed", changed_path="x"))
        journal.put(record(1, checked="unchanged"))
        journal.put(record(2, checked="not-found"))
        journal.put(record(3))
        journal.put(record(4, "failed"))
        assert journal.checks() == {"changed": 1, "unchanged": 1, "unchecked": 1}
        assert journal.checked_count() == 4
        journal.forget_checks()
        assert journal.checked_count() == 1
        assert journal.get([0])[0].changed_path == "x"


def test_all_records_are_replaced_or_none(tmp_path: Path) -> None:
    def broken() -> object:
        yield record(5)
        raise ValueError("no more")

    with Journal(tmp_path / "j.sqlite") as journal:
        journal.set_fact("list", "old")
        journal.put_all(record(number) for number in range(25_000))
        with pytest.raises(ValueError, match="no more"):
            journal.replace_all(broken(), "list", "new")  # type: ignore[arg-type]
        assert journal.count() == 25_000
        assert journal.fact("list") == "old"
        turned = (replace(one, number=24_999 - one.number) for one in journal.all())
        journal.replace_all(turned, "list", "new")
        assert journal.fact("list") == "new"
        assert [one.url_hash[:2] for one in journal.between(0, 2)] == [
            (24_999).to_bytes(2, "little"),
            (24_998).to_bytes(2, "little"),
        ]


def test_a_killed_process_loses_nothing_that_was_put(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from imagemill.acquire.journal import Journal, Record\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(50):\n"
        "    journal.put(Record(number, bytes(16), 'fetched'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "j.sqlite"
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert Path(f"{path}-wal").exists()
    with Journal(path) as journal:
        assert journal.count() == 50
    remove_journal(path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_systems_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with Journal(tmp_path / "j.sqlite") as journal:

        class Full:
            def execute(self, *_: object) -> None:
                raise full

            def close(self) -> None:
                pass

        database = journal._database
        monkeypatch.setattr(journal, "_database", Full())
        with pytest.raises(OSError, match="No space left") as raised:
            journal.put(record(1))
        assert raised.value.errno == errno.ENOSPC
        database.close()
