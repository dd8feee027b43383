"""`imagemill sync SRC DST`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import click

from imagemill.api.sync import sync
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, human_seconds, note, print_json, print_rows, progress_bar
from imagemill.cli.parameters import Argument, Option
from imagemill.errors import DamageError
from imagemill.prepare.sync import SyncResult

SHOWN_PATHS = 10


def command(
    places: Annotated[
        list[str],
        Argument(metavar="[SRC] DST", help="Folders or URLs; without SRC the one that DST's record names."),
    ],
    check: Annotated[
        bool, Option("--check", help="Write nothing; exit 5 if DST is not as SRC, or its record, says.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, write nothing.")] = False,
    delete: Annotated[bool, Option("--delete", help="Remove files that SRC has no more.")] = False,
    force: Annotated[bool, Option("--force", help="Overwrite files that were changed in DST by hand.")] = False,
    full: Annotated[bool, Option("--full", help="Read every file, whatever its times say.")] = False,
    json: o.Json = False,
) -> None:
    """Bring a folder up to date by digest; what was changed in it by hand is told, and left."""
    if len(places) > 2:
        raise click.BadParameter("one or two places: [SRC] DST")
    source = places[0] if len(places) == 2 else None
    with progress_bar("sync", quiet=json) as bar:
        result = sync(
            source,
            places[-1],
            check=check,
            dry_run=dry_run,
            delete=delete,
            force=force,
            full=full,
            on_progress=bar.advance,
        )
    if json:
        print_json(result)
    else:
        show(result, check=check, force=force)
    if result.failed:
        sys.exit(1)
    if not result.clean and (check or not dry_run):
        sys.exit(DamageError.exit_code)


def show(result: SyncResult, *, check: bool, force: bool = False) -> None:
    """What was done or found, and what to do next."""
    _paths("changed by hand", result.changed)
    _paths("missing", result.missing)
    for path, why in list(result.failed.items())[:SHOWN_PATHS]:
        note(f"  failed {path}: {why}")
    will = "" if result.written or check else "would be "
    rows = [("from", result.source), ("to", result.destination), ("same", f"{result.same:,} files")]
    rows += [(name, f"{will}{len(paths):,}") for name, paths in _counted(result) if paths]
    if result.extra:
        rows.append(("not of sync", f"{result.extra:,} files, left alone"))
    if result.bytes_copied:
        rows.append(("copied", human_bytes(result.bytes_copied)))
    rows.append(("time", human_seconds(result.seconds)))
    print_rows(rows)
    if result.changed and not force:
        note("--force takes the source's version of what was changed by hand")
    if result.gone:
        note("--delete removes what the source has no more")


def _counted(result: SyncResult) -> list[tuple[str, Sequence[str]]]:
    return [
        ("added", result.added),
        ("updated", result.updated),
        ("deleted", result.deleted),
        ("changed by hand", result.changed),
        ("missing", result.missing),
        ("gone at source", result.gone),
        ("failed", list(result.failed)),
    ]


def _paths(what: str, paths: Sequence[str]) -> None:
    for path in paths[:SHOWN_PATHS]:
        note(f"  {what}: {path}")
    if len(paths) > SHOWN_PATHS:
        note(f"  … and {len(paths) - SHOWN_PATHS:,} more {what}")
