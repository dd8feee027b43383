"""spdl: FFmpeg's decoder and filters in a pipeline of threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from peers.base import BATCH, SIDE, Box, Peer, Pixels, Place


class Epochs:
    """A new pipeline each epoch, over the shuffled files."""

    def __init__(self, place: Place) -> None:
        self.paths = [(str(place.pile.root / name), label) for name, label in place.pile.files]
        self.workers = place.workers
        self.random = np.random.default_rng(0)

    def __iter__(self) -> Iterator[int]:
        import spdl.io
        from spdl.pipeline import PipelineBuilder

        order = [self.paths[place] for place in self.random.permutation(len(self.paths))]
        pipeline = (
            PipelineBuilder()
            .add_source(order)
            .pipe(self._decode, concurrency=self.workers)
            .aggregate(BATCH)
            .pipe(lambda frames: spdl.io.to_torch(spdl.io.convert_frames(frames)))
            .add_sink(2)
            .build(num_threads=self.workers)
        )
        with pipeline.auto_stop():
            for batch in pipeline:
                yield len(batch)

    def _decode(self, entry: tuple[str, int]) -> Any:
        from decode import draw_box

        def box(height: int, width: int) -> Box:
            return draw_box(height, width, (0.08, 1.0), self.random)

        return decode(entry[0], box, flip=self.random.random() < 0.5)


def decode(file: str | bytes, box: Any, *, flip: bool) -> Any:
    """Frames of SIDE x SIDE of the box that `box(height, width)` names."""
    import spdl.io

    packets = spdl.io.demux_image(file)
    top, left, height, width = box(packets.codec.height, packets.codec.width)
    steps = [f"crop={width}:{height}:{left}:{top}:exact=1", f"scale={SIDE}:{SIDE}:flags=bilinear"]
    steps += ["hflip"] if flip else []
    return spdl.io.decode_packets(packets, filter_desc=",".join([*steps, "format=pix_fmts=rgb24"]))


class Spdl(Peer):
    name, package, unit = "spdl, FFmpeg", "spdl", "thread"
    modes = ("original", "resized")

    def batches(self, place: Place) -> Iterable[int]:
        return Epochs(place)

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        import spdl.io

        frames = [decode(file, lambda *_, box=box: box, flip=False) for file, box in zip(files, boxes, strict=True)]
        return np.array(spdl.io.to_numpy(spdl.io.convert_frames(frames)))
