"""What a run of `stage` comes to: its parts added up, the files that describe the whole, the result a user sees."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagemill.core.files import REJECTS_NAME
from imagemill.core.sample import Reject
from imagemill.errors import ConfigError
from imagemill.prepare.commit import atomic_write
from imagemill.prepare.folder_job import plan_rows
from imagemill.prepare.job import reject_line
from imagemill.prepare.stage_files import StageCommit, commit_path
from imagemill.prepare.stage_options import StageOptions
from imagemill.prepare.stage_plan import OUT, Naming
from imagemill.sources.base import Source
from imagemill.sources.walk import path_text

RECORD_NAME = "stage.json"
"""Written last: what was asked for, and what came of it. Present means complete."""

SPLITS_NAME = "splits.csv"
"""file_name, split, source: which split each staged file belongs to, and where it came from."""

SHOWN_REJECTS = 20


@dataclass(frozen=True)
class StageResult:
    """What `stage` did.

    Args:
        path: OUT.
        found, kept, rejected, ignored: files of the source; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        samples: good samples: pictures or pairs.
        written: files in OUT: `unchanged` of them byte for byte the source's, `linked` symbolic links.
        reasons: reason code → rejected samples.
        rejects: the first rejects, at most `SHOWN_REJECTS`.
        notes: what the pixel policy met → pictures.
        splits: split → samples.
        bytes_in, bytes_out: read, and lying in OUT.
        seconds: wall time of this run.
        finished: False after a dry run.
        already: whether all was there before this run.
        planned: (source, OUT) paths of the first files that a dry run would write.
        remarks: sentences for the user.
        reject_share: rejected samples over all samples.
    """

    path: Path
    found: int = 0
    kept: int = 0
    rejected: int = 0
    ignored: int = 0
    ignored_kinds: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    written: int = 0
    unchanged: int = 0
    linked: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    finished: bool = True
    already: bool = False
    planned: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    reject_share: float = 0.0


def write_record(
    source: Source, out: Path, options: StageOptions, job: Mapping[str, Any], parts: Sequence[str]
) -> None:
    """Writes everything that describes the staged folder, `stage.json` last."""
    total = StageCommit(rejects=[Reject(**reject) for reject in job["rejects"]])
    for part in parts:
        total.add(StageCommit.from_json(commit_path(out, part).read_bytes()))
    rejected = sum(reject.files for reject in total.rejects)
    ignored = sum(job["ignored"].values())
    atomic_write(out / REJECTS_NAME, "".join(map(reject_line, total.rejects)).encode())
    if total.splits:
        atomic_write(out / SPLITS_NAME, splits_table(source, out, options, job["rows"], total.rejects))
    counts = {
        "found": job["found"],
        "kept": total.kept_files,
        "rejected": rejected,
        "ignored": ignored,
        "ignored_kinds": job["ignored"],
        "samples": total.samples,
        "written": total.written,
        "unchanged": total.unchanged,
        "linked": total.linked,
        "bytes_in": total.bytes_in,
        "bytes_out": total.bytes_out,
        "notes": dict(sorted(total.notes.items())),
        "splits": dict(sorted(total.splits.items())),
        "reasons": dict(sorted(Counter(reject.reason for reject in total.rejects).items())),
    }
    kept = {name: job[name] for name in ("options", "source", "versions", "fingerprint", "remarks")}
    atomic_write(out / RECORD_NAME, json.dumps({**kept, "counts": counts}, indent=1, ensure_ascii=False).encode())


def splits_table(source: Source, out: Path, options: StageOptions, rows: int, rejects: list[Reject]) -> bytes:
    """`splits.csv` of all samples that were staged."""
    bad = {reject.key for reject in rejects}
    naming = Naming(source.kind, options)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file_name", "split", "source"))
    for row in plan_rows(out, 0, rows):
        if row["key"] in bad:
            continue
        for name in naming.files:
            writer.writerow((path_text(row[OUT + name]), row["split"] or "", path_text(naming.origin(row, name))))
    return text.getvalue().encode()


def read_split_table(path: Path) -> dict[str, str]:
    """path → split from a `splits.csv`: of the staged file, and of the original that it came from.

    Raises:
        ConfigError: no such file, or it lacks the columns file_name and split.
    """
    table: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"file_name", "split"} <= set(rows.fieldnames or ()):
                raise ConfigError(f"{path}: a table with the columns file_name and split is wanted, as stage writes it")
            for row in rows:
                if row["split"]:
                    table[row["file_name"]] = row["split"]
                    table.setdefault(row.get("source") or row["file_name"], row["split"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the split table {path} cannot be read: {error}") from None
    if not table:
        raise ConfigError(f"{path} gives no file a split")
    return table


def result_of(out: Path, started: float, *, already: bool) -> StageResult:
    """The result that lies in OUT."""
    record = json.loads((out / RECORD_NAME).read_text("utf-8"))
    counts = record["counts"]
    rejects: list[Reject] = []
    with open(out / REJECTS_NAME, encoding="utf-8") as file:
        for line in file:
            if len(rejects) == SHOWN_REJECTS:
                break
            rejects.append(Reject(**json.loads(line)))
    bad = sum(counts["reasons"].values())
    return StageResult(
        path=out,
        **counts,
        rejects=tuple(rejects),
        seconds=time.monotonic() - started,
        already=already,
        remarks=tuple(record["remarks"]),
        reject_share=bad / (bad + counts["samples"]) if bad else 0.0,
    )
