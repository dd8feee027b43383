"""What a tile of a chunked set becomes in a batch: both resolutions, the reference, the centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from imagemill.datasets.base import Image, PairOptions, as_paths, chw, resized
from imagemill.datasets.chunk_index import ChunkIndex
from imagemill.datasets.pairs import Pair, cut_to, show_pair
from imagemill.datasets.pictures import is_packed, read_file, stored_image
from imagemill.errors import ConfigError
from imagemill.load.dataset import open as open_dataset
from imagemill.load.decode import plain_value
from imagemill.native.pairs import PairView
from imagemill.transforms.corrupt import Corruptor
from imagemill.transforms.rng import SampleRng

NO_CENTER = (128, 128, 256)
"""(row, column, size) that stands for a tile whose place is not known, as the original has it."""
AROUND = 0.1
"""Of the mask, where the tile is not."""
NOTHING = torch.zeros(1, 1, 1)
"""Seen as a tensor of any sides it is a reference that there is not: a megabyte of zeros a tile of 256 costs as much as
all else but its decoding. Batches that are made of such tensors are ordinary ones."""


@dataclass(frozen=True, kw_only=True)
class TileOptions(PairOptions):
    """Options of data sets of tiles, beside those of `PairOptions`; paths are chunked folders or packed tiles.

    Args:
        target_size: side of the high resolution; None keeps the tile's.
        force_multiple: sides of the low resolution are a multiple of it; the rest is cut off right and below.
        eval: the low resolution is the high one.
        corrupt_before_downsize: corruptions come before the low resolution is made, else after.
        need_ref: the reference image comes along.
        strict, needs_metadata: either takes each tile's centre from the set; a tile without one is an error then.
        ignore_first: leaves out the first so many tiles of each folder.
    """

    target_size: int | None = None
    force_multiple: int = 1
    eval: bool = False
    corrupt_before_downsize: bool = False
    need_ref: bool = False
    strict: bool = False
    needs_metadata: bool = False
    ignore_first: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.force_multiple < 1 or (self.target_size is not None and self.target_size < 1):
            raise ConfigError("force_multiple and target_size are 1 or more")
        if self.target_size is not None and self.target_size < self.scale * self.force_multiple:
            raise ConfigError(
                f"target_size {self.target_size} is below scale · force_multiple = {self.scale * self.force_multiple}"
            )


class LoadedTile(NamedTuple):
    """A tile as it is stored, with what belongs to it.

    Args:
        image: encoded bytes, or an array of pixels.
        reference: the same of the reference, None where there is none.
        center: (row, column, size) in pixels of the reference, None where there is none.
        path: of the tile.
    """

    image: Any
    reference: Any
    center: tuple[int, int, int] | None
    path: str


class TileSet:
    """The tiles of several sets, folder by folder, repeated by weights.

    A set is a chunked one, a folder of images, or a packed dataset, whose folders are its groups of tiles: keys up to
    their last `/`.

    Args:
        images_apart: images that are no tiles, of which nothing tells a place in another, are folders of their own.
    """

    def __init__(self, options: TileOptions, *, images_apart: bool = False) -> None:
        self.options = options
        paths, weights = as_paths(options.paths, options.weights)
        self._sets = [
            PackedTiles(path, options.split, options.ignore_first, reference=options.need_ref)
            if is_packed(path)
            else ChunkedTiles(path, options.ignore_first)
            for path in paths
        ]
        self._chunks = [
            chunk
            for number, weight in enumerate(weights)
            for _ in range(weight)
            for chunk in _chunks(number, self._sets[number], images_apart=images_apart)
        ]
        self._ends = np.cumsum([chunk.tiles for chunk in self._chunks])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def chunks(self) -> int:
        """Number of folders, repeated ones counted again."""
        return len(self._chunks)

    def locate(self, index: int) -> tuple[int, int]:
        """(chunk, offset in it) of an item."""
        chunk = int(np.searchsorted(self._ends, index, side="right"))
        return chunk, index - (int(self._ends[chunk - 1]) if chunk else 0)

    def name(self, chunk: int) -> tuple[int, str]:
        """(number of the set, name of the folder, or of the image that is one)."""
        number, folder, first, _, is_image = self._chunks[chunk]
        tiles = self._sets[number]
        return number, tiles.tile_name(folder, first) if is_image else tiles.folder_name(folder)

    def count(self, chunk: int) -> int:
        """Tiles of a chunk."""
        return self._chunks[chunk].tiles

    def load(self, chunk: int, offset: int) -> LoadedTile:
        """A tile, read; its centre and reference only where the options want a reference.

        Raises:
            SampleError: an image cannot be read, or a centre is wanted and there is none.
        """
        number, folder, first, *_ = self._chunks[chunk]
        return self._sets[number].load(folder, first + offset, reference=self.options.need_ref)


class _Chunk(NamedTuple):
    """Tiles that belong together: of a set's folder so many from `first` on; or a single image of it."""

    number: int
    folder: int
    first: int
    tiles: int
    is_image: bool


def _chunks(number: int, tiles: ChunkedTiles | PackedTiles, *, images_apart: bool) -> Iterator[_Chunk]:
    for folder in range(tiles.folders):
        count = tiles.count(folder)
        if images_apart and not tiles.has_tiles(folder):
            yield from (_Chunk(number, folder, first, 1, True) for first in range(count))
        else:
            yield _Chunk(number, folder, 0, count, False)


class ChunkedTiles(ChunkIndex):
    """Tiles of chunked folders, read."""

    def load(self, folder: int, offset: int, *, reference: bool) -> LoadedTile:
        """See `TileSet.load`."""
        tile = self.tile(folder, offset)
        if not reference or tile.reference is None:
            return LoadedTile(read_file(tile.path), None, None, tile.path)
        return LoadedTile(read_file(tile.path), read_file(tile.reference), tile.center, tile.path)


class PackedTiles:
    """Tiles of a packed dataset: fields `image`, and where they are there `center`, `size`, `reference`."""

    def __init__(self, dataset: str, split: str | None, ignore_first: int, *, reference: bool) -> None:
        self._samples = open_dataset(dataset, split, returns="sample")
        if reference and "reference" not in self._samples.schema.names:
            raise ConfigError(f"need_ref: {dataset} has no references; `imagemill tile --reference` stores them")
        self._fields = [name for name in ("image", "center", "size", "reference") if name in self._samples.schema.names]
        self._has_tiles = not {"center", "box"}.isdisjoint(self._samples.schema.names)
        groups: dict[str, list[int]] = {}
        keys = self._keys()
        for key, position in sorted((key, position) for position, key in enumerate(keys)):
            groups.setdefault(key.rpartition("/")[0], []).append(position)
        self._names = [name for name, places in groups.items() if len(places) > ignore_first]
        self._places = [np.array(groups[name][ignore_first:], np.int64) for name in self._names]
        self._image_keys = [] if self._has_tiles else keys
        if not self._names:
            raise ConfigError(f"{dataset} holds no tiles")

    def _keys(self) -> list[str]:
        store, split = self._samples.store, self._samples.split
        return [
            key
            for number in range(len(store.shards(split)))
            for key in store.index(split, number).column("key").to_pylist()
        ]

    @property
    def folders(self) -> int:
        """Number of images that have tiles."""
        return len(self._names)

    def folder_name(self, folder: int) -> str:
        """Key of an image."""
        return self._names[folder]

    def count(self, folder: int) -> int:
        """Tiles of an image."""
        return len(self._places[folder])

    def has_tiles(self, folder: int) -> bool:
        """Whether they are parts of an image, and not images of their own."""
        return self._has_tiles

    def tile_name(self, folder: int, offset: int) -> str:
        """Key of an image that is no tile."""
        return self._image_keys[int(self._places[folder][offset])]

    def load(self, folder: int, offset: int, *, reference: bool) -> LoadedTile:
        """See `TileSet.load`."""
        schema, fields = self._samples.schema, self._fields if reference else ["image"]
        row = self._samples.rows([int(self._places[folder][offset])], fields)[0]
        values: dict[str, Any] = {
            name: plain_value(schema[name], row.values[name]) for name in fields if name in ("center", "size")
        }
        images = {name: stored_image(schema[name], row.values[name]) for name in fields if name not in values}
        center: Any = (*map(int, values["center"]), int(values["size"])) if "center" in values else None
        return LoadedTile(images["image"], images.get("reference"), center, row.key)


class MadeTile(NamedTuple):
    """A tile at both resolutions, as tensors: images float32 in 0–1, centres int64 (2,)."""

    hq: torch.Tensor
    lq: torch.Tensor
    hq_reference: torch.Tensor
    lq_reference: torch.Tensor
    hq_center: torch.Tensor
    lq_center: torch.Tensor


def make_tiles(tiles: Sequence[LoadedTile], options: TileOptions, rng: SampleRng) -> list[MadeTile]:
    """Tiles of one item, corrupted alike.

    Raises:
        SampleError: an image cannot be read.
        ConfigError: a centre is wanted and a tile has none.
    """
    scale = 1 if options.eval else options.scale
    pairs = [show_pair(tile.image, tile.path, partial(_view, options)) for tile in tiles]
    lows = [pair.high if pair.low is None else pair.low for pair in pairs]
    corruptor = Corruptor(options.corruptions)
    steps = () if options.eval else corruptor.draw(rng)
    if steps or options.corrupt_before_downsize:
        lows = [
            resized(low, pair.high.shape[0] // scale, pair.high.shape[1] // scale)
            for low, pair in zip(corruptor.apply(lows, steps), pairs, strict=True)
        ]
    return [_made(*parts, scale, options) for parts in zip(tiles, pairs, lows, strict=True)]


def _view(options: TileOptions, height: int, width: int) -> PairView:
    """All of a tile of these sides, brought to the target size and cut to the multiple."""
    size = _size(options, (height, width))
    scale = 1 if options.eval else 0 if options.corrupt_before_downsize else options.scale
    return PairView((0, 0, height, width), size, cut_to(size, options.force_multiple * options.scale), scale=scale)


def _size(options: TileOptions, sides: tuple[int, int]) -> tuple[int, int]:
    return sides if options.target_size is None else (options.target_size, options.target_size)


def _made(tile: LoadedTile, pair: Pair, low: Image, scale: int, options: TileOptions) -> MadeTile:
    height, width = pair.high.shape[:2]
    center = 0, 0
    if tile.reference is None:
        whole, small = NOTHING.expand(4, height, width), NOTHING.expand(4, height // scale, width // scale)
    else:
        *references, center = _reference(tile, _size(options, pair.sides), (height, width), scale, options)
        whole, small = map(chw, references)
    return MadeTile(
        hq=chw(pair.high),
        lq=chw(low),
        hq_reference=whole,
        lq_reference=small,
        hq_center=torch.from_numpy(np.array(center, np.int64)),
        lq_center=torch.from_numpy(np.array(center, np.int64) // scale),
    )


def _reference(
    tile: LoadedTile, size: tuple[int, int], kept: tuple[int, int], scale: int, options: TileOptions
) -> tuple[Image, Image, tuple[int, int]]:
    """(the reference with its mask, its low resolution, the tile's centre), brought and cut to the tile's own sides."""
    wanted = options.strict or options.needs_metadata
    if wanted and tile.center is None:
        raise ConfigError(f"{tile.path} has no centre in its set: leave strict and needs_metadata out")

    def view_of(height: int, width: int) -> PairView:
        return PairView((0, 0, height, width), size, kept, scale=scale)

    high, low, sides = show_pair(tile.reference, tile.path, view_of, room=1)
    assert low is not None  # every view of a reference has a scale
    row, column, side = tile.center if wanted and tile.center is not None else NO_CENTER
    mask = np.full((*sides, 1), AROUND, np.float32)
    half = side // 2
    mask[max(0, row - half) : row + half, max(0, column - half) : column + half] = 1
    mask = resized(mask, *size)[: kept[0], : kept[1]]
    high[..., 3:] = mask
    low[..., 3:] = resized(mask, *low.shape[:2])
    return high, low, (int(row * (size[0] / sides[0])), int(column * (size[1] / sides[1])))
