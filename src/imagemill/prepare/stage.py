"""`stage`: folder → folder of pictures that are ready to be trained on, and from a killed run to the same files."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from imagemill.core.sample import Reject
from imagemill.engines.base import Engine
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError
from imagemill.prepare.commit import (
    WORK_NAME,
    check_own,
    clear_disk_errors,
    clear_temporary,
    make_output,
)
from imagemill.prepare.folder_job import (
    check_apart,
    clear_work,
    job_of,
    plan_folder,
    plan_into,
    plan_rows,
    require_pictures,
)
from imagemill.prepare.ownership import own
from imagemill.prepare.planning import ListedScan, limited
from imagemill.prepare.stage_files import (
    StageTask,
    commit_path,
    stage_part,
)
from imagemill.prepare.stage_options import StageOptions
from imagemill.prepare.stage_pictures import StageMaker
from imagemill.prepare.stage_plan import OUT, PATHS, Naming, write_plan
from imagemill.prepare.stage_totals import RECORD_NAME, SHOWN_REJECTS, StageResult, result_of, write_record
from imagemill.sources.base import Source
from imagemill.sources.walk import path_text
from imagemill.versions import library_versions

PART_ROWS = (32, 4096)
"""Samples a part, at least and at most: what a kill can undo, and how many commit records there are."""

PARTS = 1024
SHOWN_PLANNED = 20


def stage_source(
    source: Source,
    out: Path,
    options: StageOptions,
    engine: Engine,
    *,
    on_total: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Stages every picture of a source, or what is left of it.

    Raises:
        ConfigError: OUT is neither new, empty nor ours, or it and the source lie in each other; another kind of source.
        OutputInUse: another run is at work there.
        NoSpace: the disk is full.
    """
    started = time.monotonic()
    check_places(source, out)
    with clear_disk_errors(out):
        make_output(out)
        try:
            with own(out, membership(0, 1)):
                job = _job(source, out, options)
                already = (out / RECORD_NAME).exists()
                if not already:
                    _work(source, out, options, engine, job, on_total, on_progress)
                return result_of(out, started, already=already)
        finally:
            clear_work(out, RECORD_NAME)


def check_places(source: Source, out: Path) -> None:
    """OUT is new, empty or an earlier run's, and neither it nor the source lies in the other.

    Raises:
        ConfigError: it is not so.
    """
    if source.kind not in PATHS:
        raise ConfigError(
            f"{source.path} is a source of kind {source.kind!r}, and stage takes folders of pictures "
            f"({', '.join(PATHS)}): pack it, or export a dataset to folders first"
        )
    check_apart(out, source.path)
    check_own(out, RECORD_NAME, "folder of staged pictures")


def plan_only(source: Source, out: Path, options: StageOptions) -> StageResult:
    """What `stage` would do, told from names alone; nothing is written outside a temporary folder."""
    started = time.monotonic()
    check_places(source, out)
    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        place = Path(folder)
        job = plan_into(plan_folder(place), source, place, options.limit, partial(_plan, source, options))
        total = job["rows"]
        planned: list[tuple[str, str]] = []
        splits: Counter[str] = Counter()
        naming = Naming(source.kind, options)
        for row in plan_rows(place, 0, total):
            splits.update([row["split"]] if row["split"] is not None else ())
            if len(planned) < SHOWN_PLANNED:
                ways = ((naming.origin(row, name), row[OUT + name]) for name in naming.files)
                planned.extend((path_text(origin), path_text(place)) for origin, place in ways)
    rejects = [Reject(**reject) for reject in job["rejects"]]
    rejected = sum(reject.files for reject in rejects)
    ignored = sum(job["ignored"].values())
    return StageResult(
        path=out,
        found=job["found"],
        kept=job["found"] - rejected - ignored,
        rejected=rejected,
        ignored=ignored,
        ignored_kinds=job["ignored"],
        samples=total,
        reasons=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        rejects=tuple(rejects[:SHOWN_REJECTS]),
        splits=dict(sorted(splits.items())),
        seconds=time.monotonic() - started,
        finished=False,
        planned=tuple(planned),
        remarks=(*job["remarks"], "dry run: nothing was written, no picture was decoded"),
        reject_share=len(rejects) / (len(rejects) + total) if rejects else 0.0,
    )


def _job(source: Source, out: Path, options: StageOptions) -> dict[str, Any]:
    """The job of this OUT."""
    wanted = {
        "options": options.to_json(),
        "source": {"kind": source.kind},
        "versions": library_versions("stage"),
    }
    return job_of(source, out, RECORD_NAME, wanted, options.limit, partial(_plan, source, options))


def _plan(source: Source, options: StageOptions, whole: ListedScan, path: Path) -> tuple[ListedScan, dict[str, Any]]:
    """Chooses samples, and writes the plan of them."""
    scan = limited(whole, options.limit)
    require_pictures(scan, source)
    remarks = write_plan(scan, Naming(source.kind, options), path)
    return scan, {"remarks": [*scan.remarks, *remarks]}


def _work(
    source: Source,
    out: Path,
    options: StageOptions,
    engine: Engine,
    job: Mapping[str, Any],
    on_total: Callable[[int], None] | None,
    on_progress: Callable[[int], None] | None,
) -> None:
    """Stages all parts that have no commit record, then writes what describes the whole."""
    if on_total is not None:
        on_total(job["rows"])
    shutil.rmtree(out / WORK_NAME / "tmp", ignore_errors=True)
    clear_temporary(out.iterdir())
    masks = ("mask",) if source.kind == "masks" else ()
    maker = StageMaker(replace(options, split_table={}), masks)
    rows = min(max(job["rows"] // PARTS, PART_ROWS[0]), PART_ROWS[1])
    tasks = [
        StageTask(out, source, maker, start, min(start + rows, job["rows"])) for start in range(0, job["rows"], rows)
    ]
    open_tasks = [task for task in tasks if not commit_path(out, task.name).exists()]
    for _ in engine.run(stage_part, open_tasks, on_progress=on_progress):
        pass
    write_record(source, out, options, job, [task.name for task in tasks])
