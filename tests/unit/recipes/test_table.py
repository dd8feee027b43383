"""A recipe's file: what is unknown is refused with its place and the nearest name, and settings take its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.api.recipe_verbs import FLOWS, verb_of
from imagemill.errors import ConfigError
from imagemill.recipes.plan import plan_steps
from imagemill.recipes.table import RecipeFile, read_recipe


def read(tmp_path: Path, text: str, *settings: str) -> RecipeFile:
    path = tmp_path / "whole.toml"
    path.write_text(text)
    return read_recipe(path, FLOWS, verb_of, settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[stgae]\n", "unknown key 'stgae'; did you mean 'stage'?"),
        ("[stage]\nsizee = '64'\n", "unknown key stage.sizee; did you mean 'size'?"),
        ("[[report]]\n[[report]]\nname = 'b'\nquik = true\n", r"unknown key report\[2\].quik; did you mean 'quick'?"),
        ("[[tile.scales]]\ncrop = 4\nsteps = 2\n", "unknown key tile.scales.steps; did you mean 'step'?"),
        ("[train.pack]\nspilt = '80/20'\n", "unknown key train.pack.spilt; did you mean 'split'?"),
        ("[train]\nepoch = 3\n", "unknown key train.epoch; did you mean 'epochs'?"),
        ("[fetch]\nper_hosts = 3\n", "unknown key fetch.per_hosts; did you mean 'per_host'?"),
        ("[pack]\nengine = 'ray'\n", "unknown key pack.engine"),
        ("[pack]\nout = 3\n", "pack.out is a path, got 3"),
        ("pack = 3\n", r"pack is a table: write \[pack\]"),
        ("[[report]]\nname = 'a'\n[[report]]\nname = 'a'\n", "two steps are called 'a'"),
        ("name = 'x/y'\n[pack]\n", "name 'x/y' is to be letters"),
        ("data = 'd'\n", "has no step"),
        ("[pack\n", "is no TOML: Expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_settings_take_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    text = "[pack]\nsize = 3\n[[report]]\n[[report]]\n"
    recipe = read(tmp_path, text, "pack.size=64x32", "pack.seed=7", "report.2.quick=true", "stage.size=64")
    pack, _, second, stage = recipe.tables
    assert pack.values == {"size": "64x32", "seed": 7}
    assert second.values == {"quick": True}
    assert second.name == "report-2"
    assert stage.values == {"size": 64}
    with pytest.raises(ConfigError, match="unknown key pack.sead; did you mean 'seed'"):
        read(tmp_path, text, "pack.sead=7")
    with pytest.raises(ConfigError, match="several tables"):
        read(tmp_path, text, "report.quick=true")
    named = read(tmp_path, "[[report]]\nname = 'a'\n[[report]]\nname = 'b'\n", "report.b.quick=true")
    assert [table.values.get("quick") for table in named.tables] == [None, True]
    with pytest.raises(ConfigError, match="none of the 2 tables is called 'c'"):
        read(tmp_path, text, "report.c.quick=true")
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        read(tmp_path, text, "report")


def test_steps_hand_on_what_they_make(tmp_path: Path) -> None:
    text = """
    [check]
    [stage]
    [pack]
    checks = "data/checks"
    [[train]]
    name = "small"
    [[train]]
    name = "large"
    [[predict]]
    [[predict]]
    name = "other"
    model = "runs/small"
    source = "{source}"
    limit = 9
    [report]
    skip = true
    """
    steps = {step.name: step for step in plan_steps(read(tmp_path, text), FLOWS, source="photos", extra={"limit": 5})}
    assert list(steps) == ["check", "stage", "pack", "small", "large", "predict", "other"]
    assert steps["check"].inputs == {"source": "photos"}
    assert steps["stage"].inputs == {"source": "data/original"}
    assert steps["pack"].inputs == {"source": "data/resized"}
    assert steps["pack"].paths == {"checks": "data/checks"}
    assert steps["pack"].options["limit"] == 5
    assert steps["large"].inputs == {"dataset": "data/dataset"}
    assert steps["predict"].inputs == {"model": "runs/large", "source": "data/play"}
    assert steps["other"].inputs == {"model": "runs/small", "source": "photos"}
    assert steps["other"].options["limit"] == 5
    assert steps["other"].out == "runs/other"


def test_what_cannot_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no step before it trains a model: add model ="):
        plan_steps(read(tmp_path, "[predict]\n"), FLOWS)
    with pytest.raises(ConfigError, match="nothing says what it takes: add urls ="):
        plan_steps(read(tmp_path, "[fetch]\n"), FLOWS)
    with pytest.raises(ConfigError, match=r"stage and pack both write data/x"):
        plan_steps(read(tmp_path, "[stage]\nout = 'data/x'\n[pack]\nout = 'data/x/'\n"), FLOWS)


def test_the_order_is_that_of_the_file(tmp_path: Path) -> None:
    text = "[[pack]]\n[stage]\nsize = 64\n[[ pack ]]\nname = 'again'\n[tile]\n[[tile.scales]]\ncrop = 4\n[[pack]]\n"
    recipe = read(tmp_path, text, "report.quick=true")
    assert [table.name for table in recipe.tables] == ["pack", "stage", "again", "tile", "pack-3", "report"]


def test_a_recipe_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^recipe .*none\.toml does not exist$"):
        read_recipe(tmp_path / "none.toml", FLOWS, verb_of)
