"""How a field appears as a column of Parquet; the table is in `imagemill.formats.parquet`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.core.schema import Field, Schema
from imagemill.formats.headers import netpbm_header


def has_elements(field: Field) -> bool:
    """Whether a value is stored as numbers (a scalar, a vector), not as one run of bytes."""
    shape = field.shape
    if shape is None or len(shape) > 1 or field.is_file or field.codec != "raw":
        return False
    return field.numpy_dtype.kind in "biuf" and field.numpy_dtype.itemsize <= 8


def is_file(field: Field) -> bool:
    """Whether the column holds whole files beside their paths: encoded images and masks, raw pixels made PPM or PGM."""
    return field.is_file and (field.codec == "encoded" or netpbm_header(field) != b"")


def stored_dtype(field: Field) -> np.dtype[Any]:
    """Element type of the column; labels are int64, as a `ClassLabel` wants."""
    dtype = field.numpy_dtype
    return np.dtype("<i8") if field.kind == "label" and dtype.kind in "iu" and dtype != np.dtype("<u8") else dtype


def column_type(field: Field) -> pa.DataType:
    """Arrow type of a field's column."""
    if has_elements(field):
        element = pa.from_numpy_dtype(stored_dtype(field))
        if field.storage == "scalar":
            return element
        side = (field.shape or (None,))[0]
        return pa.list_(element, side) if side else pa.list_(element)
    if field.storage == "text":
        return pa.string()
    return pa.struct({"bytes": pa.binary(), "path": pa.string()}) if is_file(field) else pa.binary()


def hub_feature(field: Field, is_array: bool) -> dict[str, Any]:
    """The column as Hugging Face `datasets` describes it; `is_array` says that its files are `.npy`."""
    binary, text = {"_type": "Value", "dtype": "binary"}, {"_type": "Value", "dtype": "string"}
    if is_file(field):
        return {"bytes": binary, "path": text} if is_array else {"_type": "Image"}
    if not has_elements(field):
        return text if field.storage == "text" else binary
    if field.kind == "label" and field.class_names:
        return {"_type": "ClassLabel", "names": list(field.class_names)}
    value = {"_type": "Value", "dtype": stored_dtype(field).name}
    if field.storage == "scalar":
        return value
    side = (field.shape or (None,))[0]
    return {"_type": "Sequence", "feature": value, "length": side or -1}


def arrow_schema(schema: Schema, arrays: Collection[str] = ()) -> pa.Schema:
    """Columns of a shard, `key` first, with the description that `datasets` reads.

    Args:
        arrays: fields whose files are `.npy`, which no `Image` of `datasets` decodes.
    """
    features = {"key": {"_type": "Value", "dtype": "string"}}
    features |= {field.name: hub_feature(field, field.name in arrays) for field in schema}
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    columns = [("key", pa.string()), *((field.name, column_type(field)) for field in schema)]
    return pa.schema(columns, metadata)


def leaf(name: str, field: Field | None) -> str:
    """A column's name in Parquet's flat naming; `field` is None for `key`."""
    if field is None or not (has_elements(field) or is_file(field)):
        return name
    if has_elements(field):
        return name if field.storage == "scalar" else f"{name}.list.element"
    return f"{name}.bytes"
