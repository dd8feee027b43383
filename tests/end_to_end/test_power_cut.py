"""What a power cut leaves: files that nobody synced are there by name, and empty. The same command finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.faults import TILE_POINTS
from imagemill.testing.piles import command, imagemill, save_photo, tree

LOG_SYNCS = Path(__file__).with_name("log_syncs.py")
TILES = ("--crop", "32,64", "--step", "16,32", "--min-side", "40", "--threshold", "8", "--workers", "0")
STAGED = ("--size", "40x40", "--fit", "cover", "--workers", "0")
RANK_1 = ("--rank", "1", "--world-size", "2")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pile") / "source"
    for number in range(20):
        save_photo(folder / f"sub {number % 3}" / f"im{number:02d}.jpg", 70 + number, 90, number)
    return folder


@pytest.fixture(scope="module")
def whole(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each verb makes when nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    for verb, options in (("tile", TILES), ("stage", STAGED)):
        done = imagemill(verb, pile, folder / verb, *options)
        assert done.returncode == 0, done.stderr
    return {verb: tree(folder / verb) for verb in ("tile", "stage")}


def run_logged(how: str, out: Path, *arguments: object, fault: str = "") -> set[Path]:
    """Runs a command, until a fault point if there is one.

    Returns:
        Files in OUT that nobody has synced as they are now.
    """
    log = out.with_name("syncs.log")
    log.touch()
    line = [sys.executable, str(LOG_SYNCS), str(log), str(out), how, *command(*arguments)[3:]]
    environment = os.environ | ({"IMAGEMILL_FAULT": fault} if fault else {})
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (-signal.SIGKILL if fault else 0), done.stderr
    durable = set(log.read_text().splitlines())
    found = {path: path.stat() for path in out.rglob("*") if path.is_file()}
    return {
        path
        for path, stat in found.items()
        if stat.st_size and f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}" not in durable
    }


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        *((point, "each") for point in TILE_POINTS),
        ("tile.record.before:2", "each"),
        ("tile.place.before:9", "each"),
        ("small.rename.after:6", "each"),
        ("small.rename.after:6", "whole"),
        ("tile.place.before:9", "whole"),
    ],
)
def test_no_record_claims_tiles_that_a_power_cut_takes(
    fault: str, how: str, pile: Path, whole: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "tiles"
    # A rank that begins with the second task does not know how many numbers the first one takes, and numbers later.
    arguments = ("tile", pile, out, *TILES, *(RANK_1 if "number" in fault or "place" in fault else ()))
    lost = run_logged(how, out, *arguments, fault=fault)
    assert lost or fault not in ("tile.rename.before", "tile.number.after")
    for path in lost:
        path.write_bytes(b"")
    again = imagemill(*arguments)
    assert again.returncode == 0, again.stderr
    assert tree(out) == whole["tile"]


@pytest.mark.parametrize("rank", [(), RANK_1])
@pytest.mark.parametrize("how", ["each", "whole"])
def test_finished_tiles_are_all_on_the_disk(
    how: str, rank: tuple[str, ...], pile: Path, whole: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "tiles"
    assert run_logged(how, out, "tile", pile, out, *TILES, *rank) == set()
    assert tree(out) == whole["tile"]


@pytest.mark.parametrize(("count", "how"), [(3, "each"), (5, "each"), (5, "whole")])
def test_staged_files_survive_a_power_cut(
    count: int, how: str, pile: Path, whole: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "staged"
    arguments = ("stage", pile, out, *STAGED)
    for path in run_logged(how, out, *arguments, fault=f"small.rename.before:{count}"):
        path.write_bytes(b"")
    again = imagemill(*arguments)
    assert again.returncode == 0, again.stderr
    assert tree(out) == whole["stage"]
