"""A decoder that crashes, hangs or eats all memory costs one reject, not the run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import imagemill
from imagemill.errors import EngineError
from imagemill.testing.piles import tree

sys.path.insert(0, str(Path(__file__).parent))
from poison import PoisonSource, poisoned_folder

REASONS = {"crash 1.png": "decoder-died", "crash 2.png": "decoder-died", "hang.png": "timeout", "hog.png": "memory"}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def test_poison_costs_one_reject_each_and_the_same_bytes_with_any_workers(tmp_path: Path) -> None:
    source = PoisonSource(poisoned_folder(tmp_path / "source"))
    for workers in (1, 2):
        result = imagemill.pack(source, tmp_path / f"out{workers}", workers=workers, shard_size=6, max_seconds=1.5)
        assert {reject.key: reject.reason for reject in result.rejects} == REASONS
        assert result.kept == 8
    assert tree(tmp_path / "out1") == tree(tmp_path / "out2")


def test_check_names_poison_too(tmp_path: Path) -> None:
    source = PoisonSource(poisoned_folder(tmp_path / "source"))
    result = imagemill.check(source, workers=2, max_seconds=1.5)
    assert {reject.key: reject.reason for reject in result.rejects} == REASONS


def test_verdicts_outlive_the_run_that_found_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the crash was found: the next run reuses the verdict and does not ask the child again."""
    source = PoisonSource(poisoned_folder(tmp_path / "source"))
    monkeypatch.setenv("IMAGEMILL_FAULT", "shard.write.after:1")
    with pytest.raises(EngineError):
        imagemill.pack(source, tmp_path / "out", workers=1, max_seconds=1.5)
    monkeypatch.delenv("IMAGEMILL_FAULT")
    verdicts = tmp_path / "out" / ".imagemill" / "verdicts" / "train-00000-of-00001.jsonl"
    assert verdicts.read_text().count("\n") == 4
    result = imagemill.pack(source, tmp_path / "out", workers=1, max_seconds=1.5)
    assert result.reasons == {"decoder-died": 2, "memory": 1, "timeout": 1}
