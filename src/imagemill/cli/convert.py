"""`imagemill convert DATASET OUT`."""

from __future__ import annotations

from typing import Annotated

from imagemill.api.convert import convert
from imagemill.cli import options as o
from imagemill.cli.console import print_json, progress_bar
from imagemill.cli.pack import show
from imagemill.cli.parameters import Option


def command(
    dataset: o.Dataset,
    out: o.Out,
    format: Annotated[
        str | None,
        Option("--format", help="arrow, hdf5, memmap, parquet, tar, tfrecord[-gzip|-zlib], …; default as it is."),
    ] = None,
    pixels: Annotated[
        str | None,
        Option("--pixels", help="recoded (JPEGs for decoding speed), recoded-compact, or original (given back)."),
    ] = None,
    shard_size: Annotated[
        str | None, Option("--shard-size", help="Samples or bytes a shard; default as it is.")
    ] = None,
    workers: o.Workers = None,
    engine: o.Engine = "local",
    *,
    ranks: o.RankOptions,
    json: o.Json = False,
) -> None:
    """Rewrite a dataset in another format, or with its JPEGs recoded; splits, keys and order stay."""
    with progress_bar("convert", quiet=json) as bar:
        result = convert(
            dataset,
            out,
            format=format,
            pixels=pixels,
            shard_size=shard_size,
            workers=workers,
            engine=engine,
            **vars(ranks),
            on_plan=lambda job: bar.total(sum(job.plan.count(name) for name in job.plan.splits)),
            on_progress=bar.advance,
        )
    if json:
        print_json(result)
    else:
        show(result)
