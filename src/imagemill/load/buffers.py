"""Memory for batches that is used again when nothing refers to it any more.

Fresh memory costs a page fault for every 4 kB when it is first written: for raw pixels more than the copy itself. Large
buffers lie in pages of 2 MB where the system has them: rows are copied a quarter faster then.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imagemill.native import address

if TYPE_CHECKING:
    import torch

Bytes = npt.NDArray[np.uint8]

_LINE = 64
_LARGE_PAGE = 1 << 21
_LARGE_BYTES = 2 * _LARGE_PAGE
_MOST_SIZES = 8


class BufferPool:
    """Gives tensors whose memory comes back when the last of them, of their views and arrays is gone.

    Safe in threads. Keeps a few free buffers of each of the sizes last asked for, and lets go of the others.

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
        free = self._free.pop(capacity, None)
        free = self._free[capacity] = deque(maxlen=self._spare) if free is None else free  # behind the others
        if len(self._free) > _MOST_SIZES:
            self._free.pop(next(iter(self._free)), None)
        try:
            buffer = free.pop()
        except IndexError:
            buffer = _allocated(capacity)
        # The tensor's storage holds this very array, and everything that shares its memory holds the storage.
        array = buffer[:size_bytes].reshape(shape)
        weakref.finalize(array, free.append, buffer).atexit = False
        return torch.from_numpy(array)


def _allocated(size_bytes: int) -> Bytes:
    """Bytes that begin a cache line; a large page where they fill some."""
    if size_bytes >= _LARGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            memory = mmap.mmap(-1, size_bytes + _LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
            return _aligned(np.frombuffer(memory, np.uint8), _LARGE_PAGE, size_bytes)
    return _aligned(np.empty(size_bytes + _LINE, np.uint8), _LINE, size_bytes)


def _aligned(memory: Bytes, to: int, size_bytes: int) -> Bytes:
    first = -address(memory) % to
    return memory[first : first + size_bytes]
