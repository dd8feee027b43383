"""Schemas and rows to test formats with: every kind of field, every storage, deterministic."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from PIL import Image

from imagemill.core.sample import Array, Row, digest
from imagemill.core.schema import Field, Schema

_IMAGE = Field("image", "image")
_LABEL = Field("label", "label", "int64", (), "raw", class_names=("cat", "dog", "été"))
_RAW = Field("pixels", "image", "uint8", (12, 10, 3), "raw")
_MASK = Field("mask", "mask")
_RAW_MASK = Field("classes", "mask", "uint8", (12, 10), "raw")
_FLOW = Field("flow", "mask", "float32", (6, 5, 2), "raw")
_NUMBERS = (
    Field("score", "number", "float64", (), "raw"),
    Field("ratio", "number", "float32", (), "raw"),
    Field("count", "number", "int32", (), "raw"),
)
_VECTORS = (
    Field("embedding", "vector", "float32", (16,), "raw"),
    Field("boxes", "vector", "float32", (None,), "raw"),
    Field("ids", "vector", "int64", (None,), "raw"),
)
_TEXT = Field("text", "text", "uint8", None, "utf8")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "images": Schema((_IMAGE, _LABEL)),
        "raw": Schema((_RAW, _LABEL)),
        "pair": Schema((Field("before", "image"), Field("after", "image"))),
        "raw_pair": Schema(
            (Field("before", "image", "uint8", (6, 8, 1), "raw"), Field("after", "image", "uint8", (12, 16, 3), "raw"))
        ),
        "masks": Schema((_IMAGE, _MASK, _RAW_MASK, _FLOW)),
        "numbers": Schema((_LABEL, *_NUMBERS)),
        "vectors": Schema((_IMAGE, *_VECTORS)),
        "text": Schema((_IMAGE, _TEXT)),
        "everything": Schema((_IMAGE, _RAW, _MASK, _RAW_MASK, _FLOW, _LABEL, *_NUMBERS, *_VECTORS, _TEXT)),
    }
)
"""One schema for each way in which data come: name → schema."""

_TEXTS = ("", "a cat on a mat", "naïve été: 猫がいる", "two\nlines\tand a \x00 byte", "🐈" * 40)


def make_rows(schema: Schema, count: int, seed: int = 0) -> list[Row]:
    """Rows with a value in every field; equal arguments give equal rows.

    Encoded images are small JPEG and PNG files of unequal size, encoded masks PNG and .npy
    files; ragged vectors and texts are empty now and then; keys and texts leave ASCII;
    digests, origins, sides and notes are filled in as packing does.

    Args:
        schema: fields to fill, one of `SCHEMAS` or another.
        count: rows wanted.
        seed: another seed gives other values, keys stay.
    """
    return list(_make_rows(schema, count, seed))


@cache
def _make_rows(schema: Schema, count: int, seed: int) -> tuple[Row, ...]:
    return tuple(_make_row(schema, index, np.random.default_rng((seed, index))) for index in range(count))


def _make_row(schema: Schema, index: int, rng: np.random.Generator) -> Row:
    folder = ("cat", "кот", "a b.c", "x'y\"z")[index % 4]
    values: dict[str, bytes] = {}
    sides: dict[str, tuple[int, int]] = {}
    for field in schema:
        if field.storage == "bytes":
            pixels = _pixels(field, rng)
            sides[field.name] = pixels.shape[:2]
            values[field.name] = _encoded(field, index, pixels)
        else:
            values[field.name] = _value(field, index, rng)
            if field.is_file and field.shape is not None:
                sides[field.name] = (field.shape[0] or 0, field.shape[1] or 0)
    files = [field.name for field in schema if field.is_file]
    return Row(
        key=f"{folder}/im {index:05d}.é",
        values=values,
        origins={name: f"{folder}/im {index:02d}_{name}.jpg" for name in files},
        digests={name: digest(value) for name, value in values.items()},
        notes=f"{files[0]}:orientation=6" if files and index % 5 == 4 else "",
        sides=sides,
    )


def _pixels(field: Field, rng: np.random.Generator) -> Array:
    height, width = (int(side) for side in rng.integers(4, 20, 2))
    if field.kind == "mask":
        return rng.integers(0, 12, (height, width), dtype=np.uint8)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _encoded(field: Field, index: int, pixels: Array) -> bytes:
    stream = io.BytesIO()
    if field.kind == "mask" and index % 2:
        np.save(stream, pixels)
    elif field.kind == "mask" or index % 3 == 2:
        Image.fromarray(pixels).save(stream, "PNG")
    else:
        Image.fromarray(pixels).save(stream, "JPEG", quality=75)
    return stream.getvalue()


def _value(field: Field, index: int, rng: np.random.Generator) -> bytes:
    if field.storage == "text":
        return _TEXTS[index % len(_TEXTS)].encode()
    if field.kind == "label":
        return np.asarray(index % 3, field.numpy_dtype).tobytes()
    shape = tuple(index % 4 if side is None else side for side in field.shape or ())
    dtype = field.numpy_dtype
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype).tobytes()
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True).astype(dtype).tobytes()
