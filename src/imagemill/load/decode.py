"""From the bytes of one value to what training code takes: pictures, arrays, numbers, text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.codecs import image as images
from imagemill.codecs.policy import scale_to_uint8
from imagemill.core.manifest import Manifest
from imagemill.core.recipe import FILE_PIXELS
from imagemill.core.sample import Array, Buffer, Encoded, Row, Sample, Value
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import scalar_from_bytes

_PIL_MASKS = {"uint8": "L", "uint16": "I;16", "int32": "I", "float32": "F"}
"""dtype of an (H, W) mask → the Pillow mode that holds it without loss."""
_CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def field_modes(manifest: Manifest, mode: str | None = None) -> dict[str, str]:
    """Image field → the colour mode it is shown in.

    Args:
        manifest: of the dataset.
        mode: one mode for all images, or None: raw arrays by their channels (1 is "L", 3 "RGB"),
            resized images in the mode they were packed in, original files in "RGB".

    Raises:
        ConfigError: no such mode, or raw arrays with a number of channels that no mode has.
    """
    if mode is not None:
        check_mode(mode)
    packed = "RGB" if manifest.pixels in FILE_PIXELS else str(manifest.recipe.get("mode", "RGB"))
    return {
        field.name: mode or (packed if field.storage == "bytes" else mode_of_channels(field))
        for field in manifest.schema.of_kind("image")
    }


def mode_of_channels(field: Field) -> str:
    """The colour mode of a raw field's arrays.

    Raises:
        ConfigError: a number of channels that no mode has.
    """
    shape = field.shape or ()
    channels = shape[2] if len(shape) == 3 else 1
    if channels not in _CHANNEL_MODES:
        raise ConfigError(f"field {field.name!r} has {channels} channels; images have 1, 2, 3 or 4")
    return _CHANNEL_MODES[channels]


def check_mode(mode: str) -> str:
    """The mode itself, if images can be shown in it.

    Raises:
        ConfigError: no such mode; the message lists them.
    """
    if mode not in images.MODES:
        raise ConfigError(f"mode {mode!r} is none of {', '.join(images.MODES)}")
    return mode


def image_pixels(field: Field, value: Buffer, mode: str) -> npt.NDArray[np.uint8]:
    """An image value as uint8 pixels, shape (H, W, C), upright, in `mode`, writable.

    Raises:
        SampleError: the bytes are no whole image.
    """
    if field.storage == "bytes":
        return images.decode(value, mode=mode)
    array = raw_array(field, value)
    if array.dtype != np.uint8 or mode != mode_of_channels(field):
        array = np.array(_raw_picture(field, value, mode))
    return array.reshape(*array.shape[:2], -1)


def image_picture(field: Field, value: Buffer, mode: str) -> Image.Image:
    """An image value as a Pillow image, upright, in `mode`.

    Raises:
        SampleError: the bytes are no whole image.
    """
    return images.decode_pil(value, mode) if field.storage == "bytes" else _raw_picture(field, value, mode)


def mask_array(field: Field, value: Buffer) -> Array:
    """A mask value as class ids, exactly as stored: shape (H, W) or (H, W, C), writable.

    Raises:
        SampleError: the bytes are no whole mask.
    """
    array = images.decode_mask(value) if field.storage == "bytes" else raw_array(field, value)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def mask_picture(field: Field, value: Buffer) -> Image.Image | Array:
    """A mask as a Pillow image of mode L, I;16, I or F, and as an array where Pillow has no mode for it.

    Raises:
        SampleError: the bytes are no whole mask.
    """
    array = mask_array(field, value)
    if array.ndim == 2 and array.dtype.name in _PIL_MASKS:
        return Image.fromarray(np.ascontiguousarray(array))
    return array


def plain_value(field: Field, value: Buffer) -> int | float | str | Array:
    """A label as int, a number as int or float, text as str, a vector as a 1-D array of its own."""
    if field.storage == "text":
        return bytes(value).decode("utf-8")
    if field.storage == "scalar":
        return scalar_from_bytes(field, value)  # type: ignore[no-any-return]
    return raw_array(field, value)


def raw_array(field: Field, value: Buffer) -> Array:
    """Raw elements as a writable array of the field's shape, in the machine's byte order."""
    return raw_view(field, value).astype(field.numpy_dtype.newbyteorder("="))


def raw_view(field: Field, value: Buffer) -> Array:
    """Raw elements as they lie, as an array of the field's shape; nothing is copied."""
    array = np.frombuffer(value, field.numpy_dtype)
    return array if field.storage == "ragged" else array.reshape([side or 0 for side in field.shape or ()])


def shown_value(field: Field, value: Buffer, mode: str) -> Any:
    """What `open(...)[i]` gives of a field: a Pillow image, an array, a number or text."""
    if field.kind == "image":
        return image_picture(field, value, mode)
    return mask_picture(field, value) if field.kind == "mask" else plain_value(field, value)


def row_to_sample(schema: Schema, row: Row) -> Sample:
    """A stored row as the sample it came from: encoded files untouched, everything else as values."""
    values: Mapping[str, Value] = {
        name: Encoded(bytes(buffer)) if schema[name].storage == "bytes" else plain_value(schema[name], buffer)
        for name, buffer in row.values.items()
    }
    return Sample(row.key, values, row.origins)


def _raw_picture(field: Field, value: Buffer, mode: str) -> Image.Image:
    array = raw_array(field, value)
    if array.dtype != np.uint8:
        bits = 8 * array.dtype.itemsize
        array = scale_to_uint8(array, bits if array.dtype.kind == "u" and bits <= 16 else None)
    picture = Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    return picture if picture.mode == mode else picture.convert(mode)
