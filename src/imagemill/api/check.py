"""`check`: what is in a pile, nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.api.given import (
    OnProgress,
    PathLike,
    open_source,
)
from imagemill.core.recipe import Recipe
from imagemill.core.remote import local_path
from imagemill.curate.cache import PictureCache
from imagemill.curate.flags import parse_thresholds
from imagemill.engines.local import LocalEngine
from imagemill.prepare.check import CheckOptions, check_source
from imagemill.prepare.check_result import CheckResult


def check(
    source: Any,
    out: PathLike | None = None,
    *,
    workers: int | None = None,
    kind: str | None = None,
    limit: int | None = None,
    decode: str = "full",
    against: Any = None,
    embedding: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    cache: bool = True,
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> CheckResult:
    """Looks at every image of a source, compares them, and changes nothing.

    Args:
        source: as for `pack`.
        out: new or empty folder for `checks.parquet` (a row a sample, see `imagemill.curate.table`), `rejects.jsonl`
            and, with `against`, `against.parquet`; None keeps nothing.
        decode: "full" proves every image whole and measures it; "headers" knows sizes and duplicate bytes only.
        against: another source or dataset, whose pictures are sought in this one.
        embedding: field with vectors (`embed` makes one): pictures whose vectors have a cosine of `thresholds` "cosine"
            or more are near-duplicates too.
        thresholds: of flags and near-duplicates, by name: see `imagemill.curate.flags.Thresholds`.
        cache: whether images that an earlier check decoded are not decoded again (`IMAGEMILL_CACHE`).
        on_total: called with the number of samples, once it is known; a second time with `against`.
        others: as for `pack`.

    Raises:
        ConfigError: source, options or output that cannot work.
        OutputInUse: another check is writing OUT.
    """
    found = open_source(source, kind, source_options)
    recipe = Recipe(
        decode=decode,  # type: ignore[arg-type] # checked by Recipe itself
        limit=limit,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        max_memory_bytes=max_memory_bytes,
    )
    options = CheckOptions(
        thresholds=parse_thresholds(thresholds or {}),
        cache=PictureCache() if cache and decode == "full" else None,
        against=None if against is None else open_source(against, None, {}),
        embedding=embedding,
        on_total=on_total,
        on_progress=on_progress,
    )
    return check_source(found, None if out is None else local_path(out), recipe, LocalEngine(workers), options)
