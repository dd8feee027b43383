"""`convert`: a dataset in another format."""

from __future__ import annotations

from typing import Any

from imagemill.api.given import PathLike, kept_shard_size
from imagemill.api.pack import pack
from imagemill.core.manifest import Manifest
from imagemill.core.remote import place_of
from imagemill.prepare.totals import PackResult


def convert(
    dataset: PathLike, out: PathLike, *, format: str, shard_size: int | str | None = None, **run: Any
) -> PackResult:
    """A dataset in another format; stored bytes, splits, keys and order stay as they are.

    Args:
        dataset: a finished dataset.
        out: new or empty folder.
        format: registered name.
        shard_size: None keeps the dataset's own.
        run: `workers`, `engine`, `rank`, `world_size`, `on_plan`, `on_progress` as for `pack`.

    Raises:
        ConfigError: no finished dataset there, or an output that cannot be used.
        DamageError: a stored value is damaged.
    """
    size = kept_shard_size(Manifest.load(place_of(dataset)), shard_size)
    return pack(dataset, out, kind="dataset", format=format, decode="headers", shard_size=size, **run)
