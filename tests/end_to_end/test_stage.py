"""`imagemill stage` from the command line: killed at any instant, poisoned, beside what the original system wrote."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import imagemill as package
from imagemill.codecs.image import decode
from imagemill.sources.base import SourceOptions
from imagemill.testing.piles import command, imagemill, save_photo, tree

sys.path.insert(0, str(Path(__file__).parent))
from poison_folder import PoisonFolder

OPTIONS = ("--size", "40x60", "--orient", "portrait", "--split", "80/20", "--max-rejects", "100%")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 pairs, one of them without its after, one that is no picture."""
    folder = tmp_path_factory.mktemp("pile") / "source"
    for number in range(80):
        for half in ("before", "after"):
            save_photo(folder / f"plate {number:03d}_{half}.jpg", 90, 130 + number % 3, number)
    (folder / "plate 007_after.jpg").unlink()
    (folder / "plate 008_after.jpg").write_text("<html>404</html>")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = imagemill("stage", pile, out, *OPTIONS, "--workers", "0")
    assert done.returncode == 0, done.stderr
    return tree(out)


def assert_nothing_torn(out: Path, whole: dict[str, str]) -> None:
    """Whatever is visible is a whole file of the result, and a picture decodes."""
    for name, digest in tree(out).items():
        if name.startswith("."):
            continue
        assert whole.get(name) == digest, f"{name} is torn or should not be there"
        if name.endswith(".jpg"):
            assert decode((out / name).read_bytes()).shape == (60, 40, 3)


def test_killed_at_twenty_random_instants(pile: Path, uninterrupted: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Without workers: half of what a run takes here is the start of a process. Other tests kill and compare with one.
    arguments = command("stage", pile, out, *OPTIONS, "--workers", "0")
    started = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    whole_s = time.monotonic() - started
    assert tree(out) == uninterrupted
    rng = random.Random(11)
    seen = set()
    for kill in range(20):
        if kill % 10 == 0:
            subprocess.run(["rm", "-rf", str(out)], check=True)
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 0.95) * whole_s)
        process.kill()
        process.wait()
        if out.exists():
            assert_nothing_torn(out, uninterrupted)
            seen.add(len(tree(out)))
        if kill % 10 == 9:
            finished = subprocess.run(arguments, check=False, capture_output=True, text=True)
            assert finished.returncode == 0, finished.stderr
            assert tree(out) == uninterrupted
    assert len(seen) > 2, "all kills fell on the same state: nothing was tried"


def test_finished_parts_are_not_done_again(pile: Path, uninterrupted: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command("stage", pile, out, *OPTIONS, "--workers", "1"), stderr=subprocess.DEVNULL)
    commits = out / ".imagemill" / "commits"
    while not list(commits.glob("0*.json")):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = {row["out.before"] for row in _committed(out)}
    times = {name: (out / os.fsdecode(name)).stat().st_mtime_ns for name in done}
    assert times
    assert imagemill("stage", pile, out, *OPTIONS, "--workers", "1").returncode == 0
    assert {name: (out / os.fsdecode(name)).stat().st_mtime_ns for name in done} == times
    assert tree(out) == uninterrupted


def _committed(out: Path) -> list[dict[str, bytes]]:
    """Plan rows of the parts that are done, good ones only."""
    from imagemill.prepare.stage_files import plan_rows

    rows: list[dict[str, bytes]] = []
    for path in (out / ".imagemill" / "commits").glob("0*.json"):
        bad = {reject["key"] for reject in json.loads(path.read_text())["rejects"]}
        start = int(path.stem)
        rows += [row for row in plan_rows(out, start, start + 32) if row["key"] not in bad]
    return rows


def test_a_second_run_is_turned_away(pile: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen(command("stage", pile, out, *OPTIONS, "--workers", "1"), stderr=subprocess.DEVNULL)
    while not (out / ".imagemill" / "plan").exists():
        assert first.poll() is None
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = imagemill("stage", pile, out, *OPTIONS)
        assert second.returncode == 3
        assert f"process {first.pid}" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()


def test_the_account_adds_up_and_too_many_rejects_are_exit_6(pile: Path, tmp_path: Path) -> None:
    done = imagemill("stage", pile, tmp_path / "out", "--json", "--size", "16x16", "--limit", "20")
    assert done.returncode == 6
    result = json.loads(done.stdout)
    assert result["found"] == result["kept"] + result["rejected"] + result["ignored"] == 159
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert sorted(reasons) == ["missing-partner", "not-an-image"]


def test_originals_stay_as_they_are(pile: Path, tmp_path: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_nlink) for path in pile.iterdir()}
    content = tree(pile)
    for number, options in enumerate((("--size", "8x8"), ("--link",), ("--rename",))):
        done = imagemill(
            "stage", pile, tmp_path / str(number), *options, "--limit", "6", "--max-rejects", "100%", "--workers", "0"
        )
        assert done.returncode == 0, done.stderr
    assert tree(pile) == content
    assert {path: (path.stat().st_mtime_ns, path.stat().st_nlink) for path in pile.iterdir()} == before


def test_poison_costs_one_reject_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    for number, name in enumerate(("a.png", "crash.png", "hang.png", "z.png")):
        save_photo(tmp_path / "in" / name, 16, 16, number)
    source = PoisonFolder(tmp_path / "in", SourceOptions())
    result = package.stage(source, tmp_path / "out", size=8, workers=1, max_seconds=1.5)
    assert {reject.key: reject.reason for reject in result.rejects} == {
        "crash.png": "decoder-died",
        "hang.png": "timeout",
    }
    assert list(tree(tmp_path / "out", without=("stage.json", "rejects.jsonl"))) == ["a.png", "z.png"]


# Beside the original (shared/data/golden/color_reverser)

KIT = ("--size", "256x384", "--orient", "portrait", "--quality", "100", "--subsampling", "420", "--max-rejects", "10%")


def error_of(one: Path, other: Path) -> float:
    """Mean absolute error of two pictures, in levels of 255."""
    first, second = decode(one.read_bytes()), decode(other.read_bytes())
    assert first.shape == second.shape, one.name
    return float(np.abs(first.astype(int) - second).mean())


def test_it_equals_the_original_where_that_was_right(shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "color_reverser"
    done = imagemill("stage", golden / "stage_input", tmp_path / "out", *KIT)
    assert done.returncode == 0, done.stderr
    staged = sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix in (".jpg", ".png"))
    wanted = sorted(path.name for path in (golden / "stage_resized").iterdir())
    assert staged == [name for name in wanted if name not in ("bad_before.jpg", "bad_after.jpg", "notes.txt")]
    assert max(error_of(tmp_path / "out" / name, golden / "stage_resized" / name) for name in staged) <= 1
    (reject,) = map(json.loads, (tmp_path / "out" / "rejects.jsonl").read_text().splitlines())
    assert (reject["key"], reject["reason"], reject["files"]) == ("bad", "not-an-image", 2)
    assert "1 .txt" in done.stdout


def test_greys_equal_the_original(shared_data: Path, tmp_path: Path) -> None:
    golden = shared_data / "golden" / "color_reverser"
    options = ("--grey-before", "--quality", "75", "--subsampling", "420", "--max-rejects", "10%")
    done = imagemill("stage", golden / "stage_resized", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (golden / "stage_grey").glob("im_*_before.jpg"))
    assert len(names) == 12
    errors = [error_of(tmp_path / "out" / name, golden / "stage_grey" / name) for name in names]
    # libjpeg's quick forward transform here, its slow one there: at quality 75 that is up to a level.
    assert np.mean(errors) <= 1
    assert max(errors) <= 1.25


def test_default_quality_stays_near_the_pixels_that_were_resized(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "golden" / "color_reverser" / "stage_input"
    for to, out in (("png", "exact"), ("jpg", "small")):
        package.stage(source, tmp_path / out, size="256x384", orient="portrait", to=to, workers=0)
    errors = [error_of(path, tmp_path / "exact" / f"{path.stem}.png") for path in (tmp_path / "small").glob("im_*")]
    assert len(errors) == 24
    assert 0 < max(errors) < 3
