"""`stylegan2`: square images of one size, a random crop now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagemill.datasets.base import Image, Pixels, TrainingDataset, as_paths, chw
from imagemill.datasets.pictures import open_pictures, read_pixels
from imagemill.errors import ConfigError
from imagemill.transforms.base import Geometry
from imagemill.transforms.crops import CenterCrop, RandomResizedCrop, Resize
from imagemill.transforms.render import render_image
from imagemill.transforms.view import View


@dataclass(frozen=True)
class Stylegan2Options:
    """Options.

    Args:
        path: folder, or packed dataset.
        target_size: side of the images.
        aug_prob: share of items that are a random crop (half to all of the area) instead of the centred square.
        transparent: with the opacity as a fourth channel, 1 where an image has none; else transparency is over white.
        split: of a packed dataset.
        seed: of what is random.
    """

    path: str
    target_size: int
    aug_prob: float = 0.0
    transparent: bool = False
    split: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target_size < 1 or not 0 <= self.aug_prob <= 1:
            raise ConfigError("stylegan2: target_size is 1 or more, aug_prob from 0 to 1")


class Stylegan2Dataset(TrainingDataset):
    """{lq, hq: the same float32 (3, side, side) in 0–1, or (4, side, side) if `transparent`; GT_path}."""

    options_class = Stylegan2Options

    def __init__(self, options: Stylegan2Options) -> None:
        self.options = options
        self.seed = options.seed
        self.pictures = open_pictures(*as_paths(options.path, None), options.split)
        side = options.target_size
        self._cropped: tuple[Geometry, ...] = (RandomResizedCrop(side, scale=(0.5, 1.0), ratio=(0.98, 1.02)),)
        self._centred: tuple[Geometry, ...] = (Resize(side), CenterCrop(side))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        image = self._cut(read_pixels(self.pictures, index, "RGBA" if self.options.transparent else "RGB"), index)
        tensor = chw(image)
        return {"lq": tensor, "hq": tensor, "GT_path": self.pictures.path(index)}

    def _cut(self, pixels: Pixels, index: int) -> Image:
        rng = self.rng(index)
        view = View.whole(*pixels.shape[:2])
        steps = self._cropped if rng.random() < self.options.aug_prob else self._centred
        for step in steps:
            view = step.view(view, step.draw(view.size, rng))
        return render_image(pixels, view).astype(np.float32) / np.float32(255)
