"""An image as the colour pipeline stores it: lightness apart from colour, in one size."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.transforms.lab import CHROMA_SCALE, rgb_to_lab, scale_lab
from imagemill.transforms.lab_options import LEGACY_CONTAINED, LEGACY_SIDE, LabOptions


class LabFields(NamedTuple):
    """L (H, W, 1), ab (H, W, 2), and, if asked for, where the image is: uint8 (H, W)."""

    lightness: npt.NDArray[Any]
    chroma: npt.NDArray[Any]
    padding: npt.NDArray[np.uint8] | None


def lab_fields(pixels: npt.NDArray[np.uint8], options: LabOptions) -> LabFields:
    """An upright sRGB image, contained on white, as LAB.

    Args:
        pixels: uint8 (h, w, 3).
    """
    if options.legacy:
        contained, box = contain(pixels, (LEGACY_CONTAINED, LEGACY_CONTAINED))
        small = cv2.resize(contained.astype(np.float32) / 255, options.size[::-1], interpolation=cv2.INTER_LINEAR)
        lab = rgb_to_lab(np.asarray(small, np.float32).clip(0, 1))
        share = LEGACY_SIDE / LEGACY_CONTAINED
        top, left, bottom, right = (round(value * share) for value in box)
    else:
        contained, (top, left, bottom, right) = contain(pixels, options.size)
        lab = rgb_to_lab(contained)
    padding = None
    if options.padding:
        padding = np.zeros(options.size, np.uint8)
        padding[top:bottom, left:right] = 1
    if options.dtype == "uint8":
        stored = (lab * (2.55, 1, 1) + (0.5, 128.5, 128.5)).clip(0, 255).astype(np.uint8)
    else:
        stored = (scale_lab(lab) if options.scaled else lab).astype(options.dtype)
    return LabFields(np.ascontiguousarray(stored[..., :1]), np.ascontiguousarray(stored[..., 1:]), padding)


def contain(
    pixels: npt.NDArray[np.uint8], size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """An image centred on white, as large as fits; and (top, left, bottom, right) of where it is.

    Smaller ones are enlarged by Pillow's bicubic filter, larger ones made smaller by its Lanczos filter; an odd rest
    of white goes to the top and left.
    """
    height, width = size
    image = Image.fromarray(pixels)
    if image.width < width and image.height < height:
        zoom = min(width / image.width, height / image.height)
        sides = max(1, int(image.width * zoom)), max(1, int(image.height * zoom))
        image = image.resize(sides, Image.Resampling.BICUBIC)
    image.thumbnail((width, height), Image.Resampling.LANCZOS)
    top, left = -(-(height - image.height) // 2), -(-(width - image.width) // 2)
    canvas = np.full((height, width, 3), 255, np.uint8)
    bottom, right = top + image.height, left + image.width
    canvas[top:bottom, left:right] = np.asarray(image)
    return canvas, (top, left, bottom, right)


def plain_lab(lightness: npt.NDArray[Any], chroma: npt.NDArray[Any], *, scaled: bool) -> npt.NDArray[np.float32]:
    """LAB in its own units again, from what `lab_fields` stored: float32 (H, W, 3)."""
    if lightness.dtype == np.uint8:
        return np.dstack([lightness / np.float32(2.55), chroma.astype(np.float32) - 128]).astype(np.float32)
    if not scaled:
        return np.dstack([lightness, chroma]).astype(np.float32)
    light = (lightness.astype(np.float32) + 1) * 50
    return np.dstack([light, chroma.astype(np.float32) * np.float32(CHROMA_SCALE)])
