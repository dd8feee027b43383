"""Which picture becomes which file: the listing, with `out`, the path of each file below OUT."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.schema import Schema
from imagemill.errors import ConfigError
from imagemill.prediction.model import ModelFacts
from imagemill.prediction.options import TARGETS, PredictOptions
from imagemill.prediction.picture import FORMAT_OF_SUFFIX, SUFFIXES
from imagemill.prediction.play import PlaySource
from imagemill.prepare.export import free_name, safe_name
from imagemill.prepare.folder_job import job_of, require_pictures
from imagemill.prepare.planning import ListedScan, limited
from imagemill.sources.base import Source
from imagemill.sources.image_files import stem_of
from imagemill.sources.pairs import marker_of, without_marker
from imagemill.versions import library_versions

RECORD_NAME = "predict.json"
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


def predict_job(source: Source, out: Path, facts: ModelFacts, options: PredictOptions) -> dict[str, Any]:
    """The job of this OUT, `roles` among what it says.

    Raises:
        ConfigError: what lies there was asked for differently, the source has changed since it was finished, or it
            holds nothing for this model.
    """
    wanted = {
        "options": options.to_json(),
        "model": {"sha256": facts.sha256, "takes": facts.takes, "backend": facts.backend},
        "source": {"kind": source.kind},
        "versions": {**library_versions("predict"), **facts.versions},
    }

    def plan(whole: ListedScan, path: Path) -> tuple[ListedScan, dict[str, Any]]:
        roles = roles_of(Schema(whole.fields), facts)
        scan = limited(_of_split(whole, options.split), options.limit)
        require_pictures(scan, source)
        _write_plan(scan, path, lambda row: out_name(row, roles, source.kind, facts, options))
        return scan, {"roles": asdict(roles)}

    return job_of(source, out, RECORD_NAME, wanted, options.limit, plan)


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
