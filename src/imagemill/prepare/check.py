"""`check`: every image of a source looked at once, nothing changed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.recipe import Recipe
from imagemill.core.sample import Reject
from imagemill.core.schema import Schema
from imagemill.engines.base import Engine
from imagemill.engines.local import is_disposable
from imagemill.errors import ConfigError
from imagemill.prepare.commit import WORK_NAME, atomic_write, clear_disk_errors, make_output, refuse_inside
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.job import LISTING_NAME, reject_line, take
from imagemill.prepare.planning import limited, numbered, scan_source
from imagemill.prepare.rows import RowMaker
from imagemill.sources.base import Source, open_listing

ROWS_PER_TASK = 256


@dataclass(frozen=True)
class CheckResult:
    """What `check` found.

    Args:
        found, kept, rejected, ignored: files; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        samples: good samples.
        rejects: every reject, the scan's first.
        reasons: reason code → rejected samples.
        notes: what the pixel policy would do → samples.
        classes: class → good samples.
        bytes_in: bytes of good samples.
        seconds: wall time.
        remarks: sentences for the user.
        reject_share: rejected samples over all samples.
    """

    found: int
    kept: int
    rejected: int
    ignored: int
    ignored_kinds: Mapping[str, int]
    samples: int
    rejects: tuple[Reject, ...]
    reasons: Mapping[str, int]
    notes: Mapping[str, int]
    classes: Mapping[str, int]
    bytes_in: int
    seconds: float
    remarks: tuple[str, ...]
    reject_share: float


@dataclass(frozen=True)
class CheckTask:
    """Some rows of a listing to look at; picklable."""

    source: Source
    maker: RowMaker
    work: Path
    start: int
    stop: int

    def __str__(self) -> str:
        return f"samples {self.start}–{self.stop}"


def check_rows(task: CheckTask) -> list[dict[str, Any]]:
    """Looks at some samples; one record a sample, `reason` empty where it is good."""
    listing = open_listing(task.work / LISTING_NAME)
    rows = take(listing, np.arange(task.start, task.stop)).to_pylist()
    name = f"{task.start:012d}"
    records = []
    with GuardedRows(task.source, task.maker, task.work, name, watch=is_disposable()) as guarded:
        for row, result in guarded.make(rows):
            record = {"key": row["key"], "label": row.get("label"), "size": row["size"], "files": row["files"]}
            if isinstance(result, Reject):
                record |= {"reason": result.reason, "detail": result.detail, "path": result.path, "notes": ""}
            else:
                record |= {"reason": "", "detail": "", "path": "", "notes": result.notes}
                record |= {f"height.{field}": height for field, (height, _) in result.sides.items()}
                record |= {f"width.{field}": width for field, (_, width) in result.sides.items()}
            records.append(record)
    return records


def check_source(
    source: Source,
    out: Path | None,
    recipe: Recipe,
    engine: Engine,
    *,
    on_total: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CheckResult:
    """Looks at every sample of a source.

    Raises:
        ConfigError: nothing to check, or OUT is neither new nor empty, or inside the source.
    """
    started = time.monotonic()
    if out is not None:
        refuse_inside(out, source.path)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} exists and is not empty: give a new folder")
    with _work_folder(out) as work, scan_source(source, work / WORK_NAME) as scan:
        scan = limited(scan, recipe.limit)
        total = scan.listing.num_rows
        if on_total is not None:
            on_total(total)
        maker = RowMaker(Schema(tuple(numbered(field, scan.listing) for field in scan.fields)), recipe)
        tasks = [
            CheckTask(source, maker, work / WORK_NAME, start, min(start + ROWS_PER_TASK, total))
            for start in range(0, total, ROWS_PER_TASK)
        ]
        records = [record for part in engine.run(check_rows, tasks, on_progress=on_progress) for record in part]
        records.sort(key=lambda record: record["key"])
        rejects = (*scan.rejects, *(_reject(record) for record in records if record["reason"]))
        if out is not None:
            with clear_disk_errors(out):
                atomic_write(out / "rejects.jsonl", "".join(map(reject_line, rejects)).encode())
                pq.write_table(pa.Table.from_pylist(_even(records)), out / "checks.parquet")
        good = [record for record in records if not record["reason"]]
        bad = len(rejects)
        return CheckResult(
            found=scan.found,
            kept=sum(record["files"] for record in good),
            rejected=sum(reject.files for reject in rejects),
            ignored=sum(scan.ignored.values()),
            ignored_kinds=scan.ignored,
            samples=len(good),
            rejects=rejects,
            reasons=dict(sorted(Counter(reject.reason for reject in rejects).items())),
            notes=dict(sorted(Counter(_kinds(good)).items())),
            classes=dict(sorted(Counter(str(r["label"]) for r in good if r["label"] is not None).items())),
            bytes_in=sum(record["size"] for record in good),
            seconds=time.monotonic() - started,
            remarks=scan.remarks,
            reject_share=bad / (bad + len(good)) if bad else 0.0,
        )


@contextmanager
def _work_folder(out: Path | None) -> Iterator[Path]:
    """A folder for the listing and markers: inside OUT, or temporary where there is none."""
    if out is not None:
        make_output(out)
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        yield Path(folder)


def _kinds(records: list[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        yield from (note.partition("=")[0] for note in record["notes"].split(";") if note)


def _reject(record: Mapping[str, Any]) -> Reject:
    return Reject(record["key"], record["path"], record["reason"], record["detail"], record["files"])


def _even(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records with equal columns, as a table wants them."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return [{name: record.get(name) for name in names} for record in records]
