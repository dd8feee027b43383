"""Pixels made smaller by area, by the native core."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imagemill import native


def shrink(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A picture by area, as `cv2.INTER_AREA` to within a level, in a third of its time where the sides do not divide.

    Args:
        pixels: uint8 (H, W, 3), C order, or a part of such rows.
        size: (height, width), at most the picture's own, and not both the same.

    Returns:
        uint8 (height, width, 3), C order.

    Raises:
        MemoryError: there is not enough.
        ConfigError: the core is not available.
    """
    if pixels.strides[1:] != (3, 1) or pixels.strides[0] % 3 or pixels.strides[0] < 0:
        pixels = np.ascontiguousarray(pixels)
    planes = np.empty((3, *size), np.uint8)
    start = int(pixels.__array_interface__["data"][0])
    numbers = (*pixels.shape[:2], pixels.strides[0] // 3, *size)
    if native.library().imagemill_shrink(start, *numbers, native.address(planes)) != native.Status.DONE:
        raise MemoryError(f"no memory to make {pixels.shape[1]}x{pixels.shape[0]} pixels smaller")
    return np.asarray(cv2.merge(list(planes)), np.uint8)
