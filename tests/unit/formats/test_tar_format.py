"""What tar shards promise beyond the conformance suite."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats.headers import file_suffix
from imagemill.formats.tar import FORMAT, member_names
from imagemill.testing.formats import SCHEMAS, flip_bit, make_rows

SHARD = "train-00003-of-00012"


def names_in(path: Path) -> list[str]:
    """Names of the members."""
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_names_hold_the_numbers_of_shard_and_row(tmp_path: Path) -> None:
    rows = make_rows(SCHEMAS["images"], 3)
    (path,) = FORMAT.write(tmp_path / SHARD, SCHEMAS["images"], rows)
    suffixes = ("jpg", "jpg", "png")
    assert names_in(path) == [
        f"0000300000{index}.{suffix}" for index in range(3) for suffix in (suffixes[index], "cls", "json")
    ]
    (path,) = FORMAT.write(tmp_path / "shard", SCHEMAS["images"], rows[:1])
    assert names_in(path) == ["000000.jpg", "000000.cls", "000000.json"]


def test_shard_can_be_renamed(tmp_path: Path) -> None:
    rows = make_rows(SCHEMAS["images"], 3)
    (path,) = FORMAT.write(tmp_path / SHARD, SCHEMAS["images"], rows)
    path.rename(tmp_path / "other.tar")
    reader = FORMAT.open(tmp_path / "other", SCHEMAS["images"], 3)
    assert bytes(reader.read([2])[0]["image"]) == rows[2].values["image"]
    reader.close()


def test_field_names_stand_where_there_are_several() -> None:
    schema = Schema(
        (
            Field("before", "image"),
            Field("after", "image", "float32", (2, 2, 3), "raw"),
            Field("mask", "mask"),
            Field("colour", "label", "int64", (), "raw"),
            Field("shape", "label", "int64", (), "raw"),
            Field("age", "number", "float64", (), "raw"),
            Field("caption", "text", "uint8", None, "utf8"),
        )
    )
    assert member_names(schema) == {
        "before": "before.",
        "after": "after.npy",
        "mask": "mask.",
        "colour": "colour.cls",
        "shape": "shape.cls",
        "caption": "txt",
    }


def test_field_names_that_webdataset_would_mix_up(tmp_path: Path) -> None:
    schema = Schema((Field("mask", "mask"), Field("Mask", "mask")))
    with pytest.raises(ConfigError, match="case"):
        FORMAT.write(tmp_path / SHARD, schema, [])


def test_field_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="50 letters"):
        FORMAT.write(tmp_path / SHARD, Schema((Field("m" * 51, "mask"),)), [])
    long = Schema((Field("m" * 50, "vector", "float32", (1,), "raw"),))
    FORMAT.write(tmp_path / SHARD, long, [Row("a", {"m" * 50: b"\0\0\x80\x3f"})])
    reader = FORMAT.open(tmp_path / SHARD, long, 1)
    assert reader.read([0])[0]["m" * 50] == b"\0\0\x80\x3f"
    reader.close()


def test_damaged_header_is_not_the_end_of_the_archive(tmp_path: Path) -> None:
    (path,) = FORMAT.write(tmp_path / SHARD, SCHEMAS["images"], make_rows(SCHEMAS["images"], 100))
    with tarfile.open(path) as archive:
        place = archive.getmembers()[150].offset
    flip_bit(path, place + 300, 2)
    assert len(names_in(path)) < 300
    with pytest.raises(ShardError, match=f"header at byte {place}"):
        FORMAT.open(tmp_path / SHARD, SCHEMAS["images"], 100)


def test_damaged_label_costs_its_own_row_only(tmp_path: Path) -> None:
    schema = SCHEMAS["images"]
    rows = make_rows(schema, 5)
    (path,) = FORMAT.write(tmp_path / SHARD, schema, rows)
    with tarfile.open(path) as archive:
        place = archive.getmember("00003000002.cls").offset_data
    flip_bit(path, place, 6)
    reader = FORMAT.open(tmp_path / SHARD, schema, 5)
    with pytest.raises(ShardError, match="label"):
        reader.read([2], ["label"])
    assert bytes(reader.read([2], ["image"])[0]["image"]) == rows[2].values["image"]
    assert bytes(reader.read([3], ["label"])[0]["label"]) == rows[3].values["label"]
    reader.close()


@pytest.mark.parametrize(("number", "text"), [(0.1, 0.1), (float("inf"), "0x000000000000f07f"), (-0.0, -0.0)])
def test_numbers_stand_in_json(tmp_path: Path, number: float, text: object) -> None:
    schema = Schema((Field("age", "number", "float64", (), "raw"),))
    (path,) = FORMAT.write(tmp_path / SHARD, schema, [Row("a/b.jpg", {"age": np.float64(number).tobytes()})])
    with tarfile.open(path) as archive:
        member = archive.extractfile("00003000000.json")
        assert member is not None
        content = member.read()
    assert json.loads(content) == {"key": "a/b.jpg", "numbers": {"age": text}}


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tiff", "webp", "ppm", "pgm", "pbm", "ico", "jp2"])
def test_suffix_of_images(suffix: str) -> None:
    modes = {"pgm": "L", "pbm": "1"}
    kinds = {"jpg": "JPEG", "jp2": "JPEG2000", "pgm": "PPM", "pbm": "PPM"}
    stream = io.BytesIO()
    Image.new(modes.get(suffix, "RGB"), (16, 16)).save(stream, kinds.get(suffix, suffix.upper()))
    assert file_suffix(stream.getvalue()) == suffix


def test_suffix_of_other_files() -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    assert file_suffix(stream.getvalue()) == "npy"
    assert file_suffix(b"") == file_suffix(b"RIFF1234WAVE") == file_suffix(b"something") == "bin"


def test_archive_is_whole_records_of_zeros_at_the_end(tmp_path: Path) -> None:
    for count in (0, 1, 7):
        (path,) = FORMAT.write(tmp_path / SHARD, SCHEMAS["images"], make_rows(SCHEMAS["images"], count))
        content = path.read_bytes()
        assert len(content) % 10_240 == 0
        assert content[-1024:] == bytes(1024)
