"""What TFRecord shards promise beyond the conformance suite; bytes are compared with what TensorFlow 2.21 wrote."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats import tfrecord
from imagemill.formats.protobuf import varint, varints
from imagemill.formats.record_file import framed
from imagemill.formats.tfrecord import FORMAT, GZIP, ZLIB
from imagemill.testing.formats import SCHEMAS, flip_bit, make_rows

EXAMPLE = (
    "0a96010a150a05626f786573120c120a0a080000803f000000c00a0f0a05636f756e7412061a040a02ac020a090a0369647312021a00"
    "0a120a0a696d6167652f7061746812040a020a000a120a05696d61676512090a070a05ffd86a70670a0d0a036b657912060a040a02c3a9"
    "0a170a056c6162656c120e1a0c0a0affffffffffffffffff010a110a05726174696f120812060a040000003f"
)
"""`tf.train.Example(…).SerializeToString(deterministic=True)`; it puts `image/path` before `image`."""

RECORDS = "090000000000000037f97139313233343536373839e5b08ac7000000000000000029039807d8ea82a2"
"""What `tf.io.TFRecordWriter` made of b"123456789" and b""."""


def test_example_is_what_tensorflow_writes(tmp_path: Path) -> None:
    schema = Schema(
        (
            Field("image", "image"),
            Field("label", "label", "int64", (), "raw"),
            Field("ids", "vector", "int64", (None,), "raw"),
            Field("ratio", "number", "float32", (), "raw"),
            Field("boxes", "vector", "float32", (2,), "raw"),
            Field("count", "number", "int32", (), "raw"),
        )
    )
    values = {
        "image": b"\xff\xd8jpg",
        "label": np.int64(-1).tobytes(),
        "ids": b"",
        "ratio": np.float32(0.5).tobytes(),
        "boxes": np.array([1, -2], np.float32).tobytes(),
        "count": np.int32(300).tobytes(),
    }
    (path,) = FORMAT.write(tmp_path / "shard", schema, [Row("é", values)])
    assert sorted_entries(path.read_bytes()[12:-4]) == sorted_entries(bytes.fromhex(EXAMPLE))


def sorted_entries(example: bytes) -> list[bytes]:
    """The entries of an Example below 16 KiB, whose order says nothing, after a look at its head."""
    assert example[:1] == b"\n"
    assert (example[1] & 0x7F | example[2] << 7) == len(example) - 3
    entries, place = [], 3
    while place < len(example):
        end = place + 2 + example[place + 1]
        entries.append(example[place:end])
        place = end
    return sorted(entries)


def test_records_are_what_tensorflow_writes() -> None:
    assert framed(b"123456789") + framed(b"") == bytes.fromhex(RECORDS)


@given(st.lists(st.integers(-(2**63), 2**64 - 1)))
def test_varints(numbers: list[int]) -> None:
    packed = b"".join(map(varint, numbers))
    assert varints(memoryview(packed)) == [number % 2**64 for number in numbers]
    if numbers and numbers[-1] not in range(128):
        with pytest.raises(ValueError, match="cut off"):
            varints(memoryview(packed[:-1]))


def test_varint_without_end() -> None:
    with pytest.raises(ValueError, match="ten bytes"):
        varints(memoryview(b"\xff" * 11 + b"\x01"))


@pytest.mark.parametrize(("form", "unpack"), [(GZIP, gzip.decompress), (ZLIB, zlib.decompress)])
def test_compressed_shard_is_the_plain_one_compressed(
    tmp_path: Path, form: tfrecord.TFRecordFormat, unpack: Callable[[bytes], bytes]
) -> None:
    rows = make_rows(SCHEMAS["everything"], 20)
    (plain,) = FORMAT.write(tmp_path / "shard", SCHEMAS["everything"], rows)
    (packed,) = form.write(tmp_path / "shard", SCHEMAS["everything"], rows)
    assert unpack(packed.read_bytes()) == plain.read_bytes()
    if form is GZIP:
        assert packed.read_bytes()[3:8] == bytes(5), "no name and no time"


@pytest.mark.parametrize("form", [GZIP, ZLIB])
def test_compressed_shard_leaves_nothing_in_the_cache(
    tmp_path: Path, form: tfrecord.TFRecordFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    image = np.random.default_rng(0).bytes(900_000)
    rows = [Row("a", {"image": image, "text": b""}), Row("b", {"image": b"", "text": b"b"})]
    form.write(tmp_path / "shard", SCHEMAS["text"], rows)
    reader = form.open(tmp_path / "shard", SCHEMAS["text"], 2)
    assert list((tmp_path / "cache").iterdir()) == []
    assert [bytes(row["image"]) for row in reader.read([1, 0])] == [b"", image]
    reader.close()


@pytest.mark.parametrize("form", [GZIP, ZLIB])
def test_damaged_stream_does_not_swell(
    tmp_path: Path, form: tfrecord.TFRecordFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    pack = gzip.compress if form is GZIP else zlib.compress
    (path,) = form.write(tmp_path / "shard", SCHEMAS["images"], make_rows(SCHEMAS["images"], 2))
    content = gzip.decompress(path.read_bytes()) if form is GZIP else zlib.decompress(path.read_bytes())
    for other, why in (
        (pack(bytes(50_000_000)), "length is damaged"),
        (pack(content + framed(b"x" * 1000)), "more than 2 records"),
        (pack(content[:-3]), "ends within a record"),
        (pack(content) + b"more", "something follows"),
        (pack(content)[:-6], "cut off|header is damaged|cannot be read"),
    ):
        path.write_bytes(other)
        with pytest.raises(ShardError, match=why):
            form.open(tmp_path / "shard", SCHEMAS["images"], 2)


def test_every_flipped_bit_of_a_compressed_shard_is_found(tmp_path: Path) -> None:
    (path,) = ZLIB.write(tmp_path / "shard", SCHEMAS["images"], make_rows(SCHEMAS["images"], 3))
    rng = np.random.default_rng(9)
    for position in rng.integers(0, path.stat().st_size, 200).tolist():
        bit = int(rng.integers(8))
        flip_bit(path, position, bit)
        with pytest.raises(ShardError):
            ZLIB.open(tmp_path / "shard", SCHEMAS["images"], 3)
        flip_bit(path, position, bit)


def test_row_larger_than_protobuf_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfrecord, "MAX_RECORD_BYTES", 1000)
    values = {"image": bytes(1000), "label": bytes(8)}
    with pytest.raises(ConfigError, match="--format memmap"):
        FORMAT.write(tmp_path / "shard", SCHEMAS["images"], [Row("a", values)])
