"""A picture of any size through a network in overlapping tiles; where the network changes nothing, nothing changes.

Neighbours are blended by `a + w * (b - a)`, one after the other, and not by a weighted sum over sums of weights: where
both say the same, `b - a` is 0 and the result is exactly that, whatever the weights, so no rounding is seen at any
overlap, none included. Rows of tiles are finished from the top down: beside the picture and the result no more than
two rows of tiles are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError

Pixels: TypeAlias = npt.NDArray[np.uint8]
Values: TypeAlias = npt.NDArray[np.float32]


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: evenly, the last one ending with the picture.

    Args:
        side: pixels of the picture.
        tile: pixels of a tile; a shorter picture has one tile of its own length.
        overlap: pixels that neighbours share at least.

    Raises:
        ConfigError: no tile above 0, or an overlap that leaves nothing.
    """
    check_tile(tile, overlap)
    if side <= tile:
        return [0]
    count = -(-(side - overlap) // (tile - overlap))
    return [place * (side - tile) // (count - 1) for place in range(count)]


def check_tile(tile: int, overlap: int) -> None:
    """Refuses tiles that do not get on.

    Raises:
        ConfigError: no tile above 0, or an overlap that leaves nothing.
    """
    if tile < 1 or not 0 <= overlap < tile:
        raise ConfigError(f"a tile has 1 pixel at least and an overlap below it, got tile {tile}, overlap {overlap}")


def tiled(
    pixels: Pixels,
    network: Callable[[Pixels], Values],
    *,
    tile: int,
    overlap: int,
    batch: int,
    scale: int = 1,
) -> Iterator[Values]:
    """The network's output over a picture, from the top down in pieces that together are all of it.

    Args:
        pixels: uint8, (H, W, C).
        network: from uint8 (N, h, w, C) to float32 (N, C', h * scale, w * scale).
        tile: side of a tile in pixels of the input.
        overlap: pixels of the input that neighbours share at least.
        batch: tiles that the network gets at a time, at most.
        scale: how many times larger the output is.

    Yields:
        float32, (C', rows, W * scale); the sum of their rows is H * scale.
    """
    height, width = pixels.shape[:2]
    rows, columns = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    above: Values | None = None
    for place, top in enumerate(rows):
        below = _row_of_tiles(pixels[top : top + tile], columns, network, tile, batch, scale)
        if above is not None and above.shape[1]:
            shared = above.shape[1]
            below[:, :shared] = _blended(above, below[:, :shared], axis=1)
        if place == len(rows) - 1:
            yield below
            return
        finished = (rows[place + 1] - top) * scale
        yield below[:, :finished]
        above = below[:, finished:]


def _row_of_tiles(
    strip: Pixels, columns: list[int], network: Callable[[Pixels], Values], tile: int, batch: int, scale: int
) -> Values:
    """One row of tiles, blended from left to right; float32, (C', h * scale, W * scale)."""
    result: Values | None = None
    filled = 0
    for start in range(0, len(columns), batch):
        lefts = columns[start : start + batch]
        outputs = network(np.stack([strip[:, left : left + tile] for left in lefts]))
        for left, output in zip(lefts, outputs, strict=True):
            if result is None:
                result = np.empty((output.shape[0], output.shape[1], strip.shape[1] * scale), np.float32)
            begin, end = left * scale, left * scale + output.shape[2]
            shared = filled - begin
            if shared > 0:
                output[:, :, :shared] = _blended(result[:, :, begin:filled], output[:, :, :shared], axis=2)
            result[:, :, begin:end] = output
            filled = end
    assert result is not None  # a picture has at least one tile
    return result


def _blended(first: Values, second: Values, axis: int) -> Values:
    """From the first to the second along an axis, without either at its very end."""
    shared = first.shape[axis]
    weights = np.arange(1, shared + 1, dtype=np.float32) / np.float32(shared + 1)
    along = [1, 1, 1]
    along[axis] = shared
    return first + weights.reshape(along) * (second - first)
