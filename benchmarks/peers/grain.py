"""grain: a MapDataset over files, decoded by OpenCV in its reading threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from peers.base import BATCH, Box, Counted, Peer, Pixels, Place
from peers.torch_workers import OpenCvWorkers, random_crop


class Files:
    """A random access source, as grain wants it."""

    def __init__(self, place: Place) -> None:
        self.root, self.files = place.pile.root, place.pile.files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> tuple[Any, int]:
        name, label = self.files[index]
        return (self.root / name).read_bytes(), label


class Grain(Peer):
    name, package, unit = "grain, OpenCV", "grain", "thread"

    def batches(self, place: Place) -> Iterable[int]:
        import grain

        dataset = grain.MapDataset.source(Files(place)).seed(1).shuffle()
        dataset = dataset.map(lambda entry: (random_crop(entry[0]), entry[1]))
        options = grain.ReadOptions(num_threads=place.workers, prefetch_buffer_size=2 * BATCH)
        return Counted(dataset.to_iter_dataset(options).batch(BATCH))

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        return OpenCvWorkers().resize(files, boxes)
