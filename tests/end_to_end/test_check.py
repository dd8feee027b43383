"""`check` as a user runs it: duplicates planted and found, the cache, leaks, other piles, any input."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import imagemill
from imagemill.curate import quality
from imagemill.curate.table import DUPLICATE_FLAGS, check_metadata, check_schema, image_fields, read_checks
from imagemill.errors import ConfigError, OutputInUse
from imagemill.prepare.check_result import CheckResult
from imagemill.prepare.exclusions import match_checks
from imagemill.testing.images import nasty_images, photo
from imagemill.testing.piles import class_folders, masked, pairs, save_photo, tree
from imagemill.testing.piles import imagemill as cli


def check(source: Path, out: Path | None = None, **options: Any) -> CheckResult:
    return imagemill.check(source, out, **{"workers": 0, **options})


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in read_checks(out).to_pylist()}


COPIES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "encoded": lambda picture, _: picture,
    "resized": lambda picture, rng: picture.resize([int(side * rng.choice([0.5, 0.75, 1.5])) for side in picture.size]),
    "cropped": lambda picture, rng: cropped(picture, rng),
    "mirrored": lambda picture, rng: picture.transpose(rng.choice(list(Image.Transpose)[:2])),
    "rotated": lambda picture, rng: picture.transpose(rng.choice(list(Image.Transpose)[2:])),
}


def cropped(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture without 2 % of its width and height, taken from either side."""
    lost = [max(1, round(side * 0.02)) for side in picture.size]
    left, top = (rng.randint(0, most) for most in lost)
    return picture.crop((left, top, picture.width - lost[0] + left, picture.height - lost[1] + top))


def plant(folder: Path, originals: list[Path], count: int) -> None:
    """Originals as they are, and changed copies of some of them: `HOW_NUMBER.jpg` beside `original_NUMBER.jpg`."""
    folder.mkdir(parents=True)
    for number, path in enumerate(originals):
        shutil.copy(path, folder / f"original_{number:04d}{path.suffix}")
    rng = random.Random(0)
    for turn, number in enumerate(rng.sample(range(len(originals)), count)):
        how = list(COPIES)[turn % len(COPIES)]
        with Image.open(originals[number]) as picture:
            copy = COPIES[how](picture.convert("RGB"), rng)
        copy.save(folder / f"{how}_{number:04d}.jpg", quality=rng.choice([50, 75, 90]))


def score(out: Path) -> tuple[list[str], list[list[str]]]:
    """Copies that were not found, and clusters of different pictures."""
    clusters = defaultdict(list)
    rows = rows_of(out)
    for key, row in rows.items():
        if row["cluster"] is not None:
            clusters[row["cluster"]].append(key)
    number = {key: key.rpartition("_")[2].partition(".")[0] for key in rows}
    originals = {number[key]: key for key in rows if key.startswith("original")}
    missed = [key for key in rows if rows[key]["cluster"] != rows[originals[number[key]]]["cluster"]]
    missed += [key for key in rows if not key.startswith("original") and rows[key]["cluster"] is None]
    return missed, [keys for keys in clusters.values() if len({number[key] for key in keys}) > 1]


def test_planted_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    for seed in range(60):
        save_photo(tmp_path / "made" / f"{seed:04d}.jpg", 200 + seed, 300 - seed, seed)
    plant(tmp_path / "pile", sorted((tmp_path / "made").iterdir()), 50)
    check(tmp_path / "pile", tmp_path / "out")
    assert score(tmp_path / "out") == ([], [])


def test_planted_copies_of_real_photographs_are_found(shared_data: Path, tmp_path: Path) -> None:
    originals = sorted((shared_data / "imagenet_sample").rglob("*.JPEG"))
    plant(tmp_path / "pile", originals, 100)
    check(tmp_path / "pile", tmp_path / "out", workers=2)
    assert score(tmp_path / "out") == ([], [])


def test_pictures_equal_in_bytes_pixels_and_to_see(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    for number in range(4):
        save_photo(pile / f"{number}.png", 90, 120, number)
    with Image.open(pile / "1.png") as picture:
        picture.save(pile / "b same pixels.bmp")
        picture.save(pile / "d near.jpg")
    shutil.copy(pile / "1.png", pile / "a same bytes.png")
    shutil.copy(pile / "b same pixels.bmp", pile / "c both.bmp")
    result = check(pile, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert list(rows) == sorted(rows)
    found = {key: (row["duplicate_of"], row["similarity"], row["flags"]) for key, row in rows.items()}
    assert found == {
        "0.png": (None, None, []),
        "1.png": (None, None, []),
        "2.png": (None, None, []),
        "3.png": (None, None, []),
        "a same bytes.png": ("1.png", "bytes", ["exact-duplicate"]),
        "b same pixels.bmp": ("1.png", "pixels", ["same-pixels"]),
        "c both.bmp": ("1.png", "pixels", ["exact-duplicate", "same-pixels"]),
        "d near.jpg": ("1.png", "near", ["near-duplicate"]),
    }
    assert {row["cluster"] for key, row in rows.items() if key in ("0.png", "2.png", "3.png")} == {None}
    assert (result.clusters, result.clustered, result.duplicates) == (1, 5, 4)


def test_the_best_of_a_cluster_is_kept(tmp_path: Path) -> None:
    """Most pixels, then no loss, then most bytes, then the first key; where it is left out, the next best stays."""
    pile = tmp_path / "pile"
    picture = Image.fromarray(photo(240, 320, 3))
    (pile / "x").mkdir(parents=True)
    picture.resize((160, 120)).save(pile / "a.png")
    picture.save(pile / "b.jpg", quality=60)
    picture.save(pile / "c.jpg", quality=90)
    picture.save(pile / "d.png")
    shutil.copy(pile / "d.png", pile / "x" / "e.png")
    save_photo(pile / "other.png", 90, 120, 9)
    check(pile, tmp_path / "out")
    found = {key: (row["duplicate_of"], row["similarity"]) for key, row in rows_of(tmp_path / "out").items()}
    near = ("d.png", "near")
    kept = (None, None)
    assert found == {
        "a.png": near,
        "b.jpg": near,
        "c.jpg": near,
        "d.png": kept,
        "x/e.png": ("d.png", "bytes"),
        "other.png": kept,
    }
    assert {row["cluster"] for key, row in rows_of(tmp_path / "out").items() if key != "other.png"} == {0}
    keys = ["a.png", "b.jpg", "c.jpg"]
    listing = pa.table({"key": keys, "size": [(pile / key).stat().st_size for key in keys]})
    left_out = match_checks(tmp_path / "out" / "checks.parquet", listing, ("near-duplicate",)).left_out
    assert left_out == dict.fromkeys((0, 1), ("near-duplicate", "c.jpg stays"))


def test_a_grey_copy_or_one_of_few_colours_is_not_the_one_that_is_kept(tmp_path: Path) -> None:
    """Though both have the same pixels as the photograph, and more bytes."""
    pile = tmp_path / "pile"
    pile.mkdir()
    picture = Image.fromarray(photo(240, 320, 3))
    picture.save(pile / "photo.jpg", quality=60)
    picture.convert("L").save(pile / "grey.png")
    picture.convert("L").convert("RGB").save(pile / "grey_in_rgb.png")
    picture.convert("P").save(pile / "palette.gif")
    save_photo(pile / "other.png", 90, 120, 9)
    check(pile, tmp_path / "out")
    assert min(path.stat().st_size for path in pile.glob("[gp]*.[pg]*")) > (pile / "photo.jpg").stat().st_size
    kept = {key: row["duplicate_of"] for key, row in rows_of(tmp_path / "out").items() if row["cluster"] is not None}
    assert kept == dict.fromkeys(("grey.png", "grey_in_rgb.png", "palette.gif"), "photo.jpg") | {"photo.jpg": None}


def test_blank_pictures_are_no_copies_of_each_other(tmp_path: Path) -> None:
    for number in range(6):
        picture = np.full((64, 64, 3), 40 * number, np.uint8)
        picture[number, number] += 9
        (tmp_path / "pile").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "pile" / f"{number}.png")
    shutil.copy(tmp_path / "pile" / "0.png", tmp_path / "pile" / "copy.png")
    result = check(tmp_path / "pile")
    assert result.flags["low-information"] == 7
    assert (result.clusters, result.clustered) == (1, 2)


def test_a_second_check_decodes_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    pile = class_folders(tmp_path / "pile", bad=False)
    first = check(pile, tmp_path / "first", workers=2)
    assert (first.decoded, first.remembered) == (24, 0)
    save_photo(pile / "class_0" / "new.jpg", 50, 60, 999)
    second = check(pile, tmp_path / "second", workers=2)
    assert (second.decoded, second.remembered) == (1, 24)
    unaided = check(pile, tmp_path / "unaided", cache=False)
    assert (unaided.decoded, unaided.remembered) == (25, 0)
    assert tree(tmp_path / "second") == tree(tmp_path / "unaided")
    shutil.rmtree(tmp_path / "cache")
    assert check(pile).decoded == 25


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", per_class=45)
    alone = check(pile, tmp_path / "alone", cache=False)
    crew = check(pile, tmp_path / "crew", workers=3, cache=False)
    assert tree(tmp_path / "alone") == tree(tmp_path / "crew")
    assert (alone.found, alone.kept, alone.rejected, alone.ignored) == (139, 135, 3, 1)
    assert crew.reasons == alone.reasons
    assert set((tmp_path / "crew").iterdir()) == {
        tmp_path / "crew" / name for name in ("checks.parquet", "rejects.jsonl")
    }


def test_the_callers_opencv_threads_stay_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def measure(pixels: Any) -> Any:
        seen.append(cv2.getNumThreads())
        return quality.measure(pixels)

    monkeypatch.setattr("imagemill.curate.picture.measure", measure)
    monkeypatch.setattr("imagemill.curate.picture.measure_jpeg", lambda *_: None)
    class_folders(tmp_path / "pile", classes=1, per_class=2, bad=False)
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        assert check(tmp_path / "pile", cache=False).kept == 2
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
    assert seen == [1, 1]


def test_workers_load_what_looking_takes_and_no_more(tmp_path: Path) -> None:
    class_folders(tmp_path / "pile", classes=1, per_class=4, bad=False)
    program = (
        "import os, sys, imagemill\n"
        "os.environ['PYTHONPROFILEIMPORTTIME'] = '1'  # heard by workers, which are started after it\n"
        "assert imagemill.check(sys.argv[1], cache=False, workers=1).kept == 4\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "pile")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"imagemill.prepare.look_tasks", "cv2", "pyarrow"} <= loaded
    assert not loaded & {"pandas._libs", "pyarrow.parquet", "imagemill.prepare.planning", "imagemill.curate.near"}


def test_the_table_has_the_columns_it_promises(tmp_path: Path) -> None:
    check(masked(tmp_path / "pile"), tmp_path / "out", thresholds={"dark": 0.3})
    table = read_checks(tmp_path / "out")
    assert table.schema.equals(check_schema(["image"], ["mask"]))
    assert image_fields(table) == ("image",)
    assert check_metadata(table)["thresholds"]["dark"] == 0.3
    row = table.to_pylist()[0]
    assert (row["height.image"], row["width.image"], row["format.image"], row["mode.image"]) == (36, 48, "PNG", "RGB")
    assert row["origin.mask"] == "masks/frame_0000.png"
    assert row["phash.image"] is not None


def test_partners_are_no_copies_and_a_pair_is_judged_by_its_first_picture(tmp_path: Path) -> None:
    pile = pairs(tmp_path / "pile", 4)
    shutil.copy(pile / "plate_0_before.jpg", pile / "plate_8_before.jpg")
    shutil.copy(pile / "plate_1_after.jpg", pile / "plate_8_after.jpg")
    shutil.copy(pile / "plate_2_before.jpg", pile / "plate_9_before.jpg")
    shutil.copy(pile / "plate_2_after.jpg", pile / "plate_9_after.jpg")
    check(pile, tmp_path / "out")
    found = {key: (row["duplicate_of"], row["similarity"]) for key, row in rows_of(tmp_path / "out").items()}
    copies = {key: value for key, value in found.items() if value[0] is not None}
    assert copies == {"plate_8": ("plate_0", "near"), "plate_9": ("plate_2", "bytes")}


def test_leaks_and_conflicting_labels_are_counted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            for number in range(3):
                seed = hash((split, label, number)) % 2**32
                save_photo(tmp_path / "pile" / split / label / f"{number}.png", 60, 80, seed)
    pile = tmp_path / "pile"
    shutil.copy(pile / "train" / "cat" / "0.png", pile / "val" / "cat" / "copy.png")
    with Image.open(pile / "train" / "dog" / "1.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pile / "train" / "cat" / "mirrored.png")
    result = check(pile)
    assert (result.clusters, result.split_leaks, result.label_conflicts) == (2, 1, 1)
    assert (result.classes, result.imbalance) == ({"cat": 8, "dog": 6}, pytest.approx(8 / 6))


def test_against_another_pile_and_a_dataset(tmp_path: Path) -> None:
    pile, other = tmp_path / "pile", tmp_path / "other"
    for number in range(5):
        save_photo(pile / f"p{number}.png", 80, 100, number)
        save_photo(other / "x" / f"o{number}.png", 80, 100, 100 + number)
    shutil.copy(pile / "p1.png", other / "x" / "taken.png")
    shutil.copy(pile / "p1.png", other / "x" / "twice.png")
    with Image.open(pile / "p3.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(other / "x" / "turned.jpg", quality=80)
    expected = [("p1.png", "x/taken.png", "bytes"), ("p3.png", "x/turned.jpg", "near")]
    imagemill.pack(other, tmp_path / "dataset", workers=0)
    for number, place in enumerate((other, tmp_path / "dataset")):
        out = tmp_path / f"out{number}"
        result = check(pile, out, against=place)
        rows = pq.read_table(out / "against.parquet").to_pylist()
        assert result.against == 2
        assert [(row["key"], row["other"], row["similarity"]) for row in rows] == expected
        assert rows_of(out)["p1.png"]["cluster"] is None
    assert check(pile, against=tmp_path / "dataset", limit=1).against == 0


def test_a_dataset_is_checked_like_its_source(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", bad=False)
    shutil.copy(pile / "class_0" / "im 001.jpg", pile / "class_0" / "copy.jpg")
    imagemill.pack(pile, tmp_path / "dataset", workers=0)
    imagemill.pack(pile, tmp_path / "raw", pixels="raw", size=(40, 48), workers=0)
    check(pile, tmp_path / "of the pile")
    check(tmp_path / "dataset", tmp_path / "of the dataset")
    one, other = rows_of(tmp_path / "of the pile"), rows_of(tmp_path / "of the dataset")
    names = ("label", "flags", "cluster", "duplicate_of", "similarity", "content.image", "sharpness.image")
    assert {key: [row[name] for name in names] for key, row in one.items()} == {
        key: [row[name] for name in names] for key, row in other.items()
    }
    assert {row["label"] for row in other.values()} == {"class_0", "class_1", "class_2"}
    assert check(tmp_path / "raw").flags["exact-duplicate"] == 1


def test_headers_know_duplicate_bytes_only(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", bad=False)
    shutil.copy(pile / "class_0" / "im 001.jpg", pile / "class_1" / "copy.jpg")
    with Image.open(pile / "class_0" / "im 002.jpg") as picture:
        picture.save(pile / "class_1" / "again.jpg", quality=60)
    result = check(pile, tmp_path / "out", decode="headers")
    assert result.flags == {"exact-duplicate": 1}
    assert (result.clusters, result.decoded, result.remembered) == (1, 0, 0)
    row = rows_of(tmp_path / "out")["class_0/im 001.jpg"]
    assert (row["height.image"], row["pixels.image"], row["sharpness.image"]) == (41, None, None)


def test_every_kind_of_file_gets_the_verdict_that_pack_gives(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    pile.mkdir()
    for number, (data, _) in enumerate(nasty_images().values()):
        (pile / f"{number:03d}.jpg").write_bytes(data)
    for name, sides in {"dot": (1, 1), "line": (1, 3000), "column": (2500, 2)}.items():
        Image.fromarray(photo(*sides)).save(pile / f"{name}.png")
    checked = check(pile, tmp_path / "checked")
    packed = imagemill.pack(pile, tmp_path / "packed", workers=0)
    assert checked.reasons == packed.reasons
    assert checked.kept == packed.kept
    assert {note.partition("=")[0]: 0 for note in packed.notes} == dict.fromkeys(checked.notes, 0)
    assert checked.notes["image:jpeg-warning"] == packed.notes["image:jpeg-warning"] == 4
    good = [row for row in rows_of(tmp_path / "checked").values() if not row["reason"]]
    assert all(row["pixels.image"] is not None and 0 <= row["brightness.image"] <= 1 for row in good)


def test_an_output_that_is_in_the_way_is_refused_and_what_a_kill_left_is_not(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", bad=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        check(pile, tmp_path / "full")
    with pytest.raises(ConfigError, match="inside the source"):
        check(pile, tmp_path / "pile" / "class_0" / "out", against=tmp_path / "pile")
    (tmp_path / "killed" / ".imagemill" / "check").mkdir(parents=True)
    (tmp_path / "killed" / ".imagemill" / "check" / "left.arrow").write_text("half")
    check(pile, tmp_path / "killed")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["checks.parquet", "rejects.jsonl"]


def test_two_checks_do_not_share_an_output(tmp_path: Path) -> None:
    from imagemill.engines.ranks import membership
    from imagemill.prepare.ownership import own

    pile = class_folders(tmp_path / "pile", bad=False)
    (tmp_path / "out").mkdir()
    with own(tmp_path / "out", membership(0, 1)), pytest.raises(OutputInUse):
        check(pile, tmp_path / "out")


def test_the_command_line_says_what_is_in_a_pile(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "pile", bad=False)
    shutil.copy(pile / "class_0" / "im 001.jpg", pile / "class_1" / "copy.jpg")
    before = tree(pile)
    done = cli("check", pile, "--workers", "0", "--threshold", "blurred=0", "--against", pile)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "1 clusters of 2 samples" in lines["duplicates"]
    assert "1 exact-duplicate" in lines["flagged"]
    assert "different labels" in lines["conflicts"]
    assert "the largest 1.1 times the smallest" in lines["classes"]
    assert "25 samples" in lines["against"]
    assert tree(pile) == before
    asked = cli("check", pile, "--workers", "0", "--json", "--no-cache")
    record = json.loads(asked.stdout)
    assert record["examples"]["exact-duplicate"] == ["class_1/copy.jpg"]
    assert record["remembered"] == 0
    refused = cli("check", pile, "--threshold", "blurred")
    assert refused.returncode == 2
    assert "write NAME=NUMBER" in refused.stderr


def test_nothing_to_look_at_and_nothing_but_bad_files(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    pile.mkdir()
    for number in range(3):
        (pile / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    result = check(pile, tmp_path / "out")
    assert (result.samples, result.rejected, result.flags, result.clusters) == (0, 3, {}, 0)
    assert {row["flags"] == [] for row in rows_of(tmp_path / "out").values()} == {True}
    assert set(DUPLICATE_FLAGS.values()).isdisjoint(result.flags)
