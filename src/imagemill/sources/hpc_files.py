"""The files that hpc_pytorch_loader wrote: images or labels, one class a layout.

=========  ==================================================================================
`.npy`     bare C-order elements without a header: uint8 images, int64 labels
HDF5       one dataset, `images` (uint8) or `labels` (int64)
Parquet    version 1: one column, a row an image; version 2: one row, a column an image
Arrow IPC  under the suffix `.parquet`; one record batch an image
tar        members `image_0`, `image_1`, …
`.json`    a list of labels, beside a tar
=========  ==================================================================================

Labels of dense data sets have the layout of the images.
"""

from __future__ import annotations

import json
import tarfile
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imagemill.core.sample import Array
from imagemill.errors import SampleError
from imagemill.sources.tar_members import tar_members

Part: TypeAlias = Literal["images", "labels"]

OPEN_ERRORS = (OSError, ValueError, KeyError, RuntimeError, pa.ArrowException, tarfile.TarError)
"""What a damaged file makes the libraries raise."""


class PartFile(ABC):
    """Images or labels of one file.

    A value is an array of `shape`, or an int where `shape` is `()`, or the bytes of an image
    file where it is None.
    """

    layout: str
    shape: tuple[int, ...] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Values in the file."""

    @abstractmethod
    def value(self, row: int) -> Array | bytes | int:
        """One value, row in [0, len)."""

    @abstractmethod
    def sizes(self) -> Sequence[int]:
        """Bytes of each value; an even share of the file where only reading it would tell."""

    def values(self) -> list[Any]:
        """All values: for labels."""
        return [self.value(row) for row in range(len(self))]

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file."""


class RawFile(PartFile):
    """Elements without a header.

    Args:
        path: the file.
        shape: of one value.
        dtype: of its elements.

    Raises:
        ValueError: the file does not hold a whole number of values.
    """

    layout = "memmap"

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.shape = shape
        self._dtype = np.dtype(dtype)
        self._item_bytes = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        size = path.stat().st_size
        if size % self._item_bytes:
            raise ValueError(f"{size} bytes are no whole number of values of {self._item_bytes} bytes")
        self._elements: Array = np.empty((0, *shape), self._dtype)
        if size:
            self._elements = np.memmap(path, self._dtype, "r", shape=(size // self._item_bytes, *shape))

    def __len__(self) -> int:
        return len(self._elements)

    def value(self, row: int) -> Array | int:
        """A copy of the value's elements."""
        return int(self._elements[row]) if self.shape == () else np.array(self._elements[row])

    def sizes(self) -> Sequence[int]:
        """All equal."""
        return [self._item_bytes] * len(self)

    def close(self) -> None:
        """Lets go of the map."""
        self._elements = np.empty((0, *(self.shape or ())), self._dtype)


class Hdf5File(PartFile):
    """One HDF5 dataset."""

    layout = "HDF5"

    def __init__(self, path: Path, part: Part) -> None:
        self._file = h5py.File(path, "r", locking=False)
        self._dataset = self._file[part]
        shape, dtype = tuple(self._dataset.shape[1:]), self._dataset.dtype
        self._item_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self.shape = shape
        if dtype.kind not in "iu" or (shape != () and dtype != np.uint8):
            self._file.close()
            raise ValueError(f"{part} of {dtype} with shape {shape}: uint8 arrays or integers expected")

    def __len__(self) -> int:
        return int(self._dataset.shape[0])

    def value(self, row: int) -> Array | int:
        """The value's elements."""
        return int(self._dataset[row]) if self.shape == () else np.asarray(self._dataset[row])

    def sizes(self) -> Sequence[int]:
        """All equal."""
        return [self._item_bytes] * len(self)

    def values(self) -> list[Any]:
        """All values, read at once."""
        return [] if self.shape != () else self._dataset[:].astype(np.int64).tolist()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ParquetFile(PartFile):
    """Version 1 (one column) or version 2 (one row). The row group read last is kept."""

    layout = "Parquet"

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        names = self._file.schema_arrow.names
        self._by_column = self._file.metadata.num_rows == 1 and names == [str(number) for number in range(len(names))]
        self._size = path.stat().st_size
        self._starts = [0, *accumulate(self._group_rows())]
        self._kept: tuple[int, pa.ChunkedArray] | None = None
        kinds = {field.type for field in self._file.schema_arrow}
        self.shape = () if all(pa.types.is_integer(kind) for kind in kinds) else None

    def _group_rows(self) -> list[int]:
        metadata = self._file.metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def __len__(self) -> int:
        return len(self._file.schema_arrow.names) if self._by_column else self._starts[-1]

    def value(self, row: int) -> bytes | int:
        """The value as Python bytes or int."""
        if self._by_column:
            return self._file.read(columns=[str(row)]).column(0)[0].as_py()  # type: ignore[no-any-return]
        group = bisect_right(self._starts, row) - 1
        if self._kept is None or self._kept[0] != group:
            self._kept = (group, self._file.read_row_group(group).column(0))
        return self._kept[1][row - self._starts[group]].as_py()  # type: ignore[no-any-return]

    def values(self) -> list[Any]:
        """All values, read at once."""
        table = self._file.read()
        if self._by_column:
            return [table.column(number)[0].as_py() for number in range(table.num_columns)]
        return table.column(0).to_pylist()  # type: ignore[no-any-return]

    def sizes(self) -> Sequence[int]:
        """An even share of the file: the true lengths would cost reading it."""
        return [self._size // max(len(self), 1)] * len(self)

    def close(self) -> None:
        """Closes the file."""
        self._kept = None
        self._file.close()


class IpcFile(PartFile):
    """Record batches of one column."""

    layout = "Arrow IPC"

    def __init__(self, path: Path) -> None:
        self._map = pa.memory_map(str(path))
        self._file = pa.ipc.open_file(self._map)
        self.shape = () if pa.types.is_integer(self._file.schema.field(0).type) else None
        rows = [self._file.get_batch(number).num_rows for number in range(self._file.num_record_batches)]
        self._starts: list[int] = [0, *accumulate(rows)]

    def __len__(self) -> int:
        return self._starts[-1]

    def value(self, row: int) -> bytes | int:
        """The value as Python bytes or int."""
        number = bisect_right(self._starts, row) - 1
        value: bytes | int = self._file.get_batch(number).column(0)[row - self._starts[number]].as_py()
        return value

    def values(self) -> list[Any]:
        """All values, read at once."""
        return self._file.read_all().column(0).to_pylist()  # type: ignore[no-any-return]

    def sizes(self) -> Sequence[int]:
        """Taken from the offsets, without touching the values."""
        if self.shape == ():
            return [8] * len(self)
        column = self._file.read_all().column(0)
        return pc.fill_null(pc.binary_length(column), 0).to_pylist()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Closes the map."""
        self._map.close()


class TarImages(PartFile):
    """Members of an uncompressed tar, in their order; indexed by one pass over the headers."""

    layout = "tar"

    def __init__(self, path: Path) -> None:
        self._members = tar_members(path).files
        self._file = open(path, "rb")  # noqa: SIM115 (closed by close)

    def __len__(self) -> int:
        return len(self._members)

    def value(self, row: int) -> bytes:
        """The member's bytes.

        Raises:
            SampleError: "truncated", the archive ends before the member does.
        """
        _, offset, size = self._members[row]
        self._file.seek(offset)
        content = self._file.read(size)
        if len(content) != size:
            raise SampleError("truncated", f"the tar ends after {len(content)} of {size} bytes")
        return content

    def sizes(self) -> Sequence[int]:
        """As the headers say."""
        return [member.size for member in self._members]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class JsonLabels(PartFile):
    """A list of labels."""

    layout = "JSON"
    shape = ()

    def __init__(self, path: Path) -> None:
        labels = json.loads(path.read_bytes())
        if not isinstance(labels, list):
            raise ValueError(f"a list of labels expected, got {type(labels).__name__}")
        self._labels: list[Any] = labels

    def __len__(self) -> int:
        return len(self._labels)

    def value(self, row: int) -> int:
        """One label."""
        return self._labels[row]  # type: ignore[no-any-return]

    def values(self) -> list[Any]:
        """All labels."""
        return self._labels

    def sizes(self) -> Sequence[int]:
        """Nominal."""
        return [8] * len(self)

    def close(self) -> None:
        """Nothing is open."""


class PartKey(NamedTuple):
    """What is needed to open a file.

    Args:
        path: the file.
        part: whether it holds images or labels.
        image_shape: (H, W) or (H, W, C) that metadata.json gives; needed for `.npy` only.
        rows: for labels, rows of the images beside them; tells int64 labels from dense ones.
    """

    path: Path
    part: Part
    image_shape: tuple[int, ...] | None
    rows: int | None = None


def open_part(key: PartKey) -> PartFile:
    """Opens a file by what is in it; the suffix counts for `.npy` and `.json` alone.

    Raises:
        OPEN_ERRORS: it cannot be opened, or is no file of this kind.
    """
    suffix = key.path.suffix.lower()
    if suffix == ".json":
        return JsonLabels(key.path)
    if suffix == ".npy":
        return _open_raw(key)
    with open(key.path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Hdf5File(key.path, key.part)
    if head.startswith(b"PAR1"):
        return ParquetFile(key.path)
    if head.startswith(b"ARROW1"):
        return IpcFile(key.path)
    if head[257:262] == b"ustar":
        return TarImages(key.path)
    raise ValueError("neither HDF5, Parquet, Arrow IPC nor tar")


def _open_raw(key: PartKey) -> RawFile:
    if key.image_shape is None:
        raise ValueError("metadata.json gives no shape and mode, and the file has no header")
    if key.part == "labels" and key.rows is not None and key.path.stat().st_size == 8 * key.rows:
        return RawFile(key.path, (), "<i8")
    return RawFile(key.path, key.image_shape, "u1")
