"""Parquet, tar and TFRecord in the readers of their ecosystems: every kind of field, many rows, shards, splits."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorflow_env import run_with_tensorflow, tensorflow_python

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.formats import FORMATS
from imagemill.formats.tfrecord import example_features
from imagemill.testing.formats import SCHEMAS, make_rows

# Nothing here may look for a network; read when huggingface_hub is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

DEPTH = Field("depth", "mask")
"""A mask that only `.npy` holds."""

SCHEMA = Schema((*SCHEMAS["everything"].fields, DEPTH))
SPLITS = {"train": (400, 400, 200), "val": (70, 30)}


@dataclass(frozen=True)
class Written:
    """Shards of two splits in one format, and the rows in them."""

    files: dict[str, list[Path]]
    rows: dict[str, list[Row]]


def rows_of(split: str) -> list[Row]:
    """All rows of a split, masks as PNG, depth as `.npy`."""
    rows = make_rows(SCHEMAS["everything"], sum(SPLITS[split]), seed=len(split))
    return [
        dataclasses.replace(
            row, values={**row.values, **masks(index)}, origins={**row.origins, "depth": f"depth/{index}.npy"}
        )
        for index, row in enumerate(rows)
    ]


def masks(index: int) -> dict[str, bytes]:
    """An encoded mask and depth map."""
    rng = np.random.default_rng(index)
    png, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(rng.integers(0, 12, (9, 7), dtype=np.uint8)).save(png, "PNG")
    np.save(npy, rng.random((9, 7), dtype=np.float32))
    return {"mask": png.getvalue(), "depth": npy.getvalue()}


def write(folder: Path, name: str) -> Written:
    """Writes both splits in the format of that name."""
    folder.mkdir()
    rows = {split: rows_of(split) for split in SPLITS}
    files: dict[str, list[Path]] = {}
    for split, counts in SPLITS.items():
        ends = np.cumsum(counts).tolist()
        for number, (count, end) in enumerate(zip(counts, ends, strict=True)):
            path = folder / f"{split}-{number:05d}-of-{len(counts):05d}"
            files.setdefault(split, []).extend(FORMATS.get(name).write(path, SCHEMA, rows[split][end - count : end]))
    return Written(files, rows)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("parquet") / "data", "parquet")


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("tar") / "data", "tar")


def array(row: Row, name: str) -> np.ndarray:
    """A raw field's value."""
    field = SCHEMA[name]
    elements = np.frombuffer(row.values[name], field.numpy_dtype)
    return elements.reshape([-1 if side is None else side for side in field.shape or ()])


def pixels(value: bytes) -> np.ndarray:
    """An encoded image, decoded."""
    return np.asarray(Image.open(io.BytesIO(value)))


def check_numbers(record: dict[str, object], row: Row) -> None:
    """Scalars, vectors, text and key of a row as a reader gave them."""
    assert record["key"] == row.key
    assert record["text"] == bytes(row.values["text"]).decode()
    for name in ("label", "score", "ratio", "count"):
        assert record[name] == array(row, name).item()
    for name in ("embedding", "boxes", "ids"):
        assert np.array_equal(np.asarray(record[name], SCHEMA[name].dtype), array(row, name))


# Parquet


@pytest.mark.parametrize("split", SPLITS)
def test_datasets(parquet: Written, split: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    files = {name: [str(path) for path in paths] for name, paths in parquet.files.items()}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))[split]
    pictures = ("image", "pixels", "mask", "classes")
    assert all(isinstance(loaded.features[name], datasets.Image) for name in pictures)
    assert loaded.features["label"] == datasets.ClassLabel(names=list(SCHEMA["label"].class_names or ()))
    assert loaded.features["embedding"].length == 16
    rows = parquet.rows[split]
    assert len(loaded) == len(rows)
    for record, row in zip(loaded, rows, strict=True):
        check_numbers(record, row)
        for name in ("image", "mask"):
            assert np.array_equal(np.asarray(record[name]), pixels(row.values[name]))
        for name in ("pixels", "classes"):
            assert np.array_equal(np.asarray(record[name]), array(row, name))
        assert record["flow"] == row.values["flow"]
        assert record["depth"] == {"bytes": row.values["depth"], "path": row.origins["depth"]}
    undecoded = loaded.cast_column("image", datasets.Image(decode=False))[3]["image"]
    assert undecoded == {"bytes": rows[3].values["image"], "path": rows[3].origins["image"]}


def check_columns(records: list[dict[str, object]], rows: list[Row]) -> None:
    """Rows as polars, DuckDB and pandas give them, image bytes included."""
    assert len(records) == len(rows)
    for record, row in zip(records, rows, strict=True):
        check_numbers(record, row)
        for name in ("image", "mask", "depth"):
            assert record[name] == {"bytes": row.values[name], "path": row.origins[name]}
        for name in ("pixels", "classes"):
            assert np.array_equal(pixels(record[name]["bytes"]), array(row, name))
        assert record["flow"] == row.values["flow"]


@pytest.mark.parametrize("split", SPLITS)
def test_polars(parquet: Written, split: str) -> None:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(parquet.files[split])
    check_columns(table.to_dicts(), parquet.rows[split])
    counts = polars.scan_parquet(parquet.files[split]).group_by("label").len().collect()
    assert sum(counts["len"]) == len(parquet.rows[split])


@pytest.mark.parametrize("split", SPLITS)
def test_duckdb(parquet: Written, split: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        result = connection.execute("SELECT * FROM read_parquet(?)", [[str(path) for path in parquet.files[split]]])
        names = [column[0] for column in result.description]
        check_columns([dict(zip(names, values, strict=True)) for values in result.fetchall()], parquet.rows[split])
        (first,) = parquet.rows[split][:1]
        found = connection.execute(
            "SELECT octet_length(image.bytes) FROM read_parquet(?) WHERE key = ?",
            [str(parquet.files[split][0]), first.key],
        ).fetchall()
        assert found == [(len(first.values["image"]),)]


@pytest.mark.parametrize("split", SPLITS)
def test_pandas(parquet: Written, split: str) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.concat([pandas.read_parquet(path) for path in parquet.files[split]])
    check_columns(table.to_dict("records"), parquet.rows[split])


def test_parquet_pages_have_checksums(parquet: Written) -> None:
    import pyarrow.parquet as pq

    path = parquet.files["train"][0]
    whole = bytearray(path.read_bytes())
    value = bytes(parquet.rows["train"][0].values["image"])
    whole[whole.index(value) + 5] ^= 1
    damaged = pq.ParquetFile(io.BytesIO(whole), page_checksum_verification=True)
    with pytest.raises(OSError, match="CRC"):
        damaged.read(["image"])


# tar


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            yield member, content.read()


def as_members(row: Row) -> dict[str, bytes]:
    """Suffix → content of the members that hold bytes as they are."""
    suffix = "png" if bytes(row.values["image"]).startswith(b"\x89PNG") else "jpg"
    return {
        f"image.{suffix}": row.values["image"],
        "mask.png": row.values["mask"],
        "depth.npy": row.values["depth"],
        "txt": row.values["text"],
        "cls": b"%d" % array(row, "label"),
    }  # type: ignore[dict-item]


def check_sample(sample: dict[str, bytes], row: Row) -> None:
    """The members of one sample, suffix → content."""
    assert {name: sample[name] for name in as_members(row)} == as_members(row)
    for name in ("pixels.ppm", "classes.pgm"):
        assert np.array_equal(pixels(sample[name]), array(row, name[:-4]))
    for name in ("flow", "embedding", "boxes", "ids"):
        stored = np.load(io.BytesIO(sample[f"{name}.npy"]))
        assert stored.dtype == SCHEMA[name].dtype
        assert np.array_equal(stored, array(row, name))
    about = json.loads(sample["json"])
    assert (about["key"], about["origins"], about.get("notes", "")) == (row.key, row.origins, row.notes)
    assert about["numbers"] == {name: array(row, name).item() for name in ("score", "ratio", "count")}
    assert len(sample) == len(SCHEMA) - 3 + 1


@pytest.mark.parametrize("split", SPLITS)
def test_tarfile(tar: Written, split: str) -> None:
    samples: dict[str, dict[str, bytes]] = {}
    for path in tar.files[split]:
        for member, content in members(path):
            assert (member.mode, member.uid, member.gid, member.mtime, member.type) == (0o644, 0, 0, 0, tarfile.REGTYPE)
            stem, _, suffix = member.name.partition(".")
            samples.setdefault(stem, {})[suffix] = content
    assert list(samples) == sorted(samples)
    for sample, row in zip(samples.values(), tar.rows[split], strict=True):
        check_sample(sample, row)


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar program")
def test_plain_tar(tar: Written, tmp_path: Path) -> None:
    for path in tar.files["val"]:
        done = subprocess.run(["tar", "-xf", str(path), "-C", str(tmp_path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    rows = tar.rows["val"]
    assert len(list(tmp_path.iterdir())) == len(rows) * (len(SCHEMA) - 3 + 1)
    assert (tmp_path / "00001000029.txt").read_bytes() == rows[99].values["text"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "00000000003.pixels.ppm")), array(rows[3], "pixels"))
    assert np.array_equal(np.load(tmp_path / "00000000003.depth.npy"), np.load(io.BytesIO(rows[3].values["depth"])))


# webdataset leaves the files that it has read to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("split", SPLITS)
def test_webdataset(tar: Written, split: str) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [path.as_posix() for path in tar.files[split]]
    rows = tar.rows[split]
    undecoded = list(webdataset.WebDataset(urls, shardshuffle=False))
    for sample, row in zip(undecoded, rows, strict=True):
        check_sample({name: value for name, value in sample.items() if not name.startswith("__")}, row)
    assert len({sample["__key__"] for sample in undecoded}) == len(rows)
    class_ids = webdataset.handle_extension("mask.png", pixels)
    decoded = list(webdataset.WebDataset(urls, shardshuffle=False).decode(class_ids, "pil"))
    for sample, row in zip(decoded, rows, strict=True):
        image = sample.get("image.jpg") or sample["image.png"]
        assert np.array_equal(np.asarray(image), pixels(row.values["image"]))
        assert np.array_equal(np.asarray(sample["pixels.ppm"]), array(row, "pixels"))
        assert np.array_equal(sample["embedding.npy"], array(row, "embedding"))
        assert (sample["cls"], sample["txt"]) == (array(row, "label").item(), bytes(row.values["text"]).decode())
        assert sample["json"]["key"] == row.key
        assert np.array_equal(sample["mask.png"], pixels(row.values["mask"]))
        # Whatever has no decoder of its own gets three channels.
        assert np.array_equal(np.asarray(sample["classes.pgm"])[..., 0], array(row, "classes"))
    del sample, undecoded, decoded
    gc.collect()


# TFRecord


def tensorflow_features() -> dict[str, tuple[str, list[int] | None]]:
    """Name → kind and shape of every feature, as a user would write them down."""
    shapes: dict[str, list[int] | None] = {"embedding": [16], "boxes": None, "ids": None}
    shapes |= {"pixels/shape": [3], "classes/shape": [2], "flow/shape": [3]}
    return {feature.name: (feature.kind, shapes.get(feature.name, [])) for feature in example_features(SCHEMA)}


def test_tensorflow(tmp_path: Path) -> None:
    tensorflow_python()
    formats = {"": "tfrecord", "GZIP": "tfrecord-gzip", "ZLIB": "tfrecord-zlib"}
    splits = {"": ("train", "val"), "GZIP": ("val",), "ZLIB": ("val",)}
    written = {kind: write(tmp_path / name, name) for kind, name in formats.items()}
    files = {kind: [str(path) for split in splits[kind] for path in written[kind].files[split]] for kind in formats}
    job, out = tmp_path / "job.json", tmp_path / "out.json"
    job.write_text(json.dumps({"files": files, "features": tensorflow_features()}))
    run_with_tensorflow(Path(__file__).with_name("read_tfrecords.py"), job, out)
    read = json.loads(out.read_text())
    for kind in formats:
        rows = [row for split in splits[kind] for row in written[kind].rows[split]]
        for record, row in zip(read[kind], rows, strict=True):
            check_example(record, row)


def check_example(record: dict[str, object], row: Row) -> None:
    """One row as TensorFlow parsed it, bytes in hex."""
    text = {"key": row.key.encode()} | {f"{name}/path": origin.encode() for name, origin in row.origins.items()}
    for name in ("image", "pixels", "mask", "classes", "flow", "depth", "text", "score"):
        text[name] = bytes(row.values[name])
    assert {name: record[name] for name in text} == {name: value.hex() for name, value in text.items()}
    for name in ("label", "ratio", "count", "embedding", "boxes", "ids"):
        assert np.array_equal(np.asarray(record[name], SCHEMA[name].dtype), array(row, name))
    for name in ("pixels", "classes", "flow"):
        assert tuple(record[f"{name}/shape"]) == SCHEMA[name].shape
    assert np.array_equal(record["pixels:decoded"], array(row, "pixels"))
    assert record["score:decoded"] == [array(row, "score").item()]
    if bytes(row.values["image"]).startswith(b"\x89PNG"):
        assert np.array_equal(record["image:decoded"], pixels(row.values["image"]))
