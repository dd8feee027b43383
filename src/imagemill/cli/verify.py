"""`imagemill verify DATASET`."""

from __future__ import annotations

import sys

from imagemill.api.info import info
from imagemill.api.verify import verify
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, human_seconds, note, print_json, progress_bar, say, shard_count
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
            note(f"damaged: {damage}")
        verdict = f"{len(result.damages)} damages" if result.damages else "clean"
        say(
            f"{verdict}: {result.samples:,} samples in {shard_count(result.shards)}, {human_bytes(result.size_bytes)}, "
            f"{human_seconds(result.seconds)}"
        )
        if result.damages:
            say("next: pack again into a new folder, or restore the named files from a copy")
    if result.damages:
        sys.exit(DamageError.exit_code)
