"""Inputs made from the pictures that are to be predicted: noise, corruptions, fewer pixels.

What is drawn for a sample is a function of (seed, epoch, index), never of a thread. Inputs are 8-bit values, as
a file would hold them; validation draws as for epoch 0, so it meets the same inputs every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.transforms.corrupt import CorruptionOptions, Corruptor
from imagemill.transforms.rng import SampleRng

Pixels = npt.NDArray[np.uint8]

_INPUTS = 3
"""First part of a stream's key: those of samples and batches in `load/` begin with 1 and 2."""


@dataclass(frozen=True)
class Degradation:
    """How an input is made.

    Args:
        scale: how many times smaller it is, by Pillow's bicubic filter.
        noise: standard deviation of Gaussian noise, of 255; 0 adds none.
        corruptions: come after the scale, before the noise.
        seed: of everything random.
    """

    scale: int = 1
    noise: float = 0.0
    corruptions: CorruptionOptions = field(default_factory=CorruptionOptions)
    seed: int = 0

    def __call__(self, picture: Pixels, epoch: int, index: int) -> Pixels:
        """The input of one picture.

        Args:
            picture: uint8 (H, W, C), sides multiples of `scale`.

        Returns:
            uint8 (H / scale, W / scale, C), memory of its own.
        """
        rng = SampleRng(_INPUTS, self.seed, epoch, index)
        height, width = (side // self.scale for side in picture.shape[:2])
        values = _reduced(picture, height, width) if self.scale > 1 else picture
        if self.corruptions.fixed_corruptions or self.corruptions.num_corrupts_per_image:
            values = self._corrupted(values, rng)
        if self.noise:
            drawn = rng.generator().standard_normal(values.shape, np.float32)
            values = np.clip(values + drawn * np.float32(self.noise) + 0.5, 0, 255).astype(np.uint8)
        return values.copy() if values is picture else values

    def _corrupted(self, values: Pixels, rng: SampleRng) -> Pixels:
        corruptor = Corruptor(self.corruptions)
        image = values.astype(np.float32) / np.float32(255)
        made = corruptor.apply([image], corruptor.draw(rng))[0]
        return (made * 255 + 0.5).astype(np.uint8)


def degraded(degradation: Degradation, pictures: Pixels, epoch: int, indices: Sequence[int]) -> Pixels:
    """Inputs of a batch: uint8 (N, C, H, W) of uint8 (N, C, H · scale, W · scale)."""
    made = [
        degradation(np.ascontiguousarray(picture.transpose(1, 2, 0)), epoch, index)
        for picture, index in zip(pictures, indices, strict=True)
    ]
    return np.ascontiguousarray(np.stack(made).transpose(0, 3, 1, 2))


def _reduced(picture: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
