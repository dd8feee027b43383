"""Staging in one process: sizes, orientation by pair, greys, names, splits, what is refused and what stays as it is."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import imagemill
from imagemill.codecs.image import decode, decode_mask, read_header
from imagemill.errors import ConfigError
from imagemill.prepare import stage_files
from imagemill.prepare.stage_options import StageOptions
from imagemill.prepare.stage_pictures import resized
from imagemill.prepare.stage_totals import StageResult
from imagemill.testing.images import exif_block, photo, saved, wide_gamut_profile
from imagemill.testing.piles import tree
from imagemill.transforms.geometry import FITS, fit_size

OWN = ("stage.json", "rejects.jsonl", "splits.csv")


def put(folder: Path, name: str, height: int = 40, width: int = 60, *, seed: int = 0, **options: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(height, width, seed)).save(path, **options)
    return path


def pair(folder: Path, stem: str, height: int = 40, width: int = 60, suffix: str = ".png") -> None:
    for half in ("before", "after"):
        put(folder, f"{stem}_{half}{suffix}", height, width, seed=len(stem))


def staged(source: Path, out: Path, **options: Any) -> StageResult:
    return imagemill.stage(source, out, workers=0, **options)


def names(out: Path) -> list[str]:
    return list(tree(out, without=OWN))


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    return decode(path.read_bytes())


def opened(path: Path) -> Image.Image:
    """As it is stored."""
    with Image.open(path) as image:
        image.load()
        return image


def error_of(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(
    ("fit", "sides"),
    [("exact", (30, 20)), ("contain", (30, 20)), ("cover", (30, 20)), ("short", (20, 30)), ("long", (20, 30))],
)
def test_every_fit_gives_its_size(fit: str, sides: tuple[int, int], tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", 80, 120)
    staged(tmp_path / "in", tmp_path / "out", size="20x30", fit=fit)
    assert pixels(tmp_path / "out" / "a.png").shape[:2] == sides


def test_contain_fills_with_the_colour_asked_for_and_greys_with_its_grey(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", 20, 60)
    Image.fromarray(photo(20, 60, 1)).convert("L").save(tmp_path / "in" / "g.png")
    staged(tmp_path / "in", tmp_path / "out", size="60x60", fit="contain", fill="#ff0000")
    assert pixels(tmp_path / "out" / "a.png")[0, 0].tolist() == [255, 0, 0]
    assert np.array(opened(tmp_path / "out" / "g.png"))[0, 0] == 76
    assert opened(tmp_path / "out" / "g.png").mode == "L"


def test_short_and_long_never_enlarge(tmp_path: Path) -> None:
    path = put(tmp_path / "in", "a.jpg", 40, 60)
    result = staged(tmp_path / "in", tmp_path / "out", size=100)
    assert (tmp_path / "out" / "a.jpg").read_bytes() == path.read_bytes()
    assert result.unchanged == result.written == 1


def test_a_landscape_of_exactly_the_target_size_is_turned(tmp_path: Path) -> None:
    """The original compared sizes after turning in memory, and left it lying."""
    put(tmp_path / "in", "a.png", 256, 384)
    staged(tmp_path / "in", tmp_path / "out", size="256x384", orient="portrait")
    assert np.array_equal(pixels(tmp_path / "out" / "a.png"), np.rot90(photo(256, 384, 0)))


def test_landscape_turns_the_other_way_so_that_both_together_change_nothing(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", 60, 40)
    staged(tmp_path / "in", tmp_path / "out", orient="landscape")
    staged(tmp_path / "out", tmp_path / "back", orient="portrait")
    assert np.array_equal(pixels(tmp_path / "back" / "a.png"), photo(60, 40, 0))


def test_a_pair_is_turned_together_or_rejected(tmp_path: Path) -> None:
    pair(tmp_path / "in", "lies", 40, 60)
    pair(tmp_path / "in", "stands", 60, 40)
    put(tmp_path / "in", "mixed_before.png", 40, 60)
    put(tmp_path / "in", "mixed_after.png", 60, 40)
    put(tmp_path / "in", "square_before.png", 50, 50)
    put(tmp_path / "in", "square_after.png", 40, 60)
    result = staged(tmp_path / "in", tmp_path / "out", orient="portrait")
    assert [(reject.key, reject.reason, reject.files) for reject in result.rejects] == [
        ("mixed", "pair-orientation", 2)
    ]
    assert "before is 60x40, after is 40x60" in result.rejects[0].detail
    turned = np.rot90(photo(50, 50, 0))
    assert np.array_equal(pixels(tmp_path / "out" / "square_before.png"), turned)
    for name in names(tmp_path / "out"):
        height, width = pixels(tmp_path / "out" / name).shape[:2]
        assert height >= width, name


def test_orientation_is_applied_before_it_is_decided(tmp_path: Path) -> None:
    upright = photo(60, 40, 3)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.rot90(upright)).save(tmp_path / "in" / "a.png", exif=exif_block(6))
    staged(tmp_path / "in", tmp_path / "out", orient="portrait")
    out = tmp_path / "out" / "a.png"
    assert np.array_equal(pixels(out), upright)
    assert read_header(out.read_bytes()).orientation == 1


def test_a_colour_profile_is_applied_and_left_out(tmp_path: Path) -> None:
    path = put(tmp_path / "in", "a.png", icc_profile=wide_gamut_profile())
    staged(tmp_path / "in", tmp_path / "out", size="60x40")
    out = (tmp_path / "out" / "a.png").read_bytes()
    assert not read_header(out).icc
    assert np.array_equal(decode(out), decode(path.read_bytes()))


def test_what_needs_no_change_is_copied_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "c.webp"):
        put(tmp_path / "in", name, 30, 20)
    staged(tmp_path / "in", tmp_path / "out", size="20x30", orient="portrait")
    source = tree(tmp_path / "in")
    assert {name: digest for name, digest in tree(tmp_path / "out").items() if name in source} == source


def test_formats_stay_and_others_become_png(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jpeg", "c.png", "d.webp", "e.bmp", "f.gif"):
        put(tmp_path / "in", name)
    staged(tmp_path / "in", tmp_path / "out", size=16)
    assert names(tmp_path / "out") == ["a.JPG", "b.jpeg", "c.png", "d.webp", "e.png", "f.png"]
    formats = [read_header((tmp_path / "out" / name).read_bytes()).format for name in names(tmp_path / "out")]
    assert formats == ["JPEG", "JPEG", "PNG", "WEBP", "PNG", "PNG"]


@pytest.mark.parametrize(("to", "format"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_to_converts_everything(to: str, format: str, tmp_path: Path) -> None:
    for name in ("a.jpeg", "b.png", "c.webp", "d.bmp"):
        put(tmp_path / "in", name)
    staged(tmp_path / "in", tmp_path / "out", to=to)
    written = names(tmp_path / "out")
    assert {read_header((tmp_path / "out" / name).read_bytes()).format for name in written} == {format}
    assert len(written) == 4


def test_names_that_would_cover_each_other_are_numbered(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "a.bmp", "a-2.png", "A.tif")):
        put(tmp_path / "in", name, seed=number)
    result = staged(tmp_path / "in", tmp_path / "out", to="png")
    assert names(tmp_path / "out") == ["A.png", "a-2.png", "a-3.png", "a-4.png"]
    assert result.kept == 4
    seen = {tuple(pixels(tmp_path / "out" / name)[0, 0]) for name in names(tmp_path / "out")}
    assert len({pixels(tmp_path / "out" / name).tobytes() for name in names(tmp_path / "out")}) == 4, seen


def test_grey_before_is_the_grey_of_after(tmp_path: Path) -> None:
    pair(tmp_path / "in", "a")
    put(tmp_path / "in", "a_before.png", seed=99)
    staged(tmp_path / "in", tmp_path / "out", grey_before=True)
    after = opened(tmp_path / "out" / "a_after.png")
    assert (tmp_path / "out" / "a_after.png").read_bytes() == (tmp_path / "in" / "a_after.png").read_bytes()
    before = opened(tmp_path / "out" / "a_before.png")
    assert before.mode == "L"
    assert np.array_equal(np.array(before), np.array(after.convert("L")))


def test_single_pictures_become_pairs_with_grey_before(tmp_path: Path) -> None:
    put(tmp_path / "in", "x/one.jpg")
    put(tmp_path / "in", "x/two_after.jpg")
    staged(tmp_path / "in", tmp_path / "out", grey_before=True, size="32x32", kind="folder")
    assert names(tmp_path / "out") == [
        f"x/{stem}_{half}.jpg" for stem in ("one", "two") for half in ("after", "before")
    ]


def test_parallel_folders_become_pairs_by_stem(tmp_path: Path) -> None:
    for name in ("noisy/a.jpg", "noisy/b.jpg", "noisy/lonely.jpg", "clean/b.png", "clean/a.png"):
        put(tmp_path / "in", name, seed=ord(name[6]))
    result = staged(tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == ["a_after.png", "a_before.jpg", "b_after.png", "b_before.jpg"]
    assert np.array_equal(pixels(tmp_path / "out" / "b_after.png"), photo(40, 60, ord("b")))
    assert [(reject.path, reject.reason) for reject in result.rejects] == [("noisy/lonely.jpg", "missing-partner")]
    assert "clean/lonely.jpg is not there" in result.rejects[0].detail


def test_masks_keep_their_classes(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 12, (40, 60), np.uint8)
    put(tmp_path / "in", "images/a.jpg")
    (tmp_path / "in" / "masks").mkdir()
    Image.fromarray(ids).save(tmp_path / "in" / "masks" / "a.png")
    put(tmp_path / "in", "images/b.jpg", 30, 30)
    Image.fromarray(ids).save(tmp_path / "in" / "masks" / "b.png")
    result = staged(tmp_path / "in", tmp_path / "out", size="30x45", orient="portrait")
    found = decode_mask((tmp_path / "out" / "masks" / "a.png").read_bytes())
    assert found.shape == (45, 30)
    assert set(np.unique(found)) <= set(np.unique(ids))
    assert [(reject.key, reject.reason) for reject in result.rejects] == [("images/b.jpg", "mask-size")]


def test_one_bad_half_rejects_the_pair_and_names_the_file(tmp_path: Path) -> None:
    pair(tmp_path / "in", "good")
    pair(tmp_path / "in", "bad")
    cut = tmp_path / "in" / "bad_after.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    result = staged(tmp_path / "in", tmp_path / "out", size="20x20")
    assert [(reject.key, reject.path, reject.reason) for reject in result.rejects] == [
        ("bad", "bad_after.png", "truncated")
    ]
    assert (result.found, result.kept, result.rejected, result.ignored) == (5, 2, 2, 1)
    assert names(tmp_path / "out") == ["good_after.png", "good_before.png"]
    assert result.reject_share == 0.5


def test_a_cut_mask_rejects_its_picture(tmp_path: Path) -> None:
    put(tmp_path / "in", "images/a.png")
    put(tmp_path / "in", "images/b.png")
    for name in ("a", "b"):
        path = put(tmp_path / "in", f"masks/{name}.png", seed=7)
    path.write_bytes(path.read_bytes()[:-200])
    result = staged(tmp_path / "in", tmp_path / "out", size=16)
    assert [(reject.path, reject.reason) for reject in result.rejects] == [("masks/b.png", "truncated")]


def test_splits_count_as_the_original_did(tmp_path: Path) -> None:
    for number in range(13):
        pair(tmp_path / "in", f"p{number:02d}", 8, 8)
    result = staged(tmp_path / "in", tmp_path / "out", split="80/12/8", split_counts="exact", seed=3)
    assert result.splits == {"train": 10, "val": 1, "test": 2}
    assert len(list((tmp_path / "out" / "train").iterdir())) == 20
    again = staged(tmp_path / "in", tmp_path / "again", split="80/12/8", split_counts="exact", seed=3)
    assert tree(tmp_path / "out") == tree(tmp_path / "again")
    other = staged(tmp_path / "in", tmp_path / "other", split="80/12/8", split_counts="exact", seed=4)
    assert again.splits == other.splits
    assert tree(tmp_path / "out") != tree(tmp_path / "other")


def test_restored_and_dealt_again_every_file_is_in_its_split(tmp_path: Path) -> None:
    for number in range(9):
        pair(tmp_path / "in", f"p{number}", 8, 8)
    staged(tmp_path / "in", tmp_path / "moved", split="60/20/20", split_counts="exact")
    staged(tmp_path / "moved", tmp_path / "back", restore=True)
    assert {name: digest for name, digest in tree(tmp_path / "back").items() if name not in OWN} == tree(
        tmp_path / "in"
    )
    with open(tmp_path / "back" / "splits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["source"] == f"{row['split']}/{row['file_name']}" for row in rows)
    staged(tmp_path / "back", tmp_path / "again", split_table=tmp_path / "back" / "splits.csv")
    assert names(tmp_path / "again") == names(tmp_path / "moved")


def test_the_older_layout_is_restored_into_pairs(tmp_path: Path) -> None:
    for split, stem in (("train", "a"), ("train", "b"), ("val", "c"), ("test", "a")):
        put(tmp_path / "in", f"{split}/noisy/{stem}_before.jpg", seed=1)
        put(tmp_path / "in", f"{split}/clean/{stem}_after.jpg", seed=2)
    staged(tmp_path / "in", tmp_path / "out", restore=True)
    stems = ("a-2", "a", "b", "c")
    assert names(tmp_path / "out") == sorted(f"{stem}_{half}.jpg" for stem in stems for half in ("after", "before"))
    with open(tmp_path / "out" / "splits.csv", newline="") as file:
        found = {row["file_name"]: row["split"] for row in csv.DictReader(file)}
    assert found["c_before.jpg"] == "val"
    assert {found["a_before.jpg"], found["a-2_before.jpg"]} == {"train", "test"}


def test_rename_adds_before_where_it_is_missing(tmp_path: Path) -> None:
    for name in ("x.jpg", "y_before.png", "output/x_after.jpg"):
        put(tmp_path / "in", name)
    staged(tmp_path / "in", tmp_path / "out", rename=True)
    assert names(tmp_path / "out") == ["output/x_after.jpg", "x_before.jpg", "y_before.png"]


def test_links_point_at_the_originals_and_changed_files_are_written(tmp_path: Path) -> None:
    same = put(tmp_path / "in", "same.png", 20, 20)
    put(tmp_path / "in", "other.png", 40, 40)
    result = staged(tmp_path / "in", tmp_path / "out", size="20x20", link=True)
    assert (tmp_path / "out" / "same.png").readlink() == same.resolve()
    assert not (tmp_path / "out" / "other.png").is_symlink()
    assert (result.linked, result.unchanged, result.written) == (1, 1, 2)


def test_no_file_of_out_is_a_hard_link(tmp_path: Path) -> None:
    source = put(tmp_path / "in", "a.png")
    staged(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "a.png").stat().st_nlink == source.stat().st_nlink == 1
    assert (tmp_path / "out" / "a.png").stat().st_ino != source.stat().st_ino


def test_blocks_are_shared_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ioctl answers, its copy is what lies in OUT; a clone of another length than was read is not taken."""
    fcntl = pytest.importorskip("fcntl")
    put(tmp_path / "in", "a.png")
    cloned = []

    def share(copy: int, request: int, original: int) -> int:
        assert request == stage_files.FICLONE
        content = Path(f"/proc/self/fd/{original}").read_bytes()
        cloned.append(content)
        Path(f"/proc/self/fd/{copy}").write_bytes(content if len(cloned) == 1 else b"other")
        return 0

    monkeypatch.setattr(fcntl, "ioctl", share)
    staged(tmp_path / "in", tmp_path / "one")
    staged(tmp_path / "in", tmp_path / "two")
    assert len(cloned) == 2
    expected = (tmp_path / "in" / "a.png").read_bytes()
    assert (tmp_path / "one" / "a.png").read_bytes() == (tmp_path / "two" / "a.png").read_bytes() == expected


@pytest.mark.parametrize("place", ["config.json", "config/config.json", ".config/config.json"])
def test_the_kits_config_says_the_size(place: str, tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png", 80, 80)
    path = tmp_path / "kit" / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"training": {"img_height": 48, "img_width": 32, "epochs": 32}}))
    staged(tmp_path / "in", tmp_path / "out", config=path if place == "config.json" else tmp_path / "kit")
    assert pixels(tmp_path / "out" / "a.png").shape[:2] == (48, 32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "img_height is None"),
        ('{"training": {"img_height": 3, "img_width": "4"}}', "img_width is '4'"),
        ("[]", "img_height is None"),
    ],
)
def test_a_config_that_says_no_size_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        staged(put(tmp_path / "in", "a.png").parent, tmp_path / "out", config=tmp_path / "config.json")
    with pytest.raises(ConfigError, match="no config at"):
        staged(tmp_path / "in", tmp_path / "out", config=tmp_path / "in")


def test_in_place_is_refused_whichever_way(tmp_path: Path) -> None:
    put(tmp_path / "in" / "deep", "a.png")
    before = tree(tmp_path)
    for source, out in (("in", "in"), ("in", "in/out"), ("in/deep", "in"), ("in/deep", ".")):
        with pytest.raises(ConfigError, match="inside"):
            staged(tmp_path / source, tmp_path / out)
    assert tree(tmp_path) == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    put(tmp_path / "out", "mine.png")
    with pytest.raises(ConfigError, match="is no folder of staged pictures"):
        staged(tmp_path / "in", tmp_path / "out")


def test_the_same_again_does_nothing_other_options_and_another_source_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    assert not staged(tmp_path / "in", tmp_path / "out", size=8).already
    done = tree(tmp_path / "out")
    assert staged(tmp_path / "in", tmp_path / "out", size=8).already
    with pytest.raises(ConfigError, match="begun with option quality 95, now it is 90"):
        staged(tmp_path / "in", tmp_path / "out", size=8, quality=90)
    put(tmp_path / "in", "b.png")
    with pytest.raises(ConfigError, match="source has changed"):
        staged(tmp_path / "in", tmp_path / "out", size=8)
    assert tree(tmp_path / "out") == done


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    pair(tmp_path / "in", "a")
    put(tmp_path / "in", "lonely_after.png")
    result = staged(tmp_path / "in", tmp_path / "out", split="1/1", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert not result.finished
    assert {origin for origin, _ in result.planned} == {"a_before.png", "a_after.png"}
    assert (result.found, result.kept, result.rejected) == (3, 2, 1)


def test_limit_stages_the_first_ones(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / "in", f"{number}.png", 8, 8)
    result = staged(tmp_path / "in", tmp_path / "out", limit=2)
    assert names(tmp_path / "out") == ["0.png", "1.png"]
    assert (result.found, result.kept, result.ignored) == (5, 2, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"fit": "stretch"},
        {"orient": "upside-down"},
        {"to": "gif"},
        {"quality": 0},
        {"subsampling": "123"},
        {"filter": "sinc"},
        {"fill": "sky"},
        {"split": "80/20", "restore": True},
        {"rename": True, "grey_before": True},
        {"size": "8x8", "config": "config.json"},
        {"split_counts": "exact"},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path / "in", "a.png")
    with pytest.raises(ConfigError):
        staged(tmp_path / "in", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_other_sources_are_refused_with_a_way_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pile.zip", "w") as archive:
        archive.write(put(tmp_path / "in", "a.png"), "a.png")
    with pytest.raises(ConfigError, match="folders of pictures"):
        staged(tmp_path / "pile.zip", tmp_path / "out")


SIDES = st.integers(1, 400)


@given(SIDES, SIDES, st.tuples(SIDES, SIDES), st.sampled_from(FITS))
def test_a_picture_that_was_scaled_for_a_fit_is_only_placed_then(
    height: int, width: int, size: tuple[int, int], fit: str
) -> None:
    """Pixels are resampled once: fitting the scaled picture again changes nothing."""
    place = fit_size(height, width, size, fit)
    assert fit_size(*place.scaled, size, fit) == place


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_smaller_inverse_transform_does_not_show(orientation: int) -> None:
    """Sides that no factor divides, every way round: the mean error stays below 1 level of 255."""
    jpeg = saved(photo(701, 997, 5), "JPEG", quality=92, exif=exif_block(orientation))
    header = read_header(jpeg)
    height, width = header.sides[0] // 9, header.sides[1] // 9
    whole = Image.fromarray(decode(jpeg)).resize((width, height), Image.Resampling.LANCZOS)
    assert 0 < error_of(resized(jpeg, header, (height, width), "lanczos"), np.asarray(whole)) < 1


def test_photographs_decoded_smaller_stay_within_one_level(shared_data: Path) -> None:
    worst = 0.0
    for path in sorted((shared_data / "imagenet_sample").rglob("*.JPEG"))[:60:4]:
        data = path.read_bytes()
        header = read_header(data)
        for divisor in (6, 12):
            sides = header.sides[0] // divisor, header.sides[1] // divisor
            whole = Image.fromarray(decode(data)).resize(sides[::-1], Image.Resampling.LANCZOS).convert("RGB")
            small = np.broadcast_to(resized(data, header, sides, "lanczos"), (*sides, 3))
            worst = max(worst, error_of(small, np.asarray(whole)))
    assert 0 < worst < 1


def test_a_picture_that_its_format_cannot_hold_is_a_reject(tmp_path: Path) -> None:
    put(tmp_path / "in", "good.png")
    Image.new("L", (70_000, 1)).save(tmp_path / "in" / "long.png")
    result = staged(tmp_path / "in", tmp_path / "out", to="jpg")
    assert [(reject.key, reject.reason) for reject in result.rejects] == [("long.png", "unsupported")]
    assert names(tmp_path / "out") == ["good.jpg"]


def test_texts_beside_pictures_do_not_stop_it(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.jpg")
    put(tmp_path / "in", "b.jpg")
    for name in ("a.txt", "b.txt"):
        (tmp_path / "in" / name).write_text("a caption")
    result = staged(tmp_path / "in", tmp_path / "out")
    assert (names(tmp_path / "out"), result.ignored) == (["a.jpg", "b.jpg"], 2)


def test_the_colour_pipelines_size(shared_data: Path, tmp_path: Path) -> None:
    """299x299 on white: what koalarization made, but that it rounds its offsets up, and enlarges by another filter."""
    golden = shared_data / "golden" / "koalarization"
    staged(golden / "original", tmp_path / "out", size="299x299", fit="contain", to="png")
    worst = {}
    for path in sorted((golden / "resized").iterdir()):
        ours, theirs = pixels(tmp_path / "out" / f"{path.stem}.png"), pixels(path)
        moved = (np.roll(ours, shift, (0, 1)) for shift in ((0, 0), (1, 0), (0, 1)))
        jpegs = (saved(Image.fromarray(picture), "JPEG", quality=75) for picture in moved)
        worst[path.name] = min(error_of(decode(jpeg), theirs) for jpeg in jpegs)
    assert len(worst) == 16
    assert worst.pop("small_wide.jpeg") < 2
    assert max(worst.values()) <= 0.5


def test_options_in_words_are_complete() -> None:
    record = StageOptions(size=(2, 3)).to_json()
    assert json.loads(json.dumps(record)) == record
