"""Which picture becomes which file, settled and frozen in OUT before the first one is made.

OUT/.imagemill/plan/job.json       options, model, versions, what the scan found
OUT/.imagemill/plan/plan.arrow     the listing, and `out`: the path of each file below OUT
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.recipe import Recipe
from imagemill.core.schema import Schema
from imagemill.errors import ConfigError
from imagemill.prediction.model import ModelFacts
from imagemill.prediction.options import TARGETS, PredictOptions
from imagemill.prediction.picture import FORMAT_OF_SUFFIX, SUFFIXES
from imagemill.prediction.play import PlaySource
from imagemill.prepare.commit import WORK_NAME, atomic_write, sync_folder
from imagemill.prepare.export import free_name, safe_name
from imagemill.prepare.planning import ListedScan, fingerprint_of, limited, scan_source
from imagemill.sources.base import Source, open_listing
from imagemill.sources.image_files import stem_of
from imagemill.sources.pairs import marker_of, without_marker
from imagemill.versions import library_versions

RECORD_NAME = "predict.json"
"""Written last: what was asked for, and what came of it. Present means complete."""

PLAN_NAME = "plan.arrow"
OUT = "out"


@dataclass(frozen=True)
class Roles:
    """Which fields of the samples are what.

    Args:
        shown: the picture that the model is shown.
        wanted: what it should make of it, or None where the source has no such field.
        vector: what it gets beside the picture, or None.
    """

    shown: str
    wanted: str | None
    vector: str | None = None


def roles_of(schema: Schema, facts: ModelFacts) -> Roles:
    """What the fields of a source are to a model.

    Raises:
        ConfigError: none of them is a picture for it, or the vectors that it takes are not there.
    """
    if facts.vector and facts.vector not in schema.names:
        raise ConfigError(
            f"the model takes vectors {facts.vector!r} beside pictures, and the fields are {', '.join(schema.names)}: "
            "pack the pictures, then `imagemill embed` as it was done for training"
        )
    pictures = [field.name for field in schema.of_kind("image")]
    if facts.segments:
        shown = next((name for name in ("image", facts.takes, *pictures) if name in pictures), None)
        masks = [field.name for field in schema.of_kind("mask")]
        wanted = masks[0] if masks else None
    else:
        shown = next((name for name in (facts.takes, "image", *pictures) if name in pictures), None)
        wanted = facts.gives if facts.gives in pictures and shown == facts.takes else None
        if facts.vector and shown == "image":
            wanted = shown  # it sees lightness alone, so the picture itself is what is wanted
    if shown is None:
        raise ConfigError(f"no pictures for a model: the fields are {', '.join(schema.names)}")
    return Roles(shown, wanted, facts.vector or None)


def job_of(source: Source, out: Path, facts: ModelFacts, options: PredictOptions) -> dict[str, Any]:
    """The job of this OUT: a finished one's, an unfinished one's, or a new one.

    Raises:
        ConfigError: what lies there was asked for differently, or the source has changed since it was finished.
    """
    wanted = {
        "options": options.to_json(),
        "model": {"sha256": facts.sha256, "takes": facts.takes, "backend": facts.backend},
        "source": {"kind": source.kind},
        "versions": {**library_versions("predict"), **facts.versions},
    }
    record, plan = out / RECORD_NAME, out / WORK_NAME / "plan"
    if record.exists():
        found: dict[str, Any] = json.loads(record.read_text("utf-8"))
        refuse_difference(found, wanted, out)
        with scan_source(source, out / WORK_NAME / f"scan.{os.getpid()}") as scan:
            if fingerprint_of(scan, Recipe(limit=options.limit)) != found["fingerprint"]:
                raise ConfigError(f"{out} is finished, and the pictures have changed since: give a new folder")
        return found
    if not plan.exists():
        new = out / WORK_NAME / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        job = {**wanted, **_planned(source, new, out, facts, options)}
        atomic_write(new / "job.json", json.dumps(job).encode())
        os.replace(new, plan)
        sync_folder(out / WORK_NAME)
    unfinished: dict[str, Any] = json.loads((plan / "job.json").read_text("utf-8"))
    refuse_difference(unfinished, wanted, out)
    return unfinished


def refuse_difference(found: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Raises ConfigError where what lies in OUT was asked for differently; JSON knows no tuples."""
    for what, values in json.loads(json.dumps(wanted)).items():
        for name, value in values.items():
            if found[what].get(name) != value:
                raise ConfigError(
                    f"{out} was begun with {what.removesuffix('s')} {name} {found[what].get(name)!r}, now it is "
                    f"{value!r}: give the same again, or a new folder"
                )


def _planned(source: Source, folder: Path, out: Path, facts: ModelFacts, options: PredictOptions) -> dict[str, Any]:
    with scan_source(source, out / WORK_NAME / f"scan.{os.getpid()}") as whole:
        roles = roles_of(Schema(whole.fields), facts)
        scan = limited(_of_split(whole, options.split), options.limit)
        if not scan.listing.num_rows and not scan.rejects:
            raise ConfigError(f"{source.path} holds no picture to predict: {scan.found} files found")
        _write_plan(scan, folder / PLAN_NAME, lambda row: out_name(row, roles, source.kind, facts, options))
        return {
            "roles": asdict(roles),
            "rows": scan.listing.num_rows,
            "found": scan.found,
            "ignored": dict(scan.ignored),
            "rejects": [asdict(reject) for reject in scan.rejects],
            "remarks": list(scan.remarks),
            "fingerprint": fingerprint_of(whole, Recipe(limit=options.limit)),
        }


def _of_split(scan: ListedScan, split: str | None) -> ListedScan:
    """The samples of one split; the files of the others count as ignored.

    Raises:
        ConfigError: the source has no such split.
    """
    if split is None:
        return scan
    there = sorted({name for name in scan.listing["split"].unique().to_pylist() if name is not None})
    if split not in there:
        raise ConfigError(f"no split {split!r} in this source: it has {', '.join(there) or 'none'}")
    mine = pc.fill_null(pc.equal(scan.listing["split"], split), False)
    others = int(pc.sum(scan.listing.filter(pc.invert(mine))["files"]).as_py() or 0)
    ignored = {**scan.ignored, **({f"(not in {split})": others} if others else {})}
    return ListedScan(**{**vars(scan), "listing": scan.listing.filter(mine), "ignored": ignored})


def _write_plan(scan: ListedScan, path: Path, name_of: Callable[[Mapping[str, Any]], str]) -> None:
    """The listing with the path of each file below OUT: no two alike, by case alone either."""
    taken: set[str] = set()
    schema = scan.listing.schema.append(pa.field(OUT, pa.string()))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in scan.listing.to_batches(max_chunksize=65_536):
            names = []
            for row in batch.to_pylist():
                name = free_name(name_of(row), taken)
                taken.add(name.lower())
                names.append(name)
            writer.write_batch(pa.record_batch([*batch.columns, pa.array(names, pa.string())], schema=schema))


def out_name(row: Mapping[str, Any], roles: Roles, kind: str, facts: ModelFacts, options: PredictOptions) -> str:
    """Path of a predicted file below OUT, never outside: the input's, `_before` become `_after` (or the reverse).

    Halves of pairs whose names do not say which they are (in parallel folders, in packed datasets) get `_after` added.

    Args:
        row: of a listing; the column of the shown field has the path where the source is a folder.
        kind: of the source.
    """
    origin = row.get(roles.shown) or row.get("path") or row["key"]
    text = origin.decode("utf-8", "backslashreplace") if isinstance(origin, bytes) else str(origin)
    name = os.fsencode(text.rpartition("/")[2])
    suffix = os.fsdecode(name[len(stem_of(name)) :])
    half = roles.shown == facts.takes and kind != PlaySource.kind
    if half and not facts.segments:
        text = row["key"].removesuffix(suffix) + suffix
    text = urlsplit(text).path if "://" in text else text
    parts = [safe_name(part) for part in PurePosixPath(text).parts if part not in ("/", "..")] or ["picture"]
    stem = parts[-1].removesuffix(suffix)
    if not facts.segments and (half or marker_of(name) == facts.takes):
        stem = f"{os.fsdecode(without_marker(os.fsencode(stem)))}_{facts.gives}"
    return "/".join([*parts[:-1], stem + _suffix(suffix, facts, options)])


def _suffix(suffix: str, facts: ModelFacts, options: PredictOptions) -> str:
    if facts.segments:
        return ".png"
    own = FORMAT_OF_SUFFIX.get(suffix.lower())
    wanted = TARGETS[options.to] if options.to else own or "PNG"
    return suffix if own == wanted else SUFFIXES[wanted][0]


def format_of(name: str) -> str:
    """The format that a planned file is written in."""
    return FORMAT_OF_SUFFIX[PurePosixPath(name).suffix.lower()]


def plan_rows(plan: Path, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows of a plan as plain dicts."""
    yield from open_listing(plan / PLAN_NAME).slice(start, stop - start).to_pylist()
