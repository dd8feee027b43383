"""Rectangles of images wiped out; masks stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError
from imagemill.transforms.base import PixelTransform
from imagemill.transforms.crops import Box, checked_fill, checked_probability, checked_range, random_box
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides


class RandomErasing(PixelTransform):
    """A rectangle of random area and aspect wiped out (Zhong et al., "Random erasing data augmentation", 2017).

    Args:
        p: probability.
        scale: bounds of the rectangle's share of the picture's area.
        ratio: bounds of its width / height.
        value: what is put there, 0 to 255, one value or one a channel, or "random": noise, uniform in 0 to 255.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: int | Sequence[int] | Literal["random"] = 0,
    ) -> None:
        self.p, self.scale = checked_probability(p), checked_range("scale", scale)
        low, high = checked_range("ratio", ratio)
        self.log_ratio = (math.log(low), math.log(high))
        self.value = None if value == "random" else checked_fill(value)

    def draw(self, sides: Sides, rng: SampleRng) -> tuple[Box, int] | None:
        """The rectangle, and the seed of its noise."""
        if rng.random() >= self.p:
            return None
        box = random_box(sides, self.scale, self.log_ratio, rng)
        return None if box is None else (box, rng.bits())

    def pixels(self, pixels: npt.NDArray[np.uint8], params: Any) -> npt.NDArray[np.uint8]:
        """The image with a rectangle wiped out."""
        (top, left, height, width), seed = params
        part = pixels[top : top + height, left : left + width]
        part[:] = SampleRng(seed).bytes(part.size).reshape(part.shape) if self.value is None else self.value
        return pixels


class Cutout(PixelTransform):
    """A square wiped out, centred anywhere in the picture and cut at its border (DeVries and Taylor, 2017).

    Args:
        size: side in pixels of the picture as it comes to this transform.
        value: what is put there, 0 to 255, one value or one a channel.
        p: probability.
    """

    def __init__(self, size: int, value: int | Sequence[int] = 0, p: float = 1.0) -> None:
        if size < 1:
            raise ConfigError(f"size of Cutout must be 1 pixel or more, got {size}")
        self.size, self.value, self.p = size, checked_fill(value), checked_probability(p)

    def draw(self, sides: Sides, rng: SampleRng) -> Box | None:
        """The square, cut at the border."""
        if rng.random() >= self.p:
            return None
        starts = [rng.integer(0, side) - self.size // 2 for side in sides]
        top, left = (max(start, 0) for start in starts)
        bottom, right = (min(start + self.size, side) for start, side in zip(starts, sides, strict=True))
        return top, left, bottom - top, right - left

    def pixels(self, pixels: npt.NDArray[np.uint8], params: Any) -> npt.NDArray[np.uint8]:
        """The image with a square wiped out."""
        top, left, height, width = params
        pixels[top : top + height, left : left + width] = self.value
        return pixels
