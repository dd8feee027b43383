"""What people type, and what is refused."""

import re
from fractions import Fraction

import pytest

from imagemill.core.recipe import Recipe, parse_bytes, parse_shard_size, parse_split
from imagemill.errors import ConfigError
from imagemill.prepare.job import recipe_from_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80/12/8", {"train": Fraction(4, 5), "val": Fraction(3, 25), "test": Fraction(2, 25)}),
        ("0.9/0.1", {"train": Fraction(9, 10), "val": Fraction(1, 10)}),
        ("100", {"train": Fraction(1)}),
        ("train=90%,holdout=10%", {"train": Fraction(9, 10), "holdout": Fraction(1, 10)}),
        ({"train": 0.8, "val": 0.2}, {"train": Fraction(4, 5), "val": Fraction(1, 5)}),
        ("8/1/1", {"train": Fraction(4, 5), "val": Fraction(1, 10), "test": Fraction(1, 10)}),
        ("2/1", {"train": Fraction(2, 3), "val": Fraction(1, 3)}),
        ("33/33/33", {"train": Fraction(1, 3), "val": Fraction(1, 3), "test": Fraction(1, 3)}),
        ({"a": 0.25, "b": 3 / 4}, {"a": Fraction(1, 4), "b": Fraction(3, 4)}),
        ({"a": "1/3", "b": "2/3"}, {"a": Fraction(1, 3), "b": Fraction(2, 3)}),
        (None, {}),
    ],
)
def test_splits_as_people_write_them(text: object, expected: dict[str, Fraction]) -> None:
    assert parse_split(text) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["80/12/8/1", "a/b", "80/-20", "80/0", "train=1,train=2", "tr ain=1"])
def test_splits_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="split"):
        parse_split(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("80/30", "80 and 30 add up to 110, not 100: write 72.73/27.27 if that is meant"),
        ("60/20/10", "add up to 90, not 100: write 66.67/22.22/11.11"),
        ("0.8/0.3", "add up to 1.1, not 1: write 72.73/27.27"),
        ("8%/1%/1%", "add up to 10, not 100: write 80/10/10"),
        ("train=800,holdout=200", "add up to 1000, not 100: write train=80,holdout=20"),
        ({"train": 0.5, "val": 0.4}, "add up to 0.9, not 1: write train=55.56,val=44.44"),
        ("80", "80 add up to 80, not 100: write 100"),
    ],
)
def test_shares_that_do_not_add_up_are_refused(text: object, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse_split(text)  # type: ignore[arg-type]


def test_floating_point_does_not_add_up_quite() -> None:
    assert sum(parse_split({"a": 1 / 3, "b": 2 / 3}).values()) == 1


def test_sizes_of_shards() -> None:
    assert parse_shard_size("1000") == {"shard_samples": 1000}
    assert parse_shard_size("256MB") == {"shard_bytes": 256_000_000}
    assert parse_bytes("1.5GiB") == 3 * 2**29
    for text in ("12 parsecs", "1.5", "-1"):
        with pytest.raises(ConfigError, match="no size in bytes"):
            parse_bytes(text)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_0(seconds: float) -> None:
    with pytest.raises(ConfigError, match="max_seconds must be a number above 0"):
        Recipe(max_seconds=seconds)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pixels": "pretty"}, "pixels 'pretty' is none of original, recoded, recoded-compact, resized, raw"),
        ({"size": (10, 10)}, "--pixels resized"),
        ({"pixels": "resized"}, "--size"),
        ({"pixels": "raw", "fit": "short"}, "exact, contain or cover"),
        ({"stratify": True}, "exact"),
        ({"split_lists": {"train": ("a",)}, "split": parse_split("80/20")}, "shares of the rest to other names"),
        ({"split_lists": {"val": ("a",)}, "folds": 3, "fold": 0}, "shares of the rest to other names"),
        ({"split_lists": {"train": ("a",)}, "previous": "0" * 64}, "needs --split for the new images"),
        ({"folds": 1}, "at least 2, got 1"),
        ({"folds": 5, "fold": 5}, "0 to 4, got 5"),
        ({"fold": 0}, "add --folds"),
        ({"folds": 5, "split": parse_split("80/20")}, "give one of them"),
        ({"folds": 5, "fold": 1, "previous": "0" * 64}, "leave --fold out"),
        ({"rebalance": True}, "needs --previous"),
        ({"mend_leaks": "away"}, "none of move, drop"),
        ({"mend_leaks": "move", "split": parse_split("80/20")}, "no leaks to mend"),
        ({"exclude": ("dark",)}, "give --checks"),
        ({"quality": 101}, "1–100"),
        ({"shard_samples": 0}, "above 0"),
    ],
)
def test_recipes_that_cannot_work(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**values)  # type: ignore[arg-type]


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(
        pixels="resized",
        size=(240, 320),
        split_lists={"train": ("a", "b")},
        source={"kind": "folder"},
    )
    assert recipe_from_json(recipe.to_json()) == recipe
    shares = Recipe(split=parse_split("1/3"), split_counts="exact")
    assert recipe_from_json(shares.to_json()) == shares
