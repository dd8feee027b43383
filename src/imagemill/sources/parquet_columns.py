"""What the columns of a Parquet file with images mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from imagemill.errors import ConfigError
from imagemill.sources.base import SourceOptions
from imagemill.sources.image_files import is_image_head
from imagemill.sources.table_columns import CAPTION_NAMES, LABEL_NAMES, SPLIT_NAMES
from imagemill.sources.webdataset_fields import MASK_WORDS, field_name

Kind = Literal["image", "mask", "label", "classes", "text", "number", "vector"]
"""`classes` are further labels with class names beside the one called `label`."""

KEY_NAMES = ("key", "__key__")
NPY_MAGIC = b"\x93NUMPY"


class Role(NamedTuple):
    """What a column is: the field that it makes, and its kind."""

    field: str
    kind: Kind


@dataclass(frozen=True)
class Columns:
    """Every column that is used.

    Args:
        roles: column → role, images first.
        split, group, key: columns with those meanings, or None.
        class_names: column → names of class 0, 1, … as Hugging Face's metadata gives them.
        left_out: columns that are not used.
    """

    roles: Mapping[str, Role]
    split: str | None
    group: str | None
    key: str | None
    class_names: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]

    def of_kind(self, *kinds: Kind) -> list[str]:
        """Columns whose role has one of these kinds."""
        return [column for column, role in self.roles.items() if role.kind in kinds]

    @property
    def label(self) -> str | None:
        """The column that is the label."""
        return next(iter(self.of_kind("label")), None)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values: of a dictionary (pandas' categories) that of its entries."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values are integers, floats or booleans."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are byte strings of any length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, of one length or of any."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_label(kind: pa.DataType) -> bool:
    """Whether values can be labels."""
    return is_text(kind) or is_number(kind)


def is_image_struct(kind: pa.DataType) -> bool:
    """Whether values are Hugging Face's `Image`: a struct with `bytes`."""
    return pa.types.is_struct(kind) and any(part.name == "bytes" and is_bytes(part.type) for part in kind)


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column → class names, from the description that Hugging Face's `datasets` stores in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: tuple(str(name) for name in feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def find_columns(
    schema: pa.Schema, first_bytes: Mapping[str, bytes], options: SourceOptions, *, use_key: bool
) -> Columns:
    """What each column is: what the options say, else what its type, its name and its first value suggest.

    Args:
        schema: of the file.
        first_bytes: column of byte strings → the beginning of its first value.
        options: what the user said.
        use_key: whether a text column `key` or `__key__` is the key rather than a field.

    Raises:
        ConfigError: a named column is not there, or none holds images.
    """
    types = {item.name: plain_type(item.type) for item in schema}
    given = _given(types, options)
    names = class_names(schema)
    pictures = [name for name, kind in types.items() if _is_picture(name, kind, first_bytes, given)]
    masks = [name for name in pictures if given["mask"] == name or (given["mask"] is None and name in MASK_WORDS)]
    roles = _image_roles([name for name in pictures if name not in masks], given["path"])
    if not roles:
        raise ConfigError(
            "no column holds images (a struct with bytes, or the bytes of image files); "
            f"the columns are {', '.join(types)}. If one names image files, use --source table; "
            "if one is an image, --path-column says which"
        )
    roles |= {name: Role("mask" if number == 0 else f"mask_{number + 1}", "mask") for number, name in enumerate(masks)}
    texts = {name for name, kind in types.items() if is_text(kind)}
    split = given["split"] or next((name for name in SPLIT_NAMES if name in texts), None)
    key = next((name for name in KEY_NAMES if use_key and name in texts), None)
    special = {split, given["group"], key}
    label = given["label"] or (None if options.labels is False else _label(types, names))
    if options.labels is False and label is not None:
        raise ConfigError("label_column is given, and labels are switched off: leave one of the two away")
    if label is None and (options.labels or options.class_to_idx is not None):
        raise ConfigError(f"labels are asked for; --label-column says which of {', '.join(types)} holds them")
    if label is not None:
        roles[label] = Role("label", "label")
    _add_values(roles, types, names, given, special)
    left_out = tuple(name for name in types if name not in roles and name not in special)
    return Columns(roles, split, given["group"], key, names, left_out)


def _given(types: Mapping[str, pa.DataType], options: SourceOptions) -> dict[str, str | None]:
    parts = ("path", "label", "caption", "vector", "mask", "split", "group")
    given: dict[str, str | None] = {part: getattr(options, f"{part}_column") for part in parts}
    for part, name in given.items():
        if name is not None and name not in types:
            raise ConfigError(f"{part}_column {name!r} is no column; the columns are {', '.join(types)}")
    demands = {"caption": is_text, "vector": is_list, "label": is_label}
    for part, fits in demands.items():
        name = given[part]
        if name is not None and not fits(types[name]):
            raise ConfigError(f"column {name!r} cannot be the {part}: it holds {types[name]}")
    return given


def _is_picture(
    name: str, kind: pa.DataType, first_bytes: Mapping[str, bytes], given: Mapping[str, str | None]
) -> bool:
    if is_image_struct(kind):
        return True
    if not is_bytes(kind):
        return False
    head = first_bytes.get(name, b"")
    is_mask_array = head.startswith(NPY_MAGIC) and (name in MASK_WORDS or name == given["mask"])
    return name == given["path"] or is_image_head(head) or is_mask_array


def _image_roles(columns: Sequence[str], chosen: str | None) -> dict[str, Role]:
    """Roles of the image columns: `before` and `after` where they are called so, else `image`, `image_2`, …"""
    named = [name for name in ("before", "after") if name in columns]
    others = sorted((name for name in columns if name not in named), key=lambda name: (name != chosen, name != "image"))
    fields = {name: "image" if number == 0 else f"image_{number + 1}" for number, name in enumerate(others)}
    return {name: Role(fields.get(name, name), "image") for name in (*named, *others)}


def _label(types: Mapping[str, pa.DataType], names: Mapping[str, tuple[str, ...]]) -> str | None:
    """The label column: one called so, else the first that has class names."""
    fits = [name for name, kind in types.items() if is_label(kind)]
    wanted = (*LABEL_NAMES, "labels", *names)
    return next((name for name in wanted if name in fits and not pa.types.is_floating(types[name])), None)


def _add_values(
    roles: dict[str, Role],
    types: Mapping[str, pa.DataType],
    names: Mapping[str, tuple[str, ...]],
    given: Mapping[str, str | None],
    special: set[Any],
) -> None:
    """Adds every other column of text, numbers or lists of numbers, under a field name that is free."""
    caption = given["caption"] or next((name for name in CAPTION_NAMES if name in types and is_text(types[name])), None)
    taken = {"key", "label", "text", "vector", *(role.field.lower() for role in roles.values())}
    for name, kind in types.items():
        if name in roles or name in special:
            continue
        if name == caption:
            roles[name] = Role("text", "text")
        elif name == given["vector"]:
            roles[name] = Role("vector", "vector")
        elif is_text(kind):
            roles[name] = Role(_free(name, taken), "text")
        elif is_number(kind):
            is_class = name in names and pa.types.is_integer(kind)
            roles[name] = Role(_free(name, taken), "classes" if is_class else "number")
        elif is_list(kind) and is_number(kind.value_type) and not pa.types.is_boolean(kind.value_type):
            roles[name] = Role(_free(name, taken), "vector")


def _free(column: str, taken: set[str]) -> str:
    """A field name for a column, unlike the taken ones even where case does not count."""
    plain = field_name(column)
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name.lower())
    return name
