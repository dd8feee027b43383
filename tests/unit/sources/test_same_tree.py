"""The same tree as a folder, a tar and a zip: the same keys, labels and splits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.sources.source_files import JPEG, pile, scan_of
from unit.sources.test_archive import packed

from imagemill.errors import ConfigError
from imagemill.sources.archive import ArchiveSource
from imagemill.sources.base import Source
from imagemill.sources.folder import FolderSource

NAMES = st.sampled_from(["train", "Val", "test", "cat", "dog", "x"])
FILES = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(NAMES, max_size=4),
    st.sampled_from(["1.jpg", "2.jpg", "notes.txt"]),
)
OPTIONS: list[dict[str, Any]] = [{}, {"labels": False}, {"labels": True}, {"class_to_idx": {"cat": 0, "train": 1}}]


def seen(kind: type[Source], path: Path, folder: Path, options: Mapping[str, Any]) -> object:
    try:
        found = scan_of(kind, path, folder / "listing.arrow", **options)
    except ConfigError as error:
        return type(error)
    rows = sorted((row["key"], row["split"], row.get("label")) for row in found.listing.to_pylist())
    return rows, sorted((reject.key, reject.reason) for reject in found.rejects), [field.name for field in found.fields]


def compare(files: set[str], options: Mapping[str, Any]) -> object:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        on_disk = seen(FolderSource, pile(folder / "tree", *sorted(files)), folder, options)
        for name in ("a.tar", "a.zip"):
            archive = packed(folder / name, dict.fromkeys(sorted(files), JPEG))
            assert seen(ArchiveSource, archive, folder, options) == on_disk
        return on_disk


@given(st.sets(FILES, min_size=1, max_size=6), st.sampled_from(OPTIONS))
def test_any_tree_means_the_same_on_disk_and_in_archives(files: set[str], options: Mapping[str, Any]) -> None:
    compare(files, options)


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        ({"train/1.jpg", "bus/1.jpg"}, [("bus/1.jpg", None, "bus"), ("train/1.jpg", None, "train")]),
        ({"train/1.jpg", "notes/a.txt"}, [("train/1.jpg", "train", None)]),
        ({"w/train/cat/1.jpg", "w/val/cat/1.jpg"}, None),
        ({"w/cat/1.jpg", "w/dog/1.jpg"}, [("w/cat/1.jpg", None, "cat"), ("w/dog/1.jpg", None, "dog")]),
        ({"w/1.jpg"}, [("w/1.jpg", None, None)]),
        ({"w/1.jpg", "docs/a.txt"}, [("w/1.jpg", None, None)]),
    ],
)
def test_what_folders_mean(files: set[str], rows: list[tuple[str, str | None, str | None]] | None) -> None:
    found = compare(files, {})
    assert isinstance(found, tuple)
    wanted = rows or [("w/train/cat/1.jpg", "train", "cat"), ("w/val/cat/1.jpg", "val", "cat")]
    assert found[0] == wanted


def test_only_two_class_folders_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagemill.sources.walk import Walker

    looked: list[bytes] = []
    entries: Callable[..., Any] = Walker._entries

    def counted(self: Walker, folder: bytes, skip: Any) -> Any:
        looked.append(folder)
        return entries(self, folder, skip)

    pile(tmp_path / "tree", *(f"class_{number:03d}/1.jpg" for number in range(50)))
    monkeypatch.setattr(Walker, "_entries", counted)
    scan_of(FolderSource, tmp_path / "tree", tmp_path / "listing.arrow")
    assert len(looked) < 50 + 10, "each folder once for the listing, few before that"
