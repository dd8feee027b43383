"""`tile`: images cut into tiles with a reference image, in the chunked folders of the super-resolution family.

    OUT/IMAGE/00000012.jpg …   the tiles, numbered through the whole set: a reference takes a number, too
    OUT/IMAGE/ref.jpg          the whole square, small
    OUT/IMAGE/centers.pt       {number: ((row, column), side)} in pixels of the reference
    OUT/IMAGE/tiles.json       what else is needed to find a tile in its source again
    OUT/rejects.jsonl
    OUT/tiling.json            options and counts; written last: present means complete

Workers cut into `.imagemill/cut/` and leave a record a task, once its tiles are on the disk: one sync a task, not a
tile. It also says how many numbers are taken with it where all tasks before had been done. Those of a folder that did
not know are numbers of its own. Once all records are there, whoever comes last numbers such folders through, syncs them
and moves all into place, image by image.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from imagemill import __version__
from imagemill.core.files import REJECTS_NAME
from imagemill.core.sample import Reject
from imagemill.engines.base import Engine
from imagemill.engines.local import is_disposable
from imagemill.engines.ranks import Membership, own_first
from imagemill.errors import ConfigError
from imagemill.faults import fault_point
from imagemill.prepare.claims import claim
from imagemill.prepare.commit import (
    WORK_NAME,
    atomic_write,
    check_own,
    clear_disk_errors,
    clear_temporary,
    make_output,
    refuse_inside,
    scratch_folder,
    sync_all,
    sync_folder,
)
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.job import LISTING_NAME, reject_line, take
from imagemill.prepare.ownership import alone, own
from imagemill.prepare.planning import limited, scan_source
from imagemill.prepare.tile_cutting import CutImage, TileMaker, facts, folder_name, require_one_image
from imagemill.prepare.tile_folders import CUT_NAME, number_folder, numbers_taken, write_folder
from imagemill.prepare.totals import unasked
from imagemill.sources.base import Source, open_listing
from imagemill.sources.chunked import CENTERS_NAME, TILES_NAME

TILING_NAME = "tiling.json"
ROWS_PER_TASK = 8
_DECISIVE = {
    "options": "with other options",
    "limit": "with another --limit",
    "imagemill": "by another version of imagemill",
    "fingerprint": "of a source that has changed since",
}


@dataclass(frozen=True)
class TileResult:
    """What became of a source.

    Args:
        path: the folder of tiles.
        found, kept, rejected, ignored: files; kept + rejected + ignored == found.
        ignored_kinds: suffix or name → ignored files.
        images, tiles: written; a stereo pair is two images.
        dull, masked: tiles left out because they show too little, because a mask says so.
        reasons: reason code → rejects.
        rejects: every one.
        seconds: wall time.
        finished: False where other ranks are still at work.
        remarks: sentences for the user.
    """

    path: Path
    found: int = 0
    kept: int = 0
    rejected: int = 0
    ignored: int = 0
    ignored_kinds: Mapping[str, int] = field(default_factory=dict)
    images: int = 0
    tiles: int = 0
    dull: int = 0
    masked: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    seconds: float = 0.0
    finished: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def reject_share(self) -> float:
        """Rejected files over all that were meant to be tiled, without those that masks and thresholds left out."""
        return unasked(self.reasons) / (self.kept + self.rejected) if self.rejected else 0.0


@dataclass(frozen=True)
class TileTask:
    """Some rows of the listing to cut; picklable.

    Args:
        out: folder of the tiles.
        source: where images are read from.
        maker: how they are cut.
        start, stop: rows of the listing.
        shared: whether ranks of one job share the tasks, so that they are claimed.
    """

    out: Path
    source: Source
    maker: TileMaker
    start: int
    stop: int
    shared: bool

    @property
    def name(self) -> str:
        """Name of its record."""
        return f"{self.start:012d}"

    def __str__(self) -> str:
        return f"images {self.start}–{self.stop}"


def tile(
    source: Source,
    out: Path,
    maker: TileMaker,
    engine: Engine,
    membership: Membership,
    *,
    limit: int | None = None,
    on_total: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TileResult:
    """Cuts every image of a source, or what an earlier run left of them.

    Raises:
        ConfigError: nothing to tile, or OUT cannot take this job.
        OutputInUse: another run is at work there.
        NoSpace: the disk is full.
        EngineError: workers cannot be kept alive.
    """
    started = time.monotonic()
    refuse_inside(out, source.path)
    check_own(out, TILING_NAME, "folder of tiles")
    with clear_disk_errors(out):
        make_output(out)
        with own(out, membership):
            record = _planned(source, out, maker, limit)
            if (out / TILING_NAME).exists():
                result = _result(out, record)
            else:
                result = _work(source, out, maker, engine, membership, record, on_total, on_progress)
        if result.finished:
            _clean(out)
    return replace(result, seconds=time.monotonic() - started)


def _planned(source: Source, out: Path, maker: TileMaker, limit: int | None) -> dict[str, Any]:
    """The record of the job in OUT, made now if this is the first run or rank.

    Raises:
        ConfigError: OUT holds tiles of another source or other options.
    """
    folder = out / WORK_NAME / "plan"
    with filelock.FileLock(out / WORK_NAME / "plan.lock"), scan_source(source, folder.with_name("scan")) as scan:
        require_one_image(scan.fields, "tiles")
        scan = limited(scan, limit)
        total = scan.listing.num_rows
        if total == 0:
            raise ConfigError(f"no image to tile in {source.path}: {scan.found} files found, none an image")
        digest = hashlib.sha256()
        for name in ("key", "size"):
            digest.update("\n".join(map(str, scan.listing[name].to_pylist())).encode())
        ours = {
            "version": 1,
            "options": maker.to_json(),
            "limit": limit,
            "fingerprint": digest.hexdigest(),
            "imagemill": __version__,
            "rows": total,
            "found": scan.found,
            "ignored": dict(scan.ignored),
            "remarks": list(scan.remarks),
            "rejects": [asdict(reject) for reject in scan.rejects],
        }
        path = out / TILING_NAME if (out / TILING_NAME).exists() else folder / "plan.json"
        if path.exists():
            theirs: dict[str, Any] = json.loads(path.read_bytes())
            for name, what in _DECISIVE.items():
                if theirs.get(name) != ours[name]:
                    raise ConfigError(f"{out} holds tiles made {what}: give a new folder")
            return theirs | {"rejects": ours["rejects"], "remarks": ours["remarks"]}
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(scan.listing_path, folder / LISTING_NAME)
        sync_all([folder / LISTING_NAME], [])
        atomic_write(path, json.dumps(ours, ensure_ascii=False).encode())
        sync_folder(out / WORK_NAME)
        return ours


def _work(
    source: Source,
    out: Path,
    maker: TileMaker,
    engine: Engine,
    membership: Membership,
    plan: dict[str, Any],
    on_total: Callable[[int], None] | None,
    on_progress: Callable[[int], None] | None,
) -> TileResult:
    shared = membership.world_size > 1
    if not shared:
        shutil.rmtree(out / WORK_NAME / "tmp", ignore_errors=True)
    starts = range(0, plan["rows"], ROWS_PER_TASK)
    tasks = [
        TileTask(out, source, maker, start, min(start + ROWS_PER_TASK, plan["rows"]), shared)
        for start in own_first(starts, membership.rank, membership.world_size)
        if not _record_path(out, f"{start:012d}").exists()
    ]
    if on_total is not None:
        on_total(sum(task.stop - task.start for task in tasks))
    for _ in engine.run(cut_images, tasks, on_progress=on_progress):
        pass
    return _finish(out, plan)


def _record_path(out: Path, name: str) -> Path:
    return out / WORK_NAME / "records" / f"{name}.json"


def cut_images(task: TileTask) -> None:
    """Cuts some images and leaves a record of them, unless another rank does."""
    with claim(task.out, task.name, shared=task.shared) as mine:
        if not mine or _record_path(task.out, task.name).exists():
            return
        work = task.out / WORK_NAME
        with clear_disk_errors(task.out):
            listing = open_listing(work / "plan" / LISTING_NAME)
            rows = take(listing, np.arange(task.start, task.stop)).to_pylist()
            guarded = GuardedRows(task.source, task.maker, work, task.name, watch=is_disposable())
            with scratch_folder(work / "tmp" / f"{task.name}.{os.getpid()}") as scratch, guarded:
                taken = _taken_before(task)
                records = []
                for row, made in guarded.make(rows):
                    records.append(_record(task, scratch, row, made, taken))
                    taken = None if taken is None else taken + _taken_by(records[-1])
            record = {"taken": taken, "images": records}
            _sync_cut(task.out, records)
            fault_point("tile.record.before")
            atomic_write(_record_path(task.out, task.name), json.dumps(record, ensure_ascii=False).encode())


def _taken_before(task: TileTask) -> int | None:
    """Numbers that the tasks before this one take; None where one of them is not done, or did not know its own."""
    if task.start == 0:
        return 0
    try:
        before: dict[str, Any] = json.loads(_record_path(task.out, f"{task.start - ROWS_PER_TASK:012d}").read_bytes())
    except FileNotFoundError:
        return None
    taken: int | None = before["taken"]
    return taken


def _taken_by(record: Mapping[str, Any]) -> int:
    return sum(numbers_taken(folder["tiles"]) for folder in record.get("folders", ()))


def _record(
    task: TileTask, scratch: Path, row: Mapping[str, Any], made: CutImage | Reject, taken: int | None
) -> dict[str, Any]:
    if isinstance(made, Reject):
        return {"reject": asdict(made)}
    folders = []
    for cut in made.regions:
        name = folder_name(row["key"], cut.region.name)
        if cut.tiles:
            write_folder(scratch / name, facts(row["key"], made, cut, task.maker.options), cut, taken)
            taken = None if taken is None else taken + numbers_taken(len(cut.tiles))
            target = task.out / WORK_NAME / "cut" / name
            if target.exists():
                shutil.rmtree(target)
            target.parent.mkdir(exist_ok=True)
            fault_point("tile.rename.before")
            os.replace(scratch / name, target)
        folders.append({"name": name, "tiles": len(cut.tiles), "dull": cut.dull, "masked": cut.masked})
    return {"files": row["files"], "folders": folders}


def _sync_cut(out: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Makes the folders of some images survive a power cut, so that a record may claim them."""
    cut = out / WORK_NAME / "cut"
    folders = [f"{cut}/{folder['name']}" for record in records for folder in _with_tiles(record)]
    if folders:
        files = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder)]
        sync_all(files, [*folders, cut, out / WORK_NAME])


def _with_tiles(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The folders that an image became; of one without tiles there is nothing on the disk."""
    return [folder for folder in record.get("folders", ()) if folder["tiles"]]


def _finish(out: Path, plan: dict[str, Any]) -> TileResult:
    """Numbers the folders through and moves them into place; does nothing while records are missing."""
    names = [f"{start:012d}" for start in range(0, plan["rows"], ROWS_PER_TASK)]
    with filelock.FileLock(out / WORK_NAME / "finish.lock"):
        if not (out / TILING_NAME).exists():
            if not all(_record_path(out, name).exists() for name in names):
                return TileResult(out, finished=False, remarks=tuple(plan["remarks"]))
            clear_temporary(out.iterdir())
            done = [json.loads(_record_path(out, name).read_bytes()) for name in names]
            records = [record for task in done for record in task["images"]]
            _place(out, records)
            rejects = [*plan["rejects"], *(record["reject"] for record in records if "reject" in record)]
            lines = "".join(reject_line(Reject(**reject)) for reject in rejects)
            atomic_write(out / REJECTS_NAME, lines.encode())
            fault_point("tile.manifest.before")
            atomic_write(out / TILING_NAME, _tiling(plan, records, rejects))
    return _result(out, plan)


def _place(out: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Numbers the folders of all images through, and moves them into OUT, where they are to be synced.

    In three passes with a sync between: a folder without `CUT_NAME` is never one whose numbers may get lost.
    """
    cut, taken = out / WORK_NAME / "cut", 0
    names, numbered = [], []
    for folder in (folder for record in records for folder in _with_tiles(record)):
        names.append(folder["name"])
        if number_folder(cut / folder["name"], taken):
            numbered.append(folder["name"])
        taken += numbers_taken(folder["tiles"])
    about = [f"{cut}/{name}/{file}" for name in numbered for file in (CENTERS_NAME, TILES_NAME)]
    sync_all(about, [cut / name for name in numbered])
    for name in names:
        placed = (out / name).exists()
        ((out if placed else cut) / name / CUT_NAME).unlink(missing_ok=True)
        if not placed:
            fault_point("tile.place.before")
            os.replace(cut / name, out / name)
    sync_all([], [*(out / name for name in numbered), out])


def _tiling(plan: Mapping[str, Any], records: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> bytes:
    folders = [folder for record in records for folder in record.get("folders", ())]
    names = ("version", "imagemill", "options", "limit", "fingerprint", "rows", "found", "ignored")
    record = {name: plan[name] for name in names} | {
        "kept": sum(record["files"] for record in records if "folders" in record),
        "rejected": sum(reject["files"] for reject in rejects),
        "images": sum(folder["tiles"] > 0 for folder in folders),
        "tiles": sum(folder["tiles"] for folder in folders),
        "dull": sum(folder["dull"] for folder in folders),
        "masked": sum(folder["masked"] for folder in folders),
    }
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


def _result(out: Path, plan: Mapping[str, Any]) -> TileResult:
    record = json.loads((out / TILING_NAME).read_bytes())
    lines = (out / REJECTS_NAME).read_text("utf-8").splitlines()
    rejects = tuple(Reject(**json.loads(line)) for line in lines)
    return TileResult(
        path=out,
        ignored=sum(record["ignored"].values()),
        ignored_kinds=record["ignored"],
        reasons=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        rejects=rejects,
        remarks=tuple(plan["remarks"]),
        **{name: record[name] for name in ("found", "kept", "rejected", "images", "tiles", "dull", "masked")},
    )


def _clean(out: Path) -> None:
    """Removes the working folder of finished tiles, unless other ranks are still in it."""
    with alone(out) as nobody_else:
        if nobody_else:
            for name in ("tmp", "decoding", "verdicts", "claims", "records", "cut", "plan"):
                shutil.rmtree(out / WORK_NAME / name, ignore_errors=True)
    if nobody_else:
        shutil.rmtree(out / WORK_NAME, ignore_errors=True)
