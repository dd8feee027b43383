"""Several processes that train together, as torchrun starts them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imagemill.errors import ConfigError
from imagemill.training.splits import Workplace, choose_device


@contextmanager
def workplace(device: str | None) -> Iterator[Workplace]:
    """Where this process trains; under torchrun a process group lives as long as the block.

    Each rank takes the GPU of its number on the machine, with NCCL between them; without GPUs it is gloo.

    Raises:
        ConfigError: no such device, or fewer GPUs than ranks on this machine.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if "RANK" not in os.environ or world_size == 1:
        yield Workplace(choose_device(device))
        return
    from torch import distributed

    found = choose_device(device)
    if found.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ConfigError(f"rank {local} of this machine has no GPU: torchrun --nproc-per-node gpu")
        found = torch.device("cuda", local)
        torch.cuda.set_device(found)
    begun = not distributed.is_initialized()
    if begun:
        distributed.init_process_group("nccl" if found.type == "cuda" else "gloo")
    try:
        yield Workplace(found, distributed.get_rank(), distributed.get_world_size())
    finally:
        if begun:
            _end_process_group()


def _end_process_group() -> None:
    from torch import distributed

    distributed.destroy_process_group()
    # Gloo's threads let go of the last tensors a moment after whoever waited for these has gone on. One that does it
    # while the interpreter ends aborts the process, so that torchrun calls the training failed (pytorch#190489).
    time.sleep(0.1)
