"""Images in tar and zip archives: layouts, what cannot be read, damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from unit.sources.source_files import JPEG, column, rejects, scan_of

from imagemill.core.sample import Encoded
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.archive import ArchiveSource
from imagemill.sources.archive_members import archive_stem, is_archive, members
from imagemill.sources.base import Scan, SourceOptions

PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def tar(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo) -> Path:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    suffix = next(suffix for suffix in sorted(PACKERS, key=len, reverse=True) if path.name.endswith(suffix))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PACKERS[suffix](made.getvalue()))
    return path


def zipped(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    return zipped(path, files) if path.suffix == ".zip" else tar(path, files)


def scan(path: Path, listing: Path, **options: object) -> Scan:
    return scan_of(ArchiveSource, path, listing, **options)


def contents(path: Path, found: Scan) -> dict[str, bytes]:
    source = ArchiveSource(path, SourceOptions())
    read = {}
    for row in found.listing.to_pylist():
        image = source.read(row).values["image"]
        assert isinstance(image, Encoded)
        read[row["key"]] = bytes(image.data)
    return read


def noise(seed: int, size: int = 3000) -> bytes:
    return JPEG + random.Random(seed).randbytes(size)


every_suffix = pytest.mark.parametrize("suffix", [*PACKERS, ".zip"])


@every_suffix
def test_contents_come_back_byte_for_byte(tmp_path: Path, listing: Path, suffix: str) -> None:
    files = {f"{name}/{number}.jpg": noise(number) for number in range(20) for name in ("cat", "dog")}
    path = packed(tmp_path / f"a{suffix}", {**files, "readme.txt": b"hello"})
    found = scan(path, listing)
    assert contents(path, found) == files
    assert column(found, "key") == list(files), "the archive's own order"
    assert column(found, "size") == [len(content) for content in files.values()]
    assert found.ignored == {".txt": 1}
    assert found.found == 41
    assert sorted(tmp_path.iterdir()) == [path], "nothing is unpacked beside it"
    assert [entry.name for entry in listing.parent.iterdir()] == [listing.name]


@every_suffix
def test_a_small_read_backwards_too(tmp_path: Path, listing: Path, suffix: str) -> None:
    files = {f"{number}.jpg": noise(number) for number in range(9)}
    path = packed(tmp_path / f"a{suffix}", files)
    source = ArchiveSource(path, SourceOptions())
    for row in scan(path, listing).listing.to_pylist()[::-1]:
        assert source.read(row).values["image"] == Encoded(files[row["key"]])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_methods(tmp_path: Path, listing: Path, method: int) -> None:
    files = {"a.jpg": noise(1), "b.jpg": JPEG * 1000, "empty.jpg": b""}
    path = zipped(tmp_path / "a.zip", files, method)
    assert contents(path, scan(path, listing)) == files


def test_what_a_zip_holds_that_cannot_be_read(tmp_path: Path, listing: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.jpg": JPEG, "b.jpg": JPEG, "c.txt": b""})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("lzma.jpg", noise(1))
    flagged = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        flagged[flagged.index(mark) + offset] |= 1  # the first member says that it is encrypted
    path.write_bytes(flagged)
    found = scan(path, listing)
    assert column(found, "key") == ["b.jpg"]
    assert rejects(found) == [("a.jpg", "unsupported", 1), ("lzma.jpg", "unsupported", 1)]
    assert [reject.detail for reject in found.rejects] == ["encrypted", "zip compression method 14"]


def test_links_and_devices_in_a_tar(tmp_path: Path, listing: Path) -> None:
    infos = []
    for name, kind in (("soft.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("null", tarfile.CHRTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "a.jpg"
        infos.append(info)
    found = scan(tar(tmp_path / "a.tar", {"a.jpg": JPEG}, *infos), listing)
    assert column(found, "key") == ["a.jpg"]
    assert rejects(found) == [("soft.jpg", "unsupported", 1), ("hard.jpg", "unsupported", 1)]
    assert found.ignored == {"no suffix": 1}


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_paths_that_lead_outside(tmp_path: Path, listing: Path, suffix: str) -> None:
    names = ["../up.jpg", "/etc/root.jpg", "a/../../b.jpg", "C:/c.jpg", "./fine.jpg", "a//double.jpg", "../up.txt"]
    found = scan(packed(tmp_path / f"a{suffix}", dict.fromkeys(names, JPEG)), listing)
    assert column(found, "key") == ["fine.jpg", "a/double.jpg"]
    assert [reason for _, reason, _ in rejects(found)] == ["bad-value"] * 4
    assert found.ignored == {".txt": 1}


@every_suffix
def test_what_systems_leave_behind(tmp_path: Path, listing: Path, suffix: str) -> None:
    names = ["a.jpg", "__MACOSX/a.jpg", "__MACOSX/._a.jpg", "x/._b.jpg", ".DS_Store", ".hidden/c.jpg"]
    found = scan(packed(tmp_path / f"a{suffix}", dict.fromkeys(names, JPEG)), listing)
    assert column(found, "key") == ["a.jpg"]
    assert found.ignored == {".DS_Store": 1, "._*": 1, "__MACOSX": 2, "hidden": 1}


@every_suffix
def test_members_without_a_telling_suffix_are_sniffed(tmp_path: Path, listing: Path, suffix: str) -> None:
    path = packed(tmp_path / f"a{suffix}", {"picture": JPEG, "text": b"no", "b.jpg": b"<html>", "empty": b""})
    found = scan(path, listing)
    assert contents(path, found) == {"picture": JPEG, "b.jpg": b"<html>"}
    assert found.ignored == {"no suffix": 2}


def test_the_same_path_twice(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a.jpg": b"first", "./a.jpg": b"second", "b.jpg": JPEG})
    found = scan(path, listing)
    assert contents(path, found) == {"a.jpg": b"first", "b.jpg": JPEG}
    assert rejects(found) == [("a.jpg", "duplicate-key", 1)]


def test_names_that_are_no_utf8(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {"caf\udce9.jpg": JPEG, "été.jpg": JPEG})
    assert contents(path, scan(path, listing)) == {"caf\\xe9.jpg": JPEG, "été.jpg": JPEG}


# Classes and splits


def labelled(found: Scan) -> list[tuple[str, str | None, str | None]]:
    return [(row["key"], row["split"], row.get("label")) for row in found.listing.to_pylist()]


@every_suffix
def test_classes_and_splits_inside(tmp_path: Path, listing: Path, suffix: str) -> None:
    names = ["train/cat/a.jpg", "train/dog/deep/b.jpg", "valid/cat/c.jpg", "train/top.jpg"]
    path = packed(tmp_path / f"x{suffix}", dict.fromkeys(names, JPEG))
    found = scan(path, listing)
    assert labelled(found) == [
        ("train/cat/a.jpg", "train", "cat"),
        ("train/dog/deep/b.jpg", "train", "dog"),
        ("valid/cat/c.jpg", "val", "cat"),
        ("train/top.jpg", "train", None),
    ]
    assert found.fields[1].class_names == ("cat", "dog")
    source = ArchiveSource(path, SourceOptions())
    assert [source.read(row).values["label"] for row in found.listing.to_pylist()] == ["cat", "dog", "cat", -1]


def test_a_folder_around_everything_is_neither_class_nor_split(tmp_path: Path, listing: Path) -> None:
    names = ["birds/train/owl/a.jpg", "birds/val/owl/b.jpg"]
    found = scan(tar(tmp_path / "a.tar", dict.fromkeys(names, JPEG)), listing)
    assert labelled(found) == [(names[0], "train", "owl"), (names[1], "val", "owl")]
    flat = scan(tar(tmp_path / "b.tar", {"photos/a.jpg": JPEG, "photos/b.jpg": JPEG}), listing)
    assert labelled(flat) == [("photos/a.jpg", None, None), ("photos/b.jpg", None, None)]
    assert [field.name for field in flat.fields] == ["image"]
    forced = scan(tmp_path / "b.tar", listing, labels=True)
    assert labelled(forced) == [("photos/a.jpg", None, "photos"), ("photos/b.jpg", None, "photos")]


def test_class_to_idx(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {"cat/a.jpg": JPEG, "dog/b.jpg": JPEG})
    found = scan(path, listing, class_to_idx={"dog": 0})
    assert labelled(found) == [("dog/b.jpg", None, "dog")]
    assert rejects(found) == [("cat/a.jpg", "bad-value", 1)]
    assert scan(path, listing, class_to_idx={"dog": 5, "cat": 9}).listing["label"].to_pylist() == [9, 5]


def test_several_archives_in_a_folder(tmp_path: Path, listing: Path) -> None:
    tar(tmp_path / "x" / "train.tar", {"cat/a.jpg": JPEG, "dog/a.jpg": JPEG})
    zipped(tmp_path / "x" / "test.zip", {"cat/a.jpg": JPEG})
    (tmp_path / "x" / "readme.md").write_text("")
    found = scan(tmp_path / "x", listing)
    assert labelled(found) == [
        ("test/cat/a.jpg", "test", "cat"),
        ("train/cat/a.jpg", "train", "cat"),
        ("train/dog/a.jpg", "train", "dog"),
    ]
    assert found.ignored == {".md beside the archives": 1}
    sample = ArchiveSource(tmp_path / "x", SourceOptions()).read(found.listing.to_pylist()[1])
    assert sample.origins == {"image": "train.tar/cat/a.jpg"}


def test_archives_are_classes_only_if_asked(tmp_path: Path, listing: Path) -> None:
    for name in ("n01", "n02"):
        tar(tmp_path / "x" / f"{name}.tar", {f"{name}_1.JPEG": JPEG})
    assert labelled(scan(tmp_path / "x", listing)) == [("n01/n01_1.JPEG", None, None), ("n02/n02_1.JPEG", None, None)]
    found = scan(tmp_path / "x", listing, labels=True)
    assert column(found, "label") == ["n01", "n02"]
    assert found.fields[1].class_names == ("n01", "n02")


def test_labels_that_are_not_there(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a.jpg": JPEG})
    with pytest.raises(ConfigError, match="labels are asked for"):
        scan(path, listing, labels=True)
    with pytest.raises(ConfigError, match="masks does not apply"):
        scan(path, listing, masks="masks")


# Damage


def test_a_cut_tar_gives_what_lies_before_the_cut(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {f"{number}.jpg": noise(number) for number in range(5)})
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 700])
    found = scan(path, listing)
    assert 0 < found.listing.num_rows < 5
    assert [reason for _, reason, _ in rejects(found)] == ["unreadable"]
    assert "damaged" in found.rejects[0].detail


@pytest.mark.parametrize("suffix", list(PACKERS))
def test_every_cut_is_noticed(tmp_path: Path, listing: Path, suffix: str) -> None:
    path = tar(tmp_path / f"a{suffix}", {f"{number}.jpg": noise(number, 700) for number in range(5)})
    whole = path.read_bytes()
    # The last two blocks of a plain tar, and what pads it, are zeros that nobody misses.
    end = len(whole) if suffix != ".tar" else len(whole.rstrip(b"\0"))
    for cut in range(1, end, max(1, end // 25)):
        path.write_bytes(whole[:cut])
        try:
            found = scan(path, listing)
        except ConfigError:
            continue
        bad = {reject.reason for reject in found.rejects}
        assert "unreadable" in bad or _some_row_is_unreadable(path, found), f"cut at byte {cut} of {end}"


def _some_row_is_unreadable(path: Path, found: Scan) -> bool:
    source = ArchiveSource(path, SourceOptions())
    for row in found.listing.to_pylist():
        try:
            source.read(row)
        except SampleError as error:
            assert error.reason == "unreadable"
            return True
    return False


def test_a_damaged_header_is_not_the_end(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar", {f"{number}.jpg": noise(number) for number in range(5)})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"3.jpg") + 120] ^= 0xFF
    path.write_bytes(damaged)
    found = scan(path, listing)
    assert column(found, "key") == ["0.jpg", "1.jpg", "2.jpg"]
    assert rejects(found) == [("a.tar", "unreadable", 1)]
    assert "behind its first 3 members" in found.rejects[0].detail


def test_damage_in_a_zip_is_found_by_its_checksum(tmp_path: Path, listing: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zipped(tmp_path / "a.zip", {"a.jpg": noise(1), "b.jpg": noise(2)}, method)
        rows = scan(path, listing).listing.to_pylist()
        damaged = bytearray(path.read_bytes())
        damaged[1500] ^= 1
        path.write_bytes(damaged)
        source = ArchiveSource(path, SourceOptions())
        with pytest.raises(SampleError, match="unreadable") as caught:
            source.read(rows[0])
        assert (caught.value.key, caught.value.origin) == ("a.jpg", "a.jpg")
        assert source.read(rows[1]).values["image"] == Encoded(noise(2))


def test_a_zip_never_unpacks_to_more_than_it_announces(tmp_path: Path, listing: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.jpg": b"\0" * 50_000_000})
    row = scan(path, listing).listing.to_pylist()[0] | {"size": 1000}
    with pytest.raises(SampleError, match="1001 bytes where 1000 are announced"):
        ArchiveSource(path, SourceOptions()).read(row)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_no_archive_at_all(tmp_path: Path, listing: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"this is no archive")
    tar(tmp_path / "b.tar", {"b.jpg": JPEG})
    found = scan(tmp_path, listing)
    assert column(found, "key") == ["b/b.jpg"]
    assert rejects(found) == [(f"a{suffix}", "unreadable", 1)]


def test_nothing_to_read(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        scan(tmp_path / "a.tar", listing)
    with pytest.raises(ConfigError, match="holds no images"):
        scan(tar(tmp_path / "a.tar", {"a.txt": b""}), listing)


def test_open_files_do_not_travel(tmp_path: Path, listing: Path) -> None:
    path = tar(tmp_path / "a.tar.gz", {"a.jpg": JPEG, "b.jpg": noise(1)})
    rows = scan(path, listing).listing.to_pylist()
    source = ArchiveSource(path, SourceOptions())
    source.read(rows[1])
    assert pickle.loads(pickle.dumps(source)).read(rows[0]).values["image"] == Encoded(JPEG)


# Names


def test_archive_names() -> None:
    yes = [b"a.tar", b"a.TAR.GZ", b"a.tgz", b"a.tar.bz2", b"a.tbz2", b"a.tar.xz", b"a.txz", b"a.zip"]
    assert all(is_archive(name) for name in yes)
    assert {archive_stem(name) for name in yes} == {b"a"}
    assert not any(is_archive(name) for name in (b"a.gz", b"tar", b"a.7z", b"a.tar.zst"))
    assert archive_stem(b"x/a.b.tar.gz") == b"x/a.b"


def test_memory_does_not_grow_with_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(50):
            archive.addfile(tarfile.TarInfo(f"{number}.jpg"))
    iterator = members(tmp_path / "a.tar")
    for _ in range(40):
        next(iterator)
    frame = iterator.gi_frame  # type: ignore[attr-defined]
    assert len(frame.f_locals["archive"].members) == 0


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat\\a.jpg", "dog\\b.jpg", "dog\\"], ["cat", "dog"]),
        (["cat/a\\b.jpg", "dog/c.jpg"], ["cat", "dog"]),
    ],
)
def test_backslashes_separate_folders_where_no_slash_does(
    names: list[str], labels: list[str], tmp_path: Path, listing: Path
) -> None:
    found = scan(zipped(tmp_path / "a.zip", {name: b"" if name.endswith("\\") else JPEG for name in names}), listing)
    assert column(found, "label") == labels
    assert not found.rejects
