"""LitData: chunks of file bytes, decoded by OpenCV in worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from peers.base import BATCH, Box, Counted, Peer, Pixels, Place
from peers.torch_workers import OpenCvWorkers, random_crop


def bytes_and_label(entry: tuple[str, int]) -> dict[str, Any]:
    """What is stored of a file."""
    return {"image": Path(entry[0]).read_bytes(), "label": entry[1]}


class LitData(Peer):
    """Stored as bytes: LitData's own JPEG decoding is torchvision's, which has no build for every torch."""

    name, package = "LitData, OpenCV", "litdata"

    def prepare(self, place: Place) -> None:
        import litdata

        inputs = [(str(place.pile.root / name), label) for name, label in place.pile.files]
        litdata.optimize(
            bytes_and_label, inputs, str(place.storage / "chunks"), chunk_bytes="16MB", num_workers=1, verbose=False
        )

    def batches(self, place: Place) -> Iterable[int]:
        import litdata
        import torch

        class Images(litdata.StreamingDataset):  # type: ignore[misc]
            def __getitem__(self, index: Any) -> Any:
                sample = super().__getitem__(index)
                return torch.from_numpy(random_crop(sample["image"])), sample["label"]

        dataset = Images(str(place.storage / "chunks"), shuffle=True)
        options: Any = {"num_workers": place.workers, "persistent_workers": True}
        return Counted(litdata.StreamingDataLoader(dataset, batch_size=BATCH, **options))

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        return OpenCvWorkers().resize(files, boxes)
