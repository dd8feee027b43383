"""Who may write into a folder, while another rank begins or ends there."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from imagemill.core.files import WORK_NAME
from imagemill.engines.ranks import Membership
from imagemill.errors import ConfigError, OutputInUse
from imagemill.prepare.commit import check_own
from imagemill.prepare.ownership import GUARD_NAME, alone, own


@pytest.fixture
def taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder goes just before the system opens the guard for the first four times; these are they."""
    acquire, taken = filelock.FileLock.acquire, []

    def later(self: filelock.FileLock, *words: Any, **options: Any) -> Any:
        if len(taken) < 4 and Path(self.lock_file).name == GUARD_NAME:
            taken.append(Path(self.lock_file).name)
            shutil.rmtree(tmp_path / WORK_NAME)
            raise FileNotFoundError(2, "No such file or directory", self.lock_file)
        return acquire(self, *words, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", later)
    return taken


def test_a_rank_that_comes_as_another_one_finishes(tmp_path: Path, taken_away: list[str]) -> None:
    with own(tmp_path, Membership(2, 3, "job")):
        assert taken_away == [GUARD_NAME] * 4
        assert len(list((tmp_path / WORK_NAME / "owners").glob("*.json"))) == 1
        with pytest.raises(OutputInUse, match="rank 2 of 3"), own(tmp_path, Membership(0, 1, "another")):
            pass
    with alone(tmp_path) as nobody:
        assert nobody


def test_nobody_is_there_although_the_folder_goes(tmp_path: Path, taken_away: list[str]) -> None:
    with alone(tmp_path) as nobody:
        assert nobody
    assert len(taken_away) == 4


def test_a_folder_that_another_rank_begins_or_ends_just_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    iterdir = Path.iterdir

    def begun(folder: Path) -> list[Path]:
        (folder / WORK_NAME).mkdir()
        return list(iterdir(folder))

    def ended(folder: Path) -> list[Path]:
        found = [path for path in iterdir(folder) if path.name != WORK_NAME]
        (folder / "manifest.json").touch()
        return found

    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="is no dataset"):
        check_own(tmp_path, "manifest.json", "dataset")
    for meanwhile in (begun, ended):
        monkeypatch.setattr(Path, "iterdir", meanwhile)
        check_own(tmp_path, "manifest.json", "dataset")


@pytest.mark.parametrize("ends", ["done", "failed", "refused"])
def test_the_last_owner_leaves_nothing(tmp_path: Path, ends: str) -> None:
    (tmp_path / "file").touch()
    expected = pytest.raises(ZeroDivisionError) if ends == "failed" else contextlib.nullcontext()
    with expected, own(tmp_path, Membership(0, 1, "one"), leave_nothing=True):
        if ends == "refused":
            with pytest.raises(OutputInUse), own(tmp_path, Membership(0, 1, "two"), leave_nothing=True):
                pass
            with alone(tmp_path) as nobody:
                assert not nobody
        assert ends != "failed" or 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_others_keep_in_the_working_folder_stays(tmp_path: Path) -> None:
    with own(tmp_path, Membership(0, 1, "one"), leave_nothing=True):
        (tmp_path / WORK_NAME / "commits").mkdir()
    assert [path.name for path in (tmp_path / WORK_NAME).iterdir()] == ["commits"]


def test_who_got_the_guard_of_a_folder_that_is_gone_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, folder, gone = filelock.FileLock.acquire, tmp_path / WORK_NAME / "owners", tmp_path / "gone"

    def waited(self: filelock.FileLock, *words: Any, **options: Any) -> Any:
        taken = acquire(self, *words, **options)
        if Path(self.lock_file).name == GUARD_NAME and not gone.exists():
            folder.rename(gone)  # as whoever had the guard until now did
        return taken

    monkeypatch.setattr(filelock.FileLock, "acquire", waited)
    with own(tmp_path, Membership(0, 1, "one")):
        assert len(list(folder.glob("*.json"))) == 1
        with pytest.raises(OutputInUse), own(tmp_path, Membership(0, 1, "two")):
            pass
    assert not list(gone.glob("*.json"))


def test_a_folder_that_goes_between_two_looks_of_mkdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, refused = Path.mkdir, []

    def gone(self: Path, *words: Any, **options: Any) -> None:
        if self.name == "owners" and len(refused) < 4:
            refused.append(self)
            raise FileExistsError(17, "File exists", str(self))
        mkdir(self, *words, **options)

    monkeypatch.setattr(Path, "mkdir", gone)
    with own(tmp_path, Membership(0, 1, "one"), leave_nothing=True):
        assert len(refused) == 4
    assert not list(tmp_path.iterdir())


def test_an_owners_lock_that_goes_with_its_folder_as_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, gone = filelock.FileLock.acquire, []

    def late(self: filelock.FileLock, *words: Any, **options: Any) -> Any:
        if Path(self.lock_file).name != GUARD_NAME and len(gone) < 4:
            gone.append(self.lock_file)
            shutil.rmtree(tmp_path / WORK_NAME)
            raise filelock.Timeout(self.lock_file)
        return acquire(self, *words, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", late)
    with own(tmp_path, Membership(0, 1, "one"), leave_nothing=True):
        assert len(gone) == 4
    assert not list(tmp_path.iterdir())


IN_TURNS = """
import os, sys, time
from pathlib import Path
from imagemill.engines.ranks import Membership
from imagemill.errors import OutputInUse
from imagemill.prepare.ownership import own
out, owned = Path(sys.argv[1]), 0
until = time.monotonic() + 2
while time.monotonic() < until:
    try:
        with own(out, Membership(0, 1, os.urandom(8).hex()), leave_nothing=True):
            os.close(os.open(out / "mine", os.O_CREAT | os.O_EXCL))
            owned += 1
            os.unlink(out / "mine")
    except OutputInUse:
        pass
print(owned)
"""


def test_processes_that_come_and_go_own_one_after_the_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IN_TURNS, str(tmp_path)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [error for _, error in ends] == [""] * 4
    assert sum(int(owned) for owned, _ in ends) > 4
    assert not list(tmp_path.iterdir())
