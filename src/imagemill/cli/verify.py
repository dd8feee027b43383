"""`imagemill verify DATASET`."""

from __future__ import annotations

import typer

from imagemill.api.info import info
from imagemill.api.verify import verify
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, human_seconds, print_json, progress_bar, stderr, stdout
from imagemill.errors import DamageError

SHOWN_DAMAGES = 50


def command(dataset: o.Dataset, workers: o.Workers = None, json: o.Json = False) -> None:
    """Check every byte of a dataset; name the samples that are damaged. Exit 5 where there are any."""
    with progress_bar("verify", quiet=json) as bar:
        bar.total(sum(split["shards"] for split in info(dataset)["splits"].values()))
        result = verify(dataset, workers=workers, on_progress=bar.advance)
    if json:
        print_json(result)
    else:
        for damage in result.damages[:SHOWN_DAMAGES]:
            stderr.print(f"damaged: {damage}", markup=False, soft_wrap=True)
        verdict = f"{len(result.damages)} damages" if result.damages else "clean"
        stdout.print(
            f"{verdict}: {result.samples:,} samples in {result.shards:,} shards, {human_bytes(result.size_bytes)}, "
            f"{human_seconds(result.seconds)}",
            markup=False,
        )
        if result.damages:
            stdout.print("next: pack again into a new folder, or restore the named files from a copy", markup=False)
    if result.damages:
        raise typer.Exit(DamageError.exit_code)
