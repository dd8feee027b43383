"""What a storage format is: two functions on one shard.

A format sees a `Schema` and `Row`s, nothing else. It writes ordinary files at the
path it is given; temporary names, fsync, renames, digests and resuming belong to the
caller, so a new format is one short file. `imagemill.testing.formats` is the suite
that it must pass; registering it (`formats/__init__.py`, or the entry point group
`imagemill.formats` of an outside package) is all that is needed to be tested and used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError


@dataclass(frozen=True)
class Buffers:
    """Where the bytes of one field of all rows lie, for a gather without copies.

    Args:
        values: uint8, 1-D, a read-only view of a memory map.
        starts: int64, shape (rows,), first byte of each value in `values`.
        lengths: int64, shape (rows,), bytes of each value.
    """

    values: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


class Reader(ABC):
    """One open shard. Safe to use from several threads; opened anew in every process.

    Whatever is wrong with the file is a `ShardError` from `open` or `read`, never a
    wrong length, a silently missing row, or a crash.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Rows in the shard."""

    @abstractmethod
    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        """Values of these rows, in the order asked for.

        Args:
            indices: row numbers in [0, len), repeats allowed.
            fields: only these fields; None is all. "key" may be among them (UTF-8).

        Returns:
            One {field: buffer} a row, laid out as `Field.storage` says; without "key"
            unless asked for. Buffers stay valid until the reader is closed.

        Raises:
            ShardError: the structure of the shard is damaged there.
        """

    def buffers(self, field: str) -> Buffers | None:
        """Where this field's bytes lie, or None where the layout has them in pieces or packed."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Lets go of the files; reading afterwards is an error."""


class Format(Protocol):
    """A storage format; a module or an object with these attributes.

    Example of the whole contract::

        written = FORMAT.write(folder / "train-00000-of-00001", schema, rows)
        reader = FORMAT.open(folder / "train-00000-of-00001", schema, count=len(rows))
        reader.read([2, 0], fields=["image"])
    """

    name: str

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes one shard in one pass, in memory bounded by a few megabytes plus one row.

        Args:
            path: the shard's path without suffix; files are `path.name + suffix` in `path.parent`.
            schema: fields of every row.
            rows: consumed once; may be empty; a row's buffers are valid until the next is asked for.

        Returns:
            The files written, at least one; the same for equal schemas. Equal rows give
            equal bytes. OSError (disk full, …) passes through.
        """
        ...

    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        """Opens a shard for reading.

        Args:
            path: as given to `write`.
            schema: as given to `write`.
            count: rows the shard must have.

        Raises:
            ShardError: it has another number of rows, other fields, or cannot be read.
        """
        ...


def value_size(field: Field, row: Row) -> int:
    """Bytes of one value of a row, once it is known that they fit the field.

    Raises:
        ConfigError: a value of fixed size has another, or a ragged one ends within an element.
    """
    value = row.values[field.name]
    size_bytes = value.nbytes if isinstance(value, memoryview) else len(value)
    if field.size_bytes not in (None, size_bytes) or (
        field.storage == "ragged" and size_bytes % field.numpy_dtype.itemsize
    ):
        raise ConfigError(
            f"sample {row.key!r}, field {field.name!r}: {size_bytes} bytes are no {field.dtype} value "
            f"of shape {field.shape}"
        )
    return size_bytes


def scalar_from_bytes(field: Field, value: Buffer) -> Any:
    """A scalar field's value as a Python number."""
    return np.frombuffer(value, field.numpy_dtype, 1)[0].item()


def scalar_to_bytes(field: Field, value: Any) -> bytes:
    """A Python number as a scalar field's bytes."""
    return np.asarray(value, field.numpy_dtype).tobytes()
