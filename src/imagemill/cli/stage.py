"""`imagemill stage SRC OUT`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

from imagemill.api.stage import stage
from imagemill.cli import options as o
from imagemill.cli.console import (
    account_rows,
    finish,
    human_bytes,
    human_seconds,
    note,
    parse_max_rejects,
    print_rejects,
    print_rows,
    progress_bar,
    say,
)
from imagemill.cli.parameters import Argument, Option
from imagemill.core.files import REJECTS_NAME
from imagemill.prepare.stage_totals import StageResult


def command(
    source: Annotated[
        str, Argument(metavar="SRC", help="Folder of pictures, pairs, or images and masks. Never written to.")
    ],
    out: o.Out,
    size: Annotated[
        str | None, Option("--size", metavar="WIDTHxHEIGHT", help="256x384, or 256 for the short side.")
    ] = None,
    config: Annotated[
        Path | None,
        Option("--config", help="A Color-Reverser config.json, or its project: img_width and img_height."),
    ] = None,
    fit: Annotated[str | None, Option("--fit", help="exact, contain, cover, short or long.")] = None,
    fill: Annotated[str, Option("--fill", help="Colour around the picture with --fit contain.")] = "white",
    filter: Annotated[str, Option("--filter", help="nearest, box, bilinear, bicubic or lanczos.")] = "lanczos",
    orient: Annotated[
        str | None, Option("--orient", help="portrait or landscape: turned by 90° where need be, pair by pair.")
    ] = None,
    grey_before: Annotated[
        bool, Option("--grey-before", help="Each before is the grey of its after; single pictures become pairs.")
    ] = False,
    to: Annotated[str | None, Option("--to", help="jpg, png or webp; default as they are.")] = None,
    quality: Annotated[int, Option("--quality", help="Of JPEG and WebP, 1–100.")] = 95,
    subsampling: Annotated[str, Option("--subsampling", help="Of JPEG's colours: 444, 422 or 420.")] = "444",
    split: Annotated[str | None, Option("--split", help="80/12/8: a folder a split.")] = None,
    split_counts: Annotated[str, Option("--split-counts", help="hash, or exact: int(n*share).")] = "hash",
    split_table: Annotated[
        Path | None, Option("--split-table", help="A splits.csv of an earlier run: the same splits again.")
    ] = None,
    seed: Annotated[int, Option("--seed", help="Of the split.")] = 0,
    link: Annotated[bool, Option("--link", help="Symbolic links for files that need no change.")] = False,
    restore: Annotated[
        bool, Option("--restore", help="Take split folders together again; splits.csv remembers them.")
    ] = False,
    rename: Annotated[bool, Option("--rename", help="Add _before to names, for trying a model.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, write nothing.")] = False,
    workers: o.Workers = None,
    engine: o.Engine = "local",
    kind: Annotated[
        str | None, Option("--source", metavar="KIND", help="folder, pairs or masks, where the guess is wrong.")
    ] = None,
    limit: o.Limit = None,
    max_rejects: o.MaxRejects = "1%",
    *,
    limits: o.LimitOptions,
    group_pattern: o.GroupPattern = None,
    folders: o.FolderOptions,
    json: o.Json = False,
) -> None:
    """Make a folder of pictures fit for training, in a new folder: size, orientation, names, splits."""
    allowed = parse_max_rejects(max_rejects)
    with progress_bar("stage", quiet=json) as bar:
        result = stage(
            source,
            out,
            size=size,
            config=config,
            fit=fit,
            fill=fill,
            filter=filter,
            orient=orient,
            grey_before=grey_before,
            to=to,
            quality=quality,
            subsampling=subsampling,
            split=split,
            split_counts=split_counts,
            split_table=split_table,
            seed=seed,
            link=link,
            restore=restore,
            rename=rename,
            dry_run=dry_run,
            workers=workers,
            engine=engine,
            kind=kind,
            limit=limit,
            on_total=bar.total,
            on_progress=bar.advance,
            **limits.given(),
            **o.source_options(folders, group_pattern=group_pattern),
        )
    finish(result, show, json=json, allowed=allowed)


def show(result: StageResult) -> None:
    """The closing table, and what to do next."""
    for remark in result.remarks:
        note(remark)
    where = result.path / REJECTS_NAME if result.finished else "known from names alone"
    print_rejects(result.rejects, f"all rejects: {where}")
    for origin, place in result.planned:
        say(f"  {origin} → {result.path / place}")
    rows = account_rows(vars(result))
    rows += [(f"split {name}", f"{count:,} samples") for name, count in result.splits.items()]
    if result.finished:
        same = f"{result.unchanged:,} of them as they were" + (f", {result.linked:,} linked" if result.linked else "")
        rows.append(("written", f"{result.written:,} files, {same}"))
        rows.append(("bytes", f"{human_bytes(result.bytes_in)} in, {human_bytes(result.bytes_out)} out"))
        rows.append(("time", human_seconds(result.seconds)))
    else:
        rows.append(("planned", f"{result.samples:,} samples"))
    print_rows(rows)
    if result.already:
        say("already finished: nothing to do")
    if result.finished:
        say(f"next: imagemill pack {quote(str(result.path))} DATASET")
