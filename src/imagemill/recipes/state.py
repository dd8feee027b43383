"""What a recipe's steps were made from, and whether that is still so.

    RUNS/NAME.steps.json      a record a step: asked for how, of which input, and what it made

A record is written before a step begins, without a result, and again when it has ended: so a result that a kill left
half made is known to be the recipe's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagemill.core.files import atomic_write
from imagemill.errors import DamageError

MARKERS = (
    "manifest.json",
    "stage.json",
    "predict.json",
    "result.json",
    "tiling.json",
    "checks.parquet",
    "index.parquet",
)
"""Files of which one lies in a finished result of a verb, written last."""

HASHED_BYTES = 64 * 2**20
"""Single files up to this size are known by their content, larger ones by length and time."""


@dataclass(frozen=True)
class Record:
    """What is known of one step.

    Args:
        asked: options, as plain values.
        inputs: parameter → path or URL, relative where it was given so.
        digests: parameter → what the input was (`digest_of`).
        out: of the result.
        result: `digest_of` the result; empty where the step has not ended.
        summary: of the result, for the screen.
        seconds: that the step took in the run that ended it.
    """

    asked: Mapping[str, Any]
    inputs: Mapping[str, str]
    digests: Mapping[str, str]
    out: str
    result: str = ""
    summary: str = ""
    seconds: float = 0.0

    def difference(self, other: Record) -> str:
        """What is asked for differently in another record, in words; empty where nothing is."""
        for name in sorted({*self.asked, *other.asked}):
            if self.asked.get(name) != other.asked.get(name):
                return f"{name} was {self.asked.get(name)!r}, now {other.asked.get(name)!r}"
        for name in sorted({*self.inputs, *other.inputs}):
            if self.inputs.get(name) != other.inputs.get(name):
                return f"{name} was {self.inputs.get(name)}, now {other.inputs.get(name)}"
        for name in other.digests:
            if self.digests.get(name) != other.digests[name]:
                return f"{other.inputs.get(name, name)} has changed"
        return f"its result lay in {self.out}, now {other.out}" if self.out != other.out else ""


class State:
    """The records of a recipe, on disk.

    Args:
        path: of the file, which need not be there.

    Raises:
        DamageError: it is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        if not path.exists():
            return
        try:
            for name, record in json.loads(path.read_text("utf-8")).items():
                self.records[name] = Record(**record)
        except (ValueError, TypeError, AttributeError) as error:
            raise DamageError(
                f"{path} cannot be read ({error}): remove it, and steps that are done say so themselves"
            ) from None

    def put(self, name: str, record: Record) -> None:
        """Keeps a record, on disk before this returns."""
        self.records[name] = record
        content = {name: asdict(record) for name, record in self.records.items()}
        atomic_write(self.path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def digest_of(path: Path) -> str:
    """What lies at a path, so that a change shows; empty where nothing does.

    Results of verbs are known by the file that they write last, other folders by names, lengths and times of all that
    is in them, and no content is read.
    """
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        return ""
    marker = next((path / name for name in MARKERS if (path / name).is_file()), None)
    if marker is not None:
        return f"{marker.name} {_file(marker)}"
    digest = hashlib.sha256()
    for line in _tree(os.fspath(path), ""):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return f"folder {digest.hexdigest()}"


def _file(path: Path) -> str:
    status = path.stat()
    if status.st_size > HASHED_BYTES:
        return f"file of {status.st_size} bytes, {status.st_mtime_ns}"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tree(folder: str, below: str) -> Iterator[str]:
    """A line for each file below a folder, in an order that depends on the names alone."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _tree(entry.path, f"{name}/")
        else:
            status = entry.stat(follow_symlinks=False)
            yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"


def plain(value: Any) -> Any:
    """An option as JSON has it, so that it equals what was read back."""
    return json.loads(json.dumps(value, default=str))
