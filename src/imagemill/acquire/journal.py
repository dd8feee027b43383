"""What became of each URL, written down as it happens: SQLite, whole after a kill at any instant.

An outcome is committed before the next one is looked at, so a killed run forgets what was under
way and nothing else. Commits do not wait for the disk (`synchronous=NORMAL`): after a power cut
the last ones may be missing, never damaged, and what they told is fetched again.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType

from imagemill.acquire.contract import Outcome
from imagemill.acquire.list_rows import clean_text

FORMAT = 1
_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a URL.

    Args:
        number: its place in the list.
        url_hash: xxh3-128 of the URL, by which it is found again in another list.
        status: "fetched" or "failed".
        reason, detail, host, http_status, final_url: as `Outcome` has them.
        path: of the image, relative to the pile; "" unless fetched.
        size_bytes, sha256, format, width, height: of the image.
        notes: what is irregular about it, joined by ";".
        etag, last_modified, content_type, x_robots_tag, license: headers of the answer.
        time: when it ended, seconds since 1970.
        seconds, attempts: as `Outcome` has them.
        checked: how the last look at whether it changed ended: "", "unchanged", "changed", or a reason.
        checked_time: when.
        changed_path, changed_sha256: of the image that is there now, where it changed.
    """

    number: int
    url_hash: bytes
    status: str
    reason: str = ""
    detail: str = ""
    host: str = ""
    http_status: int = 0
    final_url: str = ""
    path: str = ""
    size_bytes: int = 0
    sha256: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    notes: str = ""
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""
    x_robots_tag: str = ""
    license: str = ""
    time: float = 0.0
    seconds: float = 0.0
    attempts: int = 0
    checked: str = ""
    checked_time: float = 0.0
    changed_path: str = ""
    changed_sha256: str = ""

    @staticmethod
    def of(outcome: Outcome, url_hash: bytes, time: float) -> Record:
        """The record of an outcome."""
        verdict = outcome.verdict
        headers = {name: clean_text(value) for name, value in outcome.headers.items()}
        return Record(
            number=outcome.number,
            url_hash=url_hash,
            status=outcome.status,
            reason=outcome.reason,
            detail=clean_text(outcome.detail),
            host=outcome.host,
            http_status=outcome.http_status,
            final_url=clean_text(outcome.final_url),
            path=outcome.path,
            size_bytes=outcome.size_bytes,
            sha256=outcome.sha256,
            format=verdict.format if verdict else "",
            width=verdict.width if verdict else 0,
            height=verdict.height if verdict else 0,
            notes=";".join(verdict.notes) if verdict else "",
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            content_type=headers.get("content-type", ""),
            x_robots_tag=headers.get("x-robots-tag", ""),
            license=headers.get("license", ""),
            time=time,
            seconds=outcome.seconds,
            attempts=outcome.attempts,
        )


_NAMES = tuple(field.name for field in fields(Record))
_values = attrgetter(*_NAMES)
_SQL_TYPES = {"int": "INTEGER", "float": "REAL", "str": "TEXT", "bytes": "BLOB"}
_COLUMNS = ", ".join(
    f"{field.name} {_SQL_TYPES[str(field.type)]}{' PRIMARY KEY' if field.name == 'number' else ''}"
    for field in fields(Record)
)
_SELECT = f"SELECT {', '.join(_NAMES)} FROM records"
_INSERT = f"INSERT OR REPLACE INTO records VALUES ({', '.join('?' * len(_NAMES))})"


class Journal:
    """The records of one pile, by number; for one process at a time.

    Args:
        path: of the database; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _disk_errors():
            self._database = sqlite3.connect(path, isolation_level=None)
            # A new database is not synced either: a power cut leaves it empty, or as it is here.
            self._database.execute("PRAGMA synchronous=OFF")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(f"CREATE TABLE IF NOT EXISTS records ({_COLUMNS})")
            self._database.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)")
            self._database.execute("PRAGMA synchronous=NORMAL")

    def fact(self, name: str) -> str | None:
        """A fact about the whole, None where it was never set."""
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_fact(self, name: str, value: str) -> None:
        """Remembers a fact."""
        with _disk_errors():
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def put(self, record: Record) -> None:
        """Remembers a record, in place of an earlier one of its number, before it returns."""
        with _disk_errors():
            self._database.execute(_INSERT, _values(record))

    def put_all(self, records: Iterator[Record]) -> None:
        """Remembers many, all or none."""
        with _disk_errors(), self._transaction():
            self._database.executemany(_INSERT, map(_values, records))

    def get(self, numbers: Sequence[int]) -> dict[int, Record]:
        """The records of these numbers, those that are there."""
        found = {}
        for number in numbers:
            row = self._database.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone()
            if row is not None:
                found[number] = Record(*row)
        return found

    def between(self, start: int, stop: int) -> Iterator[Record]:
        """Records from number start up to stop, ascending."""
        rows = self._database.execute(f"{_SELECT} WHERE number >= ? AND number < ? ORDER BY number", (start, stop))
        return (Record(*row) for row in rows)

    def all(self) -> Iterator[Record]:
        """All records, ascending; they may be changed meanwhile."""
        last = -1
        while rows := self._database.execute(
            f"{_SELECT} WHERE number > ? ORDER BY number LIMIT {_BATCH_ROWS}", (last,)
        ).fetchall():
            yield from (Record(*row) for row in rows)
            last = rows[-1][0]

    def remove(self, numbers: Sequence[int]) -> None:
        """Forgets the records of these numbers."""
        with _disk_errors(), self._transaction():
            self._database.executemany("DELETE FROM records WHERE number = ?", ((number,) for number in numbers))

    def forget_failures(self, reasons: Sequence[str] | None) -> None:
        """Forgets failures for these reasons, or all of them."""
        sql = "DELETE FROM records WHERE status = 'failed'"
        if reasons is not None:
            sql += f" AND reason IN ({', '.join('?' * len(reasons))})"
        with _disk_errors():
            self._database.execute(sql, reasons or ())

    def replace_all(self, records: Iterator[Record], name: str, value: str) -> None:
        """Forgets all records for others, and sets a fact, all or nothing; `records` may come from `all`."""
        with _disk_errors(), self._transaction():
            self._database.execute(f"CREATE TABLE others ({_COLUMNS})")
            self._database.executemany(_INSERT.replace("records", "others"), map(_values, records))
            self._database.execute("DROP TABLE records")
            self._database.execute("ALTER TABLE others RENAME TO records")
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def count(self) -> int:
        """Number of records."""
        return int(self._database.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    def checked_count(self) -> int:
        """Number of records that a refresh need not look at any more."""
        sql = "SELECT COUNT(*) FROM records WHERE status = 'failed' OR checked != ''"
        return int(self._database.execute(sql).fetchone()[0])

    def forget_checks(self) -> None:
        """Takes every image as unchecked; what was found changed before stays noted until it is checked."""
        with _disk_errors():
            self._database.execute("UPDATE records SET checked = '', checked_time = 0")

    def checks(self) -> dict[str, int]:
        """How many images a refresh found changed and unchanged, and how many could not be had again."""
        sql = "SELECT checked, COUNT(*) FROM records WHERE checked != '' GROUP BY checked"
        counts = dict(self._database.execute(sql))
        changed, unchanged = counts.pop("changed", 0), counts.pop("unchanged", 0)
        return {"changed": changed, "unchanged": unchanged, "unchecked": sum(counts.values())}

    def images(self) -> tuple[int, int]:
        """Different images, and their bytes together."""
        sql = "SELECT MAX(size_bytes) AS size FROM records WHERE status = 'fetched' GROUP BY sha256"
        images, size_bytes = self._database.execute(f"SELECT COUNT(*), SUM(size) FROM ({sql})").fetchone()
        return images, size_bytes or 0

    def counts(self) -> dict[tuple[str, str], int]:
        """{(status, reason): records}."""
        rows = self._database.execute("SELECT status, reason, COUNT(*) FROM records GROUP BY status, reason")
        return {(status, reason): count for status, reason, count in rows}

    def failures_by_host(self, limit: int) -> list[tuple[str, str, int]]:
        """(host, reason, records), the most frequent first."""
        return self._database.execute(
            "SELECT host, reason, COUNT(*) AS n FROM records WHERE status = 'failed' "
            "GROUP BY host, reason ORDER BY n DESC, host, reason LIMIT ?",
            (limit,),
        ).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def remove_journal(path: Path) -> None:
    """Removes a closed journal, or what a kill left of one: its log would be taken for that of the next."""
    for suffix in ("-wal", "-shm", ""):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """SQLite's word for a full disk as the operating system's."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, "No space left on device (journal)") from error
        raise
