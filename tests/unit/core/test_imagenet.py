"""ImageNet's classes: all of them, in order, and named as the sample's files are."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagemill as mill
from imagemill.core.imagenet import class_title, imagenet_classes, logit_names
from imagemill.errors import ConfigError
from imagemill.testing.piles import imagemill, save_photo

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "imagenet_sample"


def test_there_are_a_thousand_in_order_and_none_twice() -> None:
    classes = imagenet_classes()
    assert list(classes) == sorted(classes)
    assert len({name.lower() for name in classes.values()}) == len(classes) == 1000
    assert [classes[known] for known in ("n01440764", "n02504458", "n15075141")] == [
        "tench",
        "African elephant",
        "toilet tissue",
    ]


def test_names_are_those_of_the_sample_s_files() -> None:
    if not SAMPLE.exists():
        pytest.skip(f"no {SAMPLE}")
    told = {path.parent.name: path.stem.partition("_")[2].replace("_", " ") for path in SAMPLE.glob("*/*.JPEG")}
    assert len(told) == 250
    different = {
        name: (told[name], imagenet_classes()[name]) for name in told if told[name] != imagenet_classes()[name]
    }
    # Names that two classes have are told apart.
    assert all(name.lower().startswith(file.lower()) for file, name in different.values())
    assert len(different) <= 3


def test_logits_have_names() -> None:
    assert logit_names(1001)[:2] == ["background", "tench"]
    assert (len(logit_names(1000)), logit_names(1000)[0]) == (1000, "tench")
    with pytest.raises(ConfigError, match="1000 or 1001 logits, not 21843"):
        logit_names(21843)


def test_labels_are_shown_with_their_names(tmp_path: Path) -> None:
    for name in ("n01440764", "n02504458", "other", "n99999999"):
        save_photo(tmp_path / "pile" / name / "a.jpg", 32, 32, 1)
    mill.pack(tmp_path / "pile", tmp_path / "d", workers=0)
    titles = ["n01440764 tench", "n02504458 African elephant", "n99999999", "other"]
    dataset = mill.open(tmp_path / "d", "train")
    assert dataset.class_titles == titles
    assert dataset.classes == ["n01440764", "n02504458", "n99999999", "other"]
    assert [class_title(name) for name in dataset.classes] == titles
    assert "n01440764 tench 1" in imagemill("info", tmp_path / "d").stdout
    mill.report(tmp_path / "d", tmp_path / "r.html")
    assert "n02504458 African elephant" in (tmp_path / "r.html").read_text("utf-8")
