"""`hdf5`: one HDF5 file a shard, `NAME.h5`, opened by `h5py.File`.

=====================  ==========================================================================
fixed image or mask    dataset FIELD (rows, *shape), one value a chunk, not compressed
scalar, other fixed    dataset FIELD (rows, *shape), contiguous
ragged, bytes, text    dataset FIELD, 1-D, the values of all rows end to end, and FIELD_offsets,
                       int64 (rows + 1,): value i is `FIELD[offsets[i]:offsets[i + 1]]`
key                    datasets key (UTF-8) and key_offsets
=====================  ==========================================================================

The file format is that of HDF5 1.10, whose metadata carry checksums. Readers do not go through
h5py: `open` asks HDF5 where values lie and maps the file. One image a chunk costs 176 µs through
h5py and chunks that h5py chooses 9,440; a slice of the map costs one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import h5py
import numpy as np

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats.base import Buffers
from imagemill.formats.columns import BYTE, OFFSET, ArraySpec, Sink, array_specs, sides, write_columns
from imagemill.formats.mapped import Bytes, Integers, MappedReader, damage_of, even, from_starts, map_file, uneven

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

VERSION_BOUNDS = ("v110", "v110")
"""Not "latest": any HDF5 since 1.10 reads these files, and a newer library writes the same bytes."""

RESIZE_ROWS = 256
COPY_BYTES = 4 << 20
SPOOL_BYTES = 1 << 20
"""Columns below this size wait in memory, others in a temporary file beside the shard."""

OFFSETS_SUFFIX = "_offsets"


class Hdf5Format:
    """The format `hdf5`; see `imagemill.formats.base.Format`."""

    name = "hdf5"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        """Writes `path.name + ".h5"`; see `Format.write`.

        Raises:
            ConfigError: a field has the name that another field's offsets need.
        """
        _check_names(schema)
        target = _file(path)
        with _Output(target) as output:
            with h5py.File(output, "w", libver=VERSION_BOUNDS) as file:

                def make(spec: ArraySpec) -> Sink:
                    return _Chunks(file, spec, output) if spec.pixels else _Spool(file, spec, output, path.parent)

                _describe(file, imagemill_schema=json.dumps(schema.to_json(), ensure_ascii=False))
                write_columns(schema, rows, OFFSETS_SUFFIX, make)
                for field in schema:
                    _describe_field(file[field.name], field)
            output.check()
        return [target]

    def open(self, path: Path, schema: Schema, count: int) -> MappedReader:
        """Maps the file and finds every value; see `Format.open`."""
        target = _file(path)
        with damage_of(path.name, target, KeyError, RuntimeError, TypeError):
            values = map_file(target)
            with h5py.File(target, "r", locking=False) as file:
                columns = {"key": _find_uneven(file, values, "key", BYTE, count)}
                for field in schema:
                    columns[field.name] = _find(file, values, field, count)
        return MappedReader(path.name, count, columns)


FORMAT = Hdf5Format()


def _file(path: Path) -> Path:
    return path.with_name(path.name + ".h5")


def _check_names(schema: Schema) -> None:
    names = [spec.name for spec in array_specs(schema, OFFSETS_SUFFIX)]
    taken = sorted({name for name in names if names.count(name) > 1})
    if taken:
        raise ConfigError(
            f"field name {taken[0]!r}: format 'hdf5' stores offsets under that name; "
            "rename the field or use another format"
        )


def _describe(thing: h5py.HLObject, **attributes: str) -> None:
    """Attributes as UTF-8 of fixed length: text of varying length goes where HDF5 has no checksums."""
    for name, text in attributes.items():
        data = text.encode()
        thing.attrs.create(name, np.array(data, f"S{len(data)}"), dtype=h5py.string_dtype("utf-8", len(data)))


def _describe_field(dataset: h5py.Dataset, field: Field) -> None:
    _describe(dataset, kind=field.kind, codec=field.codec)
    if field.class_names is not None:
        _describe(dataset, class_names=json.dumps(field.class_names, ensure_ascii=False))


class _Output(FileIO):
    """The file being written, which keeps errors from HDF5 and raises them afterwards.

    HDF5 does not survive a full disk while it closes a file: it crashes the process.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: BaseException | None = None

    def write(self, data: ReadableBuffer) -> int:
        """Writes all of `data`, or nothing more once a write has failed."""
        rest = memoryview(data)
        size_bytes = rest.nbytes
        with self._keeping_errors():
            while rest and self._error is None:
                rest = rest[super().write(rest) :]
        return size_bytes

    def truncate(self, size: int | None = None) -> int:
        """Sets the length of the file, if no write has failed."""
        with self._keeping_errors():
            if self._error is None:
                super().truncate(size)
        return self.tell() if size is None else size

    @contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001  (Ctrl-C too must not pass through HDF5; `check` raises it)
            self._error = error

    def check(self) -> None:
        """Raises the error that a write met, if one did."""
        if self._error is not None:
            raise self._error


class _Chunks:
    """A dataset with one image or mask a chunk, written as it comes."""

    def __init__(self, file: h5py.File, spec: ArraySpec, output: _Output) -> None:
        self._output = output
        self._corner = (0,) * len(spec.sides)
        self._length = 0
        self._dataset = file.create_dataset(
            spec.name, (0, *spec.sides), spec.dtype, chunks=(1, *spec.sides), maxshape=(None, *spec.sides)
        )

    def add(self, value: Buffer, count: int) -> None:
        """Appends one image or mask; `count` is 1."""
        if self._length % RESIZE_ROWS == 0:
            self._dataset.resize(self._length + RESIZE_ROWS, axis=0)
        self._dataset.id.write_direct_chunk((self._length, *self._corner), value)
        self._output.check()
        self._length += count

    def finish(self) -> None:
        """Gives the dataset its length."""
        self._dataset.resize(self._length, axis=0)

    def close(self) -> None:
        """Nothing to let go of: the file closes the dataset."""


class _Spool:
    """An array that waits for its length, then becomes a contiguous dataset.

    HDF5 wants the length of a contiguous dataset when it is created, and only in a contiguous
    one do values end to end lie in one piece.
    """

    def __init__(self, file: h5py.File, spec: ArraySpec, output: _Output, folder: Path) -> None:
        self._output = output
        self._file = file
        self._spec = spec
        self._length = 0
        self._waiting: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder))  # noqa: SIM115

    def add(self, value: Buffer, count: int) -> None:
        """Appends `count` elements of the first side."""
        self._waiting.write(value)
        self._length += count

    def finish(self) -> None:
        """Makes the dataset."""
        spec = self._spec
        dataset = self._file.create_dataset(spec.name, (self._length, *spec.sides), spec.dtype)
        unit_bytes = spec.dtype.itemsize * int(np.prod(spec.sides, dtype=np.int64))
        units = max(1, COPY_BYTES // max(1, unit_bytes))
        self._waiting.seek(0)
        for start in range(0, self._length, units):
            count = min(units, self._length - start)
            block = np.frombuffer(self._waiting.read(count * unit_bytes), spec.dtype)
            dataset[start : start + count] = block.reshape(count, *spec.sides)
            self._output.check()

    def close(self) -> None:
        """Removes the temporary file."""
        self._waiting.close()


def _find(file: h5py.File, values: Bytes, field: Field, count: int) -> Buffers:
    if field.size_bytes is None:
        return _find_uneven(file, values, field.name, field.numpy_dtype, count)
    dataset = _dataset(file, field.name, field.numpy_dtype, (count, *sides(field)))
    if dataset.chunks is None:
        return even(values, _first(dataset), field.size_bytes, count)
    return from_starts(values, _chunk_starts(dataset, count), field.size_bytes)


def _find_uneven(file: h5py.File, values: Bytes, name: str, dtype: np.dtype[Any], count: int) -> Buffers:
    positions = _dataset(file, name + OFFSETS_SUFFIX, OFFSET, (count + 1,))
    place = even(values, _first(positions), (count + 1) * OFFSET.itemsize, 1)
    offsets = values[place.starts[0] : place.starts[0] + place.lengths[0]].view(OFFSET)
    dataset = _dataset(file, name, dtype, (int(offsets[-1]),))
    return uneven(values, _first(dataset), dataset.size * dtype.itemsize, offsets, dtype.itemsize)


def _dataset(file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> h5py.Dataset:
    """A dataset of this type and shape, its values stored as they are.

    Raises:
        ValueError: it is another, or compressed.
    """
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"it has no dataset {name!r}, only {', '.join(file)}")
    if dataset.dtype != dtype or dataset.shape != shape:
        raise ValueError(f"{name!r} is {dataset.dtype} of shape {dataset.shape}, expected {dtype} of shape {shape}")
    if dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"dataset {name!r} is compressed")
    return dataset


def _first(dataset: h5py.Dataset) -> int:
    """First byte of a contiguous dataset in the file; one without elements has none."""
    first = dataset.id.get_offset()
    if first is None and dataset.size:
        raise ValueError(f"dataset {dataset.name!r} is not stored in one piece")
    return first or 0


def _chunk_starts(dataset: h5py.Dataset, count: int) -> Integers:
    """First byte of every chunk, shape (rows,); about 3 µs a chunk."""
    if dataset.chunks != (1, *dataset.shape[1:]):
        raise ValueError(f"dataset {dataset.name!r} has chunks of {dataset.chunks}, one row each is expected")
    found: list[tuple[int, int]] = []
    dataset.id.chunk_iter(lambda chunk: found.append((chunk.chunk_offset[0], chunk.byte_offset)))
    table = np.array(sorted(found), np.int64).reshape(-1, 2)
    if not np.array_equal(table[:, 0], np.arange(count)):
        raise ValueError(f"dataset {dataset.name!r} lacks chunks")
    return table[:, 1].copy()
