"""One sample, as a source gives it (`Sample`) and as a format stores it (`Row`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import xxhash

if TYPE_CHECKING:
    import numpy.typing as npt  # most of what needs a Sample needs no array

Buffer: TypeAlias = bytes | memoryview
Array: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of an image file (or .npy file), untouched: pixels are not decoded yet."""

    data: Buffer


Value: TypeAlias = "Encoded | Array | int | float | str"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample with its values as a source gives them.

    Args:
        key: stable name, unique in its source: a relative path with `/`, or an id.
        values: one value a field. Images are `Encoded` or HWC uint8 RGB arrays; masks are
            `Encoded` or (H, W[, C]) arrays of any dtype; labels int; vectors 1-D arrays;
            text str; numbers int or float.
        origins: for each image and mask field, the path relative to the source, or a URL.
    """

    key: str
    values: Mapping[str, Value]
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A sample as bytes: all that a format ever sees.

    Args:
        key: stable name of the sample.
        values: one buffer a field, laid out as `Field.storage` says.
        origins: for each image and mask field, where it came from.
        digests: xxh3-64 of each buffer; formats do not store it, the shard's index does.
        notes: what the pixel policy did or will do to this sample, `image:orientation=6`.
        sides: (height, width) of each image and mask as it is stored, where known.
    """

    key: str
    values: Mapping[str, Buffer]
    origins: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, int] = field(default_factory=dict)
    notes: str = ""
    sides: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def digest(buffer: Buffer) -> int:
    """xxh3-64 of a value's bytes, unsigned."""
    return xxhash.xxh3_64_intdigest(buffer)


@dataclass(frozen=True, slots=True)
class Reject:
    """A sample that was found and not kept.

    Args:
        key: stable key; the path where there is no key.
        path: where it came from; of a pair or mask, the file at fault.
        reason: a key of `imagemill.errors.REASONS`.
        detail: what exactly was found.
        files: how many of the found files this sample would have used.
    """

    key: str
    path: str
    reason: str
    detail: str
    files: int = 1
