"""Rejects by reason, each with its first examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.files import REJECTS_NAME
from imagemill.core.manifest import Manifest
from imagemill.core.remote import Place, read_file
from imagemill.core.sample import Reject
from imagemill.errors import REASONS, DamageError, RemoteError
from imagemill.reports.facts import Reason

SHOWN_EXAMPLES = 6
READ_LINES = 200_000
"""Lines of `rejects.jsonl` that are read for examples: a rare reason beyond them has none."""


def rejects_of_dataset(place: Place, manifest: Manifest) -> tuple[Reason, ...]:
    """Rejects of a dataset, counted in its manifest, with examples from `rejects.jsonl`.

    Raises:
        DamageError: that file is missing although there are rejects, or is no JSON lines.
    """
    counts: Mapping[str, int] = manifest.counts.get("reasons") or {}
    if not sum(counts.values()):
        return ()
    try:
        examples = _examples(_lines(place), counts)
    except RemoteError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{place}/rejects.jsonl cannot be read: {error}") from None
    return _ordered(counts, examples)


def _lines(place: Place) -> Iterator[tuple[str, str, str]]:
    """(reason, path, detail) of the first lines."""
    with ExitStack() as stack:
        if isinstance(place, Path):
            file: BinaryIO = stack.enter_context(open(place / REJECTS_NAME, "rb"))
        else:
            file = BytesIO(read_file(place, REJECTS_NAME))
        for line, _ in zip(file, range(READ_LINES), strict=False):
            record: Mapping[str, Any] = json.loads(line)
            yield record["reason"], record["path"], record["detail"]


def rejects_of_source(table: pa.Table, scanned: Iterable[Reject]) -> tuple[Reason, ...]:
    """Rejects of a source: what its scan rejected, and the bad rows of its check.

    Args:
        table: of the check, good rows and bad.
        scanned: rejects known without decoding.
    """
    bad = table.select(["reason", "path", "detail"]).filter(pc.not_equal(table["reason"], ""))
    counts: dict[str, int] = {}
    for reject in scanned:
        counts[reject.reason] = counts.get(reject.reason, 0) + 1
    for entry in pc.value_counts(bad["reason"]).to_pylist():
        counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    lines = [(reject.reason, reject.path, reject.detail) for reject in scanned]
    return _ordered(counts, _examples((*lines, *_first_bad(bad)), counts))


def _first_bad(bad: pa.Table) -> Iterator[tuple[str, str, str]]:
    for reason in pc.unique(bad["reason"]).to_pylist():
        for row in bad.filter(pc.equal(bad["reason"], reason)).slice(0, SHOWN_EXAMPLES).to_pylist():
            yield row["reason"], row["path"], row["detail"]


def _examples(lines: Iterable[tuple[str, str, str]], counts: Mapping[str, int]) -> dict[str, list[tuple[str, str]]]:
    """The first (path, detail) of each reason; reading ends when every reason has enough."""
    found: dict[str, list[tuple[str, str]]] = {reason: [] for reason in counts}
    lacking = sum(min(count, SHOWN_EXAMPLES) for count in counts.values())
    for reason, path, detail in lines:
        if len(found.setdefault(reason, [])) < SHOWN_EXAMPLES:
            found[reason].append((path, detail))
            lacking -= 1
            if lacking <= 0:
                break
    return found


def _ordered(counts: Mapping[str, int], examples: Mapping[str, list[tuple[str, str]]]) -> tuple[Reason, ...]:
    return tuple(
        Reason(reason, REASONS.get(reason, ""), count, tuple(examples[reason]))
        for reason, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        if count
    )
