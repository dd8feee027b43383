"""Pixels of a view: images resampled once by Pillow's widening filters, masks by nearest neighbour."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.codecs.image import FILTERS
from imagemill.core.sample import Array
from imagemill.transforms.view import View

_LARGEST_SUPPORT = 3
"""Source pixels that Lanczos, the widest filter, sees on either side at unit scale."""


def render_image(pixels: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.uint8]:
    """What a view shows of a picture.

    Args:
        pixels: uint8 (H, W, C) of the whole upright picture, sides as `view.picture`.

    Returns:
        uint8 (*view.size, C); shares memory with `pixels` where nothing is resampled.
    """
    if view.is_whole:
        return pixels
    if view.filter == "nearest":
        return turned(_nearest(pixels, view, view.fill), view)
    if not view.is_padded:
        return turned(_resampled(pixels, view, view.box, view.out), view)
    out = np.empty((*view.out, pixels.shape[2]), np.uint8)
    out[:] = view.fill
    top, bottom, first_row, last_row = _shown(view.top, view.height, view.out[0], view.limit[0], view.limit[2])
    left, right, first_column, last_column = _shown(view.left, view.width, view.out[1], view.limit[1], view.limit[3])
    if first_row < last_row and first_column < last_column:
        size = (last_row - first_row, last_column - first_column)
        part = _resampled(pixels, view, (top, left, bottom - top, right - left), size)
        out[first_row:last_row, first_column:last_column] = part
    return turned(out, view)


def render_mask(ids: Array, view: View) -> Array:
    """What a view shows of a mask: every value is one of its own, or `view.mask_fill`.

    The value taken is the one under the centre of the new pixel.

    Args:
        ids: any dtype, (H, W) or (H, W, C), sides as `view.picture`.

    Returns:
        The same dtype, view.size or (*view.size, C).
    """
    return ids if view.is_whole else turned(_nearest(ids, view, (view.mask_fill,)), view)


def turned(array: Array, view: View) -> Array:
    """Rows and columns swapped and reversed as the view says; no copy."""
    if view.transpose:
        array = array.swapaxes(0, 1)
    if view.flip_rows:
        array = array[::-1]
    return array[:, ::-1] if view.flip_columns else array


def _shown(start: float, length: float, out: int, low: int, high: int) -> tuple[float, float, int, int]:
    """Of one axis: the part of the box inside the limit, and the rows of the result that it takes."""
    first, last = max(start, low), min(start + length, high)
    scale = out / length
    return first, last, math.floor((first - start) * scale + 0.5), math.floor((last - start) * scale + 0.5)


def _resampled(
    pixels: npt.NDArray[np.uint8], view: View, box: tuple[float, float, float, float], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    top, left, height, width = box
    if size == (height, width) and top == int(top) and left == int(left):
        return pixels[int(top) : int(top) + size[0], int(left) : int(left) + size[1]]
    down, across = _margin(height / size[0]), _margin(width / size[1])
    first_row = max(view.limit[0], math.floor(top) - down)
    last_row = min(view.limit[2], math.ceil(top + height) + down)
    first_column = max(view.limit[1], math.floor(left) - across)
    last_column = min(view.limit[3], math.ceil(left + width) + across)
    part = pixels[first_row:last_row, first_column:last_column]
    image = Image.fromarray(part[:, :, 0] if part.shape[2] == 1 else part)
    inside = (
        left - first_column,
        top - first_row,
        min(left + width - first_column, part.shape[1]),
        min(top + height - first_row, part.shape[0]),
    )
    resized = image.resize(size[::-1], FILTERS[view.filter], box=inside)
    return np.asarray(resized).reshape(*size, -1)


def _margin(scale: float) -> int:
    """Source pixels outside the box that a filter may see."""
    return math.ceil(_LARGEST_SUPPORT * max(scale, 1.0)) + 1


def _nearest(array: Array, view: View, fill: tuple[int, ...]) -> Array:
    rows, rows_outside = _centres(view.top, view.height, view.out[0], view.limit[0], view.limit[2], array.shape[0])
    columns, columns_outside = _centres(
        view.left, view.width, view.out[1], view.limit[1], view.limit[3], array.shape[1]
    )
    result: Array = array[rows[:, None], columns]
    if rows_outside.any() or columns_outside.any():
        result[rows_outside] = fill if array.ndim == 3 else fill[0]
        result[:, columns_outside] = fill if array.ndim == 3 else fill[0]
    return result


def _centres(
    start: float, length: float, out: int, low: int, high: int, side: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Source pixel under the centre of each new one, and which of them lie outside [low, high).

    A division of integers is exact in floats where its result is an integer, and otherwise
    misses the nearest integer by more than floats err: whole boxes never slip by a pixel.
    """
    centres = np.floor(start + (2 * np.arange(out) + 1) * length / (2 * out)).astype(np.int64)
    outside = (centres < low) | (centres >= high)
    return centres.clip(0, side - 1), outside
