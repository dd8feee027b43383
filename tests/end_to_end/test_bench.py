"""`imagemill bench` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imagemill
from imagemill.cli.bench import parse_threads
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.testing.datasets import write_dataset
from imagemill.testing.piles import class_folders, tree
from imagemill.testing.piles import imagemill as command

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    imagemill.pack(class_folders(folder / "photos", bad=False), folder / "dataset", workers=0, split="50/50")
    return folder / "dataset"


def test_the_table_names_everything(dataset: Path) -> None:
    before = tree(dataset)
    done = command("bench", dataset, "--batch-size", 4, "--size", 32, "--seconds", 0.1, "--threads", "2", "--need", 1)
    assert done.returncode == 0, done.stderr
    names = [line[:12].strip() for line in done.stdout.splitlines()]
    wanted = ["dataset", "stored", "native core", "loop", "1 thread", "2 threads", "a sample", "decode", "rest"]
    wanted += ["digests", "disk, cold", "disk, warm", "first batch", "memory", "bound by", "need"]
    assert set(wanted) <= set(names), done.stdout
    assert "split train: " in done.stdout
    assert "enough; it takes" in done.stdout
    assert tree(dataset) == before


def test_json_is_the_result(dataset: Path) -> None:
    done = command("bench", dataset, "--split", "val", "--seconds", 0.1, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["split"] == "val"
    assert found["samples"] == len(imagemill.open(dataset, "val"))
    assert [rate["threads"] for rate in found["rates"]] == [1]
    assert sum(part["share"] for part in found["parts"]) == pytest.approx(1)
    assert bool(found["native_core"]) != bool(found["native_problem"])
    assert found["start"]["peak_mib"] >= found["start"]["torch_mib"]
    assert found["start"]["cpu_s"] > 0


def test_a_dataset_of_labels_alone(tmp_path: Path) -> None:
    schema = Schema((Field("label", "label", "int64", (), "raw"),))
    rows = [Row(str(number), {"label": np.int64(number).tobytes()}) for number in range(20)]
    result = imagemill.bench(write_dataset(tmp_path / "d", schema, {"train": rows}), seconds=0.05, threads=[1])
    assert result.transform == "none"
    assert [part.name for part in result.parts] == ["rest"]
    assert result.bound.startswith(("Python", "the disk"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": [2, 0]}, "1 or more"),
        ({"transform": "crop"}, "rrc, resize, none"),
        ({"split": "test"}, "no split 'test'"),
        ({"size": "big"}, "WIDTHxHEIGHT"),
        ({"seconds": 0}, "above 0"),
        ({"need": -1.0}, "above 0"),
        ({"transform": "none"}, "a batch needs one size"),
    ],
)
def test_what_cannot_be(dataset: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        imagemill.bench(dataset, **options)


def test_numbers_of_threads_as_a_person_lists_them() -> None:
    assert parse_threads("1,2,8") == [1, 2, 8]
    assert parse_threads(None) is None
    with pytest.raises(ConfigError, match="as 1,2,8"):
        parse_threads("1,a")


def test_an_empty_split_and_a_missing_dataset(tmp_path: Path) -> None:
    schema = Schema((Field("label", "label", "int64", (), "raw"),))
    with pytest.raises(ConfigError, match="is empty"):
        imagemill.bench(write_dataset(tmp_path / "d", schema, {"train": []}))
    with pytest.raises(ConfigError):
        imagemill.bench(tmp_path / "nothing")
