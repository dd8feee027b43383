"""FFCV: its own file format, re-encoded as it recommends, decoded and cut by compiled pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from peers.base import ARRAYS, BATCH, SIDE, Box, Counted, Peer, Place


class Images:
    """Pillow images or arrays with their labels, for FFCV's writer."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.arrays = np.load(place.pile.root / ARRAYS, mmap_mode="r") if place.mode == "raw" else None

    def __len__(self) -> int:
        return len(self.place.pile) if self.arrays is None else len(self.arrays)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        if self.arrays is not None:
            return np.array(self.arrays[index]), index
        name, label = self.place.pile.files[index]
        return Image.open(self.place.pile.root / name).convert("RGB"), label


class Ffcv(Peer):
    name, package, modes = "FFCV", "ffcv", ("original", "resized", "raw")
    checks = "nothing; JPEGs are its own re-encode at q90"
    unit, venv = "thread", ".venv-ffcv"

    def prepare(self, place: Place) -> None:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

        mode = "raw" if place.mode == "raw" else "jpg"
        fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=90), "label": IntField()}
        DatasetWriter(str(place.storage / "train.beton"), fields, num_workers=1).from_indexed_dataset(Images(place))

    def batches(self, place: Place) -> Iterable[int]:
        from ffcv.fields.basics import IntDecoder
        from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage

        crop = [RandomResizedCropRGBImageDecoder((SIDE, SIDE)), RandomHorizontalFlip()]
        image = [SimpleRGBImageDecoder()] if place.mode == "raw" else crop
        pipelines = {"image": [*image, ToTensor(), ToTorchImage()], "label": [IntDecoder(), ToTensor(), Squeeze()]}
        options: Any = {"order": OrderOption.RANDOM, "os_cache": True, "drop_last": False, "pipelines": pipelines}
        path = str(place.storage / "train.beton")
        return Counted(Loader(path, batch_size=BATCH, num_workers=place.workers, **options))

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> str:
        return "OpenCV's area, of q90"
