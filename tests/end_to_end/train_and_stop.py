"""A small training: writes down the loss of every step, saves every other one, and may stop dead to be killed.

    train_and_stop.py FRAMEWORK DATASET GLOBAL_BATCH STEPS STOP_AT OUT

OUT gets `state.pt`, `losses.txt` with a line "step loss" a step, and `pid-RANK` of every process. STOP_AT 0 is never.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import imagemill
from imagemill.transforms import ColorJitter, HorizontalFlip, Normalize, RandomResizedCrop

SAVED_EVERY = 2
CLASSES = 250


class Training(NamedTuple):
    """What a framework makes of model, optimiser and loader."""

    model: Any
    optimizer: Any
    loader: Any
    backward: Callable[[Any], Any]


def network() -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * 5 * 5, CLASSES))


def batches(folder: str, global_batch: int, world_size: int) -> imagemill.Loader:
    return imagemill.Loader(
        folder,
        batch_size=global_batch // world_size,
        seed=4,
        threads=2,
        transforms=[RandomResizedCrop(24), HorizontalFlip(), ColorJitter(0.2, 0.2, 0.2, 0.1)],
        batch_transforms=[Normalize()],
    )


def with_torch(folder: str, global_batch: int) -> Training:
    model = network()
    return Training(model, optimizer_of(model), batches(folder, global_batch, 1), torch.Tensor.backward)


def with_ddp(folder: str, global_batch: int) -> Training:
    dist.init_process_group("gloo")
    model = DistributedDataParallel(network())
    loader = batches(folder, global_batch, dist.get_world_size())
    return Training(model, optimizer_of(model), loader, torch.Tensor.backward)


def with_fabric(folder: str, global_batch: int) -> Training:
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    model = network()
    model, optimizer = fabric.setup(model, optimizer_of(model))
    return Training(model, optimizer, batches(folder, global_batch, fabric.world_size), fabric.backward)


def with_accelerate(folder: str, global_batch: int) -> Training:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network()
    loader = batches(folder, global_batch, accelerator.num_processes)
    model, optimizer, loader = accelerator.prepare(model, optimizer_of(model), loader)
    return Training(model, optimizer, loader, accelerator.backward)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


FRAMEWORKS = {"torch": with_torch, "ddp": with_ddp, "fabric": with_fabric, "accelerate": with_accelerate}


def train(training: Training, steps: int, stop_at: int, out: Path) -> None:
    """Trains on from where the saved state stands."""
    step = 0
    state_path = out / "state.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.loader.load_state_dict(state["loader"])
        step = state["step"]
    while step < steps:
        for batch in training.loader:
            loss = nn.functional.cross_entropy(training.model(batch["image"]), batch["label"])
            training.optimizer.zero_grad()
            training.backward(loss)
            training.optimizer.step()
            step += 1
            write_down(training, step, mean_of(loss), out)
            if step == stop_at:
                time.sleep(600)  # to be killed here
            if step == steps:
                break


def mean_of(loss: torch.Tensor) -> float:
    mean = loss.detach().clone()
    if not dist.is_initialized():
        return float(mean)
    dist.all_reduce(mean)
    return float(mean) / dist.get_world_size()


def write_down(training: Training, step: int, loss: float, out: Path) -> None:
    if rank() != 0:
        return
    if step % SAVED_EVERY == 0:
        saved = {name: getattr(training, name).state_dict() for name in ("model", "optimizer", "loader")}
        torch.save({**saved, "step": step}, out / "state.tmp")
        (out / "state.tmp").rename(out / "state.pt")
    with (out / "losses.txt").open("a") as stream:
        stream.write(f"{step} {loss!r}\n")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def main(framework: str, folder: str, global_batch: str, steps: str, stop_at: str, out: str) -> None:
    torch.set_num_threads(1)
    training = FRAMEWORKS[framework](folder, int(global_batch))
    (Path(out) / f"pid-{rank()}").write_text(str(os.getpid()))
    train(training, int(steps), int(stop_at), Path(out))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    os._exit(0)  # a thread of gloo that still holds a tensor aborts an interpreter that ends (pytorch#190489)


if __name__ == "__main__":
    main(*sys.argv[1:])
