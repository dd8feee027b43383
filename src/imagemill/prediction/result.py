"""What a run of `predict` comes to: the files that describe it, and the result a user sees."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imagemill.core.files import REJECTS_NAME, atomic_write
from imagemill.core.sample import Reject
from imagemill.prediction.journal import Journal, Made
from imagemill.prediction.measures import over_all, protocol
from imagemill.prediction.model import ModelFacts
from imagemill.prediction.plan import RECORD_NAME
from imagemill.prepare.folder_job import plan_rows
from imagemill.prepare.job import reject_line

TABLE_NAME = "predictions.csv"
"""file_name, source, width, height of what the model was shown, and what was measured: a row a picture."""

SHOWN = 20


@dataclass(frozen=True)
class PredictResult:
    """What `predict` did.

    Args:
        path: OUT.
        found, kept, rejected, ignored: files of the source; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        pictures: predicted.
        measured: of those, pictures whose wanted counterpart was there.
        metrics: mean over these (of a segmentation also over all pixels), by name.
        protocol: how they were measured.
        reasons: reason code → rejected pictures.
        rejects: the first rejects, at most `SHOWN`.
        rows: the first pictures with their measurements, at most `SHOWN`.
        notes: what the pixel policy met → pictures.
        seconds: wall time of this run.
        already: whether all was there before this run.
        remarks: sentences for the user.
        reject_share: rejected pictures over all.
    """

    path: Path
    found: int
    kept: int
    rejected: int
    ignored: int
    ignored_kinds: Mapping[str, int]
    pictures: int
    measured: int
    metrics: Mapping[str, float]
    protocol: str
    reasons: Mapping[str, int]
    rejects: tuple[Reject, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: Mapping[str, int]
    seconds: float
    already: bool
    remarks: tuple[str, ...] = field(default=())
    reject_share: float = 0.0


def write_record(out: Path, job: Mapping[str, Any], journal: Journal, facts: ModelFacts) -> None:
    """Writes everything that describes the predicted pictures, `predict.json` last."""
    files = {place: row["files"] for place, row in enumerate(plan_rows(out, 0, job["rows"]))}
    rejects = [Reject(**reject) for reject in job["rejects"]]
    for place in sorted(journal.refused):
        record = asdict(journal.refused[place].reject)
        rejects.append(Reject(**{**record, "files": files[place]}))
    made = list(journal.outcomes())
    atomic_write(out / REJECTS_NAME, "".join(map(reject_line, rejects)).encode())
    atomic_write(out / TABLE_NAME, _table(made))
    rejected = sum(reject.files for reject in rejects)
    ignored = sum(job["ignored"].values())
    counts = {
        "found": job["found"],
        "kept": sum(files[one.row] for one in made),
        "rejected": rejected,
        "ignored": ignored,
        "ignored_kinds": job["ignored"],
        "pictures": len(made),
        "measured": sum(bool(one.metrics) for one in made),
        "metrics": over_all(made, facts),
        "reasons": dict(sorted(Counter(reject.reason for reject in rejects).items())),
        "notes": dict(sorted(Counter(note for one in made for note in one.notes).items())),
    }
    kept = {name: job[name] for name in ("options", "model", "source", "versions", "fingerprint", "remarks")}
    record = {**kept, "counts": counts, "protocol": protocol(facts) if counts["measured"] else ""}
    atomic_write(out / RECORD_NAME, json.dumps(record, indent=1, ensure_ascii=False).encode())


def _table(made: Sequence[Made]) -> bytes:
    names = list(dict.fromkeys(name for one in made for name in one.metrics))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file_name", "source", "width", "height", *names))
    for one in made:
        values = (f"{one.metrics[name]:.4f}" if name in one.metrics else "" for name in names)
        writer.writerow((one.name, one.shown, one.sides[1], one.sides[0], *values))
    return text.getvalue().encode()


def result_of(out: Path, started: float, *, already: bool) -> PredictResult:
    """The result that lies in OUT."""
    record = json.loads((out / RECORD_NAME).read_text("utf-8"))
    counts = record["counts"]
    with open(out / REJECTS_NAME, encoding="utf-8") as file:
        rejects = tuple(Reject(**json.loads(line)) for line in _first(file))
    with open(out / TABLE_NAME, encoding="utf-8", newline="") as file:
        rows = tuple(_first(csv.DictReader(file)))
    bad = sum(counts["reasons"].values())
    return PredictResult(
        path=out,
        **counts,
        protocol=record["protocol"],
        rejects=rejects,
        rows=rows,
        seconds=time.monotonic() - started,
        already=already,
        remarks=tuple(record["remarks"]),
        reject_share=bad / (bad + counts["pictures"]) if bad else 0.0,
    )


def _first(items: Iterable[Any]) -> list[Any]:
    return [item for _, item in zip(range(SHOWN), items, strict=False)]
