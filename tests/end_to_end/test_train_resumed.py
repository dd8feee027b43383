"""Under torchrun with two gloo ranks: a training that was stopped in mid-epoch goes on with the same losses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import imagemill
from imagemill.testing.piles import class_folders

pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("train_and_stop.py")


def train(folder: Path, name: str, steps: list[int]) -> list[float]:
    """Losses of a training in several runs, each on its own."""
    state, out = folder / f"{name}.pt", folder / f"{name}.txt"
    for count in steps:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        arguments = [str(SCRIPT), str(folder / "dataset"), str(state), str(count), str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
    return [float(line) for line in out.read_text().splitlines()]


def test_losses_go_on_exactly_after_a_stop(tmp_path: Path) -> None:
    # 2 classes of 15: three steps an epoch, the last of which is short and filled up, so that no rank waits.
    photos = class_folders(tmp_path / "photos", classes=2, per_class=15, bad=False)
    imagemill.pack(str(photos), str(tmp_path / "dataset"), shard_size="7")
    whole = train(tmp_path, "whole", [5])
    assert len(set(whole)) == 5
    assert train(tmp_path, "stopped", [2, 3]) == whole
