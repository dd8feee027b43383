"""What a fetched pile holds, and the words for what it could not get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagemill.acquire.contract import REASONS as FETCH_REASONS

REASONS = {**FETCH_REASONS, "bad-line": "a line of the list without a usable URL"}
"""Reason codes of a fetched pile's rejects, each with what it means."""


@dataclass(frozen=True)
class FetchResult:
    """What a pile holds after a run.

    `found == fetched + failed + bad_lines`; `found` counts lines that should be URLs.

    Args:
        path: of the pile.
        found: URLs and bad lines.
        fetched: URLs with an image, repeats included.
        failed: URLs without.
        bad_lines: lines without a usable URL.
        repeats: URLs that came before in the list, and were not asked for again.
        images: different image files.
        size_bytes: of those.
        reasons: reason code → rejected lines and URLs.
        failing_hosts: (host, reason, URLs), the most frequent first.
        asked: URLs that this run asked for.
        changed, unchanged, unchecked: what `refresh` found; unchecked could not be had again.
        received_bytes, seconds: of this run.
        already: nothing was to be done.
    """

    path: Path
    found: int
    fetched: int
    failed: int
    bad_lines: int
    repeats: int
    images: int
    size_bytes: int
    reasons: Mapping[str, int]
    failing_hosts: tuple[tuple[str, str, int], ...]
    changed: int = 0
    unchanged: int = 0
    unchecked: int = 0
    asked: int = 0
    received_bytes: int = 0
    seconds: float = 0.0
    already: bool = False

    @property
    def reject_share(self) -> float:
        """Rejected lines and URLs over all."""
        return (self.failed + self.bad_lines) / self.found if self.found else 0.0
