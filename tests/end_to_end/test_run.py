"""`run`: a recipe step by step; skipped where done, killed in the middle of any step and gone on with."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

import imagemill
from imagemill.errors import ConfigError
from imagemill.testing.piles import imagemill as command
from imagemill.testing.piles import pairs, tree

RECIPE = """
name = "plates"

[stage]
size = "24x32"
split = "50/50"

[pack]
shard_size = 3

[report]
quick = true
"""

NOT_THE_SAME_TWICE = ("run.jsonl", "plates.steps.json", "report.html")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    pairs(tmp_path / "photos", 8)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def run(place: Path, *arguments: str, fault: str = "") -> tuple[int, str]:
    """Exit code, and what was said."""
    words = ("run", place / "recipe.toml", place / "photos", "--root", place, "--workers", "0", *arguments)
    done = command(*words, environment={"IMAGEMILL_FAULT": fault} if fault else None)
    return done.returncode, done.stdout + done.stderr


def test_the_whole_way_and_then_nothing_is_left_to_do(place: Path) -> None:
    code, said = run(place, "--dry-run")
    assert code == 0, said
    assert said.count("(to do)") == 3
    assert not (place / "data").exists()
    code, said = run(place)
    assert code == 0, said
    assert "stage: " in said
    made = tree(place, without=NOT_THE_SAME_TWICE)
    assert (place / "runs" / "report.html").is_file()
    code, said = run(place)
    assert code == 0, said
    assert said.count("skipped, done before") == 3
    assert tree(place, without=NOT_THE_SAME_TWICE) == made


@pytest.mark.parametrize(
    "faults", [("small.rename.before:6", "shard.rename.after:1"), ("plan.write.after:1", "shard.commit.before:2")]
)
def test_killed_in_the_middle_of_two_steps(place: Path, faults: tuple[str, str]) -> None:
    for fault in faults:
        code, said = run(place, fault=fault)
        assert code == -signal.SIGKILL, said
    assert not (place / "data" / "dataset" / "manifest.json").exists()
    code, said = run(place)
    assert code == 0, said
    assert "going on where it was stopped" in said
    other = place / "uninterrupted"
    imagemill.run(place / "recipe.toml", place / "photos", root=other, workers=0)
    for folder in ("resized", "dataset"):
        assert tree(place / "data" / folder) == tree(other / "data" / folder)


def test_what_has_changed_is_made_again_only_when_asked_for(place: Path) -> None:
    def steps(**options: object) -> list[str]:
        done = imagemill.run(place / "recipe.toml", place / "photos", root=place, workers=0, **options)
        return [step.todo for step in done.steps]

    assert steps() == ["run", "run", "run"]
    before = tree(place / "data")
    settings = ["pack.shard_size=4"]
    assert steps(dry_run=True, settings=settings) == ["done", "changed", "changed"]
    with pytest.raises(ConfigError, match="step pack: shard_size was 3, now 4.*--redo"):
        steps(settings=settings)
    assert tree(place / "data") == before
    assert steps(settings=settings, redo=True) == ["done", "changed", "changed"]
    assert json.loads((place / "data" / "dataset" / "manifest.json").read_text())["recipe"]["shard_samples"] == 4
    assert steps(settings=settings) == ["done", "done", "done"]
    photo = next((place / "photos").iterdir())
    os.utime(photo, ns=(time.time_ns(), time.time_ns()))
    assert steps(dry_run=True, settings=settings) == ["changed", "changed", "changed"]
    with pytest.raises(ConfigError, match=r"step stage: .*photos has changed"):
        steps(settings=settings)
    assert steps(settings=settings, redo=True)[0] == "changed"


def test_a_result_that_is_gone_is_made_again(place: Path) -> None:
    imagemill.run(place / "recipe.toml", place / "photos", root=place, workers=0)
    (place / "runs" / "report.html").unlink()
    done = imagemill.run(place / "recipe.toml", place / "photos", root=place, workers=0)
    assert [step.todo for step in done.steps] == ["done", "done", "run"]
    assert (place / "runs" / "report.html").is_file()


def test_what_a_step_refuses_names_the_step(place: Path) -> None:
    with pytest.raises(ConfigError, match="step stage: fit 'tight' is none of"):
        imagemill.run(place / "recipe.toml", place / "photos", root=place, settings=["stage.fit=tight"])
