"""Colour transforms of images; masks and everything else stay as they are.

Formulas are those of torchvision's `transforms.functional`: brightness, contrast and
saturation blend the image with black, with its own mean grey, with its own greys; hue
turns the colour circle of HSV.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.errors import ConfigError
from imagemill.transforms.base import PixelTransform
from imagemill.transforms.crops import checked_probability
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides

Pixels: TypeAlias = npt.NDArray[np.uint8]
Range: TypeAlias = tuple[float, float]

_GREY = np.array([0.2989, 0.587, 0.114], np.float32)
"""Weights of R, G, B in a grey (ITU-R BT.601), to the digits that torchvision uses."""


class ColorJitter(PixelTransform):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    Args:
        brightness, contrast, saturation: b draws a factor from [max(0, 1 - b), 1 + b]; a pair is the interval itself.
        hue: h draws a part of the colour circle from [-h, h], h up to 0.5; a pair is the interval itself.

    Saturation and hue leave grey images as they are.
    """

    def __init__(
        self,
        brightness: float | Range = 0.0,
        contrast: float | Range = 0.0,
        saturation: float | Range = 0.0,
        hue: float | Range = 0.0,
    ) -> None:
        self.ranges = {
            "brightness": _factors("brightness", brightness),
            "contrast": _factors("contrast", contrast),
            "saturation": _factors("saturation", saturation),
            "hue": _hues(hue),
        }

    def draw(self, sides: Sides, rng: SampleRng) -> list[tuple[str, float]]:
        """(what, how much), in the order to apply."""
        names = tuple(self.ranges)
        order = [names[place] for place in rng.permutation(len(names))]
        return [(name, rng.uniform(*bounds)) for name in order if (bounds := self.ranges[name]) is not None]

    def pixels(self, pixels: Pixels, params: Any) -> Pixels:
        """The image with its colours changed."""
        for name, amount in params:
            pixels = _CHANGES[name](pixels, amount)
        return pixels


class Grayscale(PixelTransform):
    """Images in grey, by Pillow's weights (0.299, 0.587, 0.114).

    Args:
        num_output_channels: 1, or 3 equal ones.
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ConfigError(f"num_output_channels is 1 or 3, got {num_output_channels}")
        self.channels = num_output_channels

    def draw(self, sides: Sides, rng: SampleRng) -> bool:
        """Always."""
        return True

    def pixels(self, pixels: Pixels, params: Any) -> Pixels:
        """The image in grey."""
        grey = pixels if pixels.shape[2] == 1 else np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
        return np.repeat(grey, self.channels, axis=2) if self.channels > 1 else grey


class RandomGrayscale(PixelTransform):
    """Images in grey with probability `p`; the number of channels stays."""

    def __init__(self, p: float = 0.1) -> None:
        self.p = checked_probability(p)

    def draw(self, sides: Sides, rng: SampleRng) -> bool | None:
        """Whether to."""
        return True if rng.random() < self.p else None

    def pixels(self, pixels: Pixels, params: Any) -> Pixels:
        """The image in grey, in as many channels as before."""
        return Grayscale(pixels.shape[2]).pixels(pixels, params)


def _factors(name: str, value: float | Range) -> Range | None:
    low, high = (max(0.0, 1 - value), 1 + value) if isinstance(value, int | float) else value
    if not 0 <= low <= high or (isinstance(value, int | float) and value < 0):
        raise ConfigError(f"{name} is a number of 0 or more, or (low, high) with 0 <= low <= high, got {value!r}")
    return None if low == high == 1 else (float(low), float(high))


def _hues(value: float | Range) -> Range | None:
    low, high = (-value, value) if isinstance(value, int | float) else value
    if not -0.5 <= low <= high <= 0.5:
        raise ConfigError(f"hue is a number from 0 to 0.5, or (low, high) within -0.5 to 0.5, got {value!r}")
    return None if low == high == 0 else (float(low), float(high))


def _bright(pixels: Pixels, factor: float) -> Pixels:
    return _blended(pixels, 0.0, factor)


def _contrasting(pixels: Pixels, factor: float) -> Pixels:
    means = pixels.mean(axis=(0, 1), dtype=np.float64)
    return _blended(pixels, float(means @ _GREY) if len(means) == 3 else float(means[0]), factor)


def _blended(pixels: Pixels, other: float, factor: float) -> Pixels:
    """factor * pixel + (1 - factor) * other, rounded and clipped."""
    levels = np.arange(256) * factor + (1 - factor) * other
    return cv2.LUT(pixels, _to_uint8(levels)).reshape(pixels.shape)  # type: ignore[return-value]


def _saturated(pixels: Pixels, factor: float) -> Pixels:
    if pixels.shape[2] == 1:
        return pixels
    matrix = factor * np.eye(3, dtype=np.float32) + (1 - factor) * np.tile(_GREY, (3, 1))
    return _to_uint8(cv2.transform(pixels.astype(np.float32), matrix))


def _turned_hue(pixels: Pixels, part: float) -> Pixels:
    if pixels.shape[2] == 1:
        return pixels
    hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0] + 360 * part) % 360
    return _to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)


def _to_uint8(values: npt.NDArray[Any]) -> Pixels:
    return (values + 0.5).clip(0, 255).astype(np.uint8)


_CHANGES = {"brightness": _bright, "contrast": _contrasting, "saturation": _saturated, "hue": _turned_hue}
