"""What an examiner does with a body; apart from those who wait for it, so that its process loads no event loop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.acquire.contract import Verdict
from imagemill.curate.limits import Limits
from imagemill.errors import SampleError

if TYPE_CHECKING:
    from imagemill.codecs.header import Header


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a body.

    Args:
        verdict: good, or why not.
        size_bytes, sha256: of the file; "" for a file that is no good image.
    """

    verdict: Verdict
    size_bytes: int = 0
    sha256: str = ""


def examine_files(paths: list[Path], *, limits: Limits, full: bool) -> list[Examination]:
    """Looks at files, in the process that it is called in."""
    return [examine_file(path, limits=limits, full=full) for path in paths]


def examine_file(path: Path, *, limits: Limits, full: bool) -> Examination:
    """Looks at one file: header and limits, with `full` every byte of it.

    Raises:
        OSError: the file cannot be read: our own disk's fault, no reject.
    """
    # Decoders are loaded where they work, not where they are waited for.
    from imagemill.curate.inspect import inspect

    content = path.read_bytes()
    try:
        found = inspect(content, limits, full=full)
    except SampleError as error:
        return Examination(verdict_of(error))
    return good(len(content), hashlib.sha256(content).hexdigest(), found.header, found.notes)


def good(size_bytes: int, sha256: str, header: Header, notes: tuple[str, ...]) -> Examination:
    """What is said of a good image."""
    verdict = Verdict("", "", header.format, header.width, header.height, notes)
    return Examination(verdict, size_bytes, sha256)


def verdict_of(error: SampleError) -> Verdict:
    """What is wrong; a page and a drawing, the most common ones, have reasons of their own."""
    if error.reason == "timeout":
        return Verdict("decode-timeout", error.detail)
    if error.reason == "unsupported" and error.detail.startswith("SVG"):
        return Verdict("svg", error.detail)
    if error.reason == "not-an-image" and error.detail.endswith("HTML page"):
        return Verdict("html", error.detail)
    return Verdict(error.reason, error.detail)
