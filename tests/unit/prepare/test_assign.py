"""Which split a sample goes to: lists, shares, folds, earlier datasets, checks, and what the source says."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.prepare.split_inputs import listing

from imagemill.core.recipe import Recipe, parse_split
from imagemill.errors import ConfigError
from imagemill.prepare.assign import Assignment, Earlier, assign
from imagemill.prepare.exclusions import Checked
from imagemill.prepare.plan import UNASSIGNED
from imagemill.prepare.units import NO_CLUSTER, settle

SHA = "0" * 64


def checked(count: int, clusters: dict[int, int], left_out: dict[int, tuple[str, str]] | None = None) -> Checked:
    numbers = np.full(count, NO_CLUSTER, np.int64)
    for row, cluster in clusters.items():
        numbers[row] = cluster
    return Checked(numbers, left_out or {})


def by_split(table: Any, found: Assignment) -> dict[str, list[str]]:
    keys = table["key"].to_pylist()
    return {
        name: [key for key, split in zip(keys, found.splits, strict=True) if split == number]
        for number, name in enumerate(found.names)
    }


def earlier(table: Any, hashes: Any, found: Assignment) -> Earlier:
    kept = found.splits != UNASSIGNED
    return Earlier(found.names, hashes.keys[kept], hashes.groups[kept], found.splits[kept])


@given(st.integers(5, 200), st.integers(2, 5), st.booleans())
def test_folds_are_a_partition_and_one_fold_is_the_val_of_the_pair(count: int, folds: int, exact: bool) -> None:
    table, hashes = listing([f"{number}.jpg" for number in range(count)])
    counts = "exact" if exact else "hash"
    every = assign(table, hashes, Recipe(folds=folds, split_counts=counts))  # type: ignore[arg-type]
    assert every.names == tuple(f"fold-{number}" for number in range(folds))
    assert (every.splits != UNASSIGNED).all()
    vals = []
    for fold in range(folds):
        pair = assign(table, hashes, Recipe(folds=folds, fold=fold, split_counts=counts))  # type: ignore[arg-type]
        assert pair.names == ("train", "val")
        assert ((pair.splits == 1) == (every.splits == fold)).all()
        vals += by_split(table, pair)["val"]
    assert sorted(vals) == sorted(table["key"].to_pylist())


def test_a_frozen_test_list_takes_its_groups_along_and_the_rest_is_shared() -> None:
    keys = [f"p{number // 3}_{number}.jpg" for number in range(300)]
    table, hashes = listing(keys, groups=[key.split("_")[0] for key in keys])
    recipe = Recipe(split=parse_split("75/25"), split_lists={"test": ("p0_0.jpg", "p7_22")}, split_counts="exact")
    found = by_split(table, assign(table, hashes, recipe))
    assert found["test"] == ["p0_0.jpg", "p0_1.jpg", "p0_2.jpg", "p7_21.jpg", "p7_22.jpg", "p7_23.jpg"]
    assert abs(len(found["train"]) - 220.5) <= 3
    assert {key.split("_")[0] for key in found["train"]}.isdisjoint(key.split("_")[0] for key in found["val"])


def test_a_frozen_list_with_a_fold_has_three_splits() -> None:
    table, hashes = listing([f"{number}.jpg" for number in range(40)])
    recipe = Recipe(folds=3, fold=1, split_lists={"test": ("7", "8")}, split_counts="exact")
    found = assign(table, hashes, recipe)
    assert found.names == ("train", "val", "test")
    assert {name: len(keys) for name, keys in by_split(table, found).items()} == {"train": 25, "val": 13, "test": 2}


def test_a_frozen_key_that_is_not_in_the_source_is_an_error() -> None:
    table, hashes = listing(["a.jpg", "b.jpg"])
    with pytest.raises(ConfigError, match=r"1 entries of the split lists match no sample, the first is 'gone\.jpg'"):
        assign(table, hashes, Recipe(split=parse_split("50/50"), split_lists={"test": ("gone.jpg",)}))


def test_lists_that_part_a_group_are_a_leak_that_is_told_and_mended() -> None:
    keys = ["x_0", "x_1", "x_2", "y_0", "z_0"]
    table, hashes = listing(keys, groups=[key[0] for key in keys])
    lists = {"train": ("x_0", "y_0"), "test": ("x_1",)}
    told = assign(table, hashes, Recipe(split_lists=lists))
    assert [str(leak) for leak in told.leaks] == ["train + test: 1 group of 2 samples, as x_0, x_1"]
    assert by_split(table, told) == {"train": ["x_0", "y_0"], "test": ["x_1"]}
    mended = assign(table, hashes, Recipe(split_lists=lists, mend_leaks="move"))
    assert by_split(table, mended) == {"train": ["y_0"], "test": ["x_0", "x_1"]}
    assert mended.moved == {0: "train"}
    dropped = assign(table, hashes, Recipe(split_lists=lists, mend_leaks="drop"))
    assert by_split(table, dropped) == {"train": ["y_0"], "test": ["x_1"]}
    assert dropped.left_out[0][0] == "leak"
    shared = assign(table, hashes, Recipe(split_lists=lists, split=parse_split("a=1,b=1")))
    assert by_split(table, shared)["test"] == ["x_1", "x_2"], "what belongs to both is kept from training"


def test_given_splits_that_near_duplicates_straddle() -> None:
    keys = ["train/a", "train/b", "val/c", "test/a2", "test/d"]
    table, hashes = listing(keys, splits=["train", "train", "val", "test", "test"])
    checks = checked(5, {0: 0, 3: 0, 1: 1, 2: 1})
    told = assign(table, hashes, Recipe(checks=SHA), checked=checks)
    assert [(leak.splits, leak.samples) for leak in told.leaks] == [(("train", "val"), 2), (("train", "test"), 2)]
    mended = assign(table, hashes, Recipe(checks=SHA, mend_leaks="move"), checked=checks)
    assert by_split(table, mended) == {
        "train": [],
        "val": ["train/b", "val/c"],
        "test": ["train/a", "test/a2", "test/d"],
    }
    assert mended.moved == {0: "train", 1: "train"}


def test_given_splits_without_anything_to_keep_together_stay() -> None:
    table, hashes = listing(["a", "b", "c"], splits=["test", None, "train"])
    found = assign(table, hashes, Recipe())
    assert by_split(table, found) == {"train": ["b", "c"], "test": ["a"]}
    assert found.remarks == ["1 samples lie in no split folder: taken into train, or with their group"]


@given(st.lists(st.integers(NO_CLUSTER, 20), min_size=20, max_size=80), st.booleans(), st.integers(0, 3))
def test_no_cluster_and_no_group_straddles(clusters: list[int], exact: bool, seed: int) -> None:
    count = len(clusters)
    keys = [f"g{number // 2}_{number}" for number in range(count)]
    table, hashes = listing(keys, groups=[key.split("_")[0] for key in keys])
    recipe = Recipe(split=parse_split("60/20/20"), checks=SHA, seed=seed, split_counts="exact" if exact else "hash")
    found = assign(table, hashes, recipe, checked=Checked(np.array(clusters, np.int64), {}))
    assert (found.splits != UNASSIGNED).all()
    assert not found.leaks
    for number in range(21):
        assert len(set(found.splits[np.array(clusters) == number].tolist())) <= 1
    assert (found.splits[0 : count - 1 : 2] == found.splits[1::2]).all()


def test_clusters_keep_the_shares_in_expectation() -> None:
    count = 20_000
    table, hashes = listing([f"{number}" for number in range(count)])
    clusters = np.random.default_rng(0).integers(0, 8_000, count)
    found = assign(table, hashes, Recipe(split=parse_split("80/12/8"), checks=SHA), checked=Checked(clusters, {}))
    assert np.abs(np.bincount(found.splits) / count - [0.80, 0.12, 0.08]).max() < 0.015


@given(st.integers(0, 50), st.booleans())
def test_adding_images_moves_no_old_one(seed: int, exact: bool) -> None:
    rng = np.random.default_rng(seed)
    recipe = Recipe(split=parse_split("70/20/10"), split_counts="exact" if exact else "hash", checks=SHA, previous=SHA)
    old_keys = [f"old{number}" for number in range(100)]
    table, hashes = listing(old_keys)
    old_clusters = rng.integers(0, 60, 100)
    before = assign(table, hashes, recipe, None, Checked(old_clusters, {}))
    keys = [*old_keys, *(f"new{number}" for number in range(100))]
    grown_table, grown_hashes = listing(keys)
    # New images lie in old clusters, in new ones, and every third old pair of clusters is bridged by one.
    clusters = np.concatenate([old_clusters, rng.integers(0, 90, 100)])
    clusters[clusters % 6 == 0] = 0
    after = assign(grown_table, grown_hashes, recipe, earlier(table, hashes, before), Checked(clusters, {}))
    assert (after.splits[:100] == before.splits).all()
    placed = after.splits != UNASSIGNED
    assert set(np.flatnonzero(~placed).tolist()) == set(after.left_out)
    assert {reason for reason, _ in after.left_out.values()} <= {"bridges-splits"}
    for number in np.unique(clusters[100:]):
        new = (np.arange(200) >= 100) & (clusters == number) & placed
        if new.any():
            assert len(set(after.splits[(clusters == number) & placed].tolist())) == 1


def test_a_new_image_that_bridges_is_rejected_or_rebalances() -> None:
    keys = [f"{number}" for number in range(30)]
    table, hashes = listing(keys)
    recipe = Recipe(split=parse_split("50/50"), checks=SHA, previous=SHA)
    before = assign(table, hashes, recipe, None, checked(30, {}))
    one, other = (int(np.flatnonzero(before.splits == split)[0]) for split in (0, 1))
    grown_table, grown_hashes = listing([*keys, "bridge"])
    bridged = checked(31, {one: 0, other: 0, 30: 0})
    past = earlier(table, hashes, before)
    kept = assign(grown_table, grown_hashes, recipe, past, bridged)
    assert kept.left_out == {30: ("bridges-splits", kept.left_out[30][1])}
    assert kept.left_out[30][1] == f"it links {one} (train) and {other} (val); --rebalance brings them together"
    assert not kept.leaks, "without the bridge nothing is known to belong together"
    assert (kept.splits[:30] == before.splits).all()
    recipe = Recipe(split=parse_split("50/50"), checks=SHA, previous=SHA, rebalance=True)
    joined = assign(grown_table, grown_hashes, recipe, past, bridged)
    assert set(joined.splits[[one, other, 30]].tolist()) == {joined.names.index("val")}
    assert joined.moved == {one: "train"}
    assert np.count_nonzero(joined.splits[:30] != before.splits) == 1


def test_what_an_earlier_dataset_parted_is_told_and_stays() -> None:
    table, hashes = listing(["x_0", "x_1", "y_0"], groups=["x", "x", "y"])
    past = Earlier(("train", "val"), hashes.keys, hashes.groups, np.array([0, 1, 0], np.int16))
    found = assign(table, hashes, Recipe(split=parse_split("50/50"), previous=SHA), past)
    assert found.splits.tolist() == [0, 1, 0]
    assert [leak.splits for leak in found.leaks] == [("train", "val")]
    assert "--rebalance" in found.remarks[0]


def test_a_new_member_of_an_earlier_group_follows_it_even_where_the_old_ones_are_gone() -> None:
    keys = [f"g{number}_0" for number in range(30)]
    table, hashes = listing(keys, groups=[key[:-2] for key in keys])
    recipe = Recipe(split=parse_split("50/50"), previous=SHA)
    before = assign(table, hashes, recipe)
    new_keys = [key[:-1] + "1" for key in keys]
    new_table, new_hashes = listing(new_keys, groups=[key[:-2] for key in keys])
    other_seed = Recipe(split=parse_split("50/50"), previous=SHA, seed=9)
    after = assign(new_table, new_hashes, other_seed, earlier(table, hashes, before))
    assert (after.splits == before.splits).all()


def test_a_list_that_contradicts_the_earlier_dataset_is_an_error() -> None:
    table, hashes = listing(["a", "b"])
    past = Earlier(("train", "test"), hashes.keys, hashes.groups, np.array([0, 1], np.int16))
    recipe = Recipe(split=parse_split("train=1"), split_lists={"test": ("a",)}, previous=SHA)
    with pytest.raises(ConfigError, match="'a' is in the list of 'test', and the earlier dataset has it in .train."):
        assign(table, hashes, recipe, past)


def test_what_is_left_out_links_nothing_and_has_no_split() -> None:
    keys = ["x_0", "x_1", "y_0", "z_0"]
    table, hashes = listing(keys, groups=[key[0] for key in keys], splits=["train", "train", "test", "test"])
    checks = checked(4, {1: 0, 2: 0}, {1: ("dark", "black")})
    found = assign(table, hashes, Recipe(checks=SHA, exclude=("dark",)), checked=checks)
    assert found.left_out == {1: ("excluded-dark", "black")}
    assert by_split(table, found) == {"train": ["x_0"], "test": ["y_0", "z_0"]}
    assert not found.leaks


def test_stratify_without_labels_is_an_error() -> None:
    table, hashes = listing(["a", "b"])
    with pytest.raises(ConfigError, match="--stratify needs labels"):
        assign(table, hashes, Recipe(split={"train": Fraction(1)}, split_counts="exact", stratify=True))


@settings(max_examples=50)
@given(st.data())
def test_whatever_is_asked_every_sample_is_accounted_for_and_nothing_straddles_untold(data: st.DataObject) -> None:
    draw = data.draw
    count = draw(st.integers(10, 40))
    groups = [f"g{number}" for number in draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))]
    table, hashes = listing([f"k{number}" for number in range(count)], groups=groups, labels=groups)
    clusters = np.array(draw(st.lists(st.integers(NO_CLUSTER, 5), min_size=count, max_size=count)), np.int64)
    dark = draw(st.sets(st.integers(0, count - 1), max_size=4))
    listed = draw(st.sets(st.sampled_from(table["key"].to_pylist()), max_size=4))
    counts = draw(st.sampled_from(["hash", "exact"]))
    grown, joined = draw(st.booleans()), draw(st.booleans())
    mending = draw(st.sampled_from([None, "move", "drop"])) if listed and not grown else None
    recipe = Recipe(
        split=parse_split("60/40"),
        split_counts=counts,
        stratify=counts == "exact",
        split_lists={"test": tuple(listed), "holdout": ()} if listed else {},
        checks=SHA,
        exclude=("dark",),
        previous=SHA if grown else None,
        rebalance=grown and joined,
        mend_leaks=mending,
    )
    past = None
    if grown:
        old = np.array(sorted(set(range(0, count, 2)) - {int(key[1:]) for key in listed}), np.int64)
        splits = np.array(draw(st.lists(st.integers(0, 1), min_size=len(old), max_size=len(old))), np.int16)
        past = Earlier(("train", "val"), hashes.keys[old], hashes.groups[old], splits)
    checks = Checked(clusters, dict.fromkeys(dark, ("dark", "")))
    found = assign(table, hashes, recipe, past, checks)
    placed = found.splits != UNASSIGNED
    assert set(np.flatnonzero(~placed).tolist()) == set(found.left_out)
    straddling = settle(found.units[placed], found.splits[placed]).straddling
    if past is None or recipe.rebalance:
        assert not straddling.any()
    assert bool(straddling.any()) <= bool(found.leaks)
    if past is not None:
        kept = old[placed[old]]
        moved = {int(row) for row in kept if found.splits[row] != past.splits[np.flatnonzero(old == row)[0]]}
        assert moved == (set(found.moved) if recipe.rebalance else set())
        assert {row for row in old.tolist() if not placed[row]} <= dark, "no old sample is left out but for its flag"
