"""What the items of a torch `Dataset` hold, and how it becomes values. Knows tensors by their shape, not by torch."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from imagemill.codecs.image import encode_png
from imagemill.core.sample import Array, Encoded, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.layout import NO_LABEL
from imagemill.sources.table_columns import CAPTION_NAMES
from imagemill.sources.webdataset_fields import MASK_WORDS, field_name

Kind = Literal["image", "mask", "label", "text", "vector", "number"]

LABEL_NAMES = ("label", "labels", "target", "targets", "class", "category", "cls", "y")
"""Keys of dict items under which an integer is the label; in a tuple every integer is one."""

MASK_MODES = ("P", "L", "1", "I", "I;16", "F")
"""Modes of Pillow images that are masks where an image comes before them."""

ITEMS = "an item is an image, a tuple such as (image, label), or a dict such as {'image': …, 'mask': …}"


class Part(NamedTuple):
    """One value of an item: its kind, its field, and where in the item it is.

    `at` is `.` for the item itself, `[1]` for a place in a tuple, `:name` for a key of a dict.
    """

    kind: Kind
    field: str
    at: str

    def of(self, item: Any) -> Any:
        """This part of an item of the same structure."""
        if self.at == ".":
            return item
        return item[int(self.at[1:-1])] if self.at[0] == "[" else item[self.at[1:]]


def places(item: Any) -> list[str]:
    """Where the values of an item are, in the terms of `Part.at`."""
    if isinstance(item, Mapping) and all(isinstance(name, str) for name in item):
        return [f":{name}" for name in item]
    if isinstance(item, tuple | list):
        return [f"[{number}]" for number in range(len(item))]
    return ["."]


def parts_of(item: Any) -> tuple[Part, ...]:
    """What an item holds; the first item says it for all.

    Raises:
        ConfigError: there is no image in it, or something that cannot be stored.
    """
    kinds: dict[str, Kind] = {}
    for at in places(item):
        value = Part("image", "", at).of(item)
        kinds[at] = kind_of(value, at, after_image="image" in kinds.values())
    images = [at for at, kind in kinds.items() if kind == "image"]
    if not images:
        raise ConfigError(f"the items of the dataset hold no image but {_names(item)}: {ITEMS}")
    return tuple(Part(kinds[at], name, at) for at, name in _fields(kinds, images))


def _names(item: Any) -> str:
    return ", ".join(type(Part("image", "", at).of(item)).__name__ for at in places(item)) or "nothing"


def _fields(kinds: Mapping[str, Kind], images: list[str]) -> Iterator[tuple[str, str]]:
    """(place, field name): what it is called in a dict, else its kind, made unique by a number."""
    pair = len(images) == 2 and images[0].startswith("[")
    taken: Counter[str] = Counter()
    for at, kind in kinds.items():
        own = field_name(at[1:]) if at[0] == ":" else ""
        if kind == "image":
            name = own if own in ("before", "after") else "image"
            name = ("before", "after")[images.index(at)] if pair else name
        elif kind in ("label", "mask") or not own or own in (*CAPTION_NAMES, "key"):
            name = "text" if kind == "text" else kind
        else:
            name = own
        taken[name.lower()] += 1
        yield at, name if taken[name.lower()] == 1 else f"{name}_{taken[name.lower()]}"


def kind_of(value: Any, at: str, *, after_image: bool) -> Kind:
    """What kind of field a value makes.

    Args:
        value: as the dataset gives it.
        at: where in the item.
        after_image: whether an image came before it in the item.

    Raises:
        ConfigError: it cannot be stored.
    """
    name = at[1:].lower() if at[0] == ":" else ""
    if isinstance(value, str):
        return "text"
    if value is None and (not name or name in LABEL_NAMES):
        return "label"
    if isinstance(value, Image.Image):
        return "mask" if name in MASK_WORDS or (after_image and value.mode in MASK_MODES) else "image"
    array = as_array(value)
    if array is None or array.dtype.kind not in "biuf":
        raise ConfigError(f"{type(value).__name__} cannot be stored: {ITEMS}")
    if array.ndim == 0:
        is_label = array.dtype.kind in "biu" and (not name or name in LABEL_NAMES)
        return "label" if is_label else "number"
    if array.ndim == 1:
        return "vector"
    if array.ndim > 3:
        raise ConfigError(f"an array of shape {array.shape} cannot be stored: images and masks have 2 or 3 dimensions")
    is_picture = is_tensor(value) and array.ndim == 3 and array.dtype.kind == "f"
    return "mask" if name in MASK_WORDS or (after_image and not is_picture) else "image"


def is_tensor(value: Any) -> bool:
    """Whether this is a torch tensor, whose channels come first."""
    return type(value).__module__.partition(".")[0] in ("torch", "torchvision") and hasattr(value, "detach")


def as_array(value: Any) -> Array | None:
    """Numbers as an array, None for what holds none; the shape is untouched."""
    if is_tensor(value):
        value = value.detach().cpu()
        return np.asarray(value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy())
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        return np.asarray(value)
    if isinstance(value, list | tuple) and all(isinstance(number, int | float) for number in value):
        return np.asarray(value)
    return None


def value_of(kind: Kind, value: Any) -> Value:
    """A part of an item as a field's value.

    Raises:
        ValueError: it does not fit the kind, or its numbers are no pixels.
    """
    if kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"text expected, got {type(value).__name__}")
        return value
    if kind == "label" and value is None:
        return NO_LABEL
    if kind == "image":
        return _image(value)
    if isinstance(value, Image.Image):
        value = np.asarray(value)
    array = as_array(value)
    if array is None or array.dtype.kind not in "biuf":
        raise ValueError(f"{kind} expected, got {type(value).__name__}")
    if kind == "mask":
        return _mask(array, channels_first=is_tensor(value))
    wanted = 1 if kind == "vector" else 0
    if array.ndim != wanted or (kind == "label" and array.dtype.kind == "f"):
        raise ValueError(f"{kind} expected, got {array.dtype} of shape {array.shape}")
    return array if kind == "vector" else array.item() + 0


def _mask(array: Array, *, channels_first: bool) -> Array:
    if array.ndim not in (2, 3):
        raise ValueError(f"a mask has 2 or 3 dimensions, got shape {array.shape}")
    if channels_first and array.ndim == 3:
        array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
    return np.ascontiguousarray(array.astype(np.uint8) if array.dtype == np.bool_ else array)


def _image(value: Any) -> Value:
    """Grey and RGB as uint8 arrays; what the pixel policy decides on (alpha, palette, 16 bit, …) as a lossless file."""
    if isinstance(value, Image.Image):
        if value.mode in ("RGB", "L"):
            pixels = np.asarray(value)
            return pixels[:, :, None] if value.mode == "L" else pixels
        return Encoded(_lossless(value))
    array = as_array(value)
    if array is None or array.ndim not in (2, 3):
        raise ValueError(f"an image expected, got {type(value).__name__}{'' if array is None else f' {array.shape}'}")
    if is_tensor(value):
        array = _channels_last(_unit_scaled(array))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype not in (np.uint8, np.uint16) or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"an image array is uint8 or uint16 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.dtype} "
            f"{array.shape}"
        )
    if array.dtype == np.uint16 or array.shape[2] == 4:
        return Encoded(encode_png(array))
    return np.ascontiguousarray(array)


def _lossless(image: Image.Image) -> bytes:
    file = io.BytesIO()
    if image.mode in ("YCbCr", "HSV", "RGBX", "RGBa", "La"):
        image = image.convert({"RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGB"))
    image.save(file, "PNG" if image.mode in ("1", "P", "LA", "RGB", "RGBA", "I;16") else "TIFF")
    return file.getvalue()


def _unit_scaled(array: Array) -> Array:
    """Floats in [0, 1] as uint8, rounded; other types untouched."""
    if array.dtype.kind != "f":
        return array
    if not (array.size and array.min() >= 0 and array.max() <= 1):
        found = f"{array.min():.4g} to {array.max():.4g}" if array.size else "nothing"
        raise ValueError(
            f"a float image tensor holds values from 0 to 1, got {found}: "
            "leave Normalize out of the transform, and normalise when the batch is used"
        )
    scaled: Array = np.rint(array * 255).astype(np.uint8)
    return scaled


def _channels_last(array: Array) -> Array:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return array.transpose(1, 2, 0)
    if array.ndim == 3:
        raise ValueError(f"an image tensor has shape (channels, H, W) with 1, 3 or 4 channels, got {array.shape}")
    return array


def field_of(part: Part, value: Value, class_names: tuple[str, ...] | None) -> Field:
    """The field that a part makes, from the first item's value.

    Args:
        part: which.
        value: of the first item.
        class_names: of the field called `label`.
    """
    if part.kind in ("image", "mask"):
        return Field(part.field, "image" if part.kind == "image" else "mask")
    if part.kind == "text":
        return Field(part.field, "text", codec="utf8")
    if part.kind == "label":
        names = class_names if part.field == "label" else None
        return Field(part.field, "label", dtype="int64", shape=(), codec="raw", class_names=names)
    if isinstance(value, np.ndarray):
        return Field(part.field, "vector", dtype=value.dtype.name, shape=value.shape, codec="raw")
    dtype = "int64" if isinstance(value, int) else "float64"
    return Field(part.field, "number", dtype=dtype, shape=(), codec="raw")
