"""The guess of a source's kind, and what it says when nothing fits."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.sources.source_files import JPEG, pile

from imagemill.core.manifest import Manifest
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.sources import detect as module
from imagemill.sources.base import SourceOptions, account
from imagemill.sources.detect import detect


def kind_of(path: Path, **options: Any) -> str:
    return detect(path, SourceOptions(**options)).kind


def tar(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(JPEG)
            archive.addfile(info, io.BytesIO(JPEG))
    return path


def parquet(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


EMBEDDED: Mapping[str, list[Any]] = {"image": [{"bytes": JPEG, "path": "a.jpg"}], "label": [0]}
NAMED: Mapping[str, list[Any]] = {"path": ["a.jpg"], "label": [0]}


# Folders


def test_class_folders_and_flat_ones(tmp_path: Path) -> None:
    source = detect(pile(tmp_path, "cat/a.jpg", "b.jpg"))
    assert source.kind == "folder"
    assert source.reason.startswith("taken as folder: 2 images")
    assert "--source KIND" in source.reason


def test_pairs_by_name(tmp_path: Path) -> None:
    pile(tmp_path, *(f"train/{number}_{half}.jpg" for number in range(5) for half in ("before", "after")), "odd.jpg")
    source = detect(tmp_path)
    assert source.kind == "pairs"
    assert "5 names end in _before, 5 in _after, of 11 images" in source.reason


@pytest.mark.parametrize(
    "names",
    [
        ["a_before.jpg", "b_before.jpg"],
        ["a_before.jpg", "a_after.jpg", "1.jpg", "2.jpg", "3.jpg"],
        ["before_1.jpg", "after_1.jpg"],
    ],
)
def test_a_few_markers_do_not_make_pairs(tmp_path: Path, names: list[str]) -> None:
    assert kind_of(pile(tmp_path, *names)) == "folder"


@pytest.mark.parametrize("layout", ["{side}/{name}", "train/{side}/{name}", "{side}/train/{name}"])
def test_pairs_in_parallel_folders(tmp_path: Path, layout: str) -> None:
    names = [layout.format(side=side, name=name) for side in ("noisy", "clean") for name in ("1.jpg", "2.jpg")]
    assert kind_of(pile(tmp_path, *names)) == "pairs"


def test_folders_called_a_and_b_are_classes_unless_their_names_match(tmp_path: Path) -> None:
    pile(tmp_path, "A/1.jpg", "A/2.jpg", "A/3.jpg", "B/3.jpg", "B/4.jpg", "B/5.jpg")
    assert kind_of(tmp_path) == "folder"
    pile(tmp_path, "A/4.jpg", "A/5.jpg", "B/1.jpg", "B/2.jpg")
    assert kind_of(tmp_path) == "pairs"


def test_classes_that_the_user_asks_for(tmp_path: Path) -> None:
    pile(tmp_path, "before/1.jpg", "after/1.jpg")
    assert kind_of(tmp_path) == "pairs"
    assert kind_of(tmp_path, labels=True) == "folder"
    assert kind_of(tmp_path, class_to_idx={"before": 0, "after": 1}) == "folder"


def test_masks(tmp_path: Path) -> None:
    pile(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.npy")
    source = detect(tmp_path)
    assert source.kind == "masks"
    assert "2 of 2 names are the same in images + masks" in source.reason


def test_label_files_are_no_masks(tmp_path: Path) -> None:
    assert kind_of(pile(tmp_path, "images/1.jpg", "labels/1.txt")) == "folder"


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"before": "x", "after": "y"}, "pairs"), ({"masks": "y", "images": "x"}, "masks"), ({"masks": "y"}, "masks")],
)
def test_options_that_say_the_kind(tmp_path: Path, options: dict[str, str], kind: str) -> None:
    assert kind_of(pile(tmp_path, "x/1.jpg", "y/2.jpg"), **options) == kind


def test_captions_need_half_of_the_images(tmp_path: Path) -> None:
    pile(tmp_path, "1.jpg", "2.jpg", "3.jpg", "1.txt", "readme.txt")
    assert kind_of(tmp_path) == "folder"
    pile(tmp_path, "2.txt")
    source = detect(tmp_path)
    assert source.kind == "captions"
    assert "2 of 3 images have a .txt beside them" in source.reason


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "train/metadata.parquet"])
def test_a_table_in_the_folder(tmp_path: Path, name: str) -> None:
    assert kind_of(pile(tmp_path, "train/a.jpg", name)) == "table"


def test_a_table_of_another_name_is_left_to_the_user(tmp_path: Path) -> None:
    assert kind_of(pile(tmp_path, "a.jpg", "list.csv")) == "folder"


@pytest.mark.parametrize("names", [["a.tar", "b.zip"], ["x/a.tgz"]])
def test_a_folder_of_archives(tmp_path: Path, names: list[str]) -> None:
    assert kind_of(pile(tmp_path, *names, "readme.md")) == "archive"


def test_archives_beside_images_are_passed_over(tmp_path: Path) -> None:
    assert kind_of(pile(tmp_path, "a.tar", "b.jpg")) == "folder"


def test_webdataset_tars(tmp_path: Path) -> None:
    tar(tmp_path / "train-0000.tar", "0001.jpg", "0001.cls", "0002.jpg", "0002.cls")
    tar(tmp_path / "train-0001.tar", "0003.jpg", "0003.cls")
    assert kind_of(tmp_path) == "webdataset"
    assert kind_of(tmp_path / "train-0000.tar") == "webdataset"
    tar(tmp_path / "plain" / "a.tar", "x/1.jpg", "x/2.jpg", "x/readme.txt", "1.json")
    assert kind_of(tmp_path / "plain") == "archive"


def test_parquet_with_images(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-00000.parquet", EMBEDDED)
    (tmp_path / "README.md").write_text("")
    assert kind_of(tmp_path) == "parquet"
    assert kind_of(tmp_path / "data" / "train-00000.parquet") == "parquet"
    assert kind_of(parquet(tmp_path / "bytes.parquet", {"image": [JPEG]})) == "parquet"
    assert kind_of(parquet(tmp_path / "list.parquet", NAMED)) == "table"


def test_a_packed_dataset(tmp_path: Path) -> None:
    pile(tmp_path, "data/a.jpg")
    schema = Schema((Field("image", "image"),))
    manifest = Manifest("arrow", "original", schema, splits={}, recipe={}, versions={}, counts={}, source={})
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert kind_of(tmp_path) == "dataset"
    (tmp_path / "manifest.json").write_text(json.dumps([{"name": "a web app"}]))
    assert kind_of(tmp_path) == "folder"


def test_what_hpc_pytorch_loader_wrote(tmp_path: Path) -> None:
    assert kind_of(pile(tmp_path, "metadata/metadata.json", "images/images_0.npy", "labels/labels_0.npy")) == "hpc"


# Files


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "ndjson", "json", "JSON"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    assert kind_of(pile(tmp_path, f"t.{suffix}") / f"t.{suffix}") == "table"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip", "ZIP"])
def test_archives(tmp_path: Path, suffix: str) -> None:
    assert kind_of(pile(tmp_path, f"a.{suffix}") / f"a.{suffix}") == "archive"


# Nothing fits


def test_a_kind_that_is_given_is_not_questioned(tmp_path: Path) -> None:
    source = detect(pile(tmp_path, "before/1.jpg", "after/1.jpg"), kind="folder")
    assert (source.kind, source.reason) == ("folder", "")
    with pytest.raises(ConfigError, match="unknown source 'foldr'; known: .*did you mean 'folder'"):
        detect(tmp_path, kind="foldr")


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        detect(tmp_path / "nowhere")


def test_nothing_that_is_an_image(tmp_path: Path) -> None:
    pile(tmp_path, "a.txt", "b.txt", "c.h5", content=b"no")
    with pytest.raises(ConfigError, match=r"holds no images .*there is: 2 \.txt, 1 \.h5|there is: 1 \.h5, 2 \.txt"):
        detect(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there is: nothing"):
        detect(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "message"), [("a.jpg", "single image"), ("a.h5", "no source reads"), ("a", "no source reads")]
)
def test_files_that_are_no_source(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        detect(pile(tmp_path, name) / name)


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        detect(pile(tmp_path, "a.parquet") / "a.parquet")


# Large piles, and what comes of the guess


def test_only_the_first_names_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SURVEY_FILES", 10)
    assert (
        "taken as folder: 10 images," in detect(pile(tmp_path / "x", *(f"{number}.jpg" for number in range(10)))).reason
    )
    assert "the first 10 images" in detect(pile(tmp_path / "y", *(f"{number}.jpg" for number in range(11)))).reason
    many = [f"{folder}/{number}.jpg" for folder in "abc" for number in range(6)]
    assert "the first 10 images" in detect(pile(tmp_path / "z", *many)).reason


def test_text_alone_does_not_end_the_search_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SURVEY_FILES", 10)
    for root in ("same", "other"):
        pile(tmp_path / root, *(f"a/{number}.txt" for number in range(12)))
    pile(tmp_path / "same", "a/z.jpg")
    pile(tmp_path / "other", "b/z.jpg", "c/z.jpg")
    assert detect(tmp_path / "same").kind == "folder"
    assert "the first 1 images" in detect(tmp_path / "other").reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among the files here")
@pytest.mark.parametrize("kind", [None, "table", "archive"])
def test_a_pipe_is_not_waited_for(kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError(f"would wait for a writer: {arguments}")

    monkeypatch.setattr(Path, "read_bytes", never)
    monkeypatch.setattr(module.tarfile, "open", never)
    os.mkfifo(tmp_path / "pile.tar")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        detect(tmp_path / "pile.tar", kind=kind)
    folder = pile(tmp_path / "folder", "a.jpg")
    os.mkfifo(folder / "manifest.json")
    assert kind_of(folder) == "folder"


def test_the_reason_is_told_with_the_scan(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "images/1.jpg", "masks/1.png", "x.txt")
    for kind, root in (("folder", tmp_path / "images"), ("masks", tmp_path)):
        source = detect(root)
        scan = account(source.scan(listing))
        assert scan.remarks[0] == source.reason
        assert scan.remarks[0].startswith(f"taken as {kind}")


def test_real_piles(shared_data: Path) -> None:
    expected = {
        "imagenet_sample": "folder",
        "before_after": "pairs",
        "camvid": "masks",
        "golden/color_reverser/stage_input": "pairs",
        "golden/hpc/memmap": "hpc",
    }
    assert {name: kind_of(shared_data / name) for name in expected} == expected
