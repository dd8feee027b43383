"""Pairs by name and in parallel folders: what matches, what is missing, what is ambiguous."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.sources.source_files import JPEG, column, pile, rejects, scan_of

from imagemill.core.sample import Encoded
from imagemill.errors import ConfigError
from imagemill.sources.base import Scan, SourceOptions
from imagemill.sources.pairs import PARALLEL_NAMES, PairSource


def scan(root: Path, listing: Path, **options: object) -> Scan:
    return scan_of(PairSource, root, listing, **options)


def halves(found: Scan) -> dict[str, tuple[str, str]]:
    return {row["key"]: (row["before"].decode(), row["after"].decode()) for row in found.listing.to_pylist()}


# By name


def test_names_match_whatever_the_suffix_and_its_case(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a_before.jpg", "a_after.JPG", "b_before.png", "b_after.jpeg", "c_BEFORE.jpg", "c_After.webp")
    found = scan(tmp_path, listing)
    assert halves(found) == {
        "a": ("a_before.jpg", "a_after.JPG"),
        "b": ("b_before.png", "b_after.jpeg"),
        "c": ("c_BEFORE.jpg", "c_After.webp"),
    }
    assert column(found, "files") == [2, 2, 2]
    assert column(found, "size") == [2 * len(JPEG)] * 3
    assert [(field.name, field.kind) for field in found.fields] == [("before", "image"), ("after", "image")]


def test_only_the_end_of_the_stem_counts(tmp_path: Path, listing: Path) -> None:
    pile(
        tmp_path, "my_before_photo_after.jpg", "my_before_photo_before.jpg", "x_before_before.jpg", "x_before_after.jpg"
    )
    assert halves(scan(tmp_path, listing)) == {
        "my_before_photo": ("my_before_photo_before.jpg", "my_before_photo_after.jpg"),
        "x_before": ("x_before_before.jpg", "x_before_after.jpg"),
    }


def test_a_marker_in_a_folder_name_is_no_marker(tmp_path: Path, listing: Path) -> None:
    pile(
        tmp_path, "the_before/a_before.jpg", "the_before/a_after.jpg", "the_after/a_before.jpg", "the_after/a_after.jpg"
    )
    assert list(halves(scan(tmp_path, listing))) == ["the_after/a", "the_before/a"]


def test_pairs_do_not_reach_across_folders(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "x/a_before.jpg", "y/a_after.jpg", "z/b_before.jpg", "z/b_after.jpg"), listing)
    assert list(halves(found)) == ["z/b"]
    assert rejects(found) == [("x/a_before.jpg", "missing-partner", 1), ("y/a_after.jpg", "missing-partner", 1)]


def test_a_missing_partner_is_named(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "d/a_before.png", "d/b_after.jpg", "d/c_before.jpg", "d/c_after.jpg"), listing)
    assert [(reject.key, reject.path, reject.detail) for reject in found.rejects] == [
        ("d/a", "d/a_before.png", "d/a_after.png is not there"),
        ("d/b", "d/b_after.jpg", "d/b_before.jpg is not there"),
    ]
    assert found.found == 4


def test_two_candidates_for_one_half_are_named(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "a_before.jpg", "a_before.png", "a_after.jpg", "b_before.jpg", "b_after.jpg"), listing)
    assert list(halves(found)) == ["b"]
    assert rejects(found) == [("a_before.jpg", "duplicate-key", 3)]
    assert "a_before.jpg and a_before.png" in found.rejects[0].detail


def test_images_without_a_marker_and_other_files_are_ignored(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "a_before.jpg", "a_after.jpg", "c.jpg", "_before.jpg", "notes_before.txt", ".DS_Store")
    assert scan(tmp_path, listing).ignored == {".DS_Store": 1, ".jpg without _before or _after": 2, ".txt": 1}


def test_split_folders(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, *(f"{split}/a_{half}.jpg" for split in ("train", "val") for half in ("before", "after")))
    found = scan(tmp_path, listing)
    assert dict(zip(column(found, "key"), column(found, "split"), strict=True)) == {"train/a": "train", "val/a": "val"}
    assert "splits given by folders: train 1, val 1" in found.remarks


def test_groups_come_from_the_key(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "clip1_0_before.jpg", "clip1_0_after.jpg", "clip1_1_before.jpg", "clip1_1_after.jpg")
    assert column(scan(tmp_path, listing, group_pattern="(clip.)"), "group") == ["clip1", "clip1"]


def test_reading_gives_both_files_untouched(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "d/a_before.jpg", content=b"left")
    pile(tmp_path, "d/a_after.png", content=b"right")
    row = scan(tmp_path, listing).listing.to_pylist()[0]
    sample = PairSource(tmp_path, SourceOptions()).read(row)
    assert sample.key == "d/a"
    assert sample.values == {"before": Encoded(b"left"), "after": Encoded(b"right")}
    assert sample.origins == {"before": "d/a_before.jpg", "after": "d/a_after.png"}


# Parallel folders


@pytest.mark.parametrize(("before", "after"), PARALLEL_NAMES)
def test_parallel_folders_by_their_usual_names(tmp_path: Path, listing: Path, before: str, after: str) -> None:
    pile(tmp_path, f"{before}/x/1.jpg", f"{after}/x/1.png", f"{before}/2.jpg", f"{after}/2.jpg")
    assert halves(scan(tmp_path, listing)) == {
        "2": (f"{before}/2.jpg", f"{after}/2.jpg"),
        "x/1": (f"{before}/x/1.jpg", f"{after}/x/1.png"),
    }


def test_letters_among_other_letters_are_no_pair(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match="holds no pairs"):
        scan(pile(tmp_path, "A/1.jpg", "B/1.jpg", "C/1.jpg"), listing)


def test_the_old_layout_with_noisy_and_clean_in_each_split(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, *(f"{split}/{side}/1.jpg" for split in ("train", "val", "test") for side in ("noisy", "clean")))
    found = scan(tmp_path, listing)
    assert halves(found)["val/1"] == ("val/noisy/1.jpg", "val/clean/1.jpg")
    assert column(found, "split") == ["test", "train", "val"]
    assert found.rejects == ()


def test_splits_inside_parallel_folders(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, *(f"{side}/{split}/1.jpg" for split in ("train", "val") for side in ("before", "after")))
    found = scan(tmp_path, listing)
    assert dict(zip(column(found, "key"), column(found, "split"), strict=True)) == {"train/1": "train", "val/1": "val"}


def test_markers_in_parallel_folders_are_left_aside(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "before/a_before.jpg", "after/a_after.jpg", "before/b.jpg", "after/b_after.jpg")
    pile(tmp_path, "before/day_after.jpg", "after/day_after.jpg", "before/day.jpg", "after/day.jpg")
    assert list(halves(scan(tmp_path, listing))) == ["a", "b", "day", "day_after"]


def test_what_is_missing_in_parallel_folders(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "before/a.jpg", "before/x/b.jpg", "after/x/b.jpg", "after/only/c.png")
    pile(tmp_path, "before/d.jpg", "after/d.png", "after/d.jpg")
    found = scan(tmp_path, listing)
    assert list(halves(found)) == ["x/b"]
    assert [(reject.path, reject.reason, reject.files, reject.detail) for reject in found.rejects] == [
        ("before/a.jpg", "missing-partner", 1, "after/a.jpg is not there"),
        ("after/d.jpg", "duplicate-key", 3, "after/d.jpg and after/d.png both stand for 'after': keep one"),
        ("after/only/c.png", "missing-partner", 1, "before/only/c.png is not there"),
    ]


def test_files_outside_the_parallel_folders_are_counted(tmp_path: Path, listing: Path) -> None:
    found = scan(pile(tmp_path, "before/a.jpg", "after/a.jpg", "loose.jpg", "other/b.jpg", "readme.md"), listing)
    assert found.ignored == {".jpg outside the paired folders": 2, ".md outside the paired folders": 1}


def test_folders_named_by_the_options(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "deep/dark/1.jpg", "deep/light/1.jpg", "before/9.jpg", "after/9.jpg")
    found = scan(tmp_path, listing, before="deep/dark", after="deep/light/")
    assert halves(found) == {"1": ("deep/dark/1.jpg", "deep/light/1.jpg")}


def test_a_folder_inside_the_other_is_not_walked_twice(tmp_path: Path, listing: Path) -> None:
    pile(tmp_path, "1.jpg", "hq/1.jpg")
    found = scan(tmp_path, listing, before=".", after="hq")
    assert halves(found) == {"1": ("1.jpg", "hq/1.jpg")}
    assert (found.found, found.rejects, dict(found.ignored)) == (2, (), {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"before": "noisy"}, "before and after go together"),
        ({"before": "dark", "after": "light"}, "the folders there are: after, before"),
        ({"before": "../x", "after": "after"}, "inside the source"),
        ({"masks": "after"}, "masks does not apply"),
    ],
)
def test_options_that_cannot_work(tmp_path: Path, listing: Path, options: dict[str, str], message: str) -> None:
    pile(tmp_path, "before/a.jpg", "after/a.jpg")
    with pytest.raises(ConfigError, match=message):
        scan(tmp_path, listing, **options)


def test_no_pairs_at_all(tmp_path: Path, listing: Path) -> None:
    with pytest.raises(ConfigError, match=r"NAME_before\.EXT"):
        scan(pile(tmp_path, "a.jpg", "b.jpg"), listing)


# Real ones


def test_real_pairs(shared_data: Path, listing: Path) -> None:
    found = scan(shared_data / "before_after", listing)
    assert (found.listing.num_rows, found.found, found.rejects) == (473, 946, ())
    assert column(found, "split").count("train") == 412
    for key, (before, after) in halves(found).items():
        assert (before, after) == (f"{key}_before.jpg", f"{key}_after.jpg")


def test_what_the_original_left_behind_is_paired_here(shared_data: Path, listing: Path) -> None:
    found = scan(shared_data / "golden" / "color_reverser" / "stage_input", listing)
    assert halves(found)["pic"] == ("pic_before.png", "pic_after.png")
    assert "bad" in halves(found), "a broken file is found out when it is decoded"
    assert found.ignored == {".txt": 1}
    assert (found.found, found.listing.num_rows) == (31, 15)
