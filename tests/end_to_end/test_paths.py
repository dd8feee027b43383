"""Paths as people give them: what is refused, what `~` means, and that nothing is written into a source."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import imagemill
from imagemill.errors import ConfigError
from imagemill.testing.piles import class_folders, tree


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("pile") / "source", classes=2, per_class=2, bad=False)


@pytest.fixture(scope="module")
def dataset(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imagemill.pack(pile, tmp_path_factory.mktemp("packed") / "dataset", workers=0).path


def test_check_and_export_write_nothing_into_what_they_read(pile: Path, dataset: Path) -> None:
    before = tree(pile), tree(dataset)
    with pytest.raises(ConfigError, match="inside the source"):
        imagemill.check(pile, pile / "checked", workers=0)
    with pytest.raises(ConfigError, match="inside the source"):
        imagemill.export(dataset, dataset / "plain")
    assert (tree(pile), tree(dataset)) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda pile, dataset, out: imagemill.pack(pile, out, workers=0),
        lambda pile, dataset, out: imagemill.check(pile, out, workers=0),
        lambda pile, dataset, out: imagemill.export(dataset, out),
    ],
    ids=["pack", "check", "export"],
)
def test_an_output_below_a_file_is_refused(
    write: Callable[[Path, Path, Path], object], pile: Path, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="cannot be made"):
        write(pile, dataset, tmp_path / "file" / "out")


def test_an_earlier_dataset_that_is_none_is_refused_by_name(pile: Path, tmp_path: Path) -> None:
    for wrong, why in ((pile, r"has no manifest\.json"), (tmp_path / "nowhere", "nowhere does not exist")):
        with pytest.raises(ConfigError, match=why):
            imagemill.pack(pile, tmp_path / "out", previous=wrong, split="80/20", workers=0)


def test_a_file_is_no_dataset(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no manifest\.json"):
        imagemill.info(dataset / "manifest.json")


def test_a_tilde_is_the_home_folder(pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    os.symlink(pile, tmp_path / "photos", target_is_directory=True)
    imagemill.pack("~/photos", "~/dataset", workers=0)
    imagemill.export("~/dataset", "~/plain")
    assert imagemill.verify("~/dataset").damages == ()
    assert len(imagemill.open("~/dataset")) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "photos", "plain"]
