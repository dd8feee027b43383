"""The conformance suite of formats finds what is wrong with a format: each broken one fails its test."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from imagemill.core.sample import Buffer, Row
from imagemill.core.schema import Schema
from imagemill.formats import memmap
from imagemill.formats.base import Buffers, Reader
from imagemill.testing.formats import EVERYTHING, SCHEMAS, SHARD, FormatConformance

SUITE = FormatConformance()


class Broken:
    """Memmap with holes: a subclass breaks one promise."""

    name = "broken"

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        return memmap.FORMAT.write(path, schema, rows)

    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        return BrokenReader(memmap.FORMAT.open(path, schema, count))


class BrokenReader(Reader):
    def __init__(self, inner: Reader) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
        return self.inner.read(indices, fields)

    def buffers(self, field: str) -> Buffers | None:
        return self.inner.buffers(field)

    def close(self) -> None:
        self.inner.close()


class HoldsRows(Broken):
    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        return super().write(path, schema, list(rows))


class LosesTheLastRow(Broken):
    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        return super().write(path, schema, list(rows)[:-1])


class Stamps(Broken):
    stamp = 0

    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        Stamps.stamp += 1
        stamped = path.with_name(path.name + ".stamp")
        stamped.write_text(str(self.stamp))
        return [*super().write(path, schema, rows), stamped]


class LeavesFiles(Broken):
    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        path.with_name("left.tmp").touch()
        return super().write(path, schema, rows)


class Pads(Broken):
    def write(self, path: Path, schema: Schema, rows: Iterable[Row]) -> list[Path]:
        def padded(row: Row) -> Row:
            values = {name: bytes(value).ljust(schema[name].size_bytes or 0) for name, value in row.values.items()}
            return dataclasses.replace(row, values=values)

        return super().write(path, schema, map(padded, rows))


class Sorts(Broken):
    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        class SortingReader(BrokenReader):
            def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
                return self.inner.read(sorted(indices), fields)

        return SortingReader(memmap.FORMAT.open(path, schema, count))


class Wraps(Broken):
    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        class WrappingReader(BrokenReader):
            def read(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Mapping[str, Buffer]]:
                return self.inner.read([index % len(self) for index in indices], fields)

        return WrappingReader(memmap.FORMAT.open(path, schema, count))


class StaysOpen(Broken):
    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        class OpenReader(BrokenReader):
            def close(self) -> None:
                pass

        return OpenReader(memmap.FORMAT.open(path, schema, count))


class PointsAside(Broken):
    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        class AsideReader(BrokenReader):
            def buffers(self, field: str) -> Buffers | None:
                found = self.inner.buffers(field)
                return found and Buffers(found.values, found.starts + 1, found.lengths)

        return AsideReader(memmap.FORMAT.open(path, schema, count))


class LetsErrorsThrough(Broken):
    def open(self, path: Path, schema: Schema, count: int) -> Reader:
        path.with_name(f"{path.name}.label.npy").read_bytes().index(b"NUMPY")
        return super().open(path, schema, count)


FAILURES: list[tuple[type[Broken], Any, dict[str, Any]]] = [
    (HoldsRows, SUITE.test_buffers_are_used_before_the_next_row, {}),
    (LosesTheLastRow, SUITE.test_round_trip, {"schema": SCHEMAS["images"], "count": 2}),
    (Stamps, SUITE.test_leftovers_are_overwritten, {}),
    (LeavesFiles, SUITE.test_files, {"schema": EVERYTHING}),
    (Pads, SUITE.test_value_of_a_wrong_size_is_refused, {"name": "pixels"}),
    (Sorts, SUITE.test_rows_in_any_order_with_repeats, {}),
    (Sorts, SUITE.test_threads, {}),
    (Wraps, SUITE.test_row_or_field_that_is_not_there, {}),
    (StaysOpen, SUITE.test_close_lets_go_of_the_files, {}),
    (PointsAside, SUITE.test_buffers_agree_with_read, {"schema": SCHEMAS["raw"], "count": 60}),
    (LetsErrorsThrough, SUITE.test_missing_empty_or_truncated_file, {"count": 7}),
    (LetsErrorsThrough, SUITE.test_flipped_bits, {"name": "numbers", "count": 4}),
]
if sys.platform.startswith("linux"):
    FAILURES.append((HoldsRows, SUITE.test_memory_does_not_grow_with_the_shard, {"name": "raw"}))


@pytest.mark.parametrize(
    ("broken", "test", "arguments"), FAILURES, ids=[f"{case[0].__name__}-{case[1].__name__[5:]}" for case in FAILURES]
)
def test_a_broken_format_fails(tmp_path: Path, broken: type[Broken], test: Any, arguments: dict[str, Any]) -> None:
    test(Broken(), tmp_path / SHARD, **arguments)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises((Exception, pytest.fail.Exception)):
        test(broken(), tmp_path / SHARD, **arguments)
