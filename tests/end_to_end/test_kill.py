"""`kill -9` at any instant, then the same command: the same bytes, and nothing torn on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imagemill.faults import POINTS, SMALL_FILE_POINTS
from imagemill.testing.piles import class_folders, command, imagemill, tree

OPTIONS = ("--split", "60/40", "--shard-size", "5", "--max-rejects", "100%")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("pile") / "source")


@pytest.fixture(scope="module")
def uninterrupted(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "dataset"
    done = imagemill("pack", pile, out, *OPTIONS, "--workers", "1")
    assert done.returncode == 0, done.stderr
    return tree(out)


def assert_nothing_torn(out: Path, whole: dict[str, str]) -> None:
    """Whatever lies under a final name is the whole file."""
    for name, digest in tree(out, without=("run.jsonl",)).items():
        if name.startswith(".") or "/." in name:
            continue
        assert whole.get(name) == digest, f"{name} is torn or should not be there"


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_fault_point(point: str, pile: Path, uninterrupted: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    # In the driver and in a worker alike: with no workers the driver does all itself.
    workers = "0" if POINTS.index(point) % 2 else "1"
    arguments = ("pack", pile, out, *OPTIONS, "--workers", workers)
    killed = imagemill(*arguments, environment={"IMAGEMILL_FAULT": f"{point}:1"})
    in_worker = workers == "1" and point.startswith("shard.")
    # A worker that dies at the same point in every life uses up its attempts; the driver says so.
    assert killed.returncode == (1 if in_worker else -signal.SIGKILL), killed.stderr
    assert_nothing_torn(out, uninterrupted)
    again = imagemill(*arguments)
    assert again.returncode == 0, again.stderr
    assert tree(out) == uninterrupted


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("shard.")])
def test_a_worker_killed_once_costs_nothing(
    point: str, pile: Path, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    """The second time a worker passes the point it dies; its replacement starts counting anew and gets further."""
    out = tmp_path / "dataset"
    done = imagemill("pack", pile, out, *OPTIONS, "--workers", "1", environment={"IMAGEMILL_FAULT": f"{point}:2"})
    assert done.returncode == 0, done.stderr
    assert tree(out) == uninterrupted


@pytest.mark.parametrize("passes", [1, 3, 5, 9, 10, 11])
@pytest.mark.parametrize("point", SMALL_FILE_POINTS)
def test_killed_around_every_kind_of_small_file(
    point: str, passes: int, pile: Path, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    """The owner's record, commit records, rejects, Croissant file, card, manifest: in that order."""
    out = tmp_path / "dataset"
    arguments = ("pack", pile, out, *OPTIONS, "--workers", "0")
    killed = imagemill(*arguments, environment={"IMAGEMILL_FAULT": f"{point}:{passes}"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_nothing_torn(out, uninterrupted)
    again = imagemill(*arguments)
    assert again.returncode == 0, again.stderr
    assert tree(out) == uninterrupted


def test_killed_at_twenty_random_instants(pile: Path, uninterrupted: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    arguments = command("pack", pile, out, *OPTIONS, "--workers", "2")
    started = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    whole_s = time.monotonic() - started
    rng = random.Random(7)
    for kill in range(20):
        if kill % 4 == 0:
            subprocess.run(["rm", "-rf", str(out)], check=True)
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * whole_s)
        process.kill()
        process.wait()
        if out.exists():
            assert_nothing_torn(out, uninterrupted)
        if kill % 4 == 3:
            finished = subprocess.run(arguments, check=False, capture_output=True, text=True)
            assert finished.returncode == 0, finished.stderr
            assert tree(out) == uninterrupted


def test_a_second_run_is_turned_away_and_the_next_one_starts_by_itself(pile: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    arguments = ("pack", pile, out, *OPTIONS, "--workers", "1")
    first = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / ".imagemill" / "plan" / "job.json").exists():
        assert first.poll() is None
        time.sleep(0.005)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = imagemill(*arguments)
        assert second.returncode == 3
        assert f"process {first.pid}" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    third = imagemill(*arguments)
    assert third.returncode == 0, third.stderr
