"""What the pixels of one picture say of it: light, contrast, sharpness, colour, a thumbnail, a digest.

Everything but colour and digest is measured on luma (ITU-R BT.601, as Pillow's mode L) of the picture halved,
by the mean of 2x2 pixels, while its shorter side is at least 256: what a network sees, at a quarter of the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from imagemill.core.sample import Buffer
from imagemill.native.look import SIDE, look_at_jpeg

MEASURES_VERSION = 1
"""Changes whenever `measure` gives other numbers; results of other versions are not reused."""

THUMBNAIL_SIDE = SIDE
HALVED_FROM = 256
"""Shorter side from which a picture is measured at half its size."""

_COLOUR_GRID = 64
_NO_COLOUR = 12
"""A sparse look at colour is believed from this spread on; below, every pixel is looked at."""
_WHITE = 255.0
_SUMMED_IN_32_BITS = (2**31 - 1) // 255
"""Pixels whose sum fits, which takes half the time."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What `measure` found.

    Args:
        pixels: xxh3-128 of height, width and pixels; a picture without any colour counts as one channel.
        brightness: mean luma, 0 (black) to 1 (white).
        luma05, luma95: percentiles of luma, 0 to 1.
        contrast: standard deviation of luma, 0 to 0.5.
        entropy: bits of the histogram of luma, 0 to 8.
        sharpness: 99th percentile of the absolute Laplacian (4 neighbours) of luma over the spread between the
            1st and 99th percentile of luma (at least 16 levels): about 0 of a smooth surface, 0.1 of a blurred
            photograph, from 0.3 of a sharp one, up to 4 of noise.
        chroma: largest spread between the channels, 0 (no colour) to 1; from `_NO_COLOUR` levels on of a grid of
            at most 64 x 64 pixels, below of all of them.
        thumbnail: uint8, shape (32, 32): mean luma of each of 32 x 32 equal parts.
    """

    pixels: bytes
    brightness: float
    luma05: float
    luma95: float
    contrast: float
    entropy: float
    sharpness: float
    chroma: float
    thumbnail: npt.NDArray[np.uint8]


def measure(pixels: npt.NDArray[np.uint8]) -> Measures:
    """Measures one picture.

    Args:
        pixels: upright: uint8, shape (H, W, 3), or (H, W, 1) for grey, C order.
    """
    import cv2

    spread = _spread(pixels)
    if pixels.shape[2] == 1 or spread == 0:
        luma = np.ascontiguousarray(pixels[:, :, 0])
        digest = pixel_digest(luma)
    else:
        luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
        digest = pixel_digest(pixels)
    sides = luma.shape
    luma = _halved(luma)
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    edges = cv2.convertScaleAbs(cv2.Laplacian(luma, cv2.CV_16S))
    edge_counts = cv2.calcHist([edges], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    return _measures(digest, counts, edge_counts, spread, thumbnail(luma, sides))


def measure_jpeg(data: Buffer, sides: tuple[int, int]) -> Measures | None:
    """What `measure` says of an upright JPEG of one or three channels, by the native core in one go.

    Args:
        data: the whole file.
        sides: (height, width) of its header.

    Returns:
        None where there is no core, or anything is to be remarked of the file: it is then proven by nothing.
    """
    look = look_at_jpeg(data, sides, halved_from=HALVED_FROM, grid=_COLOUR_GRID, no_colour=_NO_COLOUR)
    if look is None:
        return None
    digest = pixel_digest(look.pixels if look.spread else look.pixels[:, :, 0])
    counts, edge_counts = look.levels.astype(np.float64), look.edges.astype(np.float64)
    return _measures(digest, counts, edge_counts, look.spread, look.thumbnail)


def _measures(
    digest: bytes,
    counts: npt.NDArray[np.float64],
    edge_counts: npt.NDArray[np.float64],
    spread: int,
    thumbnail: npt.NDArray[np.uint8],
) -> Measures:
    """From histograms of luma and of its edges, both of shape (256,)."""
    total = float(counts.sum())
    mean = float(counts @ _LEVELS) / total
    variance = float(counts @ (_LEVELS - mean) ** 2) / total
    low, shadows, highlights, high = np.cumsum(counts).searchsorted(total * _SHARES).tolist()
    edge = int(np.cumsum(edge_counts).searchsorted(0.99 * total))
    present = counts[counts > 0]
    return Measures(
        pixels=digest,
        brightness=mean / _WHITE,
        luma05=shadows / _WHITE,
        luma95=highlights / _WHITE,
        contrast=math.sqrt(variance) / _WHITE,
        entropy=max(math.log2(total) - float(present @ np.log2(present)) / total, 0.0),
        sharpness=edge / max(high - low, 16),
        chroma=spread / _WHITE,
        thumbnail=thumbnail,
    )


_LEVELS = np.arange(256, dtype=np.float64)
_SHARES = np.array([0.01, 0.05, 0.95, 0.99])


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """xxh3-128 of sides and pixels, big-endian."""
    state = xxhash.xxh3_128(np.array(pixels.shape[:2], "<u8").tobytes())
    state.update(np.ascontiguousarray(pixels).data)
    return state.digest()


def _spread(pixels: npt.NDArray[np.uint8]) -> int:
    """Largest difference between the channels of a pixel, in levels."""
    import cv2

    if pixels.shape[2] == 1:
        return 0
    height, width = pixels.shape[:2]
    grid = min(width, _COLOUR_GRID), min(height, _COLOUR_GRID)
    sparse = _channel_spread(cv2.resize(pixels, grid, interpolation=cv2.INTER_NEAREST))
    return sparse if sparse >= _NO_COLOUR else _channel_spread(pixels)


def _channel_spread(pixels: npt.NDArray[Any]) -> int:
    import cv2

    red, green, blue = cv2.split(pixels)
    return int(max(cv2.norm(one, two, cv2.NORM_INF) for one, two in ((red, green), (green, blue), (red, blue))))


def _halved(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Luma halved while its shorter side is long; an odd last row or column is left out."""
    import cv2

    while min(luma.shape) >= HALVED_FROM:
        height, width = luma.shape[0] // 2, luma.shape[1] // 2
        luma = cv2.resize(luma[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return luma


def thumbnail(luma: npt.NDArray[np.uint8], sides: tuple[int, ...] | None = None) -> npt.NDArray[np.uint8]:
    """Mean luma of 32 x 32 equal parts, by sums over rectangles, so that turned pictures have turned thumbnails.

    Args:
        luma: uint8, shape (h, w).
        sides: (height, width) of the picture that `luma` was halved from; what halving cut off is not shifted over
            the rest. None where it is the picture itself.

    Returns:
        uint8, shape (32, 32).
    """
    import cv2

    height, width = luma.shape
    full_height, full_width = sides or luma.shape
    sums = cv2.integral(luma, sdepth=cv2.CV_32S if luma.size < _SUMMED_IN_32_BITS else cv2.CV_64F)
    above, below, heights = _borders(full_height, height)
    left, right, widths = _borders(full_width, width)
    rows = sums.take(above.row, axis=0) * above.share + sums.take(below.row, axis=0) * below.share
    parts = rows.take(left.row, axis=1) * left.share.T + rows.take(right.row, axis=1) * right.share.T
    strips = parts[1:] - parts[:-1]
    total = strips[:, 1:] - strips[:, :-1]
    # Exact halves are rounded up on every machine, whatever the order in which sums are rounded.
    return np.floor(total / (heights * widths.T) + 0.5 + 1e-6).astype(np.uint8)


class _Border(NamedTuple):
    """Whole rows (or columns) next to 33 fractional borders, and how much of each counts; shapes (33,), (33, 1)."""

    row: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]


@lru_cache(maxsize=1024)
def _borders(full: int, side: int) -> tuple[_Border, _Border, npt.NDArray[np.float64]]:
    """Where 32 equal parts of a side begin and end, in pixels of the halved side, and how long each is."""
    halvings = 2 ** max(0, round(math.log2(full / side)))
    borders = np.minimum(np.arange(THUMBNAIL_SIDE + 1) * (full / halvings / THUMBNAIL_SIDE), side)[:, None]
    whole = np.minimum(borders.astype(np.int64), side - 1)
    share = borders - whole
    return _Border(whole[:, 0], 1 - share), _Border(whole[:, 0] + 1, share), np.diff(borders, axis=0)
