"""`imagemill export DATASET OUT`."""

from __future__ import annotations

from typing import Annotated

import typer

from imagemill.api.export import export
from imagemill.api.info import info
from imagemill.cli import options as o
from imagemill.cli.console import print_json, progress_bar, stdout
from imagemill.errors import ConfigError


def command(
    dataset: o.Dataset,
    out: o.Out,
    layout: Annotated[
        str, typer.Option("--layout", help="folders; lab: TFRecords as the colour pipeline reads them.")
    ] = "folders",
    records: Annotated[int, typer.Option("--records", help="Records a file, with --layout lab.", min=1)] = 500,
    compression: Annotated[str, typer.Option("--compression", help="none, gzip or zlib, with --layout lab.")] = "none",
    json: o.Json = False,
) -> None:
    """Write a dataset back as plain folders, SPLIT/CLASS/NAME; original files byte for byte."""
    if compression not in ("none", "gzip", "zlib"):
        raise ConfigError(f"--compression {compression!r} is none of none, gzip, zlib")
    with progress_bar("export", quiet=json) as bar:
        bar.total(info(dataset)["counts"]["samples"])
        count = export(
            dataset,
            out,
            layout=layout,
            records_per_file=records,
            compression="" if compression == "none" else compression,  # type: ignore[arg-type]
            on_progress=bar.advance,
        )
    if json:
        print_json({"path": out, "samples": count})
    else:
        stdout.print(f"{count:,} samples written to {out}", markup=False, soft_wrap=True)
