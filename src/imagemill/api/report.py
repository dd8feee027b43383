"""`report`: one offline page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemill.api.check import check
from imagemill.api.given import OnProgress, PathLike, open_source
from imagemill.core.remote import local_path
from imagemill.prepare.commit import refuse_inside
from imagemill.sources.base import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from imagemill.reports.page import Report
    from imagemill.reports.pile import DatasetPile, SourcePile


def report(
    source: Any,
    out: PathLike | None = None,
    *,
    checks: PathLike | None = None,
    quick: bool = False,
    thumbnails: int | None = None,
    workers: int | None = None,
    kind: str | None = None,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> Report:
    """One self-contained offline HTML page about a pile: totals, rejects, splits, classes, sizes, quality,
    duplicates, leakage, samples, space on disk.

    Unless the table of an earlier check is given, the pile is checked first (`imagemill.check`, whose results
    are cached).

    Args:
        source: as for `pack`; or the folder or URL of a packed dataset.
        out: the file to write; None gathers the facts only.
        checks: folder that `check(source, out=...)` wrote.
        quick: no pixel is checked: of a dataset only what its manifest and indices say, of other sources the headers.
            Datasets at a URL are always taken so, unless `checks` is given.
        thumbnails: samples to show; None is 96.
        workers, kind, source_options: as for `check`.
        on_total: called once with the number of samples to check.

    Returns:
        The facts, and where the page lies.

    Raises:
        ConfigError: source, options or output that cannot work; or checks of another pile.
        DamageError: a stored value is damaged.
    """
    from imagemill.reports.page import THUMBNAILS, write_report

    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        work = Path(folder)
        found = open_source(source, kind, source_options)
        target = None if out is None else local_path(out)
        if target is not None:
            refuse_inside(target, found.path)
        table = _table(found, work, checks, quick, workers, on_total, on_progress)
        pile = _pile(found, table, work)
        try:
            return write_report(pile, target, thumbnails=THUMBNAILS if thumbnails is None else thumbnails)
        finally:
            pile.close()


def _table(
    source: Source,
    work: Path,
    checks: PathLike | None,
    quick: bool,
    workers: int | None,
    on_total: OnProgress | None,
    on_progress: OnProgress | None,
) -> pa.Table | None:
    """The table of a check that is given, or is made now; None where indices have to do."""
    from imagemill.core.manifest import Manifest
    from imagemill.curate.table import read_checks
    from imagemill.reports.pile import is_shown
    from imagemill.sources.packed import DatasetSource

    if checks is not None:
        return read_checks(local_path(checks), is_shown)
    if isinstance(source, DatasetSource):
        has_images = bool(Manifest.load(source.place).schema.of_kind("image"))
        if quick or source.remote or not has_images:
            return None
    decode = "headers" if quick else "full"
    check(source, work / "checks", decode=decode, workers=workers, on_total=on_total, on_progress=on_progress)
    return read_checks(work / "checks", is_shown)


def _pile(source: Source, table: pa.Table | None, work: Path) -> DatasetPile | SourcePile:
    from imagemill.reports.pile import DatasetPile, SourcePile
    from imagemill.sources.packed import DatasetSource

    if isinstance(source, DatasetSource):
        return DatasetPile(source.place, table)
    assert table is not None
    return SourcePile(source, table, work / "listing")
