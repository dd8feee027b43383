"""Batches on their way to a device: one is copied while the one before it is in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from imagemill.load.batch import Batch


def moved(batches: Iterator[tuple[int, Batch]], device: torch.device) -> Iterator[tuple[int, Batch]]:
    """(step, batch) with every tensor on the device; anything else stays as it is.

    On a CUDA device the copy of the next batch runs on a stream of its own while the one
    before it is in use; where the tensors lie in pinned memory the processor does not wait for it.
    """
    if device.type != "cuda":
        for step, batch in batches:
            yield step, {name: _moved(value, device) for name, value in batch.items()}
        return
    yield from _doubled(batches, device)


def _doubled(batches: Iterator[tuple[int, Batch]], device: torch.device) -> Iterator[tuple[int, Batch]]:
    import torch

    stream = torch.cuda.Stream(device)
    ahead: tuple[int, Batch] | None = None
    for step, batch in batches:
        with torch.cuda.stream(stream):
            copied = {name: _moved(value, device) for name, value in batch.items()}
            done = torch.cuda.Event()
            done.record(stream)
        if ahead is not None:
            yield ahead
        ahead = (step, _usable(copied, done, device))
    if ahead is not None:
        yield ahead


def _usable(batch: Batch, done: torch.cuda.Event, device: torch.device) -> Batch:
    """The batch, tied to the stream that the caller computes on."""
    import torch

    current = torch.cuda.current_stream(device)
    current.wait_event(done)
    for value in batch.values():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            value.record_stream(current)  # its memory is not given to another copy before this stream is done with it
    return batch


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_moved(each, device) for each in value]
    return value.to(device, non_blocking=True) if hasattr(value, "to") else value
