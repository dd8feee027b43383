"""Memory for batches that is used again when nothing refers to it any more.

Fresh memory costs a page fault for every 4 kB when it is first written: for raw pixels more than the copy itself.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Bytes = npt.NDArray[np.uint8]


class BufferPool:
    """Gives tensors whose memory comes back when the last of them, of their views and arrays is gone.

    Safe in threads. Keeps a few free buffers of each size, and lets go of the others.

    Args:
        count: samples of a whole batch: memory of a smaller one is as large.
        spare: free buffers to keep.
    """

    def __init__(self, count: int, spare: int) -> None:
        self.count = count
        self._spare = spare
        self._free: dict[int, deque[Bytes]] = {}

    def __reduce__(self) -> tuple[type[BufferPool], tuple[int, int]]:
        return BufferPool, (self.count, self._spare)

    def tensor(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A uint8 tensor of this shape in C order, whose bytes may be anything.

        Args:
            shape: the first is the number of samples.
        """
        import torch

        size_bytes = math.prod(shape)
        capacity = math.prod(shape[1:]) * max(shape[0], self.count)
        free = self._free.setdefault(capacity, deque(maxlen=self._spare))
        try:
            buffer = free.pop()
        except IndexError:
            buffer = np.empty(capacity, np.uint8)
        # The tensor's storage holds this very array, and everything that shares its memory holds the storage.
        array = buffer[:size_bytes].reshape(shape)
        weakref.finalize(array, free.append, buffer).atexit = False
        return torch.from_numpy(array)
