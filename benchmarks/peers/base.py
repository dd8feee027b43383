"""What a contender of `load.py` is, and what several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from photos import Pile

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Top, left, height, width."""

SIDE = 224
BATCH = 64
ARRAYS = "images.npy"
"""Name of the raw arrays (N, SIDE, SIDE, 3) that contenders of mode "raw" find beside the pile."""


@dataclass(frozen=True)
class Place:
    """Where a contender works.

    Args:
        mode: "original" or "resized": JPEGs, RandomResizedCrop and flip; "raw": arrays, nothing to be done to them.
        pile: the images; in mode "raw" `ARRAYS` lies in its root instead.
        storage: a folder of its own, written by `prepare`.
        workers: threads, or worker processes.
    """

    mode: str
    pile: Pile
    storage: Path
    workers: int = 1


class Peer(ABC):
    """A way of feeding a training loop with batches of SIDE x SIDE.

    Attributes:
        name: as printed.
        package: distribution whose version is printed, and without which it is skipped.
        modes: what it takes part in.
        checks: what it verifies while it reads.
        unit: what a worker is: a process or a thread.
        venv: environment it is installed in, beside the benchmarks.
        ahead: batches that lie ready when an epoch begins, because the one before went on in the background.
        counts: how many workers it is measured with.
    """

    name: str
    package: str
    modes: tuple[str, ...] = ("original",)
    checks: str = "nothing"
    unit: str = "worker"
    venv: str = ".venv-bench"
    ahead: int = 0
    counts: tuple[int, ...] = (1, 2)

    def prepare(self, place: Place) -> None:  # noqa: B027
        """Writes the package's own storage, once, before any clock runs; most read the files themselves."""

    @abstractmethod
    def batches(self, place: Place) -> Iterable[int]:
        """An iterable whose every iteration is an epoch, of numbers of images in a batch that was made."""

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels | str:
        """These boxes at SIDE x SIDE by the means it uses in training, (N, H, W, C); or in words what it does."""
        return "as Pillow in torch workers"


class Counted:
    """Batches as the number of their images: `first(batch)` is the tensor of images."""

    def __init__(self, batches: Iterable[Any], first: Callable[[Any], Any] = lambda batch: batch[0]) -> None:
        self._batches, self._first = batches, first

    def __iter__(self) -> Any:
        for batch in self._batches:
            yield len(self._first(batch))


def torch_loader(dataset: Any, workers: int, **options: Any) -> Counted:
    """torch's DataLoader with workers that stay."""
    from torch.utils.data import DataLoader

    settings = {"batch_size": BATCH, "num_workers": workers, "persistent_workers": True, **options}
    return Counted(DataLoader(dataset, **settings))


def augment() -> Any:
    """torchvision's RandomResizedCrop and flip, from a Pillow image to a uint8 tensor."""
    from torchvision import transforms

    crop = transforms.RandomResizedCrop(SIDE)
    return transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.PILToTensor()])
