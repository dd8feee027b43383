"""`imagemill export DATASET OUT`."""

from __future__ import annotations

from imagemill.api.export import export
from imagemill.api.info import info
from imagemill.cli import options as o
from imagemill.cli.console import print_json, progress_bar, stdout


def command(dataset: o.Dataset, out: o.Out, json: o.Json = False) -> None:
    """Write a dataset back as plain folders, SPLIT/CLASS/NAME; original files byte for byte."""
    with progress_bar("export", quiet=json) as bar:
        bar.total(info(dataset)["counts"]["samples"])
        count = export(dataset, out, on_progress=bar.advance)
    if json:
        print_json({"path": out, "samples": count})
    else:
        stdout.print(f"{count:,} samples written to {out}", markup=False, soft_wrap=True)
