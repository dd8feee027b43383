"""`export`: a dataset back as plain folders."""

from __future__ import annotations

from imagemill.api.given import (
    OnProgress,
    PathLike,
)
from imagemill.core.remote import local_path
from imagemill.formats.store import Store
from imagemill.prepare.export import export as export_store


def export(dataset: PathLike, out: PathLike, *, on_progress: OnProgress | None = None) -> int:
    """A dataset back as plain folders: `OUT/SPLIT/CLASS/NAME`, original files byte for byte.

    Returns:
        Samples written.

    Raises:
        ConfigError: no finished dataset there, or OUT is not empty.
        DamageError: a stored value is damaged.
    """
    count = 0
    for _ in export_store(Store(dataset), local_path(out)):
        count += 1
        if on_progress is not None:
            on_progress(1)
    return count
