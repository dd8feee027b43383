"""A small training under torchrun: writes down the loss of every step, and stops after a given number of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import imagemill
from imagemill.transforms import ColorJitter, HorizontalFlip, Normalize, RandomResizedCrop


def main(folder: str, state_path: str, steps: int, out: str) -> None:
    """Trains on; the state is that of the model, the optimiser and the loader."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 2)))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    loader = imagemill.Loader(
        folder,
        batch_size=12 // dist.get_world_size(),
        seed=4,
        threads=2,
        transforms=[RandomResizedCrop(16), HorizontalFlip(), ColorJitter(0.2, 0.2, 0.2, 0.1)],
        batch_transforms=[Normalize()],
    )
    if Path(state_path).exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
    taken = 0
    losses = []
    while taken < steps:
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            losses.append(float(mean) / dist.get_world_size())
            taken += 1
            if taken == steps:
                break
    if dist.get_rank() == 0:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
        torch.save(state, state_path)
        with Path(out).open("a") as stream:
            stream.writelines(f"{loss!r}\n" for loss in losses)
    dist.barrier()
    # Seen once under load: "terminate called without an active exception" while the interpreter went down after
    # gloo's group had been destroyed. What this program is for has been written by now.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
