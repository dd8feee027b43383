"""NVIDIA DALI on the CPU alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from peers.base import BATCH, SIDE, Box, Counted, Peer, Pixels, Place


class Dali(Peer):
    package, unit, ahead = "nvidia-dali-cuda120", "thread", 2
    modes = ("original", "resized")

    def __init__(self, name: str, *, antialias: bool) -> None:
        self.name, self.antialias = name, antialias

    def batches(self, place: Place) -> Iterable[int]:
        from nvidia.dali import fn, pipeline_def
        from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

        files = [str(place.pile.root / name) for name, _ in place.pile.files]
        labels = [label for _, label in place.pile.files]

        @pipeline_def
        def pipeline() -> Any:
            jpegs, numbers = fn.readers.file(files=files, labels=labels, random_shuffle=True, name="reader")
            images = fn.decoders.image_random_crop(jpegs, device="cpu", random_area=[0.08, 1.0])
            images = fn.resize(images, resize_x=SIDE, resize_y=SIDE, antialias=self.antialias)
            return fn.flip(images, horizontal=fn.random.coin_flip()), numbers

        built = pipeline(batch_size=BATCH, num_threads=place.workers, device_id=None)
        options: Any = {"last_batch_policy": LastBatchPolicy.PARTIAL, "auto_reset": True}
        batches = DALIGenericIterator([built], ["image", "label"], reader_name="reader", **options)
        return Counted(batches, lambda batch: batch[0]["image"])

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        from nvidia.dali import fn, pipeline_def

        encoded = [np.frombuffer(file, np.uint8) for file in files]
        anchors = [np.array(box[:2], np.int32) for box in boxes]
        sides = [np.array(box[2:], np.int32) for box in boxes]

        @pipeline_def
        def pipeline() -> Any:
            jpegs, anchor, shape = (fn.external_source([each], batch=True) for each in (encoded, anchors, sides))
            images = fn.decoders.image_slice(jpegs, start=anchor, shape=shape, axes=[0, 1], device="cpu")
            return fn.resize(images, resize_x=SIDE, resize_y=SIDE, antialias=self.antialias)

        built = pipeline(batch_size=len(files), num_threads=1, device_id=None)
        built.build()
        (images,) = built.run()
        return np.array(images.as_array())
