"""The image tensors of a batch, allocated once and filled in place by several threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError
from imagemill.load.buffers import BufferPool

if TYPE_CHECKING:
    import torch


class Slots:
    """A uint8 tensor (N, C, H, W) for each image field, made when the first picture's size is known.

    Args:
        count: samples of the batch.
        pinned: whether memory is page-locked, so that a GPU fetches it by itself; torch has a pool for it.
        pool: where other memory comes from.
        channels_last: whether memory is (N, H, W, C), in torch's channels_last format; the shape is the same.
    """

    def __init__(
        self, count: int, *, pinned: bool = False, pool: BufferPool | None = None, channels_last: bool = False
    ) -> None:
        self.count = count
        self.channels_last = channels_last
        self.tensors: dict[str, torch.Tensor] = {}
        self._pinned = pinned
        self._pool = pool or BufferPool(count, 0)
        self._first: dict[str, str] = {}
        self._lock = threading.Lock()

    def places(self, field: str, shape: tuple[int, int, int], key: str) -> npt.NDArray[np.uint8]:
        """All places of a field, as (N, H, W, C) over the tensor's memory.

        Args:
            shape: (H, W, C) of the sample `key`.

        Raises:
            ConfigError: another sample of the batch has another shape.
        """
        height, width, channels = shape
        with self._lock:
            if field not in self.tensors:
                self.tensors[field] = self._tensor(shape)
                self._first[field] = key
            tensor = self.tensors[field]
        if tensor.shape[1:] != (channels, height, width):
            raise unequal(field, self._first[field], tuple(tensor.shape[1:]), key, (channels, height, width))
        array: npt.NDArray[np.uint8] = tensor.numpy()
        return array.transpose(0, 2, 3, 1)

    def reserve(self, field: str, shape: tuple[int, int, int]) -> int:
        """Makes a field's tensor for pictures of shape (H, W, C), while nobody else does; where its memory begins."""
        tensor = self.tensors[field] = self._tensor(shape)
        place: int = tensor.data_ptr()
        return place

    def bytes(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Memory for so many bytes a sample, (N, size_bytes), that is used again once nothing refers to it."""
        array: npt.NDArray[np.uint8] = self._pool.tensor((self.count, size_bytes)).numpy()
        return array

    def _tensor(self, shape: tuple[int, int, int]) -> torch.Tensor:
        height, width, channels = shape
        sides = (height, width, channels) if self.channels_last else (channels, height, width)
        if self._pinned:
            import torch

            tensor = torch.empty((self.count, *sides), dtype=torch.uint8, pin_memory=True)
        else:
            tensor = self._pool.tensor((self.count, *sides))
        return tensor.permute(0, 3, 1, 2) if self.channels_last else tensor


def unequal(field: str, one: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]) -> ConfigError:
    """The error for two samples whose arrays (C, H, W) or (H, W) make no batch."""
    return ConfigError(
        f"a batch needs one size, but {field!r} of {one!r} is {_text(shape)} and that of "
        f"{other!r} is {_text(other_shape)}: say a size (--size 224x224, in Python size=(height, width)), give a "
        "transform that makes one, pack with --pixels raw --size 224, or take a batch_size of 1"
    )


def _text(shape: tuple[int, ...]) -> str:
    height, width = shape[-2:]
    return f"{width}x{height}" + (f"x{shape[0]}" if len(shape) == 3 else "")
