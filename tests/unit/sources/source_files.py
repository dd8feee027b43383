"""Piles of tiny files for tests of sources, which never look at pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagemill.sources.base import Scan, Source, SourceOptions, account

JPEG = b"\xff\xd8\xff\xe0 not looked at any further"


def pile(root: Path, *names: str | bytes, content: bytes = JPEG) -> Path:
    """Files of these names below a folder, all of one content."""
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(root), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def scan_of(kind: type[Source], root: Path, listing: Path, **options: Any) -> Scan:
    """The scan of a source, every file accounted for."""
    return account(kind(root, SourceOptions(**options)).scan(listing))


def column(found: Scan, name: str) -> list[Any]:
    """One column of a listing."""
    return found.listing[name].to_pylist()  # type: ignore[no-any-return]


def rejects(found: Scan) -> list[tuple[str, str, int]]:
    """(path, reason, files) of every reject."""
    return [(reject.path, reject.reason, reject.files) for reject in found.rejects]
