"""A job whose output is a folder of files, `stage`'s and `predict`'s: settled and frozen before the first is made.

OUT/RECORD                         what was asked for, and what came of it; written last, present means complete
OUT/.imagemill/plan/job.json       what was asked for, what the scan found
OUT/.imagemill/plan/plan.arrow     a row a sample, with the paths of its files
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagemill.core.recipe import Recipe
from imagemill.errors import ConfigError
from imagemill.prepare.commit import WORK_NAME, atomic_write, refuse_inside, sync_all, sync_folder
from imagemill.prepare.ownership import alone
from imagemill.prepare.planning import ListedScan, fingerprint_of, scan_source
from imagemill.sources.base import Source, open_listing

PLAN_NAME = "plan.arrow"
Planner = Callable[[ListedScan, Path], tuple[ListedScan, dict[str, Any]]]
"""Chooses samples of a scan and writes a plan of them to a path: what it chose, and what else the job is to say."""


def plan_folder(out: Path) -> Path:
    """Where the plan of an unfinished OUT lies."""
    return out / WORK_NAME / "plan"


def check_apart(out: Path, source: Path | None) -> None:
    """Neither OUT nor the source lies in the other.

    Raises:
        ConfigError: one does.
    """
    refuse_inside(out, source)
    if source is not None and out.resolve() in source.resolve().parents:
        raise ConfigError(f"the source {source} lies inside {out}: choose a folder beside it")


def job_of(
    source: Source, out: Path, record_name: str, wanted: Mapping[str, Any], limit: int | None, planner: Planner
) -> dict[str, Any]:
    """The job of OUT: a finished one's, an unfinished one's, or a new one.

    Args:
        wanted: what decides the result: "options", "source", "versions" and the like, each a dict that JSON takes.
        limit: samples at most; a part of the source's fingerprint.

    Raises:
        ConfigError: what lies there was asked for differently, or the source has changed since it was finished.
    """
    record, plan = out / record_name, plan_folder(out)
    if record.exists():
        found: dict[str, Any] = json.loads(record.read_text("utf-8"))
        _refuse_difference(found, wanted, out)
        with scan_source(source, _scan_path(out)) as scan:
            if fingerprint_of(scan, Recipe(limit=limit)) != found["fingerprint"]:
                raise ConfigError(f"{out} is finished, and the source has changed since: give a new folder")
        return found
    if not plan.exists():
        new = out / WORK_NAME / "new"
        shutil.rmtree(new, ignore_errors=True)
        fresh = {**wanted, **plan_into(new, source, out, limit, planner)}
        sync_all([new / PLAN_NAME], [])
        atomic_write(new / "job.json", json.dumps(fresh).encode())
        os.replace(new, plan)
        sync_folder(out / WORK_NAME)
    job: dict[str, Any] = json.loads((plan / "job.json").read_text("utf-8"))
    _refuse_difference(job, wanted, out)
    return job


def plan_into(folder: Path, source: Source, out: Path, limit: int | None, planner: Planner) -> dict[str, Any]:
    """Scans the source and has the plan written into a folder: what the scan found, and what the planner says."""
    folder.mkdir(parents=True)
    with scan_source(source, _scan_path(out)) as whole:
        scan, more = planner(whole, folder / PLAN_NAME)
        return {
            "rows": scan.listing.num_rows,
            "found": scan.found,
            "ignored": dict(scan.ignored),
            "rejects": [asdict(reject) for reject in scan.rejects],
            "fingerprint": fingerprint_of(whole, Recipe(limit=limit)),
            "remarks": list(scan.remarks),
            **more,
        }


def require_pictures(scan: ListedScan, source: Source) -> None:
    """Raises ConfigError where there is neither a sample nor a reject."""
    if not scan.listing.num_rows and not scan.rejects:
        raise ConfigError(f"{source.path} holds no picture: {scan.found} files found")


def plan_rows(out: Path, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows of the plan in OUT, as plain dicts."""
    yield from open_listing(plan_folder(out) / PLAN_NAME).slice(start, stop - start).to_pylist()


def _scan_path(out: Path) -> Path:
    return out / WORK_NAME / f"scan.{os.getpid()}"


def _refuse_difference(found: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Raises ConfigError where what lies in OUT was asked for differently; JSON knows no tuples."""
    for what, values in json.loads(json.dumps(wanted)).items():
        theirs = found.get(what)
        if not isinstance(theirs, dict):
            raise ConfigError(f"{out} was begun by another version of imagemill: give a new folder")
        for name, value in values.items():
            if theirs.get(name) != value:
                raise ConfigError(
                    f"{out} was begun with {what.removesuffix('s')} {name} {theirs.get(name)!r}, now it is {value!r}: "
                    "give the same again, or a new folder"
                )


def clear_work(out: Path, record_name: str) -> None:
    """Removes the working folder where all is done, unless another run is looking at it."""
    if not (out / record_name).exists():
        return
    with alone(out) as nobody_else:
        if not nobody_else:
            return
    shutil.rmtree(out / WORK_NAME, ignore_errors=True)
