"""`check`: every image of a source looked at once and compared with all others; nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.core.files import REJECTS_NAME
from imagemill.core.recipe import Recipe
from imagemill.curate.cache import PictureCache
from imagemill.curate.flags import Thresholds
from imagemill.curate.table import FILE_NAME, METADATA_KEY, check_schema, field_columns
from imagemill.engines.base import Engine
from imagemill.engines.ranks import membership
from imagemill.errors import ConfigError
from imagemill.prepare.check_result import CheckResult, summed_up
from imagemill.prepare.commit import (
    WORK_NAME,
    atomic_write,
    clear_disk_errors,
    make_output,
    publish,
    refuse_inside,
    scratch_folder,
)
from imagemill.prepare.compare import Comparison, compare, compared_columns, match_piles
from imagemill.prepare.job import reject_line, take
from imagemill.prepare.looked import LookedPile, looked_at, thumbnails_by_key
from imagemill.prepare.vector_column import VectorColumn
from imagemill.sources.base import Source

AGAINST_NAME = "against.parquet"
"""Samples that another pile has, too, in the folder that `check --out` makes."""
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class CheckOptions:
    """What is asked of a check beside what one image may cost.

    Args:
        thresholds: of flags and near-duplicates.
        cache: what earlier checks found; None looks at everything.
        against: another pile, whose samples are sought in this one.
        embedding: field with vectors; pictures whose vectors are alike are near-duplicates too.
        on_total: called with the number of samples, once it is known.
        on_progress: called with the number of samples looked at since the last call.
    """

    thresholds: Thresholds
    cache: PictureCache | None = None
    against: Source | None = None
    embedding: str | None = None
    on_total: Callable[[int], None] | None = None
    on_progress: Callable[[int], None] | None = None


def check_source(
    source: Source, out: Path | None, recipe: Recipe, engine: Engine, options: CheckOptions
) -> CheckResult:
    """Looks at every sample of a source and compares them.

    Raises:
        ConfigError: nothing to check, or OUT is neither new nor empty, or inside a source.
        OutputInUse: another check writes OUT.
    """
    started = time.monotonic()
    if out is not None:
        for read in (source, options.against):
            refuse_inside(out, None if read is None else read.path)
    with _work_folder(out) as work, _looked(source, work / "pile", recipe, engine, options, options.embedding) as pile:
        table = pile.by_key(["size", *field_columns(pile.images, pile.masks)])
        thumbnails = thumbnails_by_key(pile) if pile.images else None
        vectors = None
        if options.embedding is not None:
            vectors = VectorColumn(options.embedding, pile.parts, pile.order, work / "vectors.npy")
        comparison = compare(table, thumbnails, pile.images, pile.masks, options.thresholds, vectors)
        matches = None
        if options.against is not None:
            before = replace(options, on_total=_added(options.on_total, pile.parts.num_rows))
            unlimited = replace(recipe, limit=None)
            with _looked(options.against, work / "other", unlimited, engine, before) as other:
                matches = match_piles(pile, other, options.thresholds)
        result = summed_up(pile, comparison, None if matches is None else matches.num_rows)
        if out is not None:
            with clear_disk_errors(out):
                atomic_write(out / REJECTS_NAME, "".join(map(reject_line, result.rejects)).encode())
                if matches is not None:
                    _write_table(out / AGAINST_NAME, work, matches.schema, matches.to_batches())
                schema = check_schema(pile.images, pile.masks).with_metadata(_metadata(pile, recipe, options))
                _write_table(out / FILE_NAME, work, schema, _batches(pile, comparison, schema))
    return replace(result, seconds=time.monotonic() - started)


def _looked(
    source: Source, work: Path, recipe: Recipe, engine: Engine, options: CheckOptions, embedding: str | None = None
) -> AbstractContextManager[LookedPile]:
    told = {"on_total": options.on_total, "on_progress": options.on_progress}
    return looked_at(source, work, recipe, engine, options.cache, embedding=embedding, **told)


def _added(on_total: Callable[[int], None] | None, before: int) -> Callable[[int], None] | None:
    """Tells the total of two piles, when that of the second is known."""
    return None if on_total is None else lambda total: on_total(before + total)


@contextmanager
def _work_folder(out: Path | None) -> Iterator[Path]:
    """A folder for listings, markers and parts: inside OUT, or temporary where there is none."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
            yield Path(folder)
        return
    if out.exists() and (not out.is_dir() or any(path.name != WORK_NAME for path in out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty: give a new folder")
    from imagemill.prepare.ownership import own  # 30 ms that workers, who load this module, need not spend

    make_output(out)
    with own(out, membership(0, 1)), scratch_folder(out / WORK_NAME / "check") as work:
        yield work
    shutil.rmtree(out / WORK_NAME, ignore_errors=True)


def _metadata(pile: LookedPile, recipe: Recipe, options: CheckOptions) -> dict[bytes, bytes]:
    record = {
        "images": pile.images,
        "masks": pile.masks,
        "decode": recipe.decode,
        "thresholds": options.thresholds.to_json(),
        "embedding": options.embedding,
    }
    return {METADATA_KEY: json.dumps(record).encode()}


def _batches(pile: LookedPile, comparison: Comparison, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of the table of checks, by key, a few at a time."""
    keys = pile.by_key(["key"])["key"]
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(keys))
        rows = take(pile.parts, pile.order[start:stop]).combine_chunks()
        compared = compared_columns(keys, comparison, start, stop)
        arrays = [
            compared[name] if name in compared else rows[name].combine_chunks().cast(schema.field(name).type)
            for name in schema.names
        ]
        yield from pa.table(arrays, schema=schema).to_batches()


def _write_table(path: Path, work: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """A Parquet file that is there whole or not at all."""
    temporary = work / path.name
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    publish([(temporary, path)])
