"""A source looked at: the rows of its table of checks before they are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.core.recipe import Recipe
from imagemill.core.sample import Reject
from imagemill.core.schema import Schema
from imagemill.curate.cache import PictureCache
from imagemill.curate.near import IntArray
from imagemill.engines.base import Engine
from imagemill.errors import ConfigError
from imagemill.prepare.look_tasks import LookTask, look_at_rows
from imagemill.prepare.looking import Looker, part_schema
from imagemill.prepare.near_links import ThumbnailColumn
from imagemill.prepare.planning import ListedScan, limited, numbered, scan_source
from imagemill.sources.base import Source, open_listing

ROWS_PER_TASK = 128
"""So that the last tasks end together, and a worker that dies repeats little."""
MOST_TASKS = 512
"""Each task writes a file, and all of them are mapped at once: fewer than a process may have open."""


@dataclass(frozen=True)
class LookedPile:
    """A source that was looked at.

    Args:
        scan: what was found before.
        images, masks: names of the fields.
        parts: rows as `part_schema` has them, in the order of the listing, mapped.
        order: rows of `parts` by key.
        decoded, remembered: pictures.
    """

    scan: ListedScan
    images: tuple[str, ...]
    masks: tuple[str, ...]
    parts: pa.Table
    order: IntArray
    decoded: int
    remembered: int

    @property
    def thumbnails(self) -> pa.ChunkedArray:
        """Thumbnails of the first image field, in the order of `parts`; asked for only where there is one."""
        return self.parts[f"thumbnail.{self.images[0]}"]

    def by_key(self, columns: list[str]) -> pa.Table:
        """Some columns, ordered by key; a copy only where the source lists its samples otherwise."""
        table = self.parts.select(columns)
        return table if np.all(np.diff(self.order) == 1) else table.take(pa.array(self.order))

    def rejects(self) -> Iterator[Reject]:
        """Bad samples by key."""
        columns = ["key", "path", "reason", "detail", "files"]
        bad = self.by_key(columns).filter(pc.field("reason") != "")
        for record in bad.to_pylist():
            yield Reject(**record)


@contextmanager
def looked_at(
    source: Source,
    work: Path,
    recipe: Recipe,
    engine: Engine,
    cache: PictureCache | None,
    *,
    embedding: str | None = None,
    on_total: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[LookedPile]:
    """Looks at every sample of a source; what it found lies in `work` while the block runs."""
    with scan_source(source, work) as whole:
        scan = limited(whole, recipe.limit)
        total = scan.listing.num_rows
        if on_total is not None:
            on_total(total)
        schema = Schema(tuple(numbered(field, scan.listing) for field in scan.fields))
        if embedding is not None and embedding not in [field.name for field in schema.of_kind("vector")]:
            names = ", ".join(field.name for field in schema.of_kind("vector")) or "none"
            raise ConfigError(f"--embedding {embedding}: the vector fields are {names}; `imagemill embed` makes one")
        looker = Looker(schema, recipe, cache, embedding)
        step = max(ROWS_PER_TASK, -(-total // MOST_TASKS))
        tasks = [LookTask(source, looker, work, start, min(start + step, total)) for start in range(0, total, step)]
        found = sorted(engine.run(look_at_rows, tasks, on_progress=on_progress), key=lambda part: part.start)
        images = tuple(field.name for field in schema.of_kind("image"))
        masks = tuple(field.name for field in schema.of_kind("mask"))
        parts = pa.concat_tables(
            [part_schema(images, masks).empty_table(), *(open_listing(part.path) for part in found)]
        )
        yield LookedPile(
            scan=scan,
            images=images,
            masks=masks,
            parts=parts,
            order=pc.sort_indices(parts["key"]).to_numpy().astype(np.int64),
            decoded=sum(part.decoded for part in found),
            remembered=sum(part.remembered for part in found),
        )


def thumbnails_by_key(*piles: LookedPile) -> ThumbnailColumn:
    """Thumbnails of piles, one after the other, each ordered by key."""
    starts = np.cumsum([0, *(len(pile.order) for pile in piles)])
    column = pa.chunked_array([chunk for pile in piles for chunk in pile.thumbnails.chunks], piles[0].thumbnails.type)
    order = np.concatenate([pile.order + start for pile, start in zip(piles, starts, strict=False)])
    return ThumbnailColumn(column, order)
