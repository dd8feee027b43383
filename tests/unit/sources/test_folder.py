"""Folders of images: which files count, keys, splits, classes, and what is on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from unit.sources.source_files import JPEG, column, pile, scan_of

from imagemill.core.sample import Encoded
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, SourceOptions
from imagemill.sources.folder import FolderSource
from imagemill.sources.image_files import IMAGE_SUFFIXES, OTHER_SUFFIXES, UNREAD_IMAGE_SUFFIXES, is_image_head
from imagemill.sources.layout import divide, group_finder, split_folders
from imagemill.testing.images import photo, saved


def scan(root: Path, listing: Path, **options: object) -> Scan:
    return scan_of(FolderSource, root, listing, **options)


# Which files are images


def test_every_suffix_of_pillow_is_taken_or_left_on_purpose() -> None:
    Image.init()
    unsafe = {"EPS", "WMF", "HDF5", "GRIB", "BUFR", "FITS", "MPEG", "IPTC", "PDF"}
    refused = {suffix for suffix, name in Image.EXTENSION.items() if name in unsafe}
    left = {*UNREAD_IMAGE_SUFFIXES, *OTHER_SUFFIXES}
    assert refused <= left
    assert set(IMAGE_SUFFIXES) <= set(Image.EXTENSION) - refused
    assert not set(IMAGE_SUFFIXES) & left
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif", ".avif", ".jp2", ".ppm"} <= set(IMAGE_SUFFIXES)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "ICO", "DDS"])
def test_first_bytes_tell_an_image(name: str) -> None:
    assert is_image_head(saved(Image.fromarray(photo(16, 16)), name)[:32])


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"\xff\xd8", b"BM is a text", b"P6 is a text", b"P2P", b"\0\0\1\0", b"\0\0\1\xba", b"{}", b"%PDF"),
        b"BM has some te\x28\0\0\0and no size",
        *(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", b"RIFF\0\0\0\0WAVE", b"PK\3\4", b"MZ", b"II", b"\x1f\x8b", b"%!PS"),
    ],
)
def test_first_bytes_of_other_files(head: bytes) -> None:
    assert not is_image_head(head)


def test_suffixes_of_any_case_and_files_without_one(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.JPG", "b.Png", "c.jpeg", "no_suffix", "photo.2023", "deep/er/d.TIFF")
    pile(tmp_path, "text_without_suffix", "x.csv", "y.heic", "z.weird", content=b"no image")
    found = scan(tmp_path, listing, labels=False)
    assert column(found, "key") == ["a.JPG", "b.Png", "c.jpeg", "no_suffix", "photo.2023", "deep/er/d.TIFF"]
    assert found.ignored == {".csv": 1, ".heic": 1, ".weird": 1, "no suffix": 1}
    assert found.found == 10
    assert any("1 .heic" in remark for remark in found.remarks)


def test_an_image_suffix_is_a_candidate_whatever_the_content(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "empty.jpg", content=b"")
    pile(tmp_path, "page.png", content=b"<html>")
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["empty.jpg", "page.png"]
    assert column(found, "size") == [0, 6]


def test_ignored_names_stay_few(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    for number in range(30):
        pile(tmp_path, f"text{number}", f"backup.{number}", f".hidden{number}", f"x.{'y' * 20}{number}", content=b"no")
    assert scan(tmp_path, listing).ignored == {"hidden": 30, "no suffix": 30, "other": 60}


def test_what_systems_leave_behind_is_ignored_and_counted(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", ".DS_Store", "._a.jpg", "Thumbs.db", "sub/desktop.ini", ".git/HEAD", "__MACOSX/a.jpg")
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a.jpg"]
    assert found.ignored == {".DS_Store": 1, "._*": 1, ".git/": 1, "Thumbs.db": 1, "__MACOSX/": 1, "desktop.ini": 1}


# Names and order


def test_order_is_by_name_files_before_folders(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "b/2.jpg", "b/10.jpg", "a/z.jpg", "a/a/y.jpg", "z.jpg", "a.jpg", "B/x.jpg")
    keys = ["a.jpg", "z.jpg", "B/x.jpg", "a/z.jpg", "a/a/y.jpg", "b/10.jpg", "b/2.jpg"]
    assert column(scan(tmp_path, listing), "key") == keys


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode here")
def test_names_that_are_no_utf8(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, b"caf\xe9/x\xff.jpg", "été/ü.jpg")
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["caf\\xe9/x\\xff.jpg", "été/ü.jpg"]
    assert column(found, "path") == [b"caf\xe9/x\xff.jpg", "été/ü.jpg".encode()]
    assert found.fields[1].class_names == ("caf\\xe9", "été")
    sample = FolderSource(tmp_path, SourceOptions()).read(found.listing.to_pylist()[0])
    assert sample.values["image"] == Encoded(JPEG)
    assert sample.origins == {"image": "caf\\xe9/x\\xff.jpg"}


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode here")
def test_names_that_read_the_same_are_not_two_samples(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, b"\xff.jpg", "\\xff.jpg"), listing)
    assert column(found, "path") == [b"\\xff.jpg"]
    assert [(reject.reason, reject.files) for reject in found.rejects] == [("duplicate-key", 1)]


# Links, and what cannot be read


def link(path: Path, target: Path | str) -> None:
    try:
        path.symlink_to(target, target_is_directory=Path(target).is_dir())
    except OSError:
        pytest.skip("no symbolic links here")


def test_links_to_files_and_folders_are_followed(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path / "elsewhere", "a.jpg", content=JPEG + b"more")
    root = pile(tmp_path / "root", "own/b.jpg")
    link(root / "own" / "a.jpg", tmp_path / "elsewhere" / "a.jpg")
    link(root / "linked", tmp_path / "elsewhere")
    found = scan(root, listing)
    assert column(found, "key") == ["linked/a.jpg", "own/a.jpg", "own/b.jpg"]
    assert column(found, "size") == [len(JPEG) + 4, len(JPEG) + 4, len(JPEG)]


def test_links_in_a_circle_end(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a/b/x.jpg")
    link(tmp_path / "a" / "b" / "up", tmp_path / "a")
    link(tmp_path / "self", tmp_path)
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a/b/x.jpg"]
    assert found.ignored == {"link to a parent folder": 2}


def test_broken_links_and_special_files(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg")
    link(tmp_path / "broken.jpg", "nowhere.jpg")
    link(tmp_path / "broken", "nowhere")
    if hasattr(os, "mkfifo"):
        # Opening a pipe that nobody writes to would wait for ever.
        os.mkfifo(tmp_path / "pipe")
        os.mkfifo(tmp_path / "pipe.jpg")
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a.jpg"]
    assert {reject.path for reject in found.rejects} >= {"broken.jpg"}
    assert {reject.reason for reject in found.rejects} == {"unreadable"}
    assert [reject.path for reject in found.rejects] == sorted(reject.path for reject in found.rejects)
    assert set(found.ignored) == {"broken link or special file"}


def test_a_folder_that_cannot_be_read_is_a_reject(
    tmp_path: Path, listing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile(tmp_path, "a/x.jpg", "secret/y.jpg")
    real = os.scandir

    def refusing(path: bytes) -> object:
        if path.endswith(b"secret"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a/x.jpg"]
    assert [(reject.path, reject.reason) for reject in found.rejects] == [("secret", "unreadable")]
    assert "Permission denied" in found.rejects[0].detail
    assert found.found == 2


def test_a_file_that_cannot_be_sniffed_is_a_reject(
    tmp_path: Path, listing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pile(tmp_path, "a.jpg", "unknown")

    def refusing(path: object, mode: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("imagemill.sources.walk.open", refusing, raising=False)
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["a.jpg"]
    assert [(reject.path, reject.reason) for reject in found.rejects] == [("unknown", "unreadable")]


def test_a_file_that_is_gone_is_a_reject_at_reading(tmp_path: Path, listing: Path) -> None:
    row = scan(pile(tmp_path, "cat/a.jpg"), listing).listing.to_pylist()[0]
    (tmp_path / "cat" / "a.jpg").unlink()
    with pytest.raises(SampleError, match="No such file") as caught:
        FolderSource(tmp_path, SourceOptions()).read(row)
    assert (caught.value.reason, caught.value.key, caught.value.origin) == ("unreadable", "cat/a.jpg", "cat/a.jpg")


# Splits


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (["train", "val", "test"], {"train": "train", "val": "val", "test": "test"}),
        (["Training", "Validation"], {"Training": "train", "Validation": "val"}),
        (["TRAIN", "valid", "extra"], {"TRAIN": "train", "valid": "val"}),
        (["dev"], {"dev": "val"}),
        (["test", "cat", "dog"], {}),
        (["val", "cat"], {}),
        ([], {}),
    ],
)
def test_which_folders_are_splits(folders: list[str], splits: Mapping[str, str]) -> None:
    assert split_folders([name.encode() for name in folders]) == {
        name.encode(): split for name, split in splits.items()
    }


def test_a_path_is_divided_into_split_and_rest() -> None:
    splits = {b"train": "train"}
    assert divide(b"train/cat/x", splits) == ("train", b"cat/x")
    assert divide(b"train", splits) == ("train", b"")
    assert divide(b"extra/cat", splits) == (None, b"extra/cat")
    assert divide(b"", splits) == (None, b"")


def test_split_folders_give_the_split_and_stay_in_the_key(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "Train/cat/a.jpg", "Train/dog/deep/b.jpg", "valid/dog/a.jpg", "extra/cat/c.jpg")
    found = scan(tmp_path, listing)
    rows = {row["key"]: (row["split"], row["label"]) for row in found.listing.to_pylist()}
    assert rows == {
        "Train/cat/a.jpg": ("train", "cat"),
        "Train/dog/deep/b.jpg": ("train", "dog"),
        "valid/dog/a.jpg": ("val", "dog"),
        "extra/cat/c.jpg": (None, "extra"),
    }
    assert "splits given by folders: train 2, val 1" in found.remarks


@pytest.mark.parametrize(
    ("files", "splits", "labels"),
    [
        (["train/a.jpg", "bus/a.jpg", "car/deep/a.jpg"], {None}, {"train", "bus", "car"}),
        (["train/a.jpg", "bus/a.jpg", "test/a.jpg"], {"train", "test", None}, {None, "bus"}),
        (["train/a.jpg", "notes/a.txt"], {"train"}, set()),
        (["train/cat/a.jpg", "more/a.jpg"], {"train", None}, {"cat", "more"}),
    ],
)
def test_a_train_among_class_folders_is_a_class(
    files: list[str], splits: set[str | None], labels: set[str | None], tmp_path: Path, listing: Path
) -> None:
    found = scan(pile(tmp_path, *files), listing)
    assert set(column(found, "split")) == splits
    assert (set(column(found, "label")) if "label" in found.listing.column_names else set()) == labels


def test_flat_splits_have_no_labels(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "train/a.jpg", "test/a.jpg"), listing)
    assert column(found, "split") == ["test", "train"]
    assert "label" not in found.listing.column_names
    assert [field.name for field in found.fields] == ["image"]


# Classes


def test_classes_are_first_folders_as_in_torchvision(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "dog/x.jpg", "Cat/deep/er/y.jpg", "ant/z.jpg", "empty_class/readme.txt")
    found = scan(tmp_path, listing)
    assert dict(zip(column(found, "key"), column(found, "label"), strict=True)) == {
        "Cat/deep/er/y.jpg": "Cat",
        "ant/z.jpg": "ant",
        "dog/x.jpg": "dog",
    }
    assert found.fields[1].class_names == ("Cat", "ant", "dog")
    assert (found.fields[1].dtype, found.fields[1].storage) == ("int64", "scalar")
    assert "class folders: 3 classes" in found.remarks


def test_an_image_beside_class_folders_has_no_label(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "top.jpg", "cat/a.jpg"), listing)
    assert column(found, "label") == [None, "cat"]
    source = FolderSource(tmp_path, SourceOptions())
    assert [source.read(row).values["label"] for row in found.listing.to_pylist()] == [-1, "cat"]
    assert found.remarks[-1].startswith("class folders: 1 class, 'cat' (if it is none: ")
    assert found.remarks[-1].endswith("; 1 images beside the class folders have no label")


def test_labels_can_be_switched_off(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "cat/a.jpg"), listing, labels=False)
    assert "label" not in found.listing.column_names
    assert "label" not in FolderSource(tmp_path, SourceOptions()).read(found.listing.to_pylist()[0]).values


def test_labels_cannot_be_forced_on_a_flat_folder(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a.jpg", "texts/readme.txt")
    for options in ({"labels": True}, {"class_to_idx": {"cat": 0}}):
        with pytest.raises(ConfigError, match="no sub-folder holds an image"):
            scan(tmp_path, listing, **options)


def test_a_dense_class_to_idx_orders_the_names(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "cat/a.jpg", "dog/a.jpg", "eel/a.jpg")
    found = scan(tmp_path, listing, class_to_idx={"dog": 0, "bat": 1, "cat": 2})
    assert found.fields[1].class_names == ("dog", "bat", "cat")
    assert column(found, "label") == ["cat", "dog"]
    assert [(reject.path, reject.reason) for reject in found.rejects] == [("eel/a.jpg", "bad-value")]


@pytest.mark.parametrize("given", [{"cat": 3, "dog": 7}, {"cat": 1, "dog": 1}])
def test_a_class_to_idx_with_gaps_gives_plain_integers(tmp_path: Path, listing: Path, given: dict[str, int]) -> None:
    pile(tmp_path, "top.jpg", "cat/a.jpg", "dog/a.jpg")
    found = scan(tmp_path, listing, class_to_idx=given)
    assert found.fields[1].class_names is None
    assert column(found, "label") == [None, given["cat"], given["dog"]]


@pytest.mark.parametrize("wrong", [{"cat": -1}, {"cat": 1.0}, {"cat": True}, {"cat": "0"}])
def test_a_class_to_idx_of_something_else_is_refused(tmp_path: Path, listing: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'cat'"):
        scan(pile(tmp_path, "cat/a.jpg"), listing, class_to_idx=wrong)


# Groups and options


def test_group_pattern() -> None:
    find = group_finder(r"(clip\d+)_")
    assert [find(key) for key in ("a/clip12_003.jpg", "other.jpg")] == ["clip12", "other.jpg"]
    assert group_finder(None)("a") is None
    assert group_finder("(x)?a")("a") == "a"
    for wrong in ("(", "no group"):
        with pytest.raises(ConfigError, match="group_pattern"):
            group_finder(wrong)


def test_groups_in_the_listing(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a_1.jpg", "a_2.jpg", "b.jpg")
    assert column(scan(tmp_path, listing), "group") == [None, None, None]
    assert column(scan(tmp_path, listing, group_pattern=r"^(.*)_\d"), "group") == ["a", "a", "b.jpg"]


def test_options_of_other_sources_are_refused(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="masks does not apply to a source of kind 'folder'"):
        scan(pile(tmp_path, "a.jpg"), listing, masks="masks")


def test_nothing_to_read(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        scan(tmp_path / "nowhere", listing)
    with pytest.raises(ConfigError, match="is a file"):
        scan(pile(tmp_path / "x", "a.jpg") / "a.jpg", listing)
    with pytest.raises(ConfigError, match="holds no images: 1 files found"):
        scan(pile(tmp_path / "y", "a.txt"), listing)


def test_real_class_folders(shared_data: Path, listing: Path) -> None:
    found = scan(shared_data / "imagenet_sample", listing)
    names = sorted(path.name for path in (shared_data / "imagenet_sample").iterdir())
    assert found.listing.num_rows == found.found == 250
    assert found.fields[1].class_names == tuple(names)
    row = found.listing.to_pylist()[77]
    sample = FolderSource(shared_data / "imagenet_sample", SourceOptions()).read(row)
    image = sample.values["image"]
    assert isinstance(image, Encoded)
    assert image.data == (shared_data / "imagenet_sample" / row["key"]).read_bytes()
    assert len(image.data) == row["size"]
