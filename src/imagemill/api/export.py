"""`export`: a dataset back as plain folders, or as another system's files."""

from __future__ import annotations

from typing import Literal

from imagemill.api.given import (
    OnProgress,
    PathLike,
)
from imagemill.core.remote import local_path
from imagemill.errors import ConfigError
from imagemill.formats.store import Store
from imagemill.prepare.export import export as export_store

LAYOUTS = ("folders", "lab")


def export(
    dataset: PathLike,
    out: PathLike,
    *,
    layout: str = "folders",
    records_per_file: int = 500,
    compression: Literal["", "gzip", "zlib"] = "",
    on_progress: OnProgress | None = None,
) -> int:
    """A dataset back as plain folders: `OUT/SPLIT/CLASS/NAME`, original files byte for byte.

    Args:
        layout: "folders", or "lab": the colour pipeline's TFRecords of a dataset packed with `fields="lab"`.
        records_per_file, compression: of the layout "lab".

    Returns:
        Samples written.

    Raises:
        ConfigError: no finished dataset there, or OUT is not empty, or the dataset does not fit the layout.
        DamageError: a stored value is damaged.
    """
    store, target = Store(dataset), local_path(out)
    if layout == "folders":
        keys = export_store(store, target)
    elif layout == "lab":
        from imagemill.prepare.export_lab import export_lab

        keys = export_lab(store, target, records_per_file=records_per_file, compression=compression)
    else:
        raise ConfigError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    count = 0
    for _ in keys:
        count += 1
        if on_progress is not None:
            on_progress(1)
    return count
