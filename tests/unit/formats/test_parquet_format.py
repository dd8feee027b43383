"""What Parquet shards promise beyond the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats import parquet, parquet_reader
from imagemill.formats.parquet import FORMAT
from imagemill.testing.formats import SCHEMAS, as_stored, flip_bit, make_rows, read_all

DECODED = Schema(
    (
        Field("level", "number", "int8", (), "raw"),
        Field("boxes", "vector", "float32", (None,), "raw"),
        Field("colour", "vector", "uint8", (3,), "raw"),
    )
)
"""Fields that only Arrow can decode."""


def footer_start(path: Path) -> int:
    """First byte of a file's footer."""
    with path.open("rb") as file:
        size_bytes = file.seek(-8, 2) + 8
        return size_bytes - 8 - int.from_bytes(file.read(4), "little")


@pytest.mark.parametrize("name", ["everything", "vectors"])
def test_flipped_bit_in_the_footer_is_always_found(tmp_path: Path, name: str) -> None:
    schema = SCHEMAS[name]
    (path,) = FORMAT.write(tmp_path / "shard", schema, make_rows(schema, 40))
    size_bytes = path.stat().st_size
    rng = np.random.default_rng(5)
    for position in rng.integers(footer_start(path), size_bytes, 200).tolist():
        bit = int(rng.integers(8))
        flip_bit(path, position, bit)
        with pytest.raises(ShardError, match="shard"):
            FORMAT.open(tmp_path / "shard", schema, 40)
        flip_bit(path, position, bit)
    FORMAT.open(tmp_path / "shard", schema, 40).close()


def test_flipped_bits_in_pages_that_arrow_decodes(tmp_path: Path) -> None:
    rows = make_rows(DECODED, 3)
    (path,) = FORMAT.write(tmp_path / "shard", DECODED, rows)
    rng = np.random.default_rng(6)
    caught = 0
    for position in rng.integers(4, footer_start(path), 600).tolist():
        bit = int(rng.integers(8))
        flip_bit(path, position, bit)
        reader = FORMAT.open(tmp_path / "shard", DECODED, 3)
        try:
            for row in reader.read(range(3)):
                assert (len(row["level"]), len(row["colour"])) == (1, 3)
        except ShardError:
            caught += 1
        reader.close()
        flip_bit(path, position, bit)
    assert caught > 200


def test_footer_of_another_writer_is_refused(tmp_path: Path) -> None:
    schema = SCHEMAS["numbers"]
    (path,) = FORMAT.write(tmp_path / "shard", schema, make_rows(schema, 5))
    pq.write_table(pq.read_table(path), path)
    with pytest.raises(ShardError, match="footer"):
        FORMAT.open(tmp_path / "shard", schema, 5)


def big_rows(count: int, size_bytes: int) -> Iterator[Row]:
    """Rows with one image each."""
    rng = np.random.default_rng(0)
    for index in range(count):
        values = {"image": rng.bytes(size_bytes), "label": np.int64(index % 3).tobytes()}
        yield Row(f"{index}", values, {"image": f"{index}.jpg"})


def test_row_groups_are_bounded_and_each_column_is_one_page(tmp_path: Path) -> None:
    (path,) = FORMAT.write(tmp_path / "shard", SCHEMAS["images"], big_rows(60, 400_000))
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 3
    for group in range(3):
        assert metadata.row_group(group).total_byte_size < parquet.ROW_GROUP_BYTES + 100_000
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            assert (chunk.compression, chunk.dictionary_page_offset) == ("UNCOMPRESSED", None)


def test_values_are_read_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = SCHEMAS["text"]
    rows = make_rows(schema, 50)
    FORMAT.write(tmp_path / "shard", schema, rows)
    reader = FORMAT.open(tmp_path / "shard", schema, 50)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a row group was decoded")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", refuse)
    assert read_all(reader, schema) == as_stored(rows)
    buffers = reader.buffers("image")
    assert buffers is not None
    assert buffers.values.nbytes == (tmp_path / "shard.parquet").stat().st_size
    reader.close()


def test_decoded_columns_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(parquet_reader, "CACHE_BYTES", 200)
    rows = make_rows(DECODED, 55)
    FORMAT.write(tmp_path / "shard", DECODED, rows)
    reader = FORMAT.open(tmp_path / "shard", DECODED, 55)
    assert reader.buffers("boxes") is None
    order = np.random.default_rng(0).permutation(55).tolist()
    wanted = as_stored(rows, DECODED.names)
    for index in order:
        assert {name: bytes(value) for name, value in reader.read([index])[0].items()} == wanted[index]
    assert 1 <= len(reader._decoded) <= 7
    reader.close()


def test_row_larger_than_parquet_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_ROW_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"sample '0' has 1209 bytes.*--format memmap"):
        FORMAT.write(tmp_path / "shard", SCHEMAS["images"], big_rows(1, 1201))


def test_columns_and_their_description(tmp_path: Path) -> None:
    (path,) = FORMAT.write(tmp_path / "shard", SCHEMAS["everything"], [])
    columns = pq.read_schema(path)
    assert columns.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert columns.field("flow").type == pa.binary()
    assert columns.field("label").type == pa.int64()
    features = json.loads(columns.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == columns.names
    assert features["pixels"] == {"_type": "Image"}
    assert features["label"] == {"_type": "ClassLabel", "names": ["cat", "dog", "été"]}
