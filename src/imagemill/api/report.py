"""`report`: one offline page."""

from __future__ import annotations

from pathlib import Path

from imagemill.api.given import (
    PathLike,
)
from imagemill.core.remote import local_path, place_of


def report(dataset: PathLike, out: PathLike) -> Path:
    """One self-contained offline HTML page about a dataset.

    Args:
        out: the file to write.

    Raises:
        ConfigError: no finished dataset there.
        DamageError: a stored value is damaged.
    """
    from imagemill.reports.page import write_report

    return write_report(place_of(dataset), local_path(out))
