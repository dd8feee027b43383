"""What earlier looks found, by content: a second check of a pile that has grown decodes only what is new.

One SQLite file, `IMAGEMILL_CACHE/checks/VERSION.sqlite`, with about 1.4 kB a picture (1.4 GB a million), where VERSION
stands for the measures and the decoding libraries. Of bad pictures the verdict is remembered where it follows from
their bytes alone: what took too long, or too much memory, is looked at again. Nothing depends on the file: it may be
deleted at any time, several processes may use it at once, and where it cannot be read or written everything is looked
at, as if there were none. Like all locks of SQLite's write-ahead log, it wants a disk of this machine.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from imagemill.codecs.header import Header
from imagemill.config import cache_dir
from imagemill.curate.quality import MEASURES_VERSION, THUMBNAIL_SIDE, Measures
from imagemill.errors import SampleError

if TYPE_CHECKING:
    import sqlite3

DECODERS = ("numpy", "opencv-python-headless", "pillow", "simplejpeg")
"""Libraries with a say in verdicts and measures."""

LASTING = frozenset(("empty-file", "not-an-image", "truncated", "corrupt", "unsupported"))
"""Reasons that follow from the bytes, whatever the limits and the machine."""

_BUSY_S = 30.0
_RETRY_S = 0.01


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was found of some bytes: header, notes, and measures where its pixels were measured."""

    header: Header
    notes: tuple[str, ...]
    measures: Measures | None


class PictureCache:
    """Looks by content. Picklable; each process opens the file for itself.

    Args:
        folder: where caches lie; None is `imagemill.config.cache_dir()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        root = cache_dir() if folder is None else folder
        self.path = root.absolute() / "checks" / f"{_version()}.sqlite"
        self._open: dict[tuple[int, int], sqlite3.Connection | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_open": {}}

    def get(self, content: bytes, measured: bool) -> Remembered | SampleError | None:
        """What is known of bytes with this digest, good or bad, None where that is nothing usable."""
        import sqlite3

        connection = self._connection()
        if connection is None:
            return None
        try:
            row = connection.execute(
                "SELECT facts, thumbnail FROM looks WHERE key = ?", (_key(content, measured),)
            ).fetchone()
            return None if row is None else _decoded(*row)
        except sqlite3.Error as error:
            self._give_up(error)
        except (ValueError, KeyError, TypeError):
            pass  # bytes that are not what was written: looked at again
        return None

    def add_reject(self, content: bytes, measured: bool, error: SampleError) -> None:
        """Remembers that these bytes are no usable picture, where they always will be none."""
        if error.reason in LASTING:
            text = json.dumps({"reason": error.reason, "detail": error.detail})
            self._insert([(_key(content, measured), _seal(text, None) + text, None)])

    def add(self, looks: Iterable[tuple[bytes, Remembered]]) -> None:
        """Remembers looks, all at once, by the digest of their bytes."""
        self._insert([(_key(content, look.measures is not None), *_encoded(look)) for content, look in looks])

    def _insert(self, rows: list[tuple[bytes, str, bytes | None]]) -> None:
        import sqlite3

        connection = self._connection() if rows else None
        if connection is None:
            return
        try:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Lets go of the file in this thread; a later call opens it again."""
        connection = self._open.pop(_here(), None)
        if connection is not None:
            connection.close()

    def _connection(self) -> sqlite3.Connection | None:
        here = _here()
        if here not in self._open:
            self._open[here] = self._connect()
        return self._open[here]

    def _connect(self) -> sqlite3.Connection | None:
        import sqlite3

        until = time.monotonic() + _BUSY_S
        while True:
            try:
                return self._opened()
            except (OSError, sqlite3.Error) as error:
                # Who turns the write-ahead log on while others open the file is refused at once, whatever the timeout.
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
                is_busy = code & 0xFF == sqlite3.SQLITE_BUSY  # the upper bits say why
                if not is_busy or time.monotonic() > until:
                    self._discard(error)
                    return None
            time.sleep(_RETRY_S)

    def _opened(self) -> sqlite3.Connection:
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_S)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("CREATE TABLE IF NOT EXISTS looks (key BLOB PRIMARY KEY, facts TEXT, thumbnail BLOB)")
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up(self, error: sqlite3.Error) -> None:
        """Works on without the cache in this thread."""
        connection = self._open[_here()]
        self._open[_here()] = None
        if connection is not None:
            connection.close()
        self._discard(error)

    def _discard(self, error: Exception) -> None:
        """Removes a damaged file, so that the next run has a new one; a busy or full one stays."""
        import sqlite3

        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def _here() -> tuple[int, int]:
    """A connection belongs to one thread of one process."""
    return os.getpid(), threading.get_ident()


def _version() -> str:
    from importlib import metadata  # 70 ms, and workers are told the path

    parts = [f"{MEASURES_VERSION}", *(f"{name}={metadata.version(name)}" for name in DECODERS)]
    return xxhash.xxh3_64_hexdigest(" ".join(parts).encode())


def _key(content: bytes, measured: bool) -> bytes:
    return content + (b"\1" if measured else b"\0")


def _encoded(look: Remembered) -> tuple[str, bytes | None]:
    """Facts as JSON with a digest of themselves and the thumbnail in front, and the thumbnail."""
    record: dict[str, Any] = {"header": asdict(look.header), "notes": look.notes, "measures": None}
    thumbnail = None
    if look.measures is not None:
        measures = {name: getattr(look.measures, name) for name in _NUMBERS}
        record["measures"] = {**measures, "pixels": look.measures.pixels.hex()}
        thumbnail = look.measures.thumbnail.tobytes()
    text = json.dumps(record)
    return _seal(text, thumbnail) + text, thumbnail


_NUMBERS = ("brightness", "luma05", "luma95", "contrast", "entropy", "sharpness", "chroma")
_SEAL_LENGTH = 16


def _seal(text: str, thumbnail: bytes | None) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode() + (thumbnail or b""))


def _decoded(sealed: str, thumbnail: bytes | None) -> Remembered | SampleError:
    """What `_encoded` wrote, or `add_reject`.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    text = sealed[_SEAL_LENGTH:]
    if _seal(text, thumbnail) != sealed[:_SEAL_LENGTH]:
        raise ValueError("damaged")
    record = json.loads(text)
    if "reason" in record:
        return SampleError(record["reason"], record["detail"])
    measures = None
    if thumbnail is not None:
        numbers = record["measures"]
        pixels = bytes.fromhex(numbers.pop("pixels"))
        small = np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        measures = Measures(pixels=pixels, thumbnail=small, **numbers)
    return Remembered(Header(**record["header"]), tuple(record["notes"]), measures)
