"""From rows to a batch: arrays of one size, stacked into tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Array
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, MissingExtra
from imagemill.load.prepare import Loaded
from imagemill.load.slots import unequal
from imagemill.transforms.geometry import parse_size

if TYPE_CHECKING:
    import torch

Size: TypeAlias = int | str | tuple[int, int]
Dtype: TypeAlias = Literal["uint8", "float32"]
Batch: TypeAlias = dict[str, Any]
"""Field name → torch.Tensor or list."""

# torch computes nothing in the unsigned types that NumPy has beyond uint8.
_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}


def stack(schema: Schema, samples: Sequence[Loaded], images: Mapping[str, torch.Tensor]) -> Batch:
    """Samples as a batch; `Loader` says what is in it.

    Args:
        images: of these samples, a tensor a field.

    Raises:
        ConfigError: masks of one field differ in shape.
    """
    columns: dict[str, Sequence[Any]] = {}
    for field in schema:
        if field.kind == "mask":
            columns[field.name] = _of_one_shape(field, samples)
        elif field.kind != "image":
            columns[field.name] = [sample.values[field.name] for sample in samples]
    ids = np.array([sample.index for sample in samples], np.int64)
    return assemble(schema, columns, [sample.key for sample in samples], ids, images)


def assemble(
    schema: Schema,
    columns: Mapping[str, Sequence[Any] | Array],
    keys: list[str],
    ids: npt.NDArray[np.int64],
    images: Mapping[str, torch.Tensor],
) -> Batch:
    """Columns as a batch.

    Args:
        columns: values of every field that is no image, one a sample; masks (H, W) or (C, H, W), of one shape.
        keys: of the samples.
        ids: their positions in the dataset.
        images: a tensor a field.
    """
    import torch

    batch: Batch = {
        field.name: images[field.name] if field.kind == "image" else _stacked(field, columns[field.name])
        for field in schema
    }
    batch["key"] = keys
    batch["index"] = torch.from_numpy(ids)
    return batch


def as_floats(schema: Schema, batch: Batch) -> Batch:
    """The batch with its images as float32 in [0, 1], on the device where they are."""
    return {**batch, **{field.name: batch[field.name].float().div_(255) for field in schema.of_kind("image")}}


def _stacked(field: Field, values: Sequence[Any] | Array) -> torch.Tensor | list[Any]:
    import torch

    if field.kind == "text":
        return list(values)
    if field.storage == "ragged":
        return [torch.from_numpy(_vector(value)) for value in values]
    if field.kind == "mask":
        ids = np.ascontiguousarray(values) if isinstance(values, np.ndarray) else _contiguous(values)
        return torch.from_numpy(ids.astype(_WIDER.get(ids.dtype.name, ids.dtype), copy=False))
    if field.kind == "vector":
        return torch.from_numpy(_vector(values if isinstance(values, np.ndarray) else np.stack(values)))
    numbers = np.asarray(values, field.numpy_dtype.newbyteorder("="))
    return torch.from_numpy(numbers.astype(np.int64, copy=False) if numbers.dtype.kind in "iub" else numbers)


def _contiguous(arrays: Sequence[Array]) -> Array:
    """The arrays stacked in C order; `np.stack` alone would keep the channels last in memory."""
    out = np.empty((len(arrays), *arrays[0].shape), np.result_type(*arrays))
    return np.stack(arrays, out=out)


def _vector(values: Array) -> Array:
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int64, copy=False)


def _of_one_shape(field: Field, samples: Sequence[Loaded]) -> list[Array]:
    """The arrays of a field, proven to have one shape."""
    first = samples[0]
    shape = first.values[field.name].shape
    for sample in samples:
        other = sample.values[field.name].shape
        if other != shape:
            raise unequal(field.name, first.key, shape, sample.key, other)
    return [sample.values[field.name] for sample in samples]


def parse_sides(size: Size | None) -> tuple[int, int] | None:
    """(height, width) from what a person gives: one side for a square, (height, width), or "WIDTHxHEIGHT".

    Raises:
        ConfigError: not two sides above 0.
    """
    if size is None:
        return None
    if isinstance(size, str):
        return parse_size(size)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(f"size must be one side or (height, width), above 0, got {size!r}")
    return sides[0], sides[1]


def require_torch() -> None:
    """Says what to install where torch is not.

    Raises:
        MissingExtra: torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("torch", "torch") from None
