"""One size and one mode for images, as a transform for any torch or torchvision dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from imagemill.codecs.header import Header
from imagemill.codecs.policy import apply_policy
from imagemill.errors import ConfigError

_SHOWN_AS = {"1": "L", "I": "L", "F": "L", "HSV": "RGB", "LAB": "RGB"}
"""Modes that are resized in another one: two-level and deep pixels as grey, and colours whose numbers cannot
be averaged (a hue is an angle, a* and b* are signed) as RGB."""

MODES = ("1", "L", "I", "F", "RGB", "YCbCr", "LAB", "HSV", "RGBA", "CMYK")


@dataclass(frozen=True)
class ResizeAndConvert:
    """Converts a Pillow image to a mode and resizes it to a size, aspect not kept, by bicubic interpolation.

    Every result is uint8 and means the same whatever came in: palettes are expanded, 16-bit images
    scaled to 0–255 and not cut or wrapped, transparency laid over white (unless the mode is RGBA).
    A colour profile or an orientation is not applied: an image that a dataset hands on is taken as it is.

    ==============  ===============================================================
    mode            channels
    ==============  ===============================================================
    L, I, F         grey; 8 bits are all that uint8 holds, so the three are the same
    1               grey of 0 and 255, dithered
    RGB, CMYK       as named
    RGBA            colour and opacity
    YCbCr           luma and chroma of JPEG
    HSV             hue (255 is a full turn), saturation, value
    LAB             L* scaled to 0–255, a* and b* each plus 128
    ==============  ===============================================================

    P is not among them: indices are worth nothing without their palette, which an array does not hold.

    Args:
        size: (height, width), or one number for a square.
        mode: one of the modes above.

    Raises:
        ConfigError: a size that is not above 0, or another mode.

    Example::

        dataset = torchvision.datasets.MNIST(root, transform=ResizeAndConvert((32, 48), "L"))
        imagemill.pack(dataset, "mnist", pixels="raw", size=(32, 48), mode="L")
    """

    size: tuple[int, int]
    mode: str = "RGB"

    def __init__(self, size: int | Sequence[int], mode: str = "RGB") -> None:
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ConfigError(f"size is (height, width), or one number, above 0: got {size!r}")
        if mode == "P":
            raise ConfigError("mode 'P' stores palette indices without their palette: use RGB, or L")
        if mode not in MODES:
            raise ConfigError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
        object.__setattr__(self, "size", sides)
        object.__setattr__(self, "mode", mode)

    def __call__(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """The image's pixels: uint8, shape (height, width, channels), writable.

        Raises:
            ConfigError: what came is no Pillow image.
        """
        if not isinstance(image, Image.Image):
            raise ConfigError(
                f"ResizeAndConvert takes a Pillow image, got {type(image).__name__}: put it first among the transforms"
            )
        height, width = self.size
        shown = as_shown(image, _SHOWN_AS.get(self.mode, self.mode))
        resized = shown.resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.array(_in_mode(resized, self.mode), dtype=np.uint8)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


def as_shown(image: Image.Image, mode: str) -> Image.Image:
    """An image of any mode in one of 8 bits, by the pixel policy but for profile and orientation."""
    bits = 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8
    header = Header("", image.width, image.height, image.mode, bits=bits)
    image.load()
    return apply_policy(image.copy(), header, mode)


def _in_mode(image: Image.Image, mode: str) -> Image.Image | npt.NDArray[np.uint8]:
    if mode == "1":
        return image.convert("1").convert("L")
    if mode == "HSV":
        return image.convert("HSV")
    if mode != "LAB":
        return image
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    # Pillow keeps a* and b* as signed bytes; with the upper bit turned they are unsigned, 128 being neutral.
    pixels = np.array(ImageCms.applyTransform(image, transform), dtype=np.uint8)
    pixels[:, :, 1:] ^= 128
    return pixels
