"""Raw arrays of one size by NumPy and h5py: what copying rows costs without a loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

import numpy as np

from peers.base import ARRAYS, BATCH, SIDE, Peer, Place, torch_loader


class NumpyGather(Peer):
    """Rows of the memory map, taken in the process itself, into memory that is free again before the next batch."""

    name, package, modes, counts = "NumPy gather, in the process", "numpy", ("raw",), (1,)
    unit = "thread"

    def batches(self, place: Place) -> Iterable[int]:
        images = np.load(place.pile.root / ARRAYS, mmap_mode="r")
        return Rows(len(images), lambda ids: images[ids])


class NumpyRowCopy(Peer):
    """Rows of the memory map copied into memory of four batches in turn, as a loader has it that works ahead."""

    name, package, modes, counts = "NumPy row copy, four batches in turn", "numpy", ("raw",), (1,)
    unit = "thread"

    def batches(self, place: Place) -> Iterable[int]:
        images = np.load(place.pile.root / ARRAYS, mmap_mode="r")
        memory = cycle([np.empty((BATCH, *images.shape[1:]), np.uint8) for _ in range(4)])

        def take(ids: Any) -> Any:
            return np.take(images, ids, axis=0, out=next(memory)[: len(ids)], mode="clip")

        return Rows(len(images), take)


class Rows:
    """Epochs of shuffled rows; `take(ids)` gives a batch."""

    def __init__(self, count: int, take: Any) -> None:
        self.count, self.take, self.random = count, take, np.random.default_rng(0)

    def __iter__(self) -> Iterator[int]:
        import torch

        order = self.random.permutation(self.count)
        for start in range(0, self.count, BATCH):
            yield len(torch.from_numpy(self.take(order[start : start + BATCH])))


class Mapped:
    """Rows of the memory map for torch's DataLoader."""

    def __init__(self, place: Place) -> None:
        self.images = np.load(place.pile.root / ARRAYS, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import torch

        return torch.from_numpy(np.array(self.images[index])), index


class NumpyWorkers(Peer):
    name, package, modes = "torch workers, NumPy", "torch", ("raw",)

    def batches(self, place: Place) -> Iterable[int]:
        return torch_loader(Mapped(place), place.workers, shuffle=True)


class H5pyRows(Peer):
    """One image a chunk, read in the process itself, row by row into the batch."""

    name, package, modes, counts = "h5py rows, in the process", "h5py", ("raw",), (1,)
    unit = "thread"

    def prepare(self, place: Place) -> None:
        import h5py

        images = np.load(place.pile.root / ARRAYS, mmap_mode="r")
        with h5py.File(place.storage / "train.h5", "w") as file:
            rows = file.create_dataset("images", images.shape, np.uint8, chunks=(1, *images.shape[1:]))
            for number, pixels in enumerate(images):
                rows[number] = pixels

    def batches(self, place: Place) -> Iterable[int]:
        import h5py

        rows = h5py.File(place.storage / "train.h5")["images"]

        def take(ids: Any) -> Any:
            out = np.empty((len(ids), SIDE, SIDE, 3), np.uint8)
            for place_in_batch, row in enumerate(ids):
                rows.read_direct(out, np.s_[row], np.s_[place_in_batch])
            return out

        return Rows(len(rows), take)
