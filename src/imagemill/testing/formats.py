"""The conformance suite of storage formats: what `imagemill.formats.base` promises, as tests.

A package that brings a format runs all of it with four lines in a test module::

    class TestMyFormat(FormatConformance):
        @pytest.fixture
        def format(self) -> Format:
            return FORMAT

It needs pytest, and writes only below `tmp_path`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ShardError
from imagemill.formats.base import Format, Reader
from imagemill.testing.rows import SCHEMAS, make_rows

__all__ = ["SCHEMAS", "FormatConformance", "make_rows", "read_all"]

COUNTS = (0, 1, 2, 7, 300)
FLIPS = 100
"""Bits flipped per schema; each costs one opening and reading of a small shard."""

SHARD = "val.v2-00003-of-00012"
"""A shard's name, with a dot that is no suffix."""

EVERYTHING = SCHEMAS["everything"]

each_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)


def read_all(reader: Reader, schema: Schema) -> list[dict[str, bytes]]:
    """Every row of an open shard, "key" included, copied out of its buffers."""
    rows = reader.read(range(len(reader)), ["key", *schema.names])
    return [{name: bytes(value) for name, value in row.items()} for row in rows]


def as_stored(rows: Iterable[Row], fields: Sequence[str] | None = None) -> list[dict[str, bytes]]:
    """What a reader must give back for these rows; None is every field and "key"."""
    stored = [{"key": row.key.encode(), **{name: bytes(value) for name, value in row.values.items()}} for row in rows]
    return [{name: row[name] for name in (row if fields is None else fields)} for row in stored]


def fleeting(rows: Iterable[Row], schema: Schema) -> Iterator[Row]:
    """The rows with buffers that are overwritten as soon as the next row is asked for.

    Values of fixed size come as multi-dimensional memoryviews, as `ndarray.data` is.
    """
    for row in rows:
        scratch = {name: np.frombuffer(value, np.uint8).copy() for name, value in row.values.items()}
        yield dataclasses.replace(row, values={name: _view(schema[name], array) for name, array in scratch.items()})
        for array in scratch.values():
            array[:] = 0xA5


def _view(field: Field, array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> memoryview:
    if field.storage == "fixed":
        return array.view(field.numpy_dtype).reshape([side or 0 for side in field.shape or ()]).data
    return array.data


def flip_bit(path: Path, position: int, bit: int) -> None:
    """Flips one bit of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def return_free_memory() -> None:
    """Hands freed memory back to the system, where glibc can be told to: else it would serve what is held next."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Memory of this process that is in RAM, files mapped by it included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class FormatConformance:
    """Tests of the contract in `imagemill.formats.base`.

    A subclass gives the format under test as the fixture `format`.
    """

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where shards are written: a path with a blank and a letter beyond ASCII."""
        folder = tmp_path / "dätä set"
        folder.mkdir()
        return folder

    @pytest.fixture
    def shard(self, folder: Path) -> Path:
        """A shard's path, as `write` and `open` take it."""
        return folder / SHARD

    # Round trip

    @each_schema
    @pytest.mark.parametrize("count", COUNTS)
    def test_round_trip(self, format: Format, shard: Path, schema: Schema, count: int) -> None:
        rows = make_rows(schema, count)
        format.write(shard, schema, iter(rows))
        reader = format.open(shard, schema, count)
        assert len(reader) == count
        assert read_all(reader, schema) == as_stored(rows)
        reader.close()

    def test_rows_in_any_order_with_repeats(self, format: Format, shard: Path) -> None:
        rows = make_rows(EVERYTHING, 40)
        format.write(shard, EVERYTHING, rows)
        reader = format.open(shard, EVERYTHING, 40)
        for indices in ([39, 0, 17, 17, 3], [5], [], np.array([7, 7, 1]), range(39, 0, -2)):
            read = reader.read(indices)  # type: ignore[arg-type]
            wanted = as_stored([rows[int(index)] for index in indices], EVERYTHING.names)
            assert [{name: bytes(value) for name, value in row.items()} for row in read] == wanted
        reader.close()

    @pytest.mark.parametrize("fields", [["label"], ["text", "image"], ["key"], ["boxes", "key", "pixels"], []])
    def test_only_the_fields_asked_for(self, format: Format, shard: Path, fields: list[str]) -> None:
        rows = make_rows(EVERYTHING, 9)
        format.write(shard, EVERYTHING, rows)
        reader = format.open(shard, EVERYTHING, 9)
        read = reader.read(range(9), fields)
        assert [{name: bytes(value) for name, value in row.items()} for row in read] == as_stored(rows, fields)
        reader.close()

    def test_key_only_when_asked_for(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 2))
        reader = format.open(shard, EVERYTHING, 2)
        assert set(reader.read([1])[0]) == set(EVERYTHING.names)
        reader.close()

    def test_values_are_flat_bytes(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 5))
        reader = format.open(shard, EVERYTHING, 5)
        for row in reader.read(range(5), ["key", *EVERYTHING.names]):
            for value in row.values():
                assert isinstance(value, bytes | memoryview)
                view = memoryview(value)
                assert (view.ndim, view.itemsize, view.contiguous) == (1, 1, True)
        reader.close()

    def test_large_and_small_values_side_by_side(self, format: Format, shard: Path) -> None:
        schema = SCHEMAS["text"]
        rng = np.random.default_rng(3)
        sizes = [1, 9_000_000, 3, 70_001, 25_000_000, 65_536, 1_048_576, 5]
        rows = [
            Row(f"{index}", {"image": rng.bytes(size), "text": b"t" * (size % 97)}, {"image": f"{index}.jpg"})
            for index, size in enumerate(sizes)
        ]
        format.write(shard, schema, rows)
        reader = format.open(shard, schema, len(rows))
        assert read_all(reader, schema) == as_stored(rows)
        reader.close()

    def test_row_or_field_that_is_not_there(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 3))
        reader = format.open(shard, EVERYTHING, 3)
        for index in (3, -1):
            with pytest.raises(IndexError):
                reader.read([0, index])
        with pytest.raises(KeyError):
            reader.read([0], ["no_such_field"])
        reader.close()

    # Writing

    @each_schema
    def test_equal_rows_give_equal_bytes(self, format: Format, folder: Path, schema: Schema) -> None:
        first, second = folder / "a", folder / "b"
        for path in (first, second):
            path.mkdir()
            format.write(path / SHARD, schema, make_rows(schema, 30))
        assert {path.name: path.read_bytes() for path in first.iterdir()} == {
            path.name: path.read_bytes() for path in second.iterdir()
        }

    @each_schema
    def test_files(self, format: Format, shard: Path, schema: Schema) -> None:
        written = [format.write(shard, schema, make_rows(schema, count)) for count in (0, 7)]
        assert written[0] == written[1]
        assert sorted(written[0]) == sorted(shard.parent.iterdir())
        assert all(path.is_file() and path.name.startswith(SHARD + ".") for path in written[0])

    def test_shards_do_not_touch_each_other(self, format: Format, folder: Path) -> None:
        names = ["train-00000-of-00002", "train-00001-of-00002", "train.b-00000-of-00001"]
        rows = {name: make_rows(EVERYTHING, 6, seed) for seed, name in enumerate(names)}
        for name in names:
            format.write(folder / name, EVERYTHING, rows[name])
        for name in names:
            reader = format.open(folder / name, EVERYTHING, 6)
            assert read_all(reader, EVERYTHING) == as_stored(rows[name])
            reader.close()

    def test_leftovers_are_overwritten(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 5))
        fresh = {path.name: path.read_bytes() for path in shard.parent.iterdir()}
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 60, seed=1))
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 5))
        assert {path.name: path.read_bytes() for path in shard.parent.iterdir()} == fresh

    def test_buffers_are_used_before_the_next_row(self, format: Format, shard: Path) -> None:
        rows = make_rows(EVERYTHING, 40)
        format.write(shard, EVERYTHING, fleeting(rows, EVERYTHING))
        reader = format.open(shard, EVERYTHING, 40)
        assert read_all(reader, EVERYTHING) == as_stored(rows)
        reader.close()

    def test_error_of_the_rows_passes_through(self, format: Format, shard: Path) -> None:
        def broken() -> Iterator[Row]:
            yield from make_rows(EVERYTHING, 3)
            raise ZeroDivisionError("the source broke")

        with pytest.raises(ZeroDivisionError, match="the source broke"):
            format.write(shard, EVERYTHING, broken())

    @pytest.mark.parametrize("name", ["pixels", "label", "embedding"])
    def test_value_of_a_wrong_size_is_refused(self, format: Format, shard: Path, name: str) -> None:
        rows = make_rows(EVERYTHING, 3)
        rows[1] = dataclasses.replace(rows[1], values={**rows[1].values, name: rows[1].values[name][:-1]})
        with pytest.raises(ValueError):
            format.write(shard, EVERYTHING, rows)

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
    @pytest.mark.parametrize("name", ["images", "raw"])
    def test_memory_does_not_grow_with_the_shard(self, format: Format, shard: Path, name: str) -> None:
        side = 592
        image = (
            Field("image", "image") if name == "images" else Field("image", "image", "uint8", (side, side, 3), "raw")
        )
        value = bytes(range(256)) * (side * side * 3 // 256)
        # The first write loads libraries; what they take is not the shard's.
        format.write(shard, Schema((image,)), [Row("0", {"image": value}, {"image": "0.jpg"})])
        return_free_memory()
        lowest, growth = resident_bytes(), 0

        def rows() -> Iterator[Row]:
            nonlocal lowest, growth
            for index in range(128):
                # A copy a row: a format that keeps rows must be seen to.
                yield Row(f"{index}", {"image": memoryview(bytearray(value))}, {"image": f"{index}.jpg"})
                # From the lowest so far: what others give back meanwhile hides no row that is kept.
                now = resident_bytes()
                lowest = min(lowest, now)
                growth = max(growth, now - lowest)

        format.write(shard, Schema((image,)), rows())
        assert growth < 64 << 20

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
    def test_full_disk_is_an_oserror(self, format: Format, shard: Path) -> None:
        import resource

        rows = make_rows(EVERYTHING, 300)
        largest = max(path.stat().st_size for path in format.write(shard, EVERYTHING, rows))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # The last steps hit what is written at closing: footers, indices, headers.
        for limit in (*range(0, largest, largest // 12), *range(largest - 2000, largest, 500)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            try:
                with pytest.raises(OSError):
                    format.write(shard, EVERYTHING, rows)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        format.write(shard, EVERYTHING, rows)
        assert read_and_close(format, shard, EVERYTHING, 300) == as_stored(rows)

    # Damage

    def test_wrong_count(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 7))
        for count in (0, 6, 8):
            with pytest.raises(ShardError):
                read_and_close(format, shard, EVERYTHING, count)

    @pytest.mark.parametrize(
        "change",
        [
            Field("caption", "text", "uint8", None, "utf8"),
            Field("depth", "mask", "uint8", (4, 4), "raw"),
            Field("pixels", "image", "uint8", (12, 10, 1), "raw"),
            Field("embedding", "vector", "float32", (17,), "raw"),
            Field("score", "number", "float32", (), "raw"),
        ],
        ids=lambda field: field.name,
    )
    def test_other_fields(self, format: Format, shard: Path, change: Field) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 7))
        others = tuple(field for field in EVERYTHING if field.name != change.name)
        with pytest.raises(ShardError):
            read_and_close(format, shard, Schema((*others, change)), 7)

    @pytest.mark.parametrize("count", [0, 7])
    def test_missing_empty_or_truncated_file(self, format: Format, shard: Path, count: int) -> None:
        for path in format.write(shard, EVERYTHING, make_rows(EVERYTHING, count)):
            whole = path.read_bytes()
            # A shard without rows may be an empty file.
            for size in sorted(size for size in {0, 1, 10, len(whole) // 2, len(whole) - 1} if 0 <= size < len(whole)):
                path.write_bytes(whole[:size])
                with pytest.raises(ShardError, match=SHARD):
                    read_and_close(format, shard, EVERYTHING, count)
            path.unlink()
            with pytest.raises(ShardError, match=SHARD):
                read_and_close(format, shard, EVERYTHING, count)
            path.write_bytes(whole)
        read_and_close(format, shard, EVERYTHING, count)

    def test_not_this_format(self, format: Format, shard: Path) -> None:
        for path in format.write(shard, EVERYTHING, make_rows(EVERYTHING, 7)):
            whole = path.read_bytes()
            for other in (b"\0" * len(whole), np.random.default_rng(0).bytes(len(whole))):
                path.write_bytes(other)
                # Values that nothing but their digest protects may be read; they must not crash.
                with_damage(format, shard, EVERYTHING, 7)
            path.write_bytes(whole)

    @pytest.mark.parametrize(("name", "count"), [("everything", 5), ("numbers", 4), ("text", 70)])
    def test_flipped_bits(self, format: Format, shard: Path, name: str, count: int) -> None:
        schema = SCHEMAS[name]
        paths = format.write(shard, schema, make_rows(schema, count))
        rng = np.random.default_rng(17)
        for _ in range(FLIPS):
            path = paths[rng.integers(len(paths))]
            position, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
            flip_bit(path, position, bit)
            with_damage(format, shard, schema, count)
            flip_bit(path, position, bit)
        reader = format.open(shard, schema, count)
        assert read_all(reader, schema) == as_stored(make_rows(schema, count))
        reader.close()

    # Buffers, threads, closing

    @each_schema
    @pytest.mark.parametrize("count", [0, 1, 60])
    def test_buffers_agree_with_read(self, format: Format, shard: Path, schema: Schema, count: int) -> None:
        rows = make_rows(schema, count)
        format.write(shard, schema, rows)
        reader = format.open(shard, schema, count)
        for name in ("key", *schema.names):
            buffers = reader.buffers(name)
            if buffers is None:
                continue
            assert buffers.values.dtype == np.uint8
            assert buffers.values.ndim == 1
            assert not buffers.values.flags.writeable
            for array in (buffers.starts, buffers.lengths):
                assert array.dtype == np.int64
                assert array.shape == (count,)
            found = [
                buffers.values[start : start + length].tobytes()
                for start, length in zip(buffers.starts.tolist(), buffers.lengths.tolist(), strict=True)
            ]
            assert found == [row[name] for row in as_stored(rows)]
        reader.close()

    def test_threads(self, format: Format, shard: Path) -> None:
        rows = make_rows(EVERYTHING, 60)
        format.write(shard, EVERYTHING, rows)
        reader = format.open(shard, EVERYTHING, 60)
        wanted = as_stored(rows, EVERYTHING.names)
        wrong: list[object] = []

        def work(seed: int) -> None:
            rng = np.random.default_rng(seed)
            try:
                for _ in range(40):
                    indices = rng.integers(0, 60, 5).tolist()
                    read = [{name: bytes(value) for name, value in row.items()} for row in reader.read(indices)]
                    if read != [wanted[index] for index in indices]:
                        wrong.append(indices)
            except Exception as error:  # noqa: BLE001  (a thread's error must reach the test)
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        reader.close()

    def test_two_readers_of_one_shard(self, format: Format, shard: Path) -> None:
        format.write(shard, EVERYTHING, make_rows(EVERYTHING, 4))
        first = format.open(shard, EVERYTHING, 4)
        second = format.open(shard, EVERYTHING, 4)
        first.close()
        assert read_all(second, EVERYTHING) == as_stored(make_rows(EVERYTHING, 4))
        second.close()

    def test_close_lets_go_of_the_files(self, format: Format, shard: Path) -> None:
        paths = format.write(shard, EVERYTHING, make_rows(EVERYTHING, 30))
        reader = format.open(shard, EVERYTHING, 30)
        kept = reader.read(range(30))
        reader.close()
        reader.close()
        with pytest.raises(ValueError):
            reader.read([0])
        del kept
        gc.collect()
        assert not held_open(paths)
        for path in paths:
            path.rename(path.with_name("moved"))
            path.with_name("moved").unlink()

    def test_reader_is_let_go_without_close(self, format: Format, shard: Path) -> None:
        paths = format.write(shard, EVERYTHING, make_rows(EVERYTHING, 30))
        reader = format.open(shard, EVERYTHING, 30)
        reader.read(range(30))
        del reader
        gc.collect()
        assert not held_open(paths)


def read_and_close(format: Format, shard: Path, schema: Schema, count: int) -> list[dict[str, bytes]]:
    """Every row of a shard."""
    reader = format.open(shard, schema, count)
    try:
        return read_all(reader, schema)
    finally:
        reader.close()


def with_damage(format: Format, shard: Path, schema: Schema, count: int) -> None:
    """Reads a damaged shard: it gives `ShardError`, or `count` rows whose values any digest can judge."""
    try:
        reader = format.open(shard, schema, count)
    except ShardError:
        return
    try:
        assert len(reader) == count
        for name in ("key", *schema.names):
            check_buffers(reader, name)
        for index in range(count):
            check_damaged_row(reader, schema, index)
    finally:
        reader.close()


def check_damaged_row(reader: Reader, schema: Schema, index: int) -> None:
    """One row of a damaged shard: every field, of a length that fits, or `ShardError`."""
    try:
        rows: list[Mapping[str, Buffer]] = reader.read([index], ["key", *schema.names])
    except ShardError:
        return
    assert len(rows) == 1
    assert set(rows[0]) == {"key", *schema.names}
    for field in schema:
        value = bytes(rows[0][field.name])
        assert field.size_bytes in (None, len(value)), f"{field.name} has {len(value)} bytes"


def check_buffers(reader: Reader, name: str) -> None:
    """The buffers of one field lie inside the file, whatever it says."""
    try:
        buffers = reader.buffers(name)
    except ShardError:
        return
    if buffers is None or not len(buffers.starts):
        return
    assert buffers.starts.min() >= 0
    assert buffers.lengths.min() >= 0
    assert (buffers.starts + buffers.lengths).max() <= len(buffers.values)


def held_open(paths: Iterable[Path]) -> list[str]:
    """Which of these files this process has open or mapped; empty where there is no /proc."""
    if not Path("/proc/self/maps").exists():
        return []
    held = Path("/proc/self/maps").read_text(errors="surrogateescape")
    for link in Path("/proc/self/fd").iterdir():
        try:
            held += os.readlink(link) + "\n"
        except OSError:  # the descriptor of this listing itself
            continue
    return [path.name for path in paths if f"/{path.name}\n" in held]
