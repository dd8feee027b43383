"""`convert`: a dataset in another format, and its JPEGs recoded or given back."""

from __future__ import annotations

from typing import Any

from imagemill.api.given import PathLike, kept_pixels, kept_shard_size
from imagemill.api.pack import pack
from imagemill.core.manifest import Manifest
from imagemill.core.recipe import FILE_PIXELS
from imagemill.core.remote import place_of
from imagemill.errors import ConfigError
from imagemill.prepare.totals import PackResult


def convert(
    dataset: PathLike,
    out: PathLike,
    *,
    format: str | None = None,
    pixels: str | None = None,
    shard_size: int | str | None = None,
    **run: Any,
) -> PackResult:
    """A dataset in another format; splits, keys and order stay as they are, and so do stored bytes but for `pixels`.

    Args:
        dataset: a finished dataset.
        out: new or empty folder.
        format: registered name; None keeps the dataset's own.
        pixels: "recoded" codes JPEGs anew for decoding speed, without loss, "recoded-compact" in fewer bytes;
            "original" gives recoded ones back, byte for byte; None keeps what is stored.
        shard_size: None keeps the dataset's own.
        run: `workers`, `engine`, `rank`, `world_size`, `on_plan`, `on_progress` as for `pack`.

    Raises:
        ConfigError: no finished dataset there, an output that cannot be used, or nothing to change.
        DamageError: a stored value is damaged.
    """
    manifest = Manifest.load(place_of(dataset))
    if format is None and pixels is None:
        raise ConfigError(f"nothing to convert: give a format, or pixels ({', '.join(FILE_PIXELS)})")
    if pixels is not None and pixels not in FILE_PIXELS:
        raise ConfigError(f"convert knows pixels {', '.join(FILE_PIXELS)}, got {pixels!r}: for others use pack")
    return pack(
        dataset,
        out,
        kind="dataset",
        format=format or manifest.format,
        pixels=pixels or kept_pixels(manifest),
        decode="headers",
        shard_size=kept_shard_size(manifest, shard_size),
        **run,
    )
