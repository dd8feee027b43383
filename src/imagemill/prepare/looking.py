"""Samples looked at for `check`: every picture once, every other value as `pack` would take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.codecs.header import Header
from imagemill.core.recipe import Recipe
from imagemill.core.sample import Array, Encoded, Reject, Sample, Value
from imagemill.core.schema import Field, Schema
from imagemill.curate.cache import PictureCache
from imagemill.curate.hashes import dhash, phash
from imagemill.curate.limits import Limits
from imagemill.curate.picture import Picture, look_at_array, look_at_file
from imagemill.curate.quality import THUMBNAIL_SIDE
from imagemill.curate.table import HEADER_COLUMNS, MASK_COLUMNS, PIXEL_COLUMNS, SAMPLE_COLUMNS, field_columns
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.rows import as_array, check_sides, in_mode, limits_of, mask_notes, plain_bytes, value_of
from imagemill.sources.layout import NO_LABEL

VECTOR = "vector"
"""Column with the embedding of a sample, float32, little-endian."""

THUMBNAIL = pa.binary(THUMBNAIL_SIDE**2)


@dataclass(frozen=True, slots=True)
class Looked:
    """A good sample: its pictures by field, where they came from, notes on all of them, and its embedding (float32)."""

    pictures: Mapping[str, Picture]
    origins: Mapping[str, str]
    notes: str
    vector: bytes | None = None


@dataclass(frozen=True)
class Looker:
    """Looks at samples of one schema. Picklable.

    Args:
        schema: fields of the samples.
        recipe: limits, and whether pixels are looked at.
        cache: what earlier looks found; None looks at everything.
        embedding: field with vectors that samples are compared by, too.
    """

    schema: Schema
    recipe: Recipe
    cache: PictureCache | None
    embedding: str | None = None

    @property
    def limits(self) -> Limits:
        """What one image may cost."""
        return limits_of(self.recipe)

    def __call__(self, sample: Sample) -> Looked:
        """What is in a sample.

        Raises:
            SampleError: `pack` could not use it; names key and origin.
        """
        pictures: dict[str, Picture] = {}
        notes: list[str] = []
        vector = None
        for field in self.schema:
            try:
                value = value_of(sample, field)
                if not field.is_file:
                    content = plain_bytes(field, value)
                    if field.name == self.embedding:
                        vector = np.frombuffer(content, field.numpy_dtype).astype("<f4").tobytes()
                    continue
                picture = pictures[field.name] = self._picture(field, value)
            except SampleError as error:
                raise error.of(sample.key, sample.origins.get(field.name, "")) from None
            except ConfigError as error:
                raise ConfigError(f"{sample.key}: {error}") from None
            notes.extend(f"{field.name}:{note}" for note in picture.notes + mask_notes(field, picture.header))
        check_sides(self.schema, sample, {name: picture.header.sides for name, picture in pictures.items()})
        return Looked(pictures, dict(sample.origins), ";".join(notes), vector)

    def _picture(self, field: Field, value: Value) -> Picture:
        full, measured = self.recipe.decode == "full", field.kind == "image"
        if isinstance(value, Encoded):
            return look_at_file(value.data, self.limits, full=full, measured=measured, cache=self.cache)
        array = as_array(value)
        if measured and not (array.dtype == "uint8" and array.ndim == 3 and array.shape[2] in (1, 3)):
            array = in_mode(field, array, "RGB")
        return look_at_array(array, self.limits, measured=measured and full)


def part_schema(images: Sequence[str], masks: Sequence[str]) -> pa.Schema:
    """Columns of the part of a table that a task writes: what is known before samples are compared, thumbnails, and
    `VECTOR`, null where samples are compared by no embedding."""
    thumbnails = {f"thumbnail.{field}": THUMBNAIL for field in images[:1]}
    return pa.schema({**SAMPLE_COLUMNS, **field_columns(images, masks), **thumbnails, VECTOR: pa.binary()})


class PartWriter:
    """Writes the rows of one task as an Arrow file.

    Args:
        path: the file.
        schema: fields of the samples.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._images = [field.name for field in schema.of_kind("image")]
        self._masks = [field.name for field in schema.of_kind("mask")]
        self._class_names = next((field.class_names or () for field in schema if field.name == "label"), ())
        self._schema = part_schema(self._images, self._masks)
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._thumbnails: dict[str, list[Array | None]] = {field: [] for field in self._images}

    def add(self, listing_row: Mapping[str, Any], result: Looked | Reject) -> None:
        """Appends one sample, good or bad."""
        record: dict[str, Any] = {
            "key": listing_row["key"],
            "label": self._class_of(listing_row.get("label")),
            "split": listing_row["split"],
            "size": listing_row["size"],
            "files": listing_row["files"],
        }
        if isinstance(result, Reject):
            record |= {"path": result.path, "reason": result.reason, "detail": result.detail, "notes": ""}
        else:
            first = next((result.origins[name] for name in result.pictures if name in result.origins), "")
            record |= {"path": first, "reason": "", "detail": "", "notes": result.notes, VECTOR: result.vector}
            record |= self._pictures(result)
        for name, values in self._columns.items():
            values.append(record.get(name))
        for field, shown in self._thumbnails.items():
            measures = result.pictures[field].measures if isinstance(result, Looked) else None
            shown.append(None if measures is None else measures.thumbnail)

    def _class_of(self, label: str | int | None) -> str | None:
        """The name of a class, where a source gives numbers and knows their names; else what it gives."""
        if label is None or label == NO_LABEL:
            return None
        if isinstance(label, int) and 0 <= label < len(self._class_names):
            return self._class_names[label]
        return str(label)

    def _pictures(self, looked: Looked) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for field, picture in looked.pictures.items():
            columns = MASK_COLUMNS if field in self._masks else HEADER_COLUMNS
            facts = {"origin": looked.origins.get(field, ""), "content": picture.content, **_facts(picture.header)}
            record |= {f"{name}.{field}": facts[name] for name in columns}
            if picture.measures is not None:
                measures = picture.measures
                record |= {f"{name}.{field}": getattr(measures, name, None) for name in PIXEL_COLUMNS}
                record[f"thumbnail.{field}"] = measures.thumbnail.tobytes()
        return record

    def _hash(self) -> None:
        """Fills in the hashes of all thumbnails at once."""
        for field, shown in self._thumbnails.items():
            rows = [row for row, thumbnail in enumerate(shown) if thumbnail is not None]
            if not rows:
                continue
            stacked = np.stack([thumbnail for thumbnail in shown if thumbnail is not None])
            for name, hashes in (("phash", phash(stacked)), ("dhash", dhash(stacked))):
                column = self._columns[f"{name}.{field}"]
                for row, value in zip(rows, hashes.tolist(), strict=True):
                    column[row] = value

    def write(self) -> None:
        """Writes the file."""
        self._hash()
        arrays = [pa.array(self._columns[field.name], field.type) for field in self._schema]
        with pa.ipc.new_file(str(self._path), self._schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=self._schema))


def _facts(header: Header) -> dict[str, Any]:
    height, width = header.sides
    return {
        "height": height,
        "width": width,
        "format": header.format,
        "mode": header.mode,
        "bits": header.bits,
        "orientation": header.orientation,
        "icc": header.icc,
        "progressive": header.progressive,
        "frames": header.frames,
    }
