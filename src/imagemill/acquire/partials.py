"""Beginnings of bodies that outlive their run: beside a large body on its way lies a note that says what it is.

A run that is killed, or stopped, leaves `12.part` and `12.json`. The next one renames both to the key of their
request (its number may be another one by then) and asks for the rest, by Range and If-Range.
"""

from __future__ import annotations

import json
from pathlib import Path

from imagemill.acquire.contract import Partial

KEPT_BYTES = 1 << 18
"""Announced size from which a body gets a note: less is fetched again as fast."""
BODY, NOTE = ".part", ".json"


def write_note(body: Path, key: str, etag: str, last_modified: str) -> None:
    """Says what the body in this file begins; what a kill leaves of a note is no note."""
    body.with_suffix(NOTE).write_text(json.dumps([key, etag, last_modified]), "utf-8")


def remove_note(body: Path) -> None:
    """The body in this file is whole, or of no use."""
    body.with_suffix(NOTE).unlink(missing_ok=True)


def left_partials(folder: Path) -> dict[str, Partial]:
    """Beginnings that earlier runs left in the folder, by the key of their request; everything else there goes."""
    notes = [(path, _read_note(path)) for path in folder.glob(f"*{NOTE}")]
    found: dict[str, Partial] = {}
    for path, note in notes:
        if note is None or note[0] in found:
            continue
        key, etag, last_modified = note
        body = folder / f"{key}{BODY}"
        try:
            path.with_suffix(BODY).replace(body)
        except FileNotFoundError:
            continue
        path.replace(body.with_suffix(NOTE))
        found[key] = Partial(body, etag, last_modified)
    kept = {partial.path.stem for partial in found.values()}
    for path in folder.iterdir():
        if path.stem not in kept:
            path.unlink()
    return found


def _read_note(path: Path) -> tuple[str, str, str] | None:
    try:
        key, etag, last_modified = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return None
    known = all(isinstance(value, str) for value in (key, etag, last_modified))
    return (key, etag, last_modified) if known and key.isalnum() and (etag or last_modified) else None
