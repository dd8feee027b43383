"""What the members of a webdataset sample mean: their extensions, and what all samples have in common."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from imagemill.core.schema import Field
from imagemill.sources.base import SourceOptions
from imagemill.sources.image_files import has_image_suffix

Kind = Literal["image", "mask", "label", "text", "vector", "json"]

MASK_WORDS = frozenset(("mask", "masks", "seg", "segmentation", "semantic", "annotation", "label", "labels"))
"""`0001.seg.png` is a mask, `0001.left.png` another image."""

LABEL_EXTENSIONS = ("cls", "class")
TEXT_EXTENSIONS = ("txt", "text", "caption", "transcript")
PICKLE_EXTENSIONS = frozenset(("pyd", "pkl", "pickle", "pth", "pt"))

NPY_HEAD_BYTES = 4096
"""Enough for the header of any .npy array of plain numbers."""

_KEY = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")


class Member(NamedTuple):
    """One member of a sample: its extension as it is written, and where it lies in its tar."""

    ext: str
    offset: int
    size: int


class Role(NamedTuple):
    """What a member is: its field's name, and its kind."""

    name: str
    kind: Kind


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member, as webdataset cuts them: at the first dot of the last component.

    None for names without a dot, hidden files and `__meta__` entries, which webdataset passes over too.
    """
    match = _KEY.fullmatch(name)
    if match is None or name.startswith("__"):
        return None
    return match[1], match[2]


def field_name(text: str) -> str:
    """The text as a field name: other characters than letters and digits become `_`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return name if name and name != "key" else f"field_{name}"


def role_of(ext: str, options: SourceOptions) -> Role | None:
    """What an extension means; None where it means nothing here."""
    prefix, _, last = ext.rpartition(".")
    is_image = has_image_suffix(b"x." + last.encode())
    if ext == options.mask_column:
        return Role("mask", "mask")
    if ext == options.label_column:
        return Role("label", "label")
    if ext == options.caption_column:
        return Role("text", "text")
    if is_image or last == "npy":
        if prefix in MASK_WORDS:
            return Role("mask", "mask")
        kind: Kind = "image" if is_image else "vector"
        return Role(field_name(prefix) if prefix else kind, kind)
    if ext in LABEL_EXTENSIONS:
        return Role("label", "label")
    if last in TEXT_EXTENSIONS:
        return Role(field_name(prefix) if prefix else "text", "text")
    return Role("json", "json") if ext in ("json", "jsn") else None


@lru_cache(maxsize=1024)
def roles_of(exts: tuple[str, ...], options: tuple[str | None, ...]) -> Mapping[str, Role]:
    """Extension → role, for the extensions of one sample.

    Names are made to differ: of `jpg` and `png` in one sample, the second in the order of the alphabet
    is `image_2`.

    Args:
        exts: extensions of the sample, different from each other.
        options: mask_column, label_column, caption_column.
    """
    mask, label, caption = options
    chosen = SourceOptions(mask_column=mask, label_column=label, caption_column=caption)
    found: dict[str, Role] = {}
    taken: Counter[str] = Counter()
    for ext in sorted(exts):
        role = role_of(ext, chosen)
        if role is None:
            continue
        taken[role.name] += 1
        number = taken[role.name]
        found[ext] = role if number == 1 else Role(f"{role.name}_{number}", role.kind)
    return found


@dataclass
class Vectors:
    """What is known of a field of .npy vectors: element type that holds all, and their lengths."""

    dtype: np.dtype[Any] | None = None
    lengths: set[int] = field(default_factory=set)

    def add(self, dtype: np.dtype[Any], length: int) -> None:
        """Takes note of one vector."""
        self.dtype = dtype if self.dtype is None else np.result_type(self.dtype, dtype)
        if len(self.lengths) < 2:
            self.lengths.add(length)

    def field(self, name: str) -> Field:
        """A field of vectors of one length, or of any."""
        shape = (next(iter(self.lengths)),) if len(self.lengths) == 1 else (None,)
        return Field(name, "vector", dtype=np.dtype(self.dtype).name, shape=shape, codec="raw")


def vector_head(head: bytes) -> tuple[np.dtype[Any], int]:
    """Element type and length of a .npy vector, from its first bytes; nothing is unpickled.

    Raises:
        ValueError: it is no .npy file, no vector of numbers, or pickled.
    """
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    if version[0] == 1:
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"elements of {dtype}, only numbers are read")
    if len(shape) != 1:
        raise ValueError(f"an array of shape {shape}, only vectors are read")
    return dtype, int(shape[0])


@dataclass
class Entries:
    """The scalar entries of all .json members, and what types they have."""

    samples: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    types: dict[str, set[type]] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """Takes note of one record."""
        self.samples += 1
        for name, value in record.items():
            self.counts[name] += 1
            self.types.setdefault(name, set()).add(entry_type(value))

    def common(self, without: Sequence[str]) -> tuple[dict[str, Field], list[str]]:
        """Entries that are a field: in all records, of one type; and the names of all others.

        Args:
            without: names of entries, and of fields, that are taken already.
        """
        fields: dict[str, Field] = {}
        left: list[str] = []
        taken = {*without, "key"}
        for name in sorted(self.counts):
            if name in without:
                continue
            kinds = self.types[name]
            made = field_name(name)
            made = f"json_{made}" if made in taken else made
            if self.counts[name] < self.samples or not (kinds <= {int, float} or kinds == {str}) or made in taken:
                left.append(name)
                continue
            taken.add(made)
            fields[name] = entry_field(made, kinds)
        return fields, left


def entry_type(value: Any) -> type:
    """int (booleans too), float, str, NoneType; object for what is no scalar, or cannot be stored as one."""
    if isinstance(value, bool):
        return int
    if isinstance(value, int):
        return int if -(2**63) <= value < 2**63 else object
    if isinstance(value, str):
        return str if value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value) else object
    return type(value) if isinstance(value, float | None) else object


def entry_value(value: Any) -> Any:
    """A scalar entry as it is stored: booleans as 0 and 1."""
    return int(value) if isinstance(value, bool) else value


def entry_field(name: str, types: set[type]) -> Field:
    """The field of entries of these types."""
    if types == {str}:
        return Field(name, "text", codec="utf8")
    return Field(name, "number", dtype="int64" if types == {int} else "float64", shape=(), codec="raw")


@dataclass
class Census:
    """What the samples of a source have in common, learnt while they are indexed.

    Args:
        samples: how many there are.
        counts: how many have each role.
        vectors: by name of the role.
        entries: of the .json members.
    """

    samples: int = 0
    counts: Counter[Role] = field(default_factory=Counter)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    entries: Entries = field(default_factory=Entries)

    def roles(self) -> dict[Role, str]:
        """Role → field name, of the roles that at least half of the samples have, images first.

        The only image of a sample is called `image`, whatever its extension says.
        """
        order = ("image", "mask", "label", "text", "vector", "json")
        common = sorted(
            (role for role, count in self.counts.items() if 2 * count >= self.samples),
            key=lambda role: (order.index(role.kind), role.name != "image", role.name != "before", role.name),
        )
        found: dict[Role, str] = {}
        for role in common:
            if role.name not in found.values():
                found[role] = role.name
        images = [role for role in found if role.kind == "image"]
        if len(images) == 1 and images[0].name not in ("before", "after") and "image" not in found.values():
            found[images[0]] = "image"
        return found


def is_integer(text: str) -> bool:
    """Whether a label's text is an integer."""
    return re.fullmatch(r"[+-]?[0-9]{1,18}", text) is not None


def parse_record(content: bytes) -> dict[str, Any]:
    """A .json member.

    Raises:
        ValueError: it is no JSON object.
    """
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError(f"an object expected, got {type(record).__name__}")
    return record
