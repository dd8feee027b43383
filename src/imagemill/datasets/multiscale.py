"""`multiscale`: an image, its quarters, their quarters, and so on, all at one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from imagemill.datasets.base import Image, PairOptions, TrainingDataset, as_paths, chw, resized
from imagemill.datasets.pictures import as_floats, open_pictures, read_pixels
from imagemill.errors import ConfigError
from imagemill.transforms.corrupt import Corruptor
from imagemill.transforms.rng import SampleRng

QUARTERS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))
"""(left, top) of the children in shares of their parent, in order: top left, top right, bottom left, bottom right."""
SPREAD = 0.3
"""Standard deviation of where the square is cut, in shares of what may be cut away."""


@dataclass(frozen=True, kw_only=True)
class MultiscaleOptions(PairOptions):
    """Options, beside those of `PairOptions`.

    Args:
        hq_tile_size: side of every patch.
        num_scales: depth of the tree, or "native": as deep as the image has pixels for.
        augment: random flips, transposition and place of the square; without it the centred square as it is.
    """

    hq_tile_size: int
    num_scales: int | Literal["native"] = 3
    augment: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_scales != "native" and self.num_scales < 1:
            raise ConfigError(f'num_scales is 1 or more, or "native", got {self.num_scales}')
        if self.hq_tile_size < 1 or self.hq_tile_size % self.scale:
            raise ConfigError(f"scale {self.scale} does not divide hq_tile_size {self.hq_tile_size}")


class MultiscaleDataset(TrainingDataset):
    """{hq: float32 (P, 3, tile, tile), lq: (P, 3, tile / scale, …), GT_path}; P is (4**num_scales - 1) / 3.

    Patch 0 is the whole square; then come its four children, then the subtree of each in turn (`patch_paths`). Each is
    brought to the tile's size by area. With `num_scales="native"` P differs from image to image: the deepest patches
    have at least the tile's size in pixels of the source.
    """

    options_class = MultiscaleOptions

    def __init__(self, options: MultiscaleOptions) -> None:
        self.options = options
        self.seed = options.seed
        self.pictures = open_pictures(*as_paths(options.paths, options.weights), options.split)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        options, rng = self.options, self.rng(index)
        square = _square(as_floats(read_pixels(self.pictures, index)), rng, augment=options.augment)
        tile = options.hq_tile_size
        depth = native_depth(len(square), tile) if options.num_scales == "native" else options.num_scales
        # Twice the tile's size a step of depth, so that the deepest patches still are reduced by two, as of old;
        # at native depth there is nothing to reduce.
        side = tile * 2 ** (depth - 1) if options.num_scales == "native" else tile * 2**depth
        square = resized(square, side, side)
        corruptor = Corruptor(options.corruptions)
        corrupted = corruptor.apply([square], corruptor.draw(rng))[0]
        path = self.pictures.path(index)
        return {
            "hq": _patches(square, depth, tile),
            "lq": _patches(corrupted, depth, tile // options.scale),
            "GT_path": path,
        }


def native_depth(side: int, tile: int) -> int:
    """How often a square can be quartered until its patches have the tile's size in pixels of the source, and 1."""
    depth = 1
    while tile * 2**depth <= side:
        depth += 1
    return depth


def patch_paths(depth: int) -> list[list[tuple[int, float, float]]]:
    """The way from each of the smallest patches up to the whole: (index, left, top) of each patch on it.

    Left and top are shares of the parent's side. `depth` is `num_scales`.
    """
    leaves: list[list[tuple[int, float, float]]] = []
    counter = 0

    def descend(way: list[tuple[int, float, float]], levels: int) -> None:
        nonlocal counter
        if levels == 0:
            leaves.append(way)
            return
        children = []
        for left, top in QUARTERS:
            counter += 1
            children.append([(counter, left, top), *way])
        for child in children:
            descend(child, levels - 1)

    descend([(0, 0.0, 0.0)], depth - 1)
    return leaves


def _square(image: Image, rng: SampleRng, *, augment: bool) -> Image:
    height, width = image.shape[:2]
    side = min(height, width)
    places = [(height - side) / 2, (width - side) / 2]
    if augment:
        flips = [rng.random() < 0.5 for _ in range(3)]
        normal = rng.generator().standard_normal(2)
        shifts = (SPREAD * normal).clip(-1, 1)
        places = [place * (1 + float(shift)) for place, shift in zip(places, shifts, strict=True)]
    top, left = (round(place) for place in places)
    square = image[top : top + side, left : left + side]
    if augment:
        square = square[:, ::-1] if flips[0] else square
        square = square[::-1] if flips[1] else square
        square = square.transpose(1, 0, 2) if flips[2] else square
    return np.ascontiguousarray(square)


def _patches(square: Image, depth: int, tile: int) -> torch.Tensor:
    found = [square]

    def quarter(patch: Image, levels: int) -> None:
        if levels == 0:
            return
        half = len(patch) // 2
        children = [patch[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        found.extend(children)
        for child in children:
            quarter(child, levels - 1)

    quarter(square, depth - 1)
    return torch.stack([chw(resized(np.ascontiguousarray(patch), tile, tile)) for patch in found])
