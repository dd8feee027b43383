"""Who may write into a folder, while another rank begins or ends there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import filelock
import pytest

from imagemill.core.files import WORK_NAME
from imagemill.engines.ranks import Membership
from imagemill.errors import ConfigError, OutputInUse
from imagemill.prepare.commit import check_own
from imagemill.prepare.ownership import alone, own


@pytest.fixture
def taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder goes just before the system opens the first four locks; these are they."""
    acquire, taken = filelock.FileLock.acquire, []

    def later(self: filelock.FileLock, *words: Any, **options: Any) -> Any:
        if len(taken) < 4:
            taken.append(Path(self.lock_file).name)
            shutil.rmtree(tmp_path / WORK_NAME)
            raise FileNotFoundError(2, "No such file or directory", self.lock_file)
        return acquire(self, *words, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", later)
    return taken


def test_a_rank_that_comes_as_another_one_finishes(tmp_path: Path, taken_away: list[str]) -> None:
    with own(tmp_path, Membership(2, 3, "job")):
        assert taken_away == ["owners.lock"] * 4
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
