"""Our own datasets as a source: nothing changes on the way, and no damage is passed over."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xxhash

from imagemill.core.recipe import Recipe
from imagemill.core.sample import Sample
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, DamageError, DigestError
from imagemill.formats import FORMATS
from imagemill.prepare.rows import RowMaker
from imagemill.sources.base import Scan, SourceOptions, account
from imagemill.sources.packed import DatasetSource, group_text
from imagemill.testing.datasets import write_dataset
from imagemill.testing.rows import SCHEMAS, make_rows
from imagemill.testing.sources import SourceConformance, read_all, rows_of

SCHEMA = SCHEMAS["everything"]
ROWS = make_rows(SCHEMA, 10)


def opened(path: Path, tmp_path: Path, **options: Any) -> tuple[DatasetSource, Scan]:
    source = DatasetSource(path, SourceOptions(**options))
    return source, account(source.scan(tmp_path / "listing.arrow"))


def dataset(folder: Path, schema: Schema = SCHEMA, format: str = "arrow", **options: Any) -> Path:
    rows = make_rows(schema, 10)
    return write_dataset(
        folder, schema, {"train": rows[:8], "val": rows[8:]}, format=format, shard_samples=3, **options
    )


class TestConformance(SourceConformance):
    @pytest.fixture(params=["arrow", "tar"])
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> DatasetSource:
        return DatasetSource(dataset(tmp_path / "packed", format=request.param), SourceOptions())

    def test_what_is_gone_is_a_reject(self, source: DatasetSource, scan: Scan) -> None:
        """It is not: a dataset that was once whole must not lose a sample on the way."""
        row = rows_of(scan)[0]
        for path in (source.path / "data").iterdir():
            path.unlink()
        with pytest.raises(DamageError, match="train-00000-of-00003"):
            source.read(row)


@pytest.mark.parametrize(
    ("name", "format"),
    [("everything", format) for format in FORMATS] + [(name, "arrow") for name in SCHEMAS if name != "everything"],
)
def test_every_value_is_stored_again_as_it_was(name: str, format: str, tmp_path: Path) -> None:
    schema = SCHEMAS[name]
    rows = make_rows(schema, 10)
    source, scan = opened(dataset(tmp_path / "packed", schema, format), tmp_path)
    assert scan.fields == schema.fields
    maker = RowMaker(schema, Recipe(decode="headers"))
    for row, sample in zip(rows, read_all(source, rows_of(scan)), strict=True):
        stored = replace_sizes(maker, sample)
        assert stored == {field: bytes(value) for field, value in row.values.items()}
        assert sample.key == row.key
        assert sample.origins == {field: row.origins.get(field) or row.key for field in sample.origins}


def replace_sizes(maker: RowMaker, sample: Sample) -> dict[str, bytes]:
    """What packing would store; field by field, since the synthetic masks are not as large as the images."""
    stored = {}
    for field in maker.schema:
        one = replace(maker, schema=Schema((field,)))
        stored |= {name: bytes(value) for name, value in one(sample).values.items()}
    return stored


def test_splits_keys_labels_and_pixels_are_kept(tmp_path: Path) -> None:
    source, scan = opened(dataset(tmp_path / "packed", pixels="resized"), tmp_path)
    assert source.pixels == "resized"
    assert scan.listing["split"].to_pylist() == ["train"] * 8 + ["val"] * 2
    assert scan.listing["key"].to_pylist() == [row.key for row in ROWS]
    labels = [int.from_bytes(row.values["label"], "little", signed=True) for row in ROWS]
    assert scan.listing["label"].to_pylist() == labels
    assert [sample.values["label"] for sample in read_all(source, rows_of(scan))] == labels
    assert (scan.found, scan.rejects) == (10, ())


def test_groups_are_kept_unless_a_sample_is_its_own() -> None:
    assert group_text("a/b.jpg", xxhash.xxh3_64_intdigest(b"a/b.jpg")) is None
    assert group_text("a/b.jpg", xxhash.xxh3_64_intdigest(b"clip 7")) == xxhash.xxh3_64_hexdigest(b"clip 7")


def test_equal_groups_stay_equal(tmp_path: Path) -> None:
    _, scan = opened(dataset(tmp_path / "packed"), tmp_path)
    groups = scan.listing["group"].to_pylist()
    # The rows of each shard were given the groups 0, 1, 2.
    assert groups[:6] == [f"{number:016x}" for number in (0, 1, 2, 0, 1, 2)]


def test_class_to_idx_renumbers(tmp_path: Path) -> None:
    path = dataset(tmp_path / "packed", SCHEMAS["images"])
    _, before = opened(path, tmp_path)
    old = dict(zip(before.listing["key"].to_pylist(), before.listing["label"].to_pylist(), strict=True))
    assert set(old.values()) == {0, 1, 2}
    source, scan = opened(path, tmp_path, class_to_idx={"été": 0, "cat": 1})
    assert scan.fields[1].class_names == ("été", "cat")
    new = {sample.key: sample.values["label"] for sample in read_all(source, rows_of(scan))}
    assert new == {key: {0: 1, 2: 0}[label] for key, label in old.items() if label != 1}
    assert {reject.key for reject in scan.rejects} == {key for key, label in old.items() if label == 1}
    schema = Schema((Field("image", "image"),))
    with pytest.raises(ConfigError, match="no labels with class names"):
        opened(dataset(tmp_path / "plain", schema), tmp_path, class_to_idx={"a": 0})


def test_a_flipped_bit_is_damage_that_names_the_sample(tmp_path: Path) -> None:
    path = dataset(tmp_path / "packed", SCHEMAS["images"], "memmap")
    source, scan = opened(path, tmp_path)
    image = bytes(make_rows(SCHEMAS["images"], 10)[4].values["image"])
    for file in sorted((path / "data").iterdir()):
        content = file.read_bytes()
        if image in content:
            at = content.index(image) + len(image) // 2
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    rows = rows_of(scan)
    with pytest.raises(DigestError) as caught:
        source.read(rows[4])
    assert (caught.value.key, caught.value.field) == (rows[4]["key"], "image")
    assert source.read(rows[3]).key == rows[3]["key"]


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        DatasetSource(tmp_path, SourceOptions())
    with pytest.raises(ConfigError, match="does not apply"):
        opened(dataset(tmp_path / "packed"), tmp_path, label_column="label")


def test_a_source_travels_without_its_store(tmp_path: Path) -> None:
    source, scan = opened(dataset(tmp_path / "packed"), tmp_path)
    source.read(rows_of(scan)[0])
    copy = pickle.loads(pickle.dumps(source))
    assert copy.__dict__["_store"] is None
    assert copy.read(rows_of(scan)[9]).key == ROWS[9].key
