"""Killed anywhere, a run ends with the same weights; ranks and accumulation add up to the large batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import imagemill
from imagemill.errors import ConfigError
from imagemill.training.model_file import read_tensors
from imagemill.training.run_log import read_log

from .conftest import COUNTS, SMALL, write_pairs

Train = Callable[..., Any]


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return read_tensors(folder / f"{name}.safetensors")[0]


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def largest_distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def spawn(source: Path, out: Path, options: dict[str, Any], *, launcher: tuple[str, ...] = (), **extra: str) -> int:
    """`imagemill.train` in processes of their own; the exit code."""
    script = "import sys, json, imagemill; imagemill.train(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))"
    program = out.parent / "train_it.py"
    program.write_text(f"if __name__ == '__main__':\n    {script}\n")
    command = [sys.executable, *launcher, str(program), str(source), str(out), json.dumps(options)]
    done = subprocess.run(command, env={**os.environ, **extra}, capture_output=True, text=True, timeout=200)
    if done.returncode not in (0, -signal.SIGKILL):
        print(done.stderr)
    return done.returncode


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, pairs: Path, workers: int, train_small: Train) -> None:
    options = {"epochs": 3, "workers": workers, "noise": 10.0, "checkpoint_every": 2, "schedule": "plateau"}
    whole = train_small(pairs, "whole", **options)
    # 3 steps an epoch: the fifth step lies in the second epoch, one after the checkpoint.
    fault = {"IMAGEMILL_FAULT": "train.step.after:5"}
    assert spawn(pairs, tmp_path / "killed", {**SMALL, **options}, **fault) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    resumed = train_small(pairs, "killed", **options)
    for name in ("last", "best"):
        assert equal(weights(whole.path, name), weights(resumed.path, name))
    assert equal(*(read_tensors(each.path / "checkpoint.safetensors")[0] for each in (whole, resumed)))
    assert resumed.directions == whole.directions
    kinds = [event["kind"] for event in read_log(resumed.path)]
    assert kinds.count("val") == 1 + 3
    assert kinds.count("resumed") == 1
    assert train_small(pairs, "killed", **options).already


def test_other_options_are_not_mixed_in(pairs: Path, train_small: Train) -> None:
    train_small(pairs, steps=1)
    with pytest.raises(ConfigError, match=r"begun with batch_size=8 \(now 4\)"):
        train_small(pairs, steps=1, batch_size=4)


def test_options_of_the_network_are_the_same_as_text_and_as_numbers(pairs: Path, train_small: Train) -> None:
    as_text = {name: str(value) for name, value in SMALL["network_options"].items()}
    train_small(pairs, epochs=1, network_options=as_text)
    assert train_small(pairs, epochs=1).already


def test_more_epochs_go_on(pairs: Path, train_small: Train) -> None:
    assert train_small(pairs, epochs=1).steps == 3
    more = train_small(pairs, epochs=2)
    assert (more.steps, more.already) == (6, False)


def test_a_grown_dataset_begins_its_order_anew(tmp_path: Path, pairs: Path, train_small: Train) -> None:
    options = {"epochs": 2, "checkpoint_every": 1}
    assert spawn(pairs, tmp_path / "run", {**SMALL, **options}, IMAGEMILL_FAULT="train.step.after:2") != 0
    imagemill.pack(write_pairs(tmp_path / "in", {**COUNTS, "train": 40}), tmp_path / "grown", workers=0)
    result = train_small(tmp_path / "grown", **options)
    said = [event["text"] for event in read_log(result.path) if event["kind"] == "resumed"]
    assert "the order begins anew at epoch 1" in said[0]
    # Two steps of the first epoch are in the checkpoint; the second has five of the grown split's.
    assert result.steps == 2 + 5


def test_accumulated_batches_are_the_large_batch(pairs: Path, train_small: Train) -> None:
    options = {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "constant", "loss": {"mse": 1.0, "ssim": 0.1}}
    large = train_small(pairs, "large", **options, batch_size=10)
    small = train_small(pairs, "small", **options, batch_size=2, accumulation=5)
    assert large.steps == small.steps == 6
    assert largest_distance(weights(large.path), weights(small.path)) < 1e-6
    assert largest_distance(weights(large.path), weights(train_small(pairs, "b2", **options, batch_size=2).path)) > 1e-4


def test_two_ranks_are_one_rank_with_the_doubled_batch(tmp_path: Path, pairs: Path, train_small: Train) -> None:
    options = {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "constant", "batch_size": 4, "accumulation": 2}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    out = tmp_path / "two"
    assert spawn(pairs, out, {**SMALL, **options}, launcher=launcher, OMP_NUM_THREADS="1") == 0
    one = train_small(pairs, "one", **{**options, "batch_size": 8})
    assert largest_distance(weights(out), weights(one.path)) < 1e-6
    two = json.loads((out / "result.json").read_text())
    assert two["steps"] == one.steps
    assert two["directions"][0]["test"]["psnr"] == pytest.approx(one.directions[0].test["psnr"], abs=1e-3)
