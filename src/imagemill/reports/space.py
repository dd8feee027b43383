"""What a pile would take on disk in every format and with other pixels, estimated by writing a few of its samples.

Of a few samples drawn evenly, first an eighth and then all are written as a shard. What the second takes beyond its
values and beyond the first is what a row costs; what is left, a shard. Values that stay as they are, are counted and
not estimated; what compression saves counts as a negative cost of a row. The index beside the data is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from imagemill import native
from imagemill.core.recipe import RECODED_PIXELS, Recipe
from imagemill.core.sample import Row, Sample, Value
from imagemill.core.schema import Schema
from imagemill.errors import ConfigError, SampleError
from imagemill.formats import FORMATS
from imagemill.prepare.planning import as_encoded, as_raw, as_recoded, decoded
from imagemill.prepare.rows import RowMaker
from imagemill.reports.facts import Space, SpaceRow
from imagemill.sources.packed import value_of

SAMPLED = 32
SHARD_SAMPLES = Recipe.shard_samples
RESIZED = Recipe(pixels="resized", size=(256, 256), fit="short", decode="headers")
RAW = Recipe(pixels="raw", size=(224, 224), fit="exact", decode="headers")
ORIGINAL = Recipe(decode="headers")
RECODED = Recipe(pixels="recoded", decode="headers")
COMPACT = Recipe(pixels="recoded-compact", decode="headers")
RECIPES = {
    "original": None,
    "recoded": RECODED,
    "recoded-compact": COMPACT,
    "resized 256": RESIZED,
    "raw 224x224": RAW,
}
"""Column → recipe of its pixels; None keeps what is there. JPEGs are recoded where the native core is. Arrays are
stretched, not cut: it makes no difference to their bytes, and a picture of 20000x1 need not be enlarged first."""


def estimate(
    schema: Schema, rows: Sequence[Row], samples: int, value_bytes: int | None, stored: tuple[str, str, int] | None
) -> Space | None:
    """Bytes on disk of the whole pile, format by format.

    Args:
        schema: of the rows.
        rows: a few, drawn evenly.
        samples: in the pile.
        value_bytes: of all values as they are, where known.
        stored: (format, column of its pixels, bytes) of a dataset, which are measured.

    Returns:
        None where there is no picture to write.
    """
    if not rows or not schema.of_kind("image", "mask"):
        return None
    base = "original" if stored is None else stored[1]
    columns = list(dict.fromkeys([base, *RECIPES]))
    sizes: dict[str, dict[str, int]] = {name: {} for name in sorted(FORMATS)}
    for column in columns:
        recipe = ORIGINAL if base in RECODED_PIXELS and column == "original" else RECIPES.get(column)
        made = (schema, list(rows)) if column == base else _remade(schema, rows, recipe)
        if made is not None:
            total = value_bytes if column == base else None
            for name, size_bytes in _sizes(*made, samples, total).items():
                sizes[name][column] = size_bytes
    if stored is not None:
        sizes.setdefault(stored[0], {})[base] = stored[2]
    return Space(
        pixels=tuple(column for column in columns if any(column in found for found in sizes.values())),
        rows=tuple(
            SpaceRow(name, found, (base,) if stored is not None and name == stored[0] else ())
            for name, found in sizes.items()
            if found
        ),
        sampled=len(rows),
    )


def _sizes(schema: Schema, rows: Sequence[Row], samples: int, value_bytes: int | None) -> dict[str, int]:
    """Format → bytes of so many samples; formats that cannot hold them are left out."""
    few = max(len(rows) // 8, 1)
    parts = (rows[:few], rows)
    values = [sum(len(value) for row in part for value in row.values.values()) for part in parts]
    total = values[1] / len(rows) * samples if value_bytes is None else value_bytes
    sizes = {}
    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        for name in sorted(FORMATS):
            try:
                written = [_written(Path(folder) / f"{name}-{len(part)}", name, schema, part) for part in parts]
            except ConfigError:
                continue
            beyond = [size_bytes - value for size_bytes, value in zip(written, values, strict=True)]
            per_row = (beyond[1] - beyond[0]) / (len(rows) - few) if len(rows) > few else beyond[1]
            per_shard = max(beyond[1] - per_row * len(rows), 0.0)
            sizes[name] = round(total + per_row * samples + per_shard * -(-samples // SHARD_SAMPLES))
    return sizes


def _written(path: Path, name: str, schema: Schema, rows: Sequence[Row]) -> int:
    return sum(file.stat().st_size for file in FORMATS.get(name).write(path, schema, rows))


def _remade(schema: Schema, rows: Sequence[Row], recipe: Recipe | None) -> tuple[Schema, list[Row]] | None:
    """The same samples with other pixels; None where they cannot be had from what is there."""
    if recipe is None:
        return None
    samples = [_sample(schema, row) for row in rows]
    try:
        if recipe.pixels == "raw":
            probe = decoded(samples[0], schema.fields, RowMaker(schema, recipe).limits)
            target = Schema(tuple(as_raw(field, probe, recipe) for field in schema))
        elif recipe.pixels in RECODED_PIXELS:
            if not native.available() or all(field.codec == "raw" for field in schema.of_kind("image")):
                return None
            target = Schema(tuple(as_recoded(field) for field in schema))
        else:
            target = Schema(tuple(as_encoded(field) for field in schema))
        maker = RowMaker(target, recipe)
        return target, [maker(sample) for sample in samples]
    except (SampleError, ConfigError):
        return None


def _sample(schema: Schema, row: Row) -> Sample:
    values: dict[str, Value] = {field.name: value_of(field, row.values[field.name]) for field in schema}
    return Sample(row.key, values, {name: origin or row.key for name, origin in row.origins.items()})
