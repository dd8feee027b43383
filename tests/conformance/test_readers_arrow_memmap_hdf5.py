"""Arrow, memmap and HDF5 in the readers of their ecosystems: every kind of field, 1000 rows, several shards, splits."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars
import pyarrow as pa
import pytest
from PIL import Image

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, ShardError
from imagemill.formats import FORMATS, arrow, hdf5
from imagemill.testing.formats import SCHEMAS, make_rows

SCHEMA = SCHEMAS["everything"]
SPLITS = {"train": (400, 400, 200), "val": (70, 30)}
NAMES = ("arrow", "memmap", "hdf5")


@dataclass(frozen=True)
class Shard:
    """A written shard: its path without suffix, and the rows in it."""

    path: Path
    rows: list[Row]

    def values(self, name: str) -> list[bytes]:
        """One field's bytes, row by row."""
        return [bytes(row.values[name]) for row in self.rows]

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """One field of fixed size, all rows stacked."""
        field = SCHEMA[name]
        stacked = np.frombuffer(b"".join(self.values(name)), field.numpy_dtype)
        return stacked.reshape(len(self.rows), *(field.shape or ()))

    @property
    def keys(self) -> list[str]:
        """Keys, row by row."""
        return [row.key for row in self.rows]


FIXED = [field.name for field in SCHEMA if field.storage in ("scalar", "fixed")]
RAGGED = [field.name for field in SCHEMA if field.storage == "ragged"]
BYTES = [field.name for field in SCHEMA if field.storage in ("bytes", "text")]


def write(folder: Path, name: str) -> list[Shard]:
    """Both splits in one format, several shards each."""
    shards = []
    for seed, (split, counts) in enumerate(SPLITS.items()):
        rows = make_rows(SCHEMA, sum(counts), seed)
        ends = np.cumsum(counts).tolist()
        for number, (count, end) in enumerate(zip(counts, ends, strict=True)):
            shard = Shard(folder / f"{split}-{number:05d}-of-{len(counts):05d}", rows[end - count : end])
            FORMATS.get(name).write(shard.path, SCHEMA, shard.rows)
            shards.append(shard)
    return shards


@pytest.fixture(scope="module", params=NAMES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Shard]]:
    return request.param, write(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def arrow_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    return write(tmp_path_factory.mktemp("arrow"), "arrow")


@pytest.fixture(scope="module")
def memmap_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    return write(tmp_path_factory.mktemp("memmap"), "memmap")


@pytest.fixture(scope="module")
def hdf5_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    return write(tmp_path_factory.mktemp("hdf5"), "hdf5")


def arrow_file(shard: Shard) -> Path:
    return shard.path.with_name(shard.path.name + ".arrow")


# arrow


def test_pyarrow_reads_every_field_from_a_memory_map(arrow_shards: list[Shard]) -> None:
    for shard in arrow_shards:
        with pa.memory_map(str(arrow_file(shard))) as file:
            table = pa.ipc.open_file(file).read_all().combine_chunks()
        assert table.column_names == ["key", *SCHEMA.names]
        table.validate(full=True)
        assert table["key"].to_pylist() == shard.keys
        for name in BYTES:
            assert table[name].cast(pa.binary()).to_pylist() == shard.values(name)
        for name in RAGGED:
            dtype = SCHEMA[name].numpy_dtype
            assert [np.array(value, dtype).tobytes() for value in table[name].to_pylist()] == shard.values(name)
        for name in FIXED:
            column = table[name].combine_chunks()
            found = column.to_numpy_ndarray() if SCHEMA[name].storage == "fixed" else column.to_numpy()
            assert found.dtype == SCHEMA[name].numpy_dtype
            np.testing.assert_array_equal(found, shard.array(name))


def test_pyarrow_copies_nothing(arrow_shards: list[Shard]) -> None:
    before = pa.total_allocated_bytes()
    file = pa.memory_map(str(arrow_file(arrow_shards[0])))
    reader = pa.ipc.open_file(file)
    batch = reader.get_batch(0)
    whole = np.frombuffer(file.read_buffer(file.size()), np.uint8)
    file_start, file_end = whole.ctypes.data, whole.ctypes.data + whole.size
    for column in batch.columns:
        for buffer in column.buffers():
            assert buffer is None or file_start <= buffer.address < file_end
    for name in ("pixels", "flow", "embedding"):
        array = batch.column(name).to_numpy_ndarray()
        assert file_start <= array.ctypes.data < file_end
    assert pa.total_allocated_bytes() == before


def test_arrow_says_what_it_holds(arrow_shards: list[Shard]) -> None:
    schema = pa.ipc.open_file(pa.memory_map(str(arrow_file(arrow_shards[0])))).schema
    assert Schema.from_json(json.loads(schema.metadata[b"imagemill.schema"])) == SCHEMA
    label = schema.field("label").metadata
    assert label[b"imagemill.kind"] == b"label"
    assert tuple(json.loads(label[b"imagemill.class_names"])) == SCHEMA["label"].class_names
    assert schema.field("pixels").type == pa.fixed_shape_tensor(pa.uint8(), (12, 10, 3))


def test_polars_reads_arrow(arrow_shards: list[Shard]) -> None:
    for shard in arrow_shards:
        frame = polars.read_ipc(arrow_file(shard))
        assert frame["key"].to_list() == shard.keys
        for name in ("image", "mask"):
            assert frame[name].to_list() == shard.values(name)
        assert [text.encode() for text in frame["text"]] == shard.values("text")
        for name in ("label", "score", "ratio", "count"):
            np.testing.assert_array_equal(frame[name].to_numpy(), shard.array(name))
        for name in RAGGED:
            dtype = SCHEMA[name].numpy_dtype
            assert [np.array(value, dtype).tobytes() for value in frame[name].to_list()] == shard.values(name)


def test_polars_selects_over_shards(arrow_shards: list[Shard]) -> None:
    files = [arrow_file(shard) for shard in arrow_shards if shard.path.name.startswith("train")]
    found = polars.scan_ipc(files).filter(polars.col("label") == 1).select("key").collect()["key"].to_list()
    assert found == [row.key for row in make_rows(SCHEMA, 1000, 0) if row.values["label"][0] == 1]


def test_arrow_batches_are_bounded(tmp_path: Path) -> None:
    schema = Schema((Field("image", "image"),))
    sizes = [3 << 20] * 5 + [20 << 20, 1]
    rows = [Row(f"{index}", {"image": bytes([index]) * size}) for index, size in enumerate(sizes)]
    arrow.FORMAT.write(tmp_path / "a", schema, rows)
    reader = pa.ipc.open_file(pa.memory_map(str(tmp_path / "a.arrow")))
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    assert [batch.num_rows for batch in batches] == [2, 2, 1, 1, 1]
    images = [image for batch in batches for image in batch.column("image").to_pylist()]
    assert images == [row.values["image"] for row in rows]


def test_arrow_batches_are_bounded_in_rows(tmp_path: Path) -> None:
    schema = Schema((Field("score", "number", "float64", (), "raw"),))
    count = arrow.BATCH_ROWS + 10
    rows = (Row(f"{index}", {"score": np.float64(index).tobytes()}) for index in range(count))
    arrow.FORMAT.write(tmp_path / "a", schema, rows)
    assert pa.ipc.open_file(pa.memory_map(str(tmp_path / "a.arrow"))).num_record_batches == 2
    reader = arrow.FORMAT.open(tmp_path / "a", schema, count)
    last = reader.read([count - 1, arrow.BATCH_ROWS - 1], ["score"])
    assert [np.frombuffer(row["score"], "<f8")[0] for row in last] == [count - 1, arrow.BATCH_ROWS - 1]


def test_arrow_refuses_a_value_that_it_cannot_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "OFFSET_LIMIT", 1000)
    rows = [Row("big", {"before": bytes(600), "after": bytes(600)})]
    with pytest.raises(ConfigError, match=r"'big' has 1200 bytes.*memmap or hdf5"):
        arrow.FORMAT.write(tmp_path / "a", SCHEMAS["pair"], rows)


def test_arrow_that_is_compressed_or_has_nulls_is_refused(tmp_path: Path) -> None:
    schema = Schema((Field("score", "number", "float64", (), "raw"),))
    columns = arrow.arrow_schema(schema)
    for values, options in (([1.5] * 200, pa.ipc.IpcWriteOptions(compression="zstd")), ([None] * 200, None)):
        batch = pa.record_batch([["k"] * 200, pa.array(values, pa.float64())], schema=columns)
        with pa.ipc.new_file(str(tmp_path / "a.arrow"), columns, options=options) as writer:
            writer.write_batch(batch)
        with pytest.raises(ShardError, match="compressed or damaged|column 'score' is damaged"):
            arrow.FORMAT.open(tmp_path / "a", schema, 200)


# memmap


def load(shard: Shard, name: str) -> np.ndarray[Any, Any]:
    return np.load(shard.path.with_name(f"{shard.path.name}.{name}.npy"), mmap_mode="r")  # type: ignore[no-any-return]


def test_numpy_maps_every_field(memmap_shards: list[Shard]) -> None:
    for shard in memmap_shards:
        for name in FIXED:
            found = load(shard, name)
            assert isinstance(found, np.memmap)
            assert found.dtype == SCHEMA[name].numpy_dtype
            np.testing.assert_array_equal(found, shard.array(name))
        keys = [key.encode() for key in shard.keys]
        for name, wanted in [("key", keys), *((name, shard.values(name)) for name in (*BYTES, *RAGGED))]:
            values, offsets = load(shard, name), load(shard, f"{name}.offsets")
            assert (values.ndim, offsets.dtype, offsets.shape) == (1, np.int64, (len(shard.rows) + 1,))
            assert [values[start:end].tobytes() for start, end in pairwise(offsets)] == wanted


def test_memmap_elements_are_aligned(memmap_shards: list[Shard]) -> None:
    files = sorted(memmap_shards[0].path.parent.glob("*.npy"))
    assert files
    for file in files:
        with file.open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            assert stream.tell() % 64 == 0


def test_numpy_loads_a_shard_without_rows(tmp_path: Path) -> None:
    for file in FORMATS.get("memmap").write(tmp_path / "empty", SCHEMA, []):
        array = np.load(file)
        assert array.size == (1 if ".offsets." in file.name else 0)
    assert np.load(tmp_path / "empty.pixels.npy").shape == (0, 12, 10, 3)


# hdf5


@pytest.fixture
def opened(hdf5_shards: list[Shard]) -> Iterator[list[tuple[Shard, h5py.File]]]:
    files = [h5py.File(shard.path.with_name(shard.path.name + ".h5"), "r") for shard in hdf5_shards]
    yield list(zip(hdf5_shards, files, strict=True))
    for file in files:
        file.close()


def test_h5py_reads_every_field(opened: list[tuple[Shard, h5py.File]]) -> None:
    for shard, file in opened:
        for name in FIXED:
            assert file[name].dtype == SCHEMA[name].numpy_dtype
            np.testing.assert_array_equal(file[name][:], shard.array(name))
        keys = [key.encode() for key in shard.keys]
        for name, wanted in [("key", keys), *((name, shard.values(name)) for name in (*BYTES, *RAGGED))]:
            values, offsets = file[name], file[f"{name}_offsets"][:]
            assert values.chunks is None
            found = [values[start:end].tobytes() for start, end in pairwise(offsets)]
            assert found == wanted


def test_h5py_decodes_one_image_as_a_user_would(opened: list[tuple[Shard, h5py.File]]) -> None:
    shard, file = opened[1]
    start, end = file["image_offsets"][17:19]
    image = Image.open(io.BytesIO(file["image"][start:end].tobytes()))
    np.testing.assert_array_equal(image, Image.open(io.BytesIO(shard.values("image")[17])))


def test_hdf5_has_one_image_a_chunk(opened: list[tuple[Shard, h5py.File]]) -> None:
    _, file = opened[0]
    assert file["pixels"].chunks == (1, 12, 10, 3)
    assert file["classes"].chunks == (1, 12, 10)
    assert file["flow"].chunks == (1, 6, 5, 2)
    assert all(dataset.compression is None for dataset in file.values())


def test_hdf5_says_what_it_holds(opened: list[tuple[Shard, h5py.File]]) -> None:
    _, file = opened[0]
    assert Schema.from_json(json.loads(file.attrs["imagemill_schema"])) == SCHEMA
    assert file["label"].attrs["kind"] == b"label"
    assert tuple(json.loads(file["label"].attrs["class_names"])) == SCHEMA["label"].class_names
    assert file["flow"].attrs["codec"] == b"raw"


def test_hdf5_names_that_clash_are_refused(tmp_path: Path) -> None:
    schema = Schema((Field("image", "image"), Field("image_offsets", "number", "int64", (), "raw")))
    with pytest.raises(ConfigError, match="field name 'image_offsets'"):
        hdf5.FORMAT.write(tmp_path / "a", schema, [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"chunks": (2, 12, 10, 3)}, {"chunks": (1, 12, 10, 3), "compression": "gzip"}])
def test_hdf5_in_another_layout_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    schema = SCHEMAS["raw"]
    hdf5.FORMAT.write(tmp_path / "a", schema, make_rows(schema, 4))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        pixels = file["pixels"][:]
        del file["pixels"]
        file.create_dataset("pixels", data=pixels, **options)
    with pytest.raises(ShardError, match="compressed|chunks"):
        hdf5.FORMAT.open(tmp_path / "a", schema, 4)


def test_hdf5_with_a_missing_image_is_refused(tmp_path: Path) -> None:
    schema = SCHEMAS["raw"]
    hdf5.FORMAT.write(tmp_path / "a", schema, make_rows(schema, 4))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["pixels"].resize(3, axis=0)
        file["pixels"].resize(4, axis=0)
    with pytest.raises(ShardError, match="lacks chunks"):
        hdf5.FORMAT.open(tmp_path / "a", schema, 4)


# all three


def test_our_reader_agrees(written: tuple[str, list[Shard]]) -> None:
    name, shards = written
    for shard in shards:
        reader = FORMATS.get(name).open(shard.path, SCHEMA, len(shard.rows))
        order = np.random.default_rng(5).permutation(len(shard.rows)).tolist()
        for index, row in zip(order, reader.read(order), strict=True):
            assert {field: bytes(value) for field, value in row.items()} == dict(shard.rows[index].values)
        reader.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "field",
    [
        Field("inside", "mask", "bool", (4, 5), "raw"),
        Field("depth", "mask", "uint16", (4, 5), "raw"),
        Field("ids", "mask", "int32", (4, 5, 2), "raw"),
        Field("half", "vector", "float16", (3,), "raw"),
        Field("halves", "vector", "float16", (None,), "raw"),
        Field("flags", "vector", "bool", (None,), "raw"),
        Field("nothing", "vector", "float32", (0,), "raw"),
        Field("matrix", "vector", "float64", (2, 3), "raw"),
        Field("flag", "number", "bool", (), "raw"),
        Field("byte", "number", "uint8", (), "raw"),
        Field("large", "number", "uint64", (), "raw"),
    ],
    ids=lambda field: field.name,
)
def test_element_types(tmp_path: Path, name: str, field: Field) -> None:
    rng = np.random.default_rng(1)
    shapes = [tuple(index if side is None else side for side in field.shape or ()) for index in range(5)]
    values = [(rng.random(shape) * (2 if field.dtype == "bool" else 200)).astype(field.dtype) for shape in shapes]
    rows = [Row(f"{index}", {field.name: np.asarray(value).tobytes()}) for index, value in enumerate(values)]
    schema = Schema((field,))
    FORMATS.get(name).write(tmp_path / "a", schema, rows)
    reader = FORMATS.get(name).open(tmp_path / "a", schema, 5)
    assert [bytes(row[field.name]) for row in reader.read(range(5))] == [row.values[field.name] for row in rows]
    reader.close()


@pytest.mark.parametrize("name", NAMES)
def test_values_outlive_the_reader(tmp_path: Path, name: str) -> None:
    schema = Schema((Field("image", "image"),))
    value = np.random.default_rng(0).bytes(400_000)
    FORMATS.get(name).write(tmp_path / "a", schema, [Row("k", {"image": value})])
    reader = FORMATS.get(name).open(tmp_path / "a", schema, 1)
    kept = reader.read([0])[0]["image"]
    assert isinstance(kept, memoryview)
    reader.close()
    assert bytes(kept) == value
