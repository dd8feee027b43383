"""`pack` as a user runs it: accounts, engines, formats, splits, export."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill.errors import ConfigError
from imagemill.formats import FORMATS
from imagemill.formats.store import Store
from imagemill.prepare.totals import PackResult
from imagemill.testing.piles import class_folders, command, masked, pairs, tree
from imagemill.testing.piles import imagemill as cli


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("pile") / "source")


def pack(source: Path, out: Path, **options: object) -> PackResult:
    return imagemill.pack(source, out, **{"workers": 0, **options})  # type: ignore[arg-type]


def test_every_file_is_kept_rejected_or_ignored(pile: Path, tmp_path: Path) -> None:
    before = tree(pile)
    result = pack(pile, tmp_path / "out")
    assert (result.found, result.kept, result.rejected, result.ignored) == (28, 24, 3, 1)
    assert result.reasons == {"empty-file": 1, "not-an-image": 1, "truncated": 1}
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["class_0/truncated.jpg", "class_1/empty.jpg", "class_1/page.jpg"]
    assert tree(pile) == before


def test_rejects_above_the_allowed_share_are_exit_6(pile: Path, tmp_path: Path) -> None:
    done = cli("pack", pile, tmp_path / "out", "--workers", "0", "--json")
    assert done.returncode == 6
    assert json.loads(done.stdout)["rejected"] == 3
    assert "--max-rejects" in done.stderr


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bytes(workers: int, pile: Path, tmp_path: Path) -> None:
    pack(pile, tmp_path / "alone", split="70/30", shard_size=5)
    pack(pile, tmp_path / "crew", split="70/30", shard_size=5, workers=workers)
    assert tree(tmp_path / "crew") == tree(tmp_path / "alone")


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_torchrun_ranks_give_the_same_bytes(world_size: int, pile: Path, tmp_path: Path) -> None:
    pack(pile, tmp_path / "alone", split="70/30", shard_size=5)
    arguments = command("pack", pile, tmp_path / "ranks", "--split", "70/30", "--shard-size", "5", "--workers", "0")
    torchrun = [arguments[0], "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world_size}"]
    done = subprocess.run(
        [*torchrun, *arguments[1:], "--max-rejects", "100%"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "ranks") == tree(tmp_path / "alone")


@pytest.mark.parametrize("tasks_variable", ["SLURM_NTASKS", "SLURM_NPROCS"])
def test_slurm_ranks_give_the_same_bytes(tasks_variable: str, pile: Path, tmp_path: Path) -> None:
    pack(pile, tmp_path / "alone", shard_size=5)
    ranks = [
        subprocess.Popen(
            command("pack", pile, tmp_path / "ranks", "--shard-size", "5", "--workers", "0", "--max-rejects", "100%"),
            env={**os.environ, "SLURM_JOB_ID": "7", "SLURM_PROCID": str(rank), tasks_variable: "2"},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    assert tree(tmp_path / "ranks") == tree(tmp_path / "alone")


def test_a_rank_that_never_comes_is_no_loss(pile: Path, tmp_path: Path) -> None:
    pack(pile, tmp_path / "alone", shard_size=5)
    result = pack(pile, tmp_path / "ranks", shard_size=5, rank=1, world_size=4)
    assert result.finished
    assert tree(tmp_path / "ranks") == tree(tmp_path / "alone")


def test_the_same_command_again_has_nothing_to_do(pile: Path, tmp_path: Path) -> None:
    pack(pile, tmp_path / "out")
    before = tree(tmp_path / "out", without=())
    assert pack(pile, tmp_path / "out").already
    assert tree(tmp_path / "out", without=()) == before


def test_other_options_or_a_changed_source_are_refused_with_the_way_out(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", bad=False)
    pack(pile, tmp_path / "out")
    with pytest.raises(ConfigError, match="other options .seed: 0 there, 1 here"):
        pack(pile, tmp_path / "out", seed=1)
    (pile / "class_0" / "new.png").write_bytes((pile / "class_0" / "im 003.png").read_bytes())
    with pytest.raises(ConfigError, match="--previous"):
        pack(pile, tmp_path / "out")


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize("make", [class_folders, pairs, masked])
def test_export_gives_back_the_originals_with_the_source_deleted(make, format: str, tmp_path: Path) -> None:
    source = make(tmp_path / "source", bad=False) if make is class_folders else make(tmp_path / "source")
    originals = tree(source)
    pack(source, tmp_path / "dataset", format=format, shard_size=5)
    for path in sorted(source.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert imagemill.verify(tmp_path / "dataset").damages == ()
    imagemill.export(tmp_path / "dataset", tmp_path / "plain")
    assert tree(tmp_path / "plain" / "train", without=("metadata.jsonl",)) == originals


@pytest.mark.parametrize("pixels", ["original", "resized", "raw"])
def test_all_formats_hold_equal_values(pixels: str, pile: Path, tmp_path: Path) -> None:
    size = None if pixels == "original" else "40x32"
    stores = {}
    for name in FORMATS:
        pack(pile, tmp_path / name, format=name, pixels=pixels, size=size, split="70/30", shard_size=7)
        stores[name] = Store(tmp_path / name)
    first, *others = stores.values()
    for split in first.splits:
        rows = list(first.rows(split))
        for other in others:
            for mine, theirs in zip(rows, other.rows(split), strict=True):
                assert mine.key == theirs.key
                assert mine.origins == theirs.origins
                assert {name: bytes(value) for name, value in mine.values.items()} == {
                    name: bytes(value) for name, value in theirs.values.items()
                }


@pytest.mark.parametrize("target", list(FORMATS))
def test_convert_keeps_every_byte_key_and_split(target: str, tmp_path: Path) -> None:
    source = masked(tmp_path / "source")
    pack(source, tmp_path / "arrow", split="50/50", shard_size=2)
    imagemill.convert(tmp_path / "arrow", tmp_path / "there", format=target, workers=0)
    imagemill.convert(tmp_path / "there", tmp_path / "back", format="arrow", workers=0)
    assert tree(tmp_path / "back" / "data") == tree(tmp_path / "arrow" / "data")
    before, after = Store(tmp_path / "arrow"), Store(tmp_path / "back")
    for split in before.splits:
        assert [row.key for row in before.rows(split)] == [row.key for row in after.rows(split)]
        assert [row.origins for row in before.rows(split)] == [row.origins for row in after.rows(split)]


def test_masks_keep_their_class_ids_through_resizing(tmp_path: Path) -> None:
    source = masked(tmp_path / "source")
    pack(source, tmp_path / "raw", pixels="raw", size="24x18")
    for row in Store(tmp_path / "raw").rows("train"):
        ids = np.frombuffer(row.values["mask"], np.uint8)
        assert set(ids.tolist()) <= set(range(12))


def test_raw_pixels_of_unequal_images_fail_with_the_hint(pile: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="class_0/im 001.jpg: .* --size WIDTHxHEIGHT"):
        pack(pile, tmp_path / "out", pixels="raw")
    assert pack(pile, tmp_path / "out", pixels="raw", size=32).finished, "nothing was made, so other options may follow"


def test_adding_images_moves_no_old_one(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", bad=False)
    pack(pile, tmp_path / "old", split="60/20/20", split_counts="exact")
    old = {row.key: split for split in ("train", "val", "test") for row in Store(tmp_path / "old").rows(split)}
    for number in range(10):
        (pile / "class_0" / f"new {number}.png").write_bytes((pile / "class_1" / "im 003.png").read_bytes())
    pack(pile, tmp_path / "new", split="60/20/20", split_counts="exact", previous=tmp_path / "old")
    new = {row.key: split for split in ("train", "val", "test") for row in Store(tmp_path / "new").rows(split)}
    assert len(new) == len(old) + 10
    assert all(new[key] == split for key, split in old.items())


def test_given_lists_decide_the_split(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=1, per_class=4, bad=False)
    lists = {"train": ["class_0/im 000.jpg", "class_0/im 001"], "holdout": ["class_0/im 002.jpg"]}
    result = pack(pile, tmp_path / "out", split_lists=lists)
    assert result.splits == {"train": 2, "holdout": 1}
    assert result.ignored == 1
    with pytest.raises(ConfigError, match=r"1 entries of the split lists match no sample, the first is 'nope.jpg'"):
        pack(pile, tmp_path / "other", split_lists={"train": ["nope.jpg"]})


def test_a_dry_run_writes_nothing(pile: Path, tmp_path: Path) -> None:
    result = pack(pile, tmp_path / "out", split="80/12/8", split_counts="exact", dry_run=True)
    assert sum(result.splits.values()) == 27
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_source_or_not_ours_is_refused(pile: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inside the source"):
        pack(pile, pile / "out")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("do not touch")
    with pytest.raises(ConfigError, match="new or empty folder"):
        pack(pile, tmp_path / "theirs")
    assert tree(tmp_path / "theirs").keys() == {"thesis.txt"}


def test_resized_keeps_what_is_small_already(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", classes=1, per_class=2, bad=False)
    pack(pile, tmp_path / "out", pixels="resized", size=400)
    for row in Store(tmp_path / "out").rows("train"):
        assert bytes(row.values["image"]) == (pile / row.key).read_bytes()


def test_groups_survive_a_conversion(tmp_path: Path) -> None:
    """New members of a group go where the group is, also if the earlier dataset was converted meanwhile."""
    pile = class_folders(tmp_path / "source", per_class=4, bad=False)
    options = {"split": "50/50", "group_pattern": r"^(class_\d)/"}
    pack(pile, tmp_path / "old", **options)
    imagemill.convert(tmp_path / "old", tmp_path / "converted", format="tar", workers=0)
    old = {row.key.split("/")[0]: split for split in ("train", "val") for row in Store(tmp_path / "old").rows(split)}
    for label in range(3):
        (pile / f"class_{label}" / "new.png").write_bytes((pile / "class_1" / "im 003.png").read_bytes())
    pack(pile, tmp_path / "new", **{**options, "seed": 5}, previous=tmp_path / "converted")
    store = Store(tmp_path / "new")
    assert all(old[row.key.split("/")[0]] == split for split in store.splits for row in store.rows(split))
