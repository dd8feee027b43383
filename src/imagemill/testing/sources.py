"""The conformance suite of sources: what `imagemill.sources.base` promises, as tests.

A package that brings a source runs all of it by giving one, made anew for every test::

    class TestMySource(SourceConformance):
        @pytest.fixture
        def source(self, tmp_path: Path) -> Source:
            return MySource(make_a_small_pile(tmp_path / "pile"), SourceOptions())

It needs pytest, and writes only below `tmp_path`.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imagemill.core.sample import Encoded, Sample, Value
from imagemill.core.schema import Field, Schema
from imagemill.errors import SampleError
from imagemill.sources.base import LISTING_COLUMNS, Scan, Source, account, open_listing

MAX_PICKLE_BYTES = 100_000
"""A source is sent to every worker with every task: it holds what it was made from, not what it found."""

LISTING = "listing.arrow"


def rows_of(scan: Scan) -> list[dict[str, Any]]:
    """Every row of a listing, as `read` takes it."""
    return scan.listing.to_pylist()  # type: ignore[no-any-return]


def read_all(source: Source, rows: Sequence[Mapping[str, Any]]) -> list[Sample]:
    """The samples of these rows, in order; importable by name, so that another process can be asked for it."""
    return [source.read(row) for row in rows]


def plain(value: Value) -> object:
    """A value as something that compares with `==`, types and dtypes included."""
    if isinstance(value, Encoded):
        return "encoded", bytes(value.data)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value).__name__, repr(value)


def plain_sample(sample: Sample) -> dict[str, object]:
    """A sample as something that compares with `==`."""
    values = {name: plain(value) for name, value in sample.values.items()}
    return {"key": sample.key, "values": values, "origins": dict(sample.origins)}


def snapshot(path: Path) -> dict[str, tuple[int, int, str]]:
    """Path → (mode, modification time in ns, sha256) of a file, or of everything below a folder."""
    found = {}
    for entry in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
        status = entry.lstat()
        content = hashlib.sha256(entry.read_bytes()).hexdigest() if entry.is_file() else ""
        found[str(entry)] = (status.st_mode, status.st_mtime_ns, content)
    return found


@cache
def _other_process() -> subprocess.Popen[bytes]:
    """A process that was started anew, not forked: it has only what is sent to it. It ends with this one."""
    command = [sys.executable, "-c", "from imagemill.testing.sources import serve; serve()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    atexit.register(process.communicate)
    return process


def read_elsewhere(source: Source, rows: Sequence[Mapping[str, Any]]) -> list[Sample]:
    """What `read_all` gives in another process; its exception is raised here."""
    process = _other_process()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the other process has no pipes")
    pickle.dump((source, rows), process.stdin)
    process.stdin.flush()
    found: list[Sample] | Exception = pickle.load(process.stdout)
    if isinstance(found, Exception):
        raise found
    return found


def serve() -> None:
    """The other side of `read_elsewhere`: answers until its standard input ends."""
    while True:
        try:
            source, rows = pickle.load(sys.stdin.buffer)
            found: list[Sample] | Exception = read_all(source, rows)
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the asking test shows it
            found = error
        pickle.dump(found, sys.stdout.buffer)
        sys.stdout.buffer.flush()


class SourceConformance:
    """Tests of the contract in `imagemill.sources.base`.

    A subclass gives the source under test as the fixture `source`: a small pile with at least two
    samples, all of them readable. `take_away` may be replaced where a pile is no file or folder.
    """

    @pytest.fixture
    def work(self, tmp_path: Path) -> Path:
        """Where listings are written: outside the pile."""
        folder = tmp_path / "wörk folder"
        folder.mkdir()
        return folder

    @pytest.fixture
    def scan(self, source: Source, work: Path) -> Scan:
        """The source's scan."""
        return source.scan(work / LISTING)

    def take_away(self, source: Source, sample: Sample) -> None:
        """Makes the bytes of a sample impossible to read: removes the files it came from, or the whole pile."""
        files = [source.path / origin for origin in sample.origins.values()]
        if not files or not all(file.is_file() for file in files):
            root = source.path
            files = [file for file in root.rglob("*") if file.is_file()] if root.is_dir() else [root]
        for file in files:
            file.unlink()

    # The listing

    def test_has_samples(self, scan: Scan) -> None:
        assert scan.listing.num_rows >= 2, "the suite wants a pile with two samples or more"

    def test_listing_has_the_columns_of_every_listing(self, scan: Scan) -> None:
        for name, kind in LISTING_COLUMNS.items():
            assert scan.listing.schema.field(name).type == kind
        assert scan.listing["key"].null_count == 0
        assert scan.listing["size"].null_count == 0
        assert scan.listing["files"].null_count == 0

    def test_listing_lies_where_it_was_asked_for(self, scan: Scan, work: Path) -> None:
        # As text, because NaN is not equal to itself.
        assert str(open_listing(work / LISTING).to_pylist()) == str(rows_of(scan))
        assert os.listdir(work) == [LISTING]

    def test_keys_are_unique_text(self, scan: Scan) -> None:
        keys = scan.listing["key"].to_pylist()
        assert len(set(keys)) == len(keys)
        for key in keys:
            assert key
            assert not key.startswith("/")
            assert key.encode("utf-8").decode("utf-8") == key

    def test_every_file_is_accounted_for(self, scan: Scan) -> None:
        account(scan)
        assert all(count > 0 for count in scan.ignored.values())

    def test_labels_in_the_listing(self, scan: Scan) -> None:
        labels = [field for field in scan.fields if field.name == "label"]
        assert ("label" in scan.listing.column_names) == bool(labels)
        if labels:
            assert scan.listing.schema.field("label").type in (pa.string(), pa.int64())

    def test_fields_make_a_schema(self, scan: Scan) -> None:
        schema = Schema(scan.fields)
        assert schema.of_kind("image")

    def test_a_second_scan_is_equal(self, source: Source, scan: Scan, tmp_path: Path) -> None:
        again = pickle.loads(pickle.dumps(source)).scan(tmp_path / "again.arrow")
        assert (tmp_path / "again.arrow").read_bytes() == (tmp_path / "wörk folder" / LISTING).read_bytes()
        assert (again.fields, again.rejects, again.found) == (scan.fields, scan.rejects, scan.found)
        assert list(again.ignored.items()) == list(scan.ignored.items())
        assert again.remarks == scan.remarks

    # Reading

    def test_samples_have_the_fields(self, source: Source, scan: Scan) -> None:
        for row, sample in zip(rows_of(scan), read_all(source, rows_of(scan)), strict=True):
            assert sample.key == row["key"]
            assert sorted(sample.values) == sorted(field.name for field in scan.fields)
            for field in scan.fields:
                check_value(field, sample.values[field.name])
                if field.is_file:
                    assert sample.origins[field.name]

    def test_size_is_what_there_is_to_read(self, source: Source, scan: Scan) -> None:
        for row, sample in zip(rows_of(scan), read_all(source, rows_of(scan)), strict=True):
            encoded = [value for value in sample.values.values() if isinstance(value, Encoded)]
            assert row["size"] >= sum(len(value.data) for value in encoded)

    def test_rows_in_any_order(self, source: Source, scan: Scan) -> None:
        rows = rows_of(scan)
        forwards = [plain_sample(sample) for sample in read_all(source, rows)]
        backwards = [plain_sample(sample) for sample in read_all(source, rows[::-1])]
        assert backwards[::-1] == forwards

    def test_rows_in_another_process(self, source: Source, scan: Scan) -> None:
        rows = rows_of(scan)
        here = [plain_sample(sample) for sample in read_all(source, rows)]
        # Sent after reading: open files must not travel along.
        there = read_elsewhere(source, rows)
        assert [plain_sample(sample) for sample in there] == here

    def test_a_source_is_small_when_sent(self, source: Source, scan: Scan) -> None:
        before = len(pickle.dumps(source))
        read_all(source, rows_of(scan))
        assert len(pickle.dumps(source)) <= max(before, MAX_PICKLE_BYTES)

    def test_what_is_gone_is_a_reject(self, source: Source, scan: Scan) -> None:
        row = rows_of(scan)[0]
        self.take_away(source, source.read(row))
        with pytest.raises(SampleError) as caught:
            pickle.loads(pickle.dumps(source)).read(row)
        assert caught.value.reason == "unreadable"
        assert caught.value.key == row["key"]
        assert caught.value.origin

    # Originals are sacred

    def test_nothing_is_written_into_the_source(self, source: Source, work: Path) -> None:
        before = snapshot(source.path)
        read_all(source, rows_of(source.scan(work / LISTING)))
        assert snapshot(source.path) == before


def check_value(field: Field, value: Value) -> None:
    """Asserts that a value is of a type that a field of this kind may have."""
    if field.is_file:
        assert isinstance(value, Encoded | np.ndarray)
    elif field.kind == "text":
        assert isinstance(value, str)
    elif field.kind == "vector":
        assert isinstance(value, np.ndarray)
        assert value.ndim == 1
        assert field.shape in ((None,), value.shape)
    elif field.kind == "label" and isinstance(value, str):
        assert field.class_names is None or value in field.class_names
    else:
        assert isinstance(value, int | float | np.number)
