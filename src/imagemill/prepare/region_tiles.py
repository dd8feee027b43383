"""The tiles of one region of an image, as pixels and as JPEGs: what overlapping tiles share is done once."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from imagemill import native
from imagemill.codecs.image import encode_jpeg
from imagemill.native.jpeg_parts import JpegParts
from imagemill.transforms.tiling import Box, Pixels, Region, Tile, TileOptions, cut_reference, cut_tile, shrink_region


class _Part(NamedTuple):
    """A tile as a part of the region made smaller by a whole factor; `number` counts those of the same factor."""

    factor: int
    number: int
    box: Box


class RegionTiles:
    """The tiles of a region, made when they are asked for; JPEGs best in the region's order.

    Args:
        pixels: the region, uint8 (H, W, C), not to be changed meanwhile.
        region: where the tiles lie.
        options: how they are cut.
        quality: of the JPEGs, 1 to 100.
    """

    def __init__(self, pixels: Pixels, region: Region, options: TileOptions, quality: int) -> None:
        self._pixels = pixels
        self._tiles = region.tiles
        self._options = options
        self._quality = quality
        self._parts = _parts_of(region.tiles)
        self._sheets = {1: pixels}
        self._jpegs: dict[int, JpegParts] = {}

    def pixels(self, index: int) -> Pixels:
        """A tile: uint8 (side, side, C), not to be changed."""
        part = self._parts[index]
        if part is None:
            return cut_tile(self._pixels, self._tiles[index])
        top, left, height, width = part.box
        return self._sheet(part.factor)[top : top + height, left : left + width]

    def jpeg(self, index: int) -> bytes:
        """A tile as a JPEG: the file that `encode_jpeg` makes of its pixels."""
        part = self._parts[index]
        if part is None or not native.available():
            return encode_jpeg(self.pixels(index), self._quality)
        if part.factor not in self._jpegs:
            boxes = [other.box for other in self._parts if other is not None and other.factor == part.factor]
            self._jpegs[part.factor] = JpegParts(self._sheet(part.factor), boxes, self._quality)
        return self._jpegs[part.factor][part.number]

    def reference(self) -> Pixels:
        """The whole region at the reference's side."""
        return cut_reference(self._pixels, self._options)

    def _sheet(self, factor: int) -> Pixels:
        if factor not in self._sheets:
            self._sheets[factor] = shrink_region(self._pixels, factor)
        return self._sheets[factor]


@lru_cache(maxsize=16)
def _parts_of(tiles: tuple[Tile, ...]) -> tuple[_Part | None, ...]:
    numbers: Counter[int] = Counter()
    parts: list[_Part | None] = []
    for tile in tiles:
        factor, rest = divmod(tile.crop, tile.side)
        if rest or not factor or tile.top % factor or tile.left % factor:
            parts.append(None)
            continue
        box = tile.top // factor, tile.left // factor, tile.side, tile.side
        parts.append(_Part(factor, numbers[factor], box))
        numbers[factor] += 1
    return tuple(parts)
