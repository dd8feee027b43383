"""What a dataset's samples are made of: Fields, in order, and how each is stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from imagemill.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["image", "mask", "label", "vector", "text", "number"]
Codec = Literal["encoded", "recoded", "raw", "utf8"]
Storage = Literal["scalar", "fixed", "ragged", "bytes", "text"]

KINDS: tuple[Kind, ...] = ("image", "mask", "label", "vector", "text", "number")


@dataclass(frozen=True)
class Field:
    """One named part of every sample.

    Args:
        name: letters, digits and `_`; unique in its schema; `key` is taken.
        kind: what it means.
        dtype: NumPy name of the element type; "uint8" for encoded images and text.
        shape: per-sample shape, `()` for a scalar, `None` for a length that varies, and
            `None` as a whole where the bytes describe themselves (encoded images and masks).
            Images are (H, W, C); masks (H, W) or (H, W, C); vectors (n,).
        codec: "encoded" (the bytes of an image or .npy file), "recoded" (the same, JPEGs
            recoded for decoding speed, compactly or not), "raw" (C-order little-endian elements), "utf8".
        class_names: for labels, name of class 0, 1, …; None where labels are plain integers.

    How the bytes of one value look follows from `storage`:

    ========  =====================================================================
    scalar    raw, shape (): one little-endian element
    fixed     raw, every side known: C-order little-endian elements
    ragged    raw, shape (None,): little-endian elements, as many as there are
    bytes     encoded: a whole image file (JPEG, PNG, …) or .npy file; recoded: such a
              file, or a recoded JPEG
    text      UTF-8
    ========  =====================================================================
    """

    name: str
    kind: Kind
    dtype: str = "uint8"
    shape: tuple[int | None, ...] | None = None
    codec: Codec = "encoded"
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.name.replace("_", "a").isalnum() or not self.name.isascii() or self.name == "key":
            raise ConfigError(f"field name {self.name!r}: letters, digits and '_' only, and not 'key'")
        if self.kind not in KINDS:
            raise ConfigError(f"field {self.name!r}: kind {self.kind!r} is none of {', '.join(KINDS)}")

    @cached_property
    def storage(self) -> Storage:
        """How one value's bytes look; see the table above."""
        if self.codec == "utf8":
            return "text"
        if self.codec in ("encoded", "recoded") or self.shape is None:
            return "bytes"
        if self.shape == ():
            return "scalar"
        return "fixed" if None not in self.shape else "ragged"

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Element type, little-endian."""
        import numpy as np

        return np.dtype(self.dtype).newbyteorder("<")

    @cached_property
    def size_bytes(self) -> int | None:
        """Bytes of one value where all are equal (scalar, fixed), else None."""
        if self.storage not in ("scalar", "fixed"):
            return None
        assert self.shape is not None
        return self.numpy_dtype.itemsize * math.prod(side or 0 for side in self.shape)

    @cached_property
    def class_numbers(self) -> Mapping[str, int]:
        """Class name → number; empty where labels are plain integers."""
        return {name: number for number, name in enumerate(self.class_names or ())}

    @property
    def is_file(self) -> bool:
        """Whether a value comes from a file of its own (images and masks)."""
        return self.kind in ("image", "mask")

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the field back."""
        record: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "codec": self.codec,
        }
        if self.class_names is not None:
            record["class_names"] = list(self.class_names)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Field:
        """The field that `to_json` described."""
        shape = record["shape"]
        names = record.get("class_names")
        return cls(
            name=record["name"],
            kind=record["kind"],
            dtype=record["dtype"],
            shape=None if shape is None else tuple(shape),
            codec=record["codec"],
            class_names=None if names is None else tuple(names),
        )


@dataclass(frozen=True)
class Schema:
    """The fields of a dataset, in order."""

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ConfigError(f"field names must differ: {', '.join(names)}")

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"no field {name!r}; the fields are {', '.join(self.names)}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Field names, in order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def fixed_size(self) -> bool:
        """Whether every value of every image and mask field has the same number of bytes."""
        return all(field.size_bytes is not None for field in self.fields if field.is_file)

    def of_kind(self, *kinds: Kind) -> tuple[Field, ...]:
        """The fields of these kinds, in order."""
        return tuple(field for field in self.fields if field.kind in kinds)

    def to_json(self) -> list[dict[str, Any]]:
        """A plain list; `from_json` gives the schema back."""
        return [field.to_json() for field in self.fields]

    @classmethod
    def from_json(cls, records: list[dict[str, Any]]) -> Schema:
        """The schema that `to_json` described."""
        return cls(tuple(Field.from_json(record) for record in records))
