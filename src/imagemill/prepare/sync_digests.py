"""What `sync` remembers: the record in the folder it keeps up to date, and digests that need not be taken again.

The record travels with the folder (it may be committed to git) and holds nothing that differs between machines.
Digests of files that were read once lie in the cache, each with the stamp that its file had; the cache may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from imagemill.config import cache_dir
from imagemill.errors import ConfigError
from imagemill.prepare.commit import atomic_write
from imagemill.prepare.sync_places import RECORD_NAME, LocalTree, RemoteTree, Stamp, Tree

SETTLED_S = 2.0
"""A file that was changed so short ago may be changed again without its times telling: its digest is not kept."""


@dataclass(frozen=True)
class Entry:
    """A file of the record.

    Args:
        size_bytes, sha256: as it was brought.
        gone: whether the source has it no more; it stays until `--delete`.
    """

    size_bytes: int
    sha256: str
    gone: bool = False


@dataclass(frozen=True)
class Record:
    """What a synced folder should hold.

    Args:
        source: where it came from, without passwords.
        files: relative path → entry.
    """

    source: str = ""
    files: Mapping[str, Entry] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON Lines, sorted by path: small differences for git."""
        lines = [json.dumps({"source": self.source, "digest": "sha256"}, ensure_ascii=False)]
        for path, entry in sorted(self.files.items()):
            line: dict[str, Any] = {"path": path, "size": entry.size_bytes, "sha256": entry.sha256}
            lines.append(json.dumps(line | ({"gone": True} if entry.gone else {}), ensure_ascii=False))
        return "".join(line + "\n" for line in lines).encode()

    @classmethod
    def of(cls, tree: Tree) -> Record | None:
        """The record that lies in a folder, if one does.

        Raises:
            ConfigError: it cannot be read, or names files outside the folder.
        """
        try:
            first, *lines = tree.read(RECORD_NAME).decode().removesuffix("\n").split("\n")
            head = json.loads(first)
            files = {}
            for line in lines:
                entry = json.loads(line)
                files[checked(entry["path"])] = Entry(int(entry["size"]), entry["sha256"], entry.get("gone", False))
            return cls(head["source"], files)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{tree}/{RECORD_NAME} is damaged ({error}): delete it, and sync again") from None


def checked(path: str) -> str:
    """A path that stays inside its folder.

    Raises:
        ValueError: it does not.
    """
    parts = PurePosixPath(path).parts
    # Elsewhere these are characters like others: `Screenshot 12:30:45.png`.
    of_windows = os.name == "nt" and not {"\\", ":"}.isdisjoint(path)
    if not parts or path.startswith("/") or ".." in parts or of_windows:
        raise ValueError(f"{path!r} leads out of the folder")
    return path


class Digests:
    """sha256 of the files of one place, taken once as long as their stamps stay.

    Args:
        tree: the place.
        trust: whether digests of the cache count; False reads every file again.
    """

    def __init__(self, tree: Tree, *, trust: bool = True) -> None:
        self._tree = tree
        name = hashlib.sha256(tree.identity.encode()).hexdigest()
        self._path = cache_dir() / "sync" / f"{name}.jsonl"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[list[Any], str]] = {}
        self.written: dict[str, str] = {}
        """Digests that an interrupted run wrote here, whatever their stamps are now."""
        self._load()
        if not trust:
            self._known = {}

    def _load(self) -> None:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                path, stamp, sha256, written = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            self._known[path] = (stamp, sha256)
            if written:
                self.written[path] = sha256

    def known(self, path: str, stamp: Stamp) -> str | None:
        """The digest of a file of this stamp, if it was ever taken."""
        kept = self._known.get(path)
        return kept[1] if kept is not None and kept[0] == list(stamp) and any(stamp) else None

    def get(self, path: str, stamp: Stamp) -> str:
        """The digest of a file, taken now if need be."""
        sha256 = self.known(path, stamp)
        if sha256 is None:
            sha256 = self._tree.digest(path)
            self.keep(path, stamp, sha256)
        return sha256

    def keep(self, path: str, stamp: Stamp, sha256: str, *, written: bool = False) -> None:
        """Notes a digest at once, so that a run that is killed leaves it behind."""
        if isinstance(self._tree, LocalTree) and not written and time.time_ns() - stamp[1] < SETTLED_S * 1e9:
            return
        with self._lock:
            self._known[path] = (list(stamp), sha256)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps([path, list(stamp), sha256, written]) + "\n")

    def settle(self) -> None:
        """Writes the notes anew, without those of files that are long changed; nothing counts as half done any more."""
        if self._known:
            lines = [json.dumps([path, stamp, sha256, False]) for path, (stamp, sha256) in sorted(self._known.items())]
            atomic_write(self._path, "".join(line + "\n" for line in lines).encode(), durable=False)


def web_record(tree: Tree) -> Record | None:
    """The record that a web server has of its files: then no index page is needed."""
    return Record.of(tree) if isinstance(tree, RemoteTree) and tree.is_web else None
