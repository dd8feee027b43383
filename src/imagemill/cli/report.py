"""`imagemill report SRC OUT.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from imagemill.api.report import report
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, print_json, progress_bar, say
from imagemill.cli.parameters import Argument, Option
from imagemill.errors import ConfigError


def command(
    source: o.Source,
    out: Annotated[
        Path | None, Argument(metavar="[OUT.html]", help="The page to write; with --json it may be left away.")
    ] = None,
    checks: Annotated[
        Path | None,
        Option("--checks", help="Folder that `imagemill check SRC --out` wrote; else SRC is checked."),
    ] = None,
    quick: Annotated[
        bool, Option("--quick", help="Look at no pixels: manifest and indices of a dataset, headers of a source.")
    ] = False,
    thumbnails: Annotated[
        int, Option("--thumbnails", help="Samples to show; 1000 keep the page below 5 MB.", min=0)
    ] = 96,
    workers: o.Workers = None,
    kind: o.Kind = None,
    *,
    columns: o.ColumnOptions,
    folders: o.FolderOptions,
    labels: o.Labels = None,
    json: o.Json = False,
) -> None:
    """Write one offline page about a pile: totals, rejects, classes, sizes, quality, duplicates, leakage."""
    if out is None and not json:
        raise ConfigError("no page named: imagemill report SRC OUT.html, or --json for the facts alone")
    with progress_bar("check", quiet=json) as bar:
        made = report(
            source,
            out,
            checks=checks,
            quick=quick,
            thumbnails=thumbnails,
            workers=workers,
            kind=kind,
            on_total=bar.total,
            on_progress=bar.advance,
            **o.source_options(columns, folders, labels=labels),
        )
    if json:
        print_json(made.facts.to_json())
        return
    for finding in made.facts.findings:
        say(f"  {finding.text}")
    say(f"report: {made.path} ({human_bytes(made.size_bytes)}, {made.thumbnails:,} thumbnails)")
