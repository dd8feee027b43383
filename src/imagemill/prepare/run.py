"""`pack`: from a source to a finished dataset, and from a killed run to the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from imagemill.core.files import REJECTS_NAME
from imagemill.core.manifest import MANIFEST_NAME, Manifest
from imagemill.core.recipe import Recipe
from imagemill.core.remote import Place
from imagemill.engines.base import Engine
from imagemill.engines.ranks import Membership, own_first
from imagemill.errors import ConfigError
from imagemill.faults import fault_point
from imagemill.prepare.card import croissant, dataset_card
from imagemill.prepare.commit import (
    WORK_NAME,
    atomic_write,
    check_own,
    clear_disk_errors,
    clear_temporary,
    make_output,
    refuse_inside,
)
from imagemill.prepare.job import JOB_NAME, Job, reject_line
from imagemill.prepare.ownership import alone, own
from imagemill.prepare.planning import NOTHING_BESIDE, Beside, fingerprint_of, freeze, scan_source, writer_versions
from imagemill.prepare.shard import Commit, ShardTask, commit_path, write_shard
from imagemill.prepare.totals import PackResult, Totals, result_of
from imagemill.sources.base import Source

OnPlan = Callable[[Job], None]


@dataclass(frozen=True)
class RunOptions:
    """The run part: how a dataset is made, never what is in it.

    Args:
        membership: this process's rank.
        beside: earlier dataset and table of checks that the recipe names.
        on_plan: called with the job once it is planned.
        on_progress: called with the number of samples done since the last call.
        describe: facts for `run.jsonl`: engine, workers.
    """

    membership: Membership
    beside: Beside = NOTHING_BESIDE
    on_plan: OnPlan | None = None
    on_progress: Callable[[int], None] | None = None
    describe: Mapping[str, Any] = field(default_factory=dict)


def run(source: Source, out: Path, recipe: Recipe, engine: Engine, options: RunOptions) -> PackResult:
    """Makes the dataset, or what is left of it.

    Raises:
        ConfigError: the output cannot take this job, or the plan cannot be made.
        OutputInUse: another run is at work there.
        NoSpace: the disk is full.
        EngineError: workers cannot be kept alive.
    """
    started = time.monotonic()
    check_output(source, out)
    with clear_disk_errors(out):
        make_output(out)
        with own(out, options.membership):
            if (out / MANIFEST_NAME).exists():
                result = _already_finished(source, out, recipe, started)
            else:
                result = _work(source, out, recipe, engine, options, started)
        if (out / MANIFEST_NAME).exists():
            _clean(out)
    return result


def check_output(source: Source, out: Path) -> None:
    """OUT is new, empty or ours, and not inside the source.

    Raises:
        ConfigError: it is not.
    """
    refuse_inside(out, source.path)
    check_own(out, MANIFEST_NAME, "imagemill dataset")


def _already_finished(source: Source, out: Path, recipe: Recipe, started: float) -> PackResult:
    manifest = Manifest.load(out)
    # What an earlier version did not know was not asked for.
    theirs, ours = Recipe().to_json() | dict(manifest.recipe), recipe.to_json()
    if theirs != ours:
        raise ConfigError(
            f"{out} holds a finished dataset made with other options ({_difference(theirs, ours)}): give a new folder"
        )
    with scan_source(source, out / WORK_NAME / f"scan.{os.getpid()}") as scan:
        if fingerprint_of(scan, recipe) != manifest.source["fingerprint"]:
            raise ConfigError(
                f"{out} is finished, and the source has changed since ({manifest.counts['found']} files then, "
                f"{scan.found} now): pack into a new folder with --previous {out}, which keeps every old image's split"
            )
    return result_of(out, manifest, started, done=0, already=True)


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The options in which two recipes differ, "split: 80/20 there, 90/10 here"."""
    names = [name for name in ours if theirs.get(name) != ours[name]]
    return ", ".join(f"{name}: {json.dumps(theirs.get(name))} there, {json.dumps(ours[name])} here" for name in names)


def _work(source: Source, out: Path, recipe: Recipe, engine: Engine, options: RunOptions, started: float) -> PackResult:
    membership = options.membership
    job = _plan(source, out, recipe, options.beside)
    if options.on_plan is not None:
        options.on_plan(job)
    for name in ("data", "index"):
        (out / name).mkdir(exist_ok=True)
    _clear_scratch(out, membership)
    shared = membership.world_size > 1
    tasks = [
        ShardTask(out, source, split, number, shared)
        for split, number in own_first(job.plan.shards(), membership.rank, membership.world_size)
        if not commit_path(out, job.plan.shard_name(split, number)).exists()
    ]
    done = 0
    for name in engine.run(write_shard, tasks, on_progress=options.on_progress):
        done += Commit.from_json(commit_path(out, name).read_bytes()).shard.count if name else 0
    seconds = time.monotonic() - started
    _log_run(out, options, shards=len(tasks), samples=done, seconds=seconds)
    if not _finish(out, job):
        return PackResult(out, finished=False, remarks=job.remarks, seconds=seconds)
    return result_of(out, Manifest.load(out), started, done=done, remarks=job.remarks)


def _clear_scratch(out: Path, membership: Membership) -> None:
    """Removes what killed runs left; under ranks each shard's own folder is cleared by who makes it."""
    if membership.world_size == 1:
        shutil.rmtree(out / WORK_NAME / "tmp", ignore_errors=True)


def _plan(source: Source, out: Path, recipe: Recipe, beside: Beside) -> Job:
    """The job frozen in OUT, made now if this is the first run or rank.

    Raises:
        ConfigError: an unfinished job with other options or versions lies there.
    """
    work, ours = out / WORK_NAME, recipe.to_json()
    with filelock.FileLock(work / "plan.lock"):
        planned = (work / "plan" / JOB_NAME).exists()
        if planned and not (work / "commits").exists() and Job.open(out).recipe.to_json() != ours:
            # Nothing was made by that plan yet: a first try that failed is not in the way of the next.
            shutil.rmtree(work / "plan")
            planned = False
        if not planned:
            freeze(source, out, recipe, beside)
    job = Job.open(out)
    theirs = job.recipe.to_json()
    if theirs != ours:
        raise ConfigError(
            f"{out} holds an unfinished run with other options ({_difference(theirs, ours)}): "
            f"finish it with the same options, delete {out}, or give a new folder"
        )
    if job.versions != (versions := writer_versions(recipe)):
        raise ConfigError(
            f"{out} was begun with other versions ({_difference(job.versions, versions)}), and the bytes would not be "
            f"equal: install those versions to finish it, or delete {out} and begin anew"
        )
    return job


def _finish(out: Path, job: Job) -> bool:
    """Writes everything that describes the dataset, the manifest last; False where shards are missing."""
    names = [job.plan.shard_name(*shard) for shard in job.plan.shards()]
    with filelock.FileLock(out / WORK_NAME / "finish.lock"):
        if (out / MANIFEST_NAME).exists():
            return True
        if not all(commit_path(out, name).exists() for name in names):
            return False
        clear_temporary(out.iterdir())
        fault_point("finish.before")
        totals = Totals.of(out, job)
        manifest = totals.manifest(job)
        atomic_write(out / REJECTS_NAME, "".join(map(reject_line, totals.rejects)).encode())
        if job.moved:
            atomic_write(out / "moved.jsonl", "".join(move.line() for move in job.moved).encode())
        fault_point("finish.rejects.after")
        atomic_write(out / "croissant.json", croissant(manifest).encode())
        atomic_write(out / "README.md", dataset_card(manifest).encode())
        fault_point("finish.card.after")
        fault_point("manifest.write.before")
        atomic_write(out / MANIFEST_NAME, manifest.to_json().encode())
        fault_point("manifest.write.after")
    return True


def _log_run(out: Path, options: RunOptions, **facts: Any) -> None:
    """Adds a line to `run.jsonl`: everything that may differ between two runs of the same recipe."""
    record = {
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "rank": options.membership.rank,
        "world_size": options.membership.world_size,
        **options.describe,
        **facts,
    }
    with open(out / "run.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _clean(out: Path) -> None:
    """Removes the working folder of a finished dataset, unless other ranks are still in it."""
    work = out / WORK_NAME
    with alone(out) as nobody_else:
        if not nobody_else:
            return
        for name in ("tmp", "decoding", "verdicts", "claims", "commits"):
            shutil.rmtree(work / name, ignore_errors=True)
        fault_point("finish.cleanup.middle")
    # What a system keeps locked a little longer goes with the next run of the same command.
    shutil.rmtree(work, ignore_errors=True)


def manifest_sha256(place: Place) -> str:
    """Identity of a finished dataset: sha256 of its manifest.

    Raises:
        ConfigError: no finished dataset there.
    """
    return hashlib.sha256(Manifest.load(place).to_json().encode()).hexdigest()
