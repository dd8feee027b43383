"""Where the tiles of an image lie, and how they are cut: pure geometry and pixels.

An image is brought to its *working size* (halved while it is too large) and split into halves where it is a stereo
pair. Of each the *region* that is cut is the centred square, or all of it. The region, made small, is the *reference*.
Tiles are crops of the region; their centre and size are told in pixels of the reference, as the super-resolution
family's extractor does, and their box in pixels of the source, so that each can be found again exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.errors import ConfigError, SampleError
from imagemill.native.area import shrink

Pixels: TypeAlias = npt.NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, height, width)."""


@dataclass(frozen=True)
class TileScale:
    """One size of tiles.

    Args:
        crop: side of the crop, in pixels of the working size.
        step: from one crop to the next, in the same pixels.
        factor: what the crop's side is multiplied by; None makes every tile as large as the first scale's crops.
        exclude: images whose key contains one of these get no tiles of this scale.
    """

    crop: int
    step: int
    factor: float | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))
        is_off = self.factor is not None and not 0 < self.factor < math.inf
        if self.crop < 1 or self.step < 1 or is_off:
            given = f"crop {self.crop}, step {self.step}, factor {self.factor}"
            raise ConfigError(f"crop and step are 1 or more, a factor is above 0 and finite; got {given}")


@dataclass(frozen=True)
class TileOptions:
    """How images are cut into tiles.

    Args:
        scales: the sizes, with their factors settled; the first decides the reference's side.
        threshold: a last row (and column) of crops at the very edge is added where more than this is left over.
        reference_side: side of the reference image in pixels; None is crop · factor of the first scale.
        halve_above: images whose longer side exceeds this are halved until it does not.
        min_side: images whose shorter side is below this, at working size, are rejects.
        vertical_split: each image is a stereo pair, left and right half, tiled alike.
        whole: all of an image is cut, not just its centred square.
        resize_only: one tile a scale: the whole square at crop · factor.
        min_deviation: tiles whose grey levels have a smaller standard deviation (of 255) are left out.
        min_edges: tiles whose grey levels differ from their neighbours' by less, in the mean (of 255), are left out.

    Raises:
        ConfigError: values that cannot work.
    """

    scales: tuple[TileScale, ...] = (TileScale(256, 128, 1.0), TileScale(512, 256, 0.5))
    threshold: int = 128
    reference_side: int | None = None
    halve_above: int = 5500
    min_side: int = 512
    vertical_split: bool = False
    whole: bool = False
    resize_only: bool = False
    min_deviation: float = 0.0
    min_edges: float = 0.0

    def __post_init__(self) -> None:
        if not self.scales:
            raise ConfigError("no scales: give at least one crop, as --crop 256 --step 128")
        first = self.scales[0].crop
        settled = (scale if scale.factor else replace(scale, factor=first / scale.crop) for scale in self.scales)
        object.__setattr__(self, "scales", tuple(settled))
        if self.threshold < 0 or self.min_side < 1 or self.halve_above < 2 or (self.reference_side or 1) < 1:
            raise ConfigError("threshold is 0 or more; min_side, reference_side 1 or more; halve_above 2 or more")
        if self.whole and self.resize_only:
            raise ConfigError(
                "whole cuts all of an image, resize-only one tile of its centred square: give one of them"
            )
        for scale in self.scales:
            if self.tile_side(scale) < 1:
                raise ConfigError(f"a crop of {scale.crop} times {scale.factor} leaves no pixel")

    def tile_side(self, scale: TileScale) -> int:
        """Side of a scale's tiles in pixels."""
        return int(scale.crop * (scale.factor or 1))

    @property
    def reference_pixels(self) -> int:
        """Side of the reference image in pixels."""
        return self.reference_side or self.tile_side(self.scales[0])


class Tile(NamedTuple):
    """One tile of a region.

    Args:
        scale: index into `TileOptions.scales`.
        top, left, crop: where it lies in the region, in pixels of the working size.
        side: of the tile itself, in pixels.
        center, size: (row, column) and side in pixels of the reference.
    """

    scale: int
    top: int
    left: int
    crop: int
    side: int
    center: tuple[int, int]
    size: int


class Region(NamedTuple):
    """The part of an image that is cut.

    Args:
        name: "", or "left" and "right" of a stereo pair.
        halvings: how often the source was halved.
        top, left, height, width: in pixels of the working size.
        tiles: in order: scale by scale, row by row.
    """

    name: str
    halvings: int
    top: int
    left: int
    height: int
    width: int
    tiles: tuple[Tile, ...]

    @property
    def source_rectangle(self) -> Box:
        """Where the region lies in the source, upright."""
        return self._in_source(0, 0, self.height, self.width)

    def source_box(self, tile: Tile) -> Box:
        """Where a tile lies in the source, upright: exact, because halving halves even sides only."""
        return self._in_source(tile.top, tile.left, tile.crop, tile.crop)

    def _in_source(self, top: int, left: int, height: int, width: int) -> Box:
        zoom = 2**self.halvings
        return (self.top + top) * zoom, (self.left + left) * zoom, height * zoom, width * zoom


def positions(length: int, crop: int, step: int, threshold: int) -> list[int]:
    """Starts of crops along a side: every step, and one at the very edge where more than `threshold` is left over."""
    if crop > length:
        return []
    starts = list(range(0, length - crop + 1, step))
    if length - (starts[-1] + crop) > threshold:
        starts.append(length - crop)
    return starts


def working_size(height: int, width: int, halve_above: int) -> tuple[int, int, int]:
    """(height, width, halvings) after halving; an odd last row or column is left out before each."""
    halvings = 0
    while max(height, width) > halve_above:
        height, width, halvings = height // 2, width // 2, halvings + 1
    return height, width, halvings


def plan_regions(height: int, width: int, options: TileOptions, key: str = "") -> tuple[Region, ...]:
    """Every tile of an image of these sides, before any is looked at.

    Args:
        height, width: of the upright source.
        key: of the image, for the exclusions of scales.

    Raises:
        SampleError: "too-small", by `min_side`.
    """
    high, wide, halvings = working_size(height, width, options.halve_above)
    part = wide // 2 if options.vertical_split else wide
    if min(high, part) < options.min_side:
        what = "half" if options.vertical_split else "image"
        raise SampleError("too-small", f"the {what} is {part}x{high}, the shorter side must be {options.min_side}")
    sides = (high, part) if options.whole else (min(high, part),) * 2
    excluded = (index for index, scale in enumerate(options.scales) if any(part in key for part in scale.exclude))
    tiles = _tiles(*sides, options, tuple(excluded))
    top, left = (high - sides[0]) // 2, (part - sides[1]) // 2
    if not options.vertical_split:
        return (Region("", halvings, top, left, *sides, tiles),)
    # The same window of both halves, so that what lies at the same place in both corresponds.
    starts = {"left": 0, "right": wide - part}
    return tuple(Region(name, halvings, top, start + left, *sides, tiles) for name, start in starts.items())


@lru_cache(maxsize=16)
def _tiles(height: int, width: int, options: TileOptions, excluded: tuple[int, ...]) -> tuple[Tile, ...]:
    """Those of a region of these sides, by all scales but the excluded; of images of one size they are the same."""
    found = []
    zoom = max(height, width) / options.reference_pixels
    shown_top, shown_left, _, _ = reference_box(height, width, options)
    for index, scale in enumerate(options.scales):
        if index in excluded:
            continue
        crop = height if options.resize_only else scale.crop
        for top in positions(height, crop, scale.step, options.threshold):
            for left in positions(width, crop, scale.step, options.threshold):
                center = shown_top + int((top + crop // 2) // zoom), shown_left + int((left + crop // 2) // zoom)
                found.append(Tile(index, top, left, crop, options.tile_side(scale), center, max(1, int(crop // zoom))))
    return tuple(found)


def box_around(regions: tuple[Region, ...]) -> Box:
    """What regions of one image take of the source, upright."""
    zoom = 2 ** regions[0].halvings
    top, left = (min(corner) * zoom for corner in zip(*((region.top, region.left) for region in regions), strict=True))
    bottom = max(region.top + region.height for region in regions) * zoom
    right = max(region.left + region.width for region in regions) * zoom
    return top, left, bottom - top, right - left


def cut_region(pixels: Pixels, region: Region, corner: tuple[int, int] = (0, 0)) -> Pixels:
    """The region of a decoded source at working size.

    Args:
        pixels: uint8 (H, W, C), upright: the source, or a part of it that holds the region.
        corner: (top, left) of that part in the source.

    Returns:
        uint8 (height, width, C).
    """
    top, left, height, width = region.source_rectangle
    top, left = top - corner[0], left - corner[1]
    part = pixels[top : top + height, left : left + width]
    for _ in range(region.halvings):
        part = _area(part, part.shape[0] // 2, part.shape[1] // 2)
    return part


def cut_tile(region: Pixels, tile: Tile) -> Pixels:
    """A tile of the region that `cut_region` gives: uint8 (side, side, C), resized by area."""
    return _area(region[tile.top : tile.top + tile.crop, tile.left : tile.left + tile.crop], tile.side, tile.side)


def shrink_region(region: Pixels, factor: int) -> Pixels:
    """The region made smaller by a whole factor, of which tiles at multiples of it are parts, pixel by pixel."""
    height, width = region.shape[0] // factor, region.shape[1] // factor
    return _area(region[: height * factor, : width * factor], height, width)


def cut_reference(region: Pixels, options: TileOptions) -> Pixels:
    """The whole region, made small, with black around what is not square.

    Args:
        region: uint8 (H, W, C), as `cut_region` gives it.

    Returns:
        uint8 (side, side, C) of the reference's side.
    """
    top, left, height, width = reference_box(region.shape[0], region.shape[1], options)
    small = _area(region, height, width)
    if height == width:
        return small
    reference = np.zeros((options.reference_pixels, options.reference_pixels, region.shape[2]), np.uint8)
    reference[top : top + height, left : left + width] = small
    return reference


def reference_box(height: int, width: int, options: TileOptions) -> Box:
    """Where in its reference a region of these sides is shown: in the middle, its longer side the reference's.

    Returns:
        (top, left, height, width) in pixels of the reference.
    """
    side = options.reference_pixels
    high, wide = (max(1, side * length // max(height, width)) for length in (height, width))
    return (side - high) // 2, (side - wide) // 2, high, wide


def _area(pixels: Pixels, height: int, width: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    # The core takes pictures that become smaller; whole multiples are as quick by OpenCV.
    is_smaller = pixels.shape[0] > height and pixels.shape[1] > width
    is_multiple = is_smaller and pixels.shape[0] % height == 0 and pixels.shape[1] % width == 0
    if native.available() and pixels.shape[2] == 3 and is_smaller and not is_multiple:
        return shrink(pixels, (height, width))
    resized = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return resized.reshape(height, width, -1)


def is_dull(tile: Pixels, options: TileOptions) -> bool:
    """Whether a tile shows too little, by `min_deviation` or `min_edges`."""
    if options.min_deviation <= 0 and options.min_edges <= 0:
        return False
    grey = (tile if tile.shape[2] == 1 else np.asarray(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY))).squeeze()
    levels = np.atleast_2d(grey).astype(np.float32)
    if levels.std() < options.min_deviation:
        return True
    differences = [np.abs(np.diff(levels, axis=axis)).mean() for axis in (0, 1) if levels.shape[axis] > 1]
    return bool(np.mean(differences or [0.0]) < options.min_edges)


def is_masked_out(mask: npt.NDArray[Any], region: Region, tile: Tile, sides: tuple[int, int]) -> bool:
    """Whether less than half of a tile is marked by a mask.

    Args:
        mask: (h, w), 0 where nothing is wanted; shows the whole source, or, where mask and region are square and
            the source is not, the region.
        sides: (height, width) of the upright source.
    """
    height, width = mask.shape[:2]
    if height == width and region.height == region.width and sides[0] != sides[1]:
        zoom_y = zoom_x = height / region.height
        top, left = tile.top * zoom_y, tile.left * zoom_x
        high = wide = tile.crop * zoom_y
    else:
        zoom_y, zoom_x = height / sides[0], width / sides[1]
        box = region.source_box(tile)
        top, left, high, wide = box[0] * zoom_y, box[1] * zoom_x, box[2] * zoom_y, box[3] * zoom_x
    part = mask[int(top) : max(int(top) + 1, int(top + high)), int(left) : max(int(left) + 1, int(left + wide))]
    return bool(part.size == 0 or (part > _full(mask) / 2).mean() < 0.5)


def _full(mask: npt.NDArray[Any]) -> float:
    """What a mask marks with: 255, or 1 in masks of 0 and 1."""
    return 255.0 if mask.max(initial=0) > 1 else 1.0
