"""From rows to a batch: arrays of one size, stacked into tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from imagemill.codecs.image import FILTERS
from imagemill.core.sample import Array, Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, MissingExtra, SampleError
from imagemill.load.decode import image_pixels, mask_array, plain_value
from imagemill.transforms.geometry import FITS, parse_size, resize, resize_mask

if TYPE_CHECKING:
    import torch

Size: TypeAlias = int | str | tuple[int, int]
Dtype: TypeAlias = Literal["uint8", "float32"]
Batch: TypeAlias = dict[str, Any]
"""Field name → torch.Tensor or list."""

# torch computes nothing in the unsigned types that NumPy has beyond uint8.
_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A decoded sample on its way into a batch.

    Args:
        key: stable key.
        index: position in the dataset.
        values: one a field; images and masks at their final size, channels first.
    """

    key: str
    index: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """How a row becomes a `Loaded`. Stateless, safe in threads.

    Args:
        schema: fields of the rows.
        modes: image field → Pillow mode.
        size: (height, width) that images and masks are brought to, or None.
        fit: how, a name in `imagemill.transforms.geometry.FITS`.
        filter: resampling filter of images; masks take the nearest pixel.
    """

    schema: Schema
    modes: dict[str, str]
    size: tuple[int, int] | None
    fit: str
    filter: str

    def __post_init__(self) -> None:
        for name, value, known in (("fit", self.fit, FITS), ("filter", self.filter, tuple(FILTERS))):
            if value not in known:
                raise ConfigError(f"{name} {value!r} is none of {', '.join(known)}")

    def __call__(self, row: Row, index: int) -> Loaded:
        """The row, decoded and fitted.

        Raises:
            SampleError: an image or mask cannot be decoded; names the sample.
        """
        values: dict[str, Any] = {}
        for field in self.schema:
            try:
                values[field.name] = self._value(field, row.values[field.name])
            except SampleError as error:
                raise error.of(row.key, row.origins.get(field.name, "")) from None
        return Loaded(row.key, index, values)

    def _value(self, field: Field, value: Buffer) -> Any:
        if not field.is_file:
            return plain_value(field, value)
        if field.kind == "image":
            array: Array = image_pixels(field, value, self.modes[field.name])
            if self.size is not None:
                array = resize(array, self.size, fit=self.fit, filter=self.filter)
        else:
            array = mask_array(field, value)
            if self.size is not None:
                array = resize_mask(array, self.size, fit=self.fit)
        return np.moveaxis(array, 2, 0) if array.ndim == 3 else array


def stack(schema: Schema, samples: Sequence[Loaded], dtype: Dtype) -> Batch:
    """Samples as a batch; `Loader` says what is in it.

    Raises:
        ConfigError: images or masks of one field differ in shape.
    """
    import torch

    batch: Batch = {field.name: _stacked(field, samples, dtype) for field in schema}
    batch["key"] = [sample.key for sample in samples]
    batch["index"] = torch.tensor([sample.index for sample in samples], dtype=torch.int64)
    return batch


def _stacked(field: Field, samples: Sequence[Loaded], dtype: Dtype) -> torch.Tensor | list[Any]:
    import torch

    values = [sample.values[field.name] for sample in samples]
    if field.kind == "text":
        return values
    if field.storage == "ragged":
        return [torch.from_numpy(_vector(value)) for value in values]
    if field.kind == "image":
        pixels = torch.from_numpy(_contiguous(_of_one_shape(field, samples)))
        return pixels.to(torch.float32).div_(255) if dtype == "float32" else pixels
    if field.kind == "mask":
        ids = _contiguous(_of_one_shape(field, samples))
        return torch.from_numpy(ids.astype(_WIDER.get(ids.dtype.name, ids.dtype), copy=False))
    if field.kind == "vector":
        return torch.from_numpy(_vector(np.stack(values)))
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
            raise ConfigError(
                f"a batch needs one size, but {field.name!r} of {first.key!r} is {_text(shape)} and that of "
                f"{sample.key!r} is {_text(other)}: say size=(height, width), as in size=(224, 224), pack with "
                "--pixels raw --size 224, or take batch_size=1"
            )
    return [sample.values[field.name] for sample in samples]


def _text(shape: tuple[int, ...]) -> str:
    height, width = shape[-2:]
    return f"{width}x{height}" + (f"x{shape[0]}" if len(shape) == 3 else "")


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
