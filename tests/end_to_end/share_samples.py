"""Under torchrun: which samples each rank gets of a DataLoader with our sampler, as Fabric and Accelerate hand it back.

share_samples.py FRAMEWORK OUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, TensorDataset

import imagemill

TOTAL, BATCH = 22, 4


def with_fabric(dataset: Any) -> Any:
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    loader = DataLoader(dataset, BATCH, sampler=imagemill.Sampler(dataset, BATCH, seed=3))
    return fabric.setup_dataloaders(loader)


def with_accelerate(dataset: Any) -> Any:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    # Accelerate shares out whole batches of whatever sampler there is: it gets the order of a single rank.
    sampler = imagemill.Sampler(dataset, BATCH, seed=3, rank=0, world_size=1)
    return accelerator.prepare(DataLoader(dataset, BATCH, sampler=sampler))


def main(framework: str, out: str) -> None:
    import torch
    import torch.distributed as dist

    dataset = TensorDataset(torch.arange(TOTAL))
    loader = {"fabric": with_fabric, "accelerate": with_accelerate}[framework](dataset)
    taken = [[batch.tolist() for (batch,) in loader] for _ in range(2)]
    Path(out, f"rank-{os.environ['RANK']}.json").write_text(json.dumps(taken))
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # a thread of gloo that still holds a tensor aborts an interpreter that ends (pytorch#190489)


if __name__ == "__main__":
    main(*sys.argv[1:])
