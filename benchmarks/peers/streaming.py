"""MosaicML Streaming: MDS shards in torch workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from peers.base import ARRAYS, BATCH, SIDE, Peer, Place, augment, torch_loader


class Streaming(Peer):
    name, package, modes = "MosaicML Streaming, Pillow", "mosaicml-streaming", ("original", "raw")

    def prepare(self, place: Place) -> None:
        import numpy as np
        from PIL import Image
        from streaming import MDSWriter

        image = f"ndarray:uint8:{SIDE},{SIDE},3" if place.mode == "raw" else "jpeg"
        with MDSWriter(out=str(place.storage / "mds"), columns={"image": image, "label": "int"}) as writer:
            if place.mode == "raw":
                for number, pixels in enumerate(np.load(place.pile.root / ARRAYS, mmap_mode="r")):
                    writer.write({"image": np.array(pixels), "label": number})
                return
            for name, label in place.pile.files:
                writer.write({"image": Image.open(place.pile.root / name), "label": label})

    def batches(self, place: Place) -> Iterable[int]:
        import torch
        from streaming import StreamingDataset

        transform = torch.from_numpy if place.mode == "raw" else augment()

        class Images(StreamingDataset):  # type: ignore[misc]
            def __getitem__(self, index: Any) -> Any:
                sample = super().__getitem__(index)
                image = sample["image"]
                return transform(image if place.mode == "raw" else image.convert("RGB")), sample["label"]

        dataset = Images(local=str(place.storage / "mds"), shuffle=True, batch_size=BATCH)
        return torch_loader(dataset, place.workers)
