"""Splits as a user asks for them: folds, groups, frozen lists, checks, leaks, growing piles."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from unit.prepare.split_inputs import write_checks

import imagemill
from imagemill.core.manifest import Manifest
from imagemill.errors import ConfigError
from imagemill.prepare.totals import PackResult
from imagemill.sources.fetched_index import INDEX_MARK, INDEX_NAME
from imagemill.testing.piles import imagemill as cli
from imagemill.testing.piles import pairs, save_photo, tree

CLIPS, FRAMES = 12, 5


def pack(source: object, out: Path, **options: Any) -> PackResult:
    return imagemill.pack(source, out, **{"workers": 0, "decode": "headers", **options})


def keys(dataset: Path, split: str | Sequence[str]) -> list[str]:
    return imagemill.open(dataset, split).keys


def splits(dataset: Path) -> dict[str, list[str]]:
    return {name: keys(dataset, name) for name in Manifest.load(dataset).splits}


def frames(folder: Path, clips: int = CLIPS) -> Path:
    """Frames of clips, five each, named `clip_03_0004.jpg`."""
    for clip in range(clips):
        for frame in range(FRAMES):
            save_photo(folder / f"clip_{clip:02d}_{frame:04d}.jpg", 16, 16, clip)
    return folder


def checks_of(source: Path, target: Path, **rows: dict[str, Any]) -> Path:
    """A table of checks over the files of a folder; `rows` has what is not plain, by the stem of the file's name."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    return write_checks(
        target,
        [
            {"key": path.relative_to(source).as_posix(), "size": path.stat().st_size, **rows.get(path.stem, {})}
            for path in paths
        ],
    ).parent


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return frames(tmp_path_factory.mktemp("clips") / "source")


def fetched(files: Sequence[Path], folder: Path) -> Path:
    """The pile that `fetch` would make of a list of these files with a column `clip`."""
    rows = []
    for number, path in enumerate(files):
        content = path.read_bytes()
        (folder / path.name).write_bytes(content)
        row = {"number": number, "id": path.stem, "origin": path.name, "status": "fetched", "reason": "", "caption": ""}
        digest = hashlib.sha256(content).hexdigest()
        rows.append(row | {"path": path.name, "sha256": digest, "size_bytes": len(content), "clip": path.name[:7]})
    mark = {INDEX_MARK: json.dumps({"columns": ["clip"]})}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(mark), folder / INDEX_NAME)
    return folder


def packed_as(kind: str, clips: Path, folder: Path) -> tuple[object, dict[str, Any]]:
    """The same frames as another kind of source, and how to say what their clip is."""
    files = sorted(clips.glob("*.jpg"))
    pattern = {"group_pattern": r"(clip_[0-9]+)"}
    if kind == "folder":
        return clips, pattern
    if kind == "tar":
        with tarfile.open(folder / "a.tar", "w") as archive:
            for path in files:
                archive.add(path, path.name)
        return folder / "a.tar", pattern
    if kind == "zip":
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for path in files:
                archive.write(path, path.name)
        return folder / "a.zip", pattern
    if kind == "table":
        lines = [f"{path},{path.name[:7]}" for path in files]
        (folder / "table.csv").write_text("\n".join(["path,clip", *lines]))
        return folder / "table.csv", {"path_column": "path", "group_column": "clip"}
    if kind == "parquet":
        rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "clip": path.name[:7]} for path in files]
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        return folder / "a.parquet", {"group_column": "clip"}
    if kind == "webdataset":
        with tarfile.open(folder / "shard-000000.tar", "w") as archive:
            for path in files:
                for name, content in ((path.name, path.read_bytes()), (f"{path.stem}.cls", b"1")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return folder, {"kind": "webdataset", **pattern}
    if kind == "captions":
        for path in files:
            (folder / path.name).write_bytes(path.read_bytes())
            (folder / f"{path.stem}.txt").write_text("a clip")
        return folder, {"kind": "captions", **pattern}
    if kind == "masks":
        for path in files:
            for name in ("images", "masks"):
                save_photo(folder / name / f"{path.stem}.png", 8, 8, 0)
        return folder, {"kind": "masks", **pattern}
    if kind == "pairs":
        for path in files:
            for name in ("before", "after"):
                (folder / f"{path.stem}_{name}.jpg").write_bytes(path.read_bytes())
        return folder, pattern
    if kind == "fetched":
        return fetched(files, folder), {"group_column": "clip"}
    if kind == "dataset":
        pack(clips, folder / "packed", **pattern)
        return folder / "packed", {}
    if kind == "regrouped":
        pack(clips, folder / "packed")
        return folder / "packed", pattern
    samples = [(np.full((8, 8, 3), number, np.uint8), number) for number in range(CLIPS * FRAMES)]
    assert kind == "torch"
    return samples, {"group_pattern": r"^(.*)[0-9]"}


def clip_of(key: str, kind: str) -> str:
    """What a sample's key says of its clip."""
    name = key.rpartition("/")[2].partition(".")[0]
    return str(int(name) // FRAMES) if kind == "parquet" else name[:-1]


@pytest.mark.parametrize(
    "kind",
    [
        "folder",
        "tar",
        "zip",
        "table",
        "parquet",
        "webdataset",
        "captions",
        "masks",
        "pairs",
        "fetched",
        "dataset",
        "regrouped",
        "torch",
    ],
)
def test_groups_stay_together_whatever_the_source(kind: str, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source, options = packed_as(kind, clips, tmp_path / "source")
    pack(source, tmp_path / "out", split="60/40", **options)
    found = {name: {clip_of(key, kind) for key in keys} for name, keys in splits(tmp_path / "out").items()}
    assert found["train"]
    assert found["val"]
    assert found["train"].isdisjoint(found["val"])


def test_clips_stay_together(clips: Path, tmp_path: Path) -> None:
    plain = pack(clips, tmp_path / "plain", split="50/50")
    assert "names count up (clip_00_0000, clip_00_0001" not in " ".join(plain.remarks), "five frames are few"
    result = pack(clips, tmp_path / "out", split="50/50", clips=True)
    found = splits(tmp_path / "out")
    assert sum(result.splits.values()) == CLIPS * FRAMES
    assert {key[:7] for key in found["train"]}.isdisjoint(key[:7] for key in found["val"])
    with pytest.raises(ConfigError, match="give one of them"):
        pack(clips, tmp_path / "both", clips=True, group_pattern="(a)")


def test_names_that_count_up_are_told(tmp_path: Path) -> None:
    for number in range(10):
        save_photo(tmp_path / "source" / f"film_{number * 30:06d}.jpg", 8, 8, number)
    result = pack(tmp_path / "source", tmp_path / "out", split="50/50", split_counts="exact")
    assert any("film_000000, film_000030" in remark and "--clips" in remark for remark in result.remarks)


def test_folds_are_splits_that_open_as_one(clips: Path, tmp_path: Path) -> None:
    result = pack(clips, tmp_path / "out", folds=4, clips=True, split_counts="exact", shard_size=7)
    assert result.splits == {f"fold-{number}": 15 for number in range(4)}
    train = ["fold-1", "fold-2", "fold-3"]
    assert keys(tmp_path / "out", train) == [key for name in train for key in keys(tmp_path / "out", name)]
    dataset = imagemill.open(tmp_path / "out", train)
    assert len(dataset) == 45
    assert dataset[44] == imagemill.open(tmp_path / "out", "fold-3")[14]
    assert sum(dataset.shard_counts) == 45
    pair = pack(clips, tmp_path / "pair", folds=4, fold=0, clips=True, split_counts="exact")
    assert pair.splits == {"train": 45, "val": 15}
    assert keys(tmp_path / "pair", "val") == keys(tmp_path / "out", "fold-0")
    assert pair.shares == {"train": 0.75, "val": 0.25}


def test_a_loader_takes_several_folds(clips: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pack(clips, tmp_path / "out", folds=3, split_counts="exact")
    loader = imagemill.Loader(tmp_path / "out", ["fold-0", "fold-2"], batch_size=8, size=16)
    batches = list(loader)
    assert sum(len(batch["image"]) for batch in batches) == 40
    assert isinstance(batches[0]["image"], torch.Tensor)
    with pytest.raises(ConfigError, match=r"no split 'fold-9'"):
        imagemill.open(tmp_path / "out", ["fold-0", "fold-9"])
    with pytest.raises(ConfigError, match="twice"):
        imagemill.open(tmp_path / "out", ["fold-0", "fold-0"])


def test_a_frozen_test_list_and_shares_of_the_rest(clips: Path, tmp_path: Path) -> None:
    frozen = tmp_path / "frozen.txt"
    frozen.write_text("clip_03_0001.jpg\nclip_07_0000\n")
    done = cli(
        "pack", clips, tmp_path / "out", "--split", "80/20", "--clips", "--split-list", f"test={frozen}", "--workers", 0
    )
    assert done.returncode == 0, done.stderr
    found = splits(tmp_path / "out")
    assert {key[:7] for key in found["test"]} == {"clip_03", "clip_07"}
    assert len(found["test"]) == 2 * FRAMES
    assert "asked 80.0%" in done.stdout
    frozen.write_text("gone.jpg")
    assert cli("pack", clips, tmp_path / "no", "--split-list", f"test={frozen}", "--split", "80/20").returncode == 2


def test_near_duplicates_of_a_check_never_straddle(clips: Path, tmp_path: Path) -> None:
    twins = {f"clip_{clip:02d}_0000": {"cluster": clip // 2} for clip in range(CLIPS)}
    checks = checks_of(clips, tmp_path / "checks", **twins)
    result = pack(clips, tmp_path / "out", split="50/50", clips=True, checks=checks)
    assert not result.leaks
    for found in splits(tmp_path / "out").values():
        numbers = {int(key[5:7]) for key in found}
        assert numbers == {number ^ 1 for number in numbers}, "two clips that share a picture are one"
    assert Manifest.load(tmp_path / "out").recipe["checks"]


def test_excluded_samples_are_rejects_that_were_asked_for(clips: Path, tmp_path: Path) -> None:
    flagged = {f"clip_00_{frame:04d}": {"flags": ["dark"]} for frame in range(FRAMES)}
    checks = checks_of(clips, tmp_path / "checks", **flagged, clip_01_0000={"flags": ["blurred"]})
    done = cli(
        "pack", clips, tmp_path / "out", "--checks", checks, "--exclude", "dark,blurred", "--workers", 0, "--json"
    )
    assert done.returncode == 0, "six of sixty are more than --max-rejects, and asked for"
    result = json.loads(done.stdout)
    assert (result["found"], result["kept"], result["rejected"], result["ignored"]) == (60, 54, 6, 0)
    assert result["reasons"] == {"excluded-blurred": 1, "excluded-dark": 5}
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines][-1] == "clip_01_0000.jpg"
    dry = cli("pack", clips, tmp_path / "dry", "--checks", checks, "--exclude", "dark", "--dry-run")
    assert "5 excluded-dark" in dry.stdout
    wrong = cli("pack", clips, tmp_path / "wrong", "--checks", checks, "--exclude", "drak")
    assert wrong.returncode == 2
    assert "did you mean 'dark'" in wrong.stderr


def test_what_check_finds_is_what_pack_obeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    for number in range(20):
        save_photo(source / f"photo_{number:02d}.png", 120, 160, number)
        with Image.open(source / f"photo_{number:02d}.png") as image:
            image.resize((100, 75)).save(source / f"small_{number:02d}.jpg")
    Image.new("RGB", (160, 120)).save(source / "black.png")
    imagemill.check(source, tmp_path / "checked", workers=0)
    pack(source, tmp_path / "together", split="50/50", checks=tmp_path / "checked")
    for found in splits(tmp_path / "together").values():
        photos, copies = ({key[6:8] for key in found if key.startswith(name)} for name in ("photo", "small"))
        assert photos == copies
    for number in range(6):
        with Image.open(source / f"photo_{number:02d}.png") as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / f"again_{number:02d}.jpg")
    imagemill.check(source, tmp_path / "checked again", workers=0)
    pack(source, tmp_path / "grown", split="50/50", checks=tmp_path / "checked again", previous=tmp_path / "together")
    old, grown = splits(tmp_path / "together"), splits(tmp_path / "grown")
    for name in old:
        added = {key for key in grown[name] if key.startswith("again")}
        assert set(grown[name]) - added == set(old[name])
        assert all(f"photo_{key[6:8]}.png" in old[name] for key in added)
    for number in range(6):
        (source / f"again_{number:02d}.jpg").unlink()
    asked = ["dark", "near-duplicate"]
    given = pack(source, tmp_path / "given", checks=tmp_path / "checked", exclude=asked)
    assert given.reasons == {"excluded-dark": 1, "excluded-near-duplicate": 20}
    assert keys(tmp_path / "given", "train") == [f"photo_{number:02d}.png" for number in range(20)]
    looked_at: list[int] = []
    made = pack(source, tmp_path / "made", exclude=asked, on_check=looked_at.append)
    assert made.reasons == given.reasons
    assert sum(looked_at) == 41
    assert tree(tmp_path / "made") == tree(tmp_path / "given"), "the same check gives the same bytes"
    with pytest.raises(ConfigError, match="under several ranks"):
        pack(source, tmp_path / "ranks", exclude="dark,near-duplicate", rank=0, world_size=2)


def test_what_is_left_out_does_not_give_raw_pixels_their_size(tmp_path: Path) -> None:
    for name, side in (("a", 40), ("b", 16), ("c", 16)):
        save_photo(tmp_path / "source" / f"{name}.png", side, side, 1)
    checks = checks_of(tmp_path / "source", tmp_path / "checks", a={"flags": ["odd-size"]})
    result = pack(tmp_path / "source", tmp_path / "out", pixels="raw", checks=checks, exclude="odd-size")
    assert result.splits == {"train": 2}
    assert imagemill.open(tmp_path / "out")[0].size == (16, 16)


def test_a_check_of_another_pile_is_refused(clips: Path, tmp_path: Path) -> None:
    checks = checks_of(clips, tmp_path / "checks")
    other = frames(tmp_path / "other", CLIPS + 1)
    with pytest.raises(ConfigError, match="5 of 65 samples are not in it, the first is 'clip_12_0000.jpg'"):
        pack(other, tmp_path / "out", checks=checks)


def leaking(folder: Path) -> Path:
    for name in ("train/a", "train/b", "train/c", "val/b2", "test/a2", "test/d"):
        save_photo(folder / f"{name}.jpg", 16, 16, ord(name[-1]) if name[-1] != "2" else ord(name[-2]))
    return folder


LEAKS = {"a": {"cluster": 0}, "a2": {"cluster": 0}, "b": {"cluster": 1}, "b2": {"cluster": 1}}


def test_leaks_of_given_splits_are_told_and_mended(tmp_path: Path) -> None:
    source = leaking(tmp_path / "source")
    checks = checks_of(source, tmp_path / "checks", **LEAKS)
    before = tree(source)
    told = cli("pack", source, tmp_path / "told", "--checks", checks, "--workers", 0)
    assert told.returncode == 0
    assert "train + test: 1 group of 2 samples, as train/a.jpg, test/a2.jpg" in told.stdout
    assert "--mend-leaks move" in told.stderr
    dry = cli("pack", source, tmp_path / "dry", "--checks", checks, "--mend-leaks", "move", "--dry-run")
    assert "moved" in dry.stdout
    assert "split test   3 samples" in dry.stdout
    assert not (tmp_path / "dry").exists()
    assert splits(tmp_path / "told")["train"] == ["train/a.jpg", "train/b.jpg", "train/c.jpg"]
    moved = pack(source, tmp_path / "moved", checks=checks, mend_leaks="move")
    assert splits(tmp_path / "moved") == {
        "train": ["train/c.jpg"],
        "val": ["train/b.jpg", "val/b2.jpg"],
        "test": ["test/a2.jpg", "test/d.jpg", "train/a.jpg"],
    }
    lines = [json.loads(line) for line in (tmp_path / "moved" / "moved.jsonl").read_text().splitlines()]
    assert lines == [
        {"key": "train/a.jpg", "was": "train", "now": "test"},
        {"key": "train/b.jpg", "was": "train", "now": "val"},
    ]
    assert (moved.moved, len(moved.leaks)) == (2, 2)
    again = pack(source, tmp_path / "moved", checks=checks, mend_leaks="move")
    assert again.already
    assert again.leaks == moved.leaks
    dropped = pack(source, tmp_path / "dropped", checks=checks, mend_leaks="drop")
    assert dropped.reasons == {"leak": 2}
    assert dropped.rejects[0].detail == "it belongs with test/a2.jpg, which is in test"
    assert dropped.reject_share == 0
    assert not any("--mend-leaks" in remark for remark in dropped.remarks)
    assert splits(tmp_path / "dropped")["test"] == ["test/a2.jpg", "test/d.jpg"]
    assert tree(source) == before


@pytest.mark.parametrize("fault", ["plan.write.after", "finish.rejects.after"])
def test_a_killed_run_moves_the_same_samples(fault: str, tmp_path: Path) -> None:
    source = leaking(tmp_path / "source")
    checks = checks_of(source, tmp_path / "checks", **LEAKS)
    pack(source, tmp_path / "whole", checks=checks, mend_leaks="move", decode="full")
    command = ("pack", source, tmp_path / "killed", "--checks", checks, "--mend-leaks", "move", "--workers", 0)
    assert cli(*command, environment={"IMAGEMILL_FAULT": fault}).returncode < 0
    assert cli(*command).returncode == 0
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_a_packed_dataset_that_leaks_is_mended_on_the_way(tmp_path: Path) -> None:
    source = leaking(tmp_path / "source")
    pack(source, tmp_path / "leaky", group_pattern=r"/(.)")
    assert {leak.splits for leak in pack(source, tmp_path / "same", group_pattern=r"/(.)").leaks} == {
        ("train", "val"),
        ("train", "test"),
    }
    pack(tmp_path / "leaky", tmp_path / "mended", mend_leaks="move")
    assert splits(tmp_path / "mended")["train"] == ["train/c.jpg"]


def test_a_pile_that_grows_keeps_every_old_image_where_it_is(tmp_path: Path) -> None:
    source = frames(tmp_path / "source")
    clusters = {f"clip_{clip:02d}_0000": {"cluster": clip // 2} for clip in range(CLIPS)}
    first = checks_of(source, tmp_path / "first", **clusters)
    pack(source, tmp_path / "old", split="50/50", checks=first)
    old = splits(tmp_path / "old")
    for number in range(100):
        save_photo(source / f"new_{number:03d}_x.jpg", 8, 8, number)
    one, other = (min(key for key in old[name]).removesuffix(".jpg") for name in ("train", "val"))
    linked = clusters | {one: {"cluster": 90}, other: {"cluster": 90}, "new_000_x": {"cluster": 90}}
    second = checks_of(source, tmp_path / "second", **linked)
    result = pack(source, tmp_path / "grown", split="50/50", checks=second, previous=tmp_path / "old")
    grown = splits(tmp_path / "grown")
    assert all(set(old[name]) <= set(grown[name]) for name in old), "no old image moves"
    assert result.reasons == {"bridges-splits": 1}
    assert sum(result.splits.values()) == CLIPS * FRAMES + 99
    joined = pack(source, tmp_path / "joined", split="50/50", checks=second, previous=tmp_path / "old", rebalance=True)
    assert joined.reasons == {}
    assert {"new_000_x.jpg", f"{one}.jpg", f"{other}.jpg"} <= set(keys(tmp_path / "joined", "val"))
    # The earlier dataset had the pair of `one` in train: what belongs to it comes along.
    assert set(old["val"]) <= set(keys(tmp_path / "joined", "val"))


def test_a_hundred_photographs_more_move_none_and_part_no_near_duplicates(shared_data: Path, tmp_path: Path) -> None:
    originals = sorted((shared_data / "imagenet_sample").rglob("*.JPEG"))
    source = tmp_path / "source"
    source.mkdir()

    def add(numbers: Sequence[int], copied: Sequence[int]) -> None:
        for number in numbers:
            (source / f"{number:03d}.jpg").write_bytes(originals[number].read_bytes())
        for number in copied:
            with Image.open(originals[number]) as image:
                image.convert("RGB").reduce(2).save(source / f"{number:03d}_small.jpg", quality=60)

    def packed(name: str, **options: Any) -> dict[str, str]:
        """{key: split}, whose near-duplicates are together."""
        imagemill.check(source, tmp_path / f"{name}-checks", workers=2)
        pack(source, tmp_path / name, split="80/12/8", checks=tmp_path / f"{name}-checks", **options)
        found = {key: split for split, members in splits(tmp_path / name).items() for key in members}
        assert [key for key in found if found[key] != found[f"{key[:3]}.jpg"]] == []
        return found

    add(range(150), range(0, 60, 2))
    old = packed("old")
    add(range(150, 210), range(1, 81, 2))
    grown = packed("grown", previous=tmp_path / "old")
    assert (len(old), len(grown)) == (180, 280)
    assert {key: grown[key] for key in old} == old


def test_two_runs_and_any_number_of_workers_give_the_same_splits(clips: Path, tmp_path: Path) -> None:
    checks = checks_of(clips, tmp_path / "checks", clip_00_0000={"flags": ["dark"]}, clip_01_0001={"cluster": 0})
    options = {"folds": 3, "stratify": False, "checks": checks, "exclude": ["dark"], "clips": True, "shard_size": 9}
    pack(clips, tmp_path / "one", **options)
    pack(clips, tmp_path / "two", **options, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_real_frames_are_told_and_split_in_blocks(shared_data: Path, tmp_path: Path) -> None:
    told = pack(shared_data / "camvid", tmp_path / "told", split="80/20", dry_run=True)
    assert any("images/0001TP_006690, images/0001TP_006720" in remark for remark in told.remarks)
    blocks = {"group_pattern": "^(.*)[0-9]{2}", "split_counts": "exact"}
    result = pack(shared_data / "camvid", tmp_path / "out", split="80/20", **blocks)
    assert abs(result.splits["train"] - 48) <= 3
    found = splits(tmp_path / "out")
    assert {key[:-2] for key in found["train"]}.isdisjoint(key[:-2] for key in found["val"])


def test_real_photographs_in_folds(shared_data: Path, tmp_path: Path) -> None:
    result = pack(shared_data / "imagenet_sample", tmp_path / "out", folds=5, stratify=True, dry_run=True)
    assert result.splits == {f"fold-{number}": 50 for number in range(5)}


def test_options_without_effect_are_refused(clips: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"quality": 80}, "--quality has no effect on original pixels"),
        ({"fit": "cover"}, "--fit has no effect on original pixels"),
        ({"filter": "lanczos"}, "--filter has no effect on original pixels"),
        ({"pixels": "raw", "quality": 80}, "--quality has no effect on raw pixels"),
        ({"ray_address": "ray://here:1"}, "add --engine ray"),
    ):
        with pytest.raises(ConfigError, match=message):
            pack(clips, tmp_path / "out", **options)


def test_pairs_are_split_as_one(tmp_path: Path) -> None:
    pack(pairs(tmp_path / "source", 20), tmp_path / "out", split="50/50", split_counts="exact")
    before, after = imagemill.open(tmp_path / "out", "train")[0]
    assert before.size == after.size
    assert len(keys(tmp_path / "out", "train")) == 10
