"""`imagemill report DATASET OUT.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagemill.api.report import report
from imagemill.cli import options as o
from imagemill.cli.console import stdout


def command(
    dataset: o.Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
) -> None:
    """Write one offline page about a dataset: totals, rejects, splits, classes, sizes, thumbnails."""
    stdout.print(f"report: {report(dataset, out)}", markup=False, soft_wrap=True)
