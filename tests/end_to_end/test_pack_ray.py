"""`pack --engine ray` gives the bytes of every other engine, also where its workers are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagemill
from imagemill.testing.piles import class_folders, command, tree

pytest.importorskip("ray", reason="the extra 'ray' is not installed")


@pytest.mark.parametrize(
    ("fault", "workers"), [("", "2"), ("shard.write.middle:2", "1")], ids=["undisturbed", "killed"]
)
def test_ray_gives_the_same_bytes(fault: str, workers: str, run_alone: Any, tmp_path: Path) -> None:
    """With the fault, each worker process dies in the middle of its second shard, and Ray runs that one again.

    One at a time then: of several, each with its first shard behind it, the same shard might kill three.
    """
    pile = class_folders(tmp_path / "source")
    imagemill.pack(pile, tmp_path / "alone", shard_size=5, workers=0)
    options = ("--shard-size", "5", "--engine", "ray", "--workers", workers, "--max-rejects", "100%")
    done = run_alone(
        command("pack", pile, tmp_path / "ray", *options),
        timeout_s=200,
        **({"IMAGEMILL_FAULT": fault} if fault else {}),
    )
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "ray") == tree(tmp_path / "alone")


def test_the_address_of_a_cluster_is_an_option(run_alone: Any, tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", bad=False)
    options = ("--engine", "ray", "--ray-address", "127.0.0.1:1")
    done = run_alone(command("pack", pile, tmp_path / "ray", *options), timeout_s=100)
    assert done.returncode == 1
    assert "no Ray cluster at '127.0.0.1:1'" in done.stderr
