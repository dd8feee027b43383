"""`check`: what is in a pile, nothing changed."""

from __future__ import annotations

from typing import Any

from imagemill.api.given import (
    OnProgress,
    PathLike,
    open_source,
)
from imagemill.core.recipe import Recipe
from imagemill.core.remote import local_path
from imagemill.engines.local import LocalEngine
from imagemill.prepare.check import CheckResult, check_source


def check(
    source: Any,
    out: PathLike | None = None,
    *,
    workers: int | None = None,
    kind: str | None = None,
    limit: int | None = None,
    decode: str = "full",
    max_pixels: int = Recipe.max_pixels,
    max_bytes: int = Recipe.max_bytes,
    max_seconds: float = Recipe.max_seconds,
    max_memory_bytes: int = Recipe.max_memory_bytes,
    on_total: OnProgress | None = None,
    on_progress: OnProgress | None = None,
    **source_options: Any,
) -> CheckResult:
    """Looks at every image of a source and changes nothing.

    Args:
        source: as for `pack`.
        out: new or empty folder for `checks.parquet` (a row a sample) and `rejects.jsonl`; None keeps nothing.
        on_total: called once with the number of samples.
        others: as for `pack`.

    Raises:
        ConfigError: source, options or output that cannot work.
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
    target = None if out is None else local_path(out)
    return check_source(found, target, recipe, LocalEngine(workers), on_total=on_total, on_progress=on_progress)
