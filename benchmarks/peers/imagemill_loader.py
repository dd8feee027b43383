"""imagemill.Loader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from peers.base import BATCH, SIDE, Box, Counted, Peer, Pixels, Place


class ImagemillLoader(Peer):
    package, unit = "imagemill", "thread"

    def __init__(
        self,
        name: str,
        modes: tuple[str, ...] = ("original", "resized", "raw"),
        pixels: str = "original",
        **options: Any,
    ) -> None:
        self.name, self.modes, self.pixels, self.options = name, modes, pixels, options
        self.checks = "xxh3 of every read" if options.get("verify") == "always" else "xxh3 at the first read"

    def prepare(self, place: Place) -> None:
        import imagemill

        if place.mode == "raw":
            # Its own raw arrays are what the others are given: load.py has packed them.
            (place.storage / "dataset").symlink_to(place.pile.root.parent / "raw-dataset")
        else:
            imagemill.pack(place.pile.root, place.storage / "dataset", pixels=self.pixels, decode="headers", workers=0)

    def batches(self, place: Place) -> Iterable[int]:
        import imagemill
        from imagemill.transforms import HorizontalFlip, RandomResizedCrop

        transforms = [] if place.mode == "raw" else [RandomResizedCrop(SIDE), HorizontalFlip()]
        loader = imagemill.Loader(
            place.storage / "dataset", batch_size=BATCH, threads=place.workers, transforms=transforms, **self.options
        )
        return Counted(loader, lambda batch: batch["image"])

    def resize(self, files: Sequence[bytes], boxes: Sequence[Box]) -> Pixels:
        import tempfile
        from pathlib import Path

        import numpy as np

        import imagemill
        from imagemill.transforms.base import Geometry

        class Given(Geometry):
            """Takes the boxes one after the other."""

            def __init__(self) -> None:
                self.boxes = iter(boxes)

            def draw(self, sides: Any, rng: Any) -> Box:
                return next(self.boxes)

            def view(self, view: Any, params: Any) -> Any:
                return view.cropped(*params).resized(SIDE, SIDE, "bilinear")

        with tempfile.TemporaryDirectory() as name:
            for number, file in enumerate(files):
                path = Path(name, "images", f"{number:06d}.jpg")
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(file)
            imagemill.pack(path.parent, Path(name, "dataset"), pixels=self.pixels, decode="headers", workers=0)
            options: Any = {"transforms": [Given()], "shuffle": False, "threads": 1, "prefetch_batches": 0}
            loader = imagemill.Loader(Path(name, "dataset"), batch_size=1, **options)
            return np.concatenate([batch["image"].permute(0, 2, 3, 1).numpy() for batch in loader])
