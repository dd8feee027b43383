"""The dataset card and the Croissant file, through the libraries that they are written for."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import runpy
from dataclasses import replace
from pathlib import Path

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash
import yaml
from datasets import Features, load_dataset
from PIL import Image

from imagemill.core.manifest import FileInfo, Manifest, ShardInfo
from imagemill.core.schema import Field, Schema
from imagemill.formats import FORMATS
from imagemill.prepare.card import croissant, dataset_card
from imagemill.testing.rows import SCHEMAS, make_rows

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # in rdflib

SPLITS = {"train": (4, 3), "train-extra": (2,), "test": (5,)}
LEFT_TO_THE_PUBLISHER = {"citeAs", "datePublished", "license"}
OWN_READERS = ("arrow", "hdf5", "memmap", "parquet", "tar")


def file_info(folder: Path, path: Path) -> FileInfo:
    content = path.read_bytes()
    sha256, xxh3 = hashlib.sha256(content).hexdigest(), xxhash.xxh3_64_hexdigest(content)
    return FileInfo(path.relative_to(folder).as_posix(), len(content), sha256, xxh3)


def manifest_of(format_name: str, schema: Schema, splits: dict[str, tuple[ShardInfo, ...]]) -> Manifest:
    samples = sum(shard.count for shards in splits.values() for shard in shards)
    return Manifest(
        format=format_name,
        pixels="original",
        schema=schema,
        splits=splits,
        recipe={"format": format_name},
        versions={"imagemill": "0.1.0", "pillow": "13.0.0"},
        counts={
            "found": samples + 3,
            "kept": samples,
            "rejected": 2,
            "ignored": 1,
            "reasons": {"truncated": 2},
            "notes": {"image:orientation=6": 1},
            "classes": {name: {"cat": 2, "été": 1} for name in splits},
        },
        source={"kind": "folder", "fingerprint": "0123456789abcdef" * 2},
    )


def imagined(format_name: str, schema: Schema, splits: dict[str, tuple[int, ...]] = SPLITS) -> Manifest:
    """A manifest of shards that do not exist."""
    nothing = FileInfo("", 0, "0" * 64, "0" * 16)
    suffix = {"hdf5": ".h5", "memmap": ".image.npy"}.get(format_name, f".{format_name}")
    made = {}
    for split, counts in splits.items():
        names = [f"{split}-{number:05}-of-{len(counts):05}" for number in range(len(counts))]
        made[split] = tuple(
            ShardInfo(name, count, (replace(nothing, path=f"data/{name}{suffix}"),), nothing)
            for name, count in zip(names, counts, strict=True)
        )
    return manifest_of(format_name, schema, made)


def packed(folder: Path, format_name: str, schema: Schema) -> Manifest:
    """A dataset folder with real shards, card and Croissant file, as `pack` leaves it."""
    (folder / "data").mkdir(parents=True)
    rows, made = iter(make_rows(schema, sum(map(sum, SPLITS.values())))), {}
    for split, counts in SPLITS.items():
        shards = []
        for number, count in enumerate(counts):
            name = f"{split}-{number:05}-of-{len(counts):05}"
            files = FORMATS.get(format_name).write(folder / "data" / name, schema, [next(rows) for _ in range(count)])
            infos = tuple(file_info(folder, path) for path in files)
            shards.append(ShardInfo(name, count, infos, infos[0]))
        made[split] = tuple(shards)
    manifest = manifest_of(format_name, schema, made)
    (folder / "croissant.json").write_text(croissant(manifest), "utf-8")
    (folder / "README.md").write_text(dataset_card(manifest), "utf-8")
    return manifest


def front_matter(card: str) -> dict[str, object]:
    _, block, _ = card.split("---\n", 2)
    return yaml.safe_load(block)


@pytest.mark.parametrize("format_name", sorted(FORMATS))
@pytest.mark.parametrize("schema_name", sorted(SCHEMAS))
def test_mlcroissant_finds_nothing_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, format_name: str, schema_name: str
) -> None:
    manifest = imagined(format_name, SCHEMAS[schema_name])
    path = tmp_path / "croissant.json"
    path.write_text(croissant(manifest), "utf-8")
    with caplog.at_level(logging.WARNING):
        read = mlcroissant.Dataset(path)
    assert not read.metadata.ctx.issues.errors
    assert "not standard" not in caplog.text
    recommended = {re.search(r'/(\w+)" is recommended', warning) for warning in read.metadata.ctx.issues.warnings}
    assert {match and match[1] for match in recommended} == LEFT_TO_THE_PUBLISHER
    listed = {file.content_url: file.sha256 for file in read.metadata.file_objects}
    shards = [shard for shards in manifest.splits.values() for shard in shards]
    assert listed == {file.path: file.sha256 for shard in shards for file in shard.files}


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # mlcroissant's use of pandas
def test_mlcroissant_reads_the_samples_of_a_parquet_dataset(tmp_path: Path) -> None:
    # Not `mask`: among its rows are .npy files, which no image library opens.
    schema = Schema(tuple(field for field in SCHEMAS["everything"] if field.name != "mask"))
    packed(tmp_path, "parquet", schema)
    records = list(mlcroissant.Dataset(tmp_path / "croissant.json").records("samples"))
    rows = {row.key: row for row in make_rows(schema, 14)}
    assert {record["samples/key"].decode() for record in records} == set(rows)
    splits = [record["samples/split"].decode() for record in records]
    assert {split: splits.count(split) for split in SPLITS} == {name: sum(counts) for name, counts in SPLITS.items()}
    for record in records:
        row = rows[record["samples/key"].decode()]
        assert isinstance(record["samples/image"], Image.Image)
        assert record["samples/label"].tobytes() == row.values["label"]
        assert record["samples/score"].tobytes() == row.values["score"]
        assert np.array(record["samples/embedding"], "<f4").tobytes() == row.values["embedding"]
        assert record["samples/flow"] == row.values["flow"]
        assert record["samples/text"] == row.values["text"]


def test_mlcroissant_reads_the_classes(tmp_path: Path) -> None:
    packed(tmp_path, "parquet", SCHEMAS["images"])
    records = mlcroissant.Dataset(tmp_path / "croissant.json").records("label_classes")
    names = SCHEMAS["images"]["label"].class_names or ()
    assert [(record["label_classes/index"], record["label_classes/name"]) for record in records] == list(
        enumerate(names)
    )


@pytest.mark.parametrize("schema_name", sorted(SCHEMAS))
def test_hugging_face_loads_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, schema_name: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    schema = SCHEMAS[schema_name]
    packed(tmp_path / "dataset", "parquet", schema)
    loaded = load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in loaded.items()} == {"train": 7, "train_extra": 2, "test": 5}
    assert loaded["test"].column_names == ["key", *schema.names]
    assert "dataset card" not in caplog.text
    assert loaded["train_extra"]["key"] == [row.key for row in make_rows(schema, 14)[7:9]]


@pytest.mark.parametrize("schema_name", ["images", "raw", "pair", "raw_pair", "numbers", "vectors", "text"])
def test_features_on_the_card_are_those_of_the_files(tmp_path: Path, schema_name: str) -> None:
    packed(tmp_path, "parquet", SCHEMAS[schema_name])
    info = front_matter((tmp_path / "README.md").read_text("utf-8"))["dataset_info"]
    (first, *_) = sorted(tmp_path.glob("data/*.parquet"))
    described = json.loads(pq.read_schema(first).metadata[b"huggingface"])["info"]["features"]
    assert Features._from_yaml_list(info["features"]) == Features.from_dict(described)


def test_features_are_left_to_the_files_where_masks_may_be_arrays() -> None:
    assert "features" not in front_matter(dataset_card(imagined("parquet", SCHEMAS["masks"])))["dataset_info"]


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")  # webdataset leaves them to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("format_name", OWN_READERS)
def test_the_card_says_how_to_open_it_without_imagemill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    packed(tmp_path / "dataset", format_name, SCHEMAS["images"])
    card = (tmp_path / "dataset" / "README.md").read_text("utf-8")
    script = tmp_path / "snippet.py"
    script.write_text(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[1], "utf-8")
    monkeypatch.chdir(tmp_path / "dataset")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    opened = runpy.run_path(str(script))
    match format_name:
        case "arrow":
            assert opened["table"].num_rows == 4
        case "memmap":
            assert len(opened["values"]) > 0
        case "parquet":
            assert opened["dataset"].num_rows == 7
        case "tar":
            assert sum(1 for _ in opened["dataset"]) == 7


@pytest.mark.parametrize(
    ("fields", "tasks"),
    [
        (SCHEMAS["images"].fields, ["image-classification"]),
        (SCHEMAS["pair"].fields, ["image-to-image"]),
        (SCHEMAS["masks"].fields, ["image-segmentation"]),
        (SCHEMAS["text"].fields, ["image-to-text"]),
        ((Field("image", "image"),), None),
    ],
)
def test_tasks_follow_from_the_fields(fields: tuple[Field, ...], tasks: list[str] | None) -> None:
    assert front_matter(dataset_card(imagined("tar", Schema(fields)))).get("task_categories") == tasks


@pytest.mark.parametrize(
    ("count", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_size_category(count: int, category: str) -> None:
    card = dataset_card(imagined("arrow", SCHEMAS["images"], {"train": (count,)}))
    assert front_matter(card)["size_categories"] == [category]


def test_any_class_name_survives_yaml_and_markdown() -> None:
    names = ("a|b", "yes", "- x: 'y'", 'quote"\\', "naïve\u2028été", "\x85\x07\ufeff", "🐈", "[link](x)", "1")
    schema = Schema((Field("image", "image"), Field("label", "label", "int64", (), "raw", class_names=names)))
    manifest = imagined("parquet", schema)
    manifest = replace(manifest, counts={**manifest.counts, "classes": {"train": dict.fromkeys(names, 1)}})
    card = dataset_card(manifest)
    entry = front_matter(card)["dataset_info"]["features"][-1]
    assert entry["dtype"]["class_label"]["names"] == {str(index): name for index, name in enumerate(names)}
    table = card.split("## Classes")[1].split("##")[0]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines() if line] == [3] * (len(names) + 2)


def test_the_card_claims_no_licence_and_counts_rejects() -> None:
    card = dataset_card(imagined("arrow", SCHEMAS["images"]))
    assert "license" not in front_matter(card)
    assert "license" not in croissant(imagined("arrow", SCHEMAS["images"]))
    assert "| truncated | 2 |" in card
    assert "17 files were found: 14 kept, 2 rejected, 1 passed over" in card


def test_equal_manifests_give_equal_text() -> None:
    manifest = imagined("parquet", SCHEMAS["everything"])
    again = Manifest.from_json(manifest.to_json())
    assert dataset_card(again) == dataset_card(manifest)
    assert croissant(again) == croissant(manifest)
    assert json.loads(croissant(manifest))["distribution"][0]["includes"][0] == "data/train-[0-9]*-of-[0-9]*.parquet"
