"""A training that is killed in mid-epoch goes on with exactly the losses of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import imagemill
from imagemill.testing.piles import class_folders

pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("train_and_stop.py")
SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "imagenet_sample"
STEPS, KILLED_AT = 8, 5
RANKS = {"torch": 1, "ddp": 2, "fabric": 2, "accelerate": 2}


class Packed(NamedTuple):
    """A dataset, and a global batch that makes an epoch of a few steps, the last of them short."""

    folder: Path
    global_batch: int


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """250 ImageNet photographs where they are at hand: six steps an epoch; else 30 made pictures: three."""
    folder = tmp_path_factory.mktemp("train") / "dataset"
    if SAMPLE.is_dir():
        imagemill.pack(SAMPLE, folder, shard_size="40", workers=0, decode="headers")
        return Packed(folder, 48)
    photos = class_folders(folder.with_name("photos"), classes=2, per_class=15, bad=False)
    imagemill.pack(photos, folder, shard_size="7", workers=0)
    return Packed(folder, 12)


@pytest.fixture(scope="module")
def uninterrupted(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[int, float]]:
    """Number of ranks → losses of a training that nothing disturbs."""
    losses = {}
    for framework in ("torch", "ddp"):
        out = tmp_path_factory.mktemp(framework)
        finish(framework, packed, out)
        losses[RANKS[framework]] = losses_of(out)
        assert list(losses[RANKS[framework]]) == list(range(1, STEPS + 1))
        assert len(set(losses[RANKS[framework]].values())) == STEPS
    return losses


def command(framework: str, packed: Packed, out: Path, stop_at: int) -> list[str]:
    launcher = [sys.executable]
    if RANKS[framework] > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS[framework]}"]
    arguments = (SCRIPT, framework, packed.folder, packed.global_batch, STEPS, stop_at, out)
    return [*launcher, *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(framework: str, packed: Packed, out: Path) -> None:
    done = subprocess.run(
        command(framework, packed, out, 0), capture_output=True, text=True, timeout=200, env=environment()
    )
    assert done.returncode == 0, done.stderr


def kill_in_mid_epoch(framework: str, packed: Packed, out: Path) -> None:
    """SIGKILL to the launcher and to every rank, after a step that was not saved."""
    with (out / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command(framework, packed, out, KILLED_AT), stdout=output, stderr=output, env=environment()
        )
    try:
        limit = time.monotonic() + 150
        while len(losses_of(out)) < KILLED_AT:
            assert process.poll() is None, (out / "output.txt").read_text()
            assert time.monotonic() < limit, (out / "output.txt").read_text()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        for rank in out.glob("pid-*"):
            try:
                os.kill(int(rank.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                continue  # the launcher itself, or it had seen its launcher die


def losses_of(out: Path) -> dict[int, float]:
    """Step → loss; a step that was taken twice must have had one loss."""
    losses: dict[int, float] = {}
    path = out / "losses.txt"
    for line in path.read_text().splitlines() if path.exists() else ():
        step, loss = line.split()
        assert losses.setdefault(int(step), float(loss)) == float(loss), f"step {step} went otherwise the second time"
    return losses


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("framework", RANKS)
def test_losses_go_on_exactly_after_a_kill(
    framework: str, packed: Packed, uninterrupted: dict[int, dict[int, float]], tmp_path: Path
) -> None:
    if framework in ("fabric", "accelerate"):
        pytest.importorskip("lightning_fabric" if framework == "fabric" else "accelerate")
    kill_in_mid_epoch(framework, packed, tmp_path)
    finish(framework, packed, tmp_path)
    # Frameworks wrap the same DistributedDataParallel: two ranks have the same losses under each of them.
    assert losses_of(tmp_path) == uninterrupted[RANKS[framework]]
    assert len((tmp_path / "losses.txt").read_text().splitlines()) == STEPS + 1, "one step was taken twice"
