"""Items made together lie in one piece of memory, and become a batch without being copied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from imagemill.load.buffers import BufferPool

_pool = BufferPool(1, spare=2)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of items with equal keys, as torch's `default_collate` makes it.

    Tensors that lie one behind the other are the batch's own memory from then on, and one that all items share, seen as
    of any sides, is seen as the batch's: only to be read. All others are copied.

    Raises:
        RuntimeError: tensors of one key have different shapes.
    """
    return {key: joined([item[key] for item in items]) for key in items[0]}


def joined(values: Sequence[Any]) -> Any:
    """Values of one key as `collate` has them; tensors get a first axis."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        whole = _side_by_side(values)
        return torch.stack(list(values)) if whole is None else whole
    return torch.utils.data.default_collate(list(values))


def _side_by_side(tensors: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Tensors that lie one behind the other, or all in one place, as one; None where they do not."""
    first, count = tensors[0], len(tensors)
    shape, dtype, strides = first.shape, first.dtype, first.stride()
    is_shared = first.numel() > 1 and not any(strides)
    step = 0 if is_shared else first.numel()
    storage = first.untyped_storage()
    end = first.storage_offset() + step * (count - 1) + (1 if is_shared else step)
    if not (is_shared or first.is_contiguous()) or end * first.itemsize > storage.nbytes():
        return None
    # What lies within the first one's storage is its memory, whatever the storage that another speaks of.
    address, step_bytes = first.data_ptr(), step * first.itemsize
    for tensor in tensors:
        is_next = tensor.data_ptr() == address and tensor.dtype is dtype and tensor.shape == shape
        if not is_next or tensor.stride() != strides:
            return None
        address += step_bytes
    return first.as_strided((count, *shape), (step, *strides))


def empty_items(count: int, *shapes: tuple[int, ...]) -> list[list[torch.Tensor]]:
    """Float32 tensors whose values mean nothing yet, for each shape one an item, side by side.

    The memory of many is used again when nothing refers to any of them any more.
    """
    if count == 1:  # the allocator has memory that is warm
        return [[torch.empty(shape)] for shape in shapes]
    sizes = [count * math.prod(shape) for shape in shapes]
    memory = _pool.tensor((1, 4 * sum(sizes))).view(torch.float32)[0].split(sizes)
    return [list(part.view(count, *shape).unbind()) for part, shape in zip(memory, shapes, strict=True)]
