"""Where `export` puts a file: ImageFolder's layout, names that every system takes, never outside."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.prepare.export import file_path
from imagemill.testing.piles import save_photo

IMAGE = Field("image", "image")
CLASSES = ("ant", "bee", "..", "a/b")
LABELLED = Schema((IMAGE, Field("label", "label", "int64", (), "raw", class_names=CLASSES)))


def exported(origin: str, label: int | None = None) -> str:
    values: dict[str, bytes] = {"image": b""}
    if label is not None:
        values["label"] = np.int64(label).tobytes()
    schema = Schema((IMAGE,)) if label is None else LABELLED
    return file_path(schema, IMAGE, Row("key", values, {"image": origin}), "train", keep_suffix=True)


@pytest.mark.parametrize(
    ("origin", "label", "path"),
    [
        ("ant/1.jpg", 0, "ant/1.jpg"),
        ("Train/ant/deep/1.jpg", 0, "ant/deep/1.jpg"),
        ("unpacked/train/ant/1.jpg", 0, "ant/1.jpg"),
        ("photos/1.jpg", 0, "ant/photos/1.jpg"),
        ("1.jpg", 1, "bee/1.jpg"),
        ("bee.jpg", 1, "bee/bee.jpg"),
        ("unpacked/1.jpg", -1, "1.jpg"),
        ("unpacked/1.jpg", None, "unpacked/1.jpg"),
        ("ant/1.jpg", 2, "_/ant/1.jpg"),
        ("x/1.jpg", 3, "a_b/x/1.jpg"),
        ("https://example.org/a/1.jpg?size=2", 0, "ant/a/1.jpg"),
    ],
)
def test_a_path_begins_at_its_class(origin: str, label: int | None, path: str) -> None:
    assert exported(origin, label) == path


@pytest.mark.parametrize(
    ("origin", "path"),
    [
        (r"cat/bad\xff\xfe.jpg", "cat/bad_xff_xfe.jpg"),
        ("../../etc/1.jpg", "etc/1.jpg"),
        (r"..\..\1.jpg", ".._.._1.jpg"),
        ("C:/photos/1.jpg", "C_/photos/1.jpg"),
    ],
)
def test_names_that_mean_folders_somewhere_stay_one_name(origin: str, path: str) -> None:
    assert exported(origin) == path


def test_an_archive_with_a_folder_around_everything_comes_back_as_class_folders(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        save_photo(tmp_path / "pile" / name / "1.jpg", 8, 8, 0)
    Image.new("RGB", (8, 8)).save(tmp_path / "pile" / "beside.jpg")
    with tarfile.open(tmp_path / "pile.tar", "w") as archive:
        archive.add(tmp_path / "pile", "around")
    imagemill.pack(tmp_path / "pile.tar", tmp_path / "dataset", workers=0)
    imagemill.export(tmp_path / "dataset", tmp_path / "plain")
    names = {path.relative_to(tmp_path / "plain").as_posix() for path in (tmp_path / "plain").rglob("*.jpg")}
    assert names == {"train/ant/1.jpg", "train/bee/1.jpg", "train/beside.jpg"}
