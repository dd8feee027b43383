"""Colour transforms of images; masks and everything else stay as they are.

Formulas are those of torchvision's `transforms.functional`: brightness, contrast and
saturation blend the image with black, with its own mean grey, with its own greys; hue
turns the colour circle of HSV.

What stands here in NumPy is the definition, to the bit. Where there is the native core it does the same
(`native/core/changes.cpp`): order and precision of every operation are part of it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill import native
from imagemill.errors import ConfigError
from imagemill.native.samples import change
from imagemill.transforms.base import PixelTransform
from imagemill.transforms.crops import checked_probability
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides

Pixels: TypeAlias = npt.NDArray[np.uint8]
Range: TypeAlias = tuple[float, float]

CHANGES = ("brightness", "contrast", "saturation", "hue")
"""What ColorJitter does, in the order of the core's numbers."""
_GREY = np.array([0.2989, 0.587, 0.114], np.float32)
"""Weights of R, G, B in a grey (ITU-R BT.601), to the digits that torchvision uses."""
_HUE_OFFSETS = (5, 3, 1)
"""Where red, green and blue stand on the circle of six colours, seen from their own ends."""


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
        if native.available() and params:
            pixels = np.require(pixels, np.uint8, ["C", "W", "A"])
            for name, amount in params:
                change(CHANGES.index(name), amount, pixels)
            return pixels
        for name, amount in params:
            pixels = IN_PYTHON[name](pixels, amount)
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
    means = pixels.mean(axis=(0, 1), dtype=np.float64).tolist()
    red, green, blue = _GREY.tolist()
    grey = means[0] * red + means[1] * green + means[2] * blue if len(means) == 3 else means[0]
    return _blended(pixels, grey, factor)


def _blended(pixels: Pixels, other: float, factor: float) -> Pixels:
    """factor * pixel + (1 - factor) * other, rounded and clipped."""
    levels = np.arange(256) * factor + (1 - factor) * other
    return cv2.LUT(pixels, _to_uint8(levels)).reshape(pixels.shape)  # type: ignore[return-value]


def _saturated(pixels: Pixels, factor: float) -> Pixels:
    if pixels.shape[2] == 1:
        return pixels
    floats = pixels.astype(np.float32)
    grey = floats[:, :, 0] * _GREY[0] + floats[:, :, 1] * _GREY[1] + floats[:, :, 2] * _GREY[2]
    return _to_uint8(floats * np.float32(factor) + (grey * np.float32(1 - factor))[:, :, None])


def _turned_hue(pixels: Pixels, part: float) -> Pixels:
    if pixels.shape[2] == 1:
        return pixels
    floats = pixels.astype(np.float32)
    red, green, blue = (floats[:, :, channel] for channel in range(3))
    largest, smallest = floats.max(axis=2), floats.min(axis=2)
    chroma = largest - smallest
    divisor = np.where(chroma > 0, chroma, np.float32(1))
    hue = np.where(largest == green, (blue - red) / divisor + np.float32(2), (red - green) / divisor + np.float32(4))
    hue = np.where(largest == red, (green - blue) / divisor, hue) + np.float32(6 * part)
    hue = _on_circle(np.where(hue < 0, hue + np.float32(6), hue))
    for channel, offset in enumerate(_HUE_OFFSETS):
        place = _on_circle(hue + np.float32(offset))
        share = np.minimum(np.minimum(place, np.float32(4) - place), np.float32(1))
        floats[:, :, channel] = largest - chroma * np.maximum(share, np.float32(0))
    return _to_uint8(floats)


def _on_circle(place: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """From [0, 12) to [0, 6)."""
    return np.where(place >= 6, place - np.float32(6), place)


def _to_uint8(values: npt.NDArray[Any]) -> Pixels:
    levels: Pixels = (values + values.dtype.type(0.5)).clip(0, 255).astype(np.uint8)
    return levels


IN_PYTHON = {"brightness": _bright, "contrast": _contrasting, "saturation": _saturated, "hue": _turned_hue}
"""Change → how it is done to pixels (H, W, C)."""
