"""What a tile of a chunked set becomes in a batch: both resolutions, the reference, the centre."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from imagemill.core.sample import Row
from imagemill.datasets.base import PairOptions, as_paths, chw, resized
from imagemill.datasets.chunk_index import ChunkIndex
from imagemill.datasets.pairs import LastView, Pair, cut_to, image_of, show_pairs
from imagemill.datasets.pictures import File, is_packed, stored_image
from imagemill.datasets.reference_cache import ReferenceCache
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
        reference_cache_mb: megabytes of decoded references that each worker keeps, as an image's tiles share one;
            0 decodes them for every tile. Items are the same either way.
    """

    target_size: int | None = None
    force_multiple: int = 1
    eval: bool = False
    corrupt_before_downsize: bool = False
    need_ref: bool = False
    strict: bool = False
    needs_metadata: bool = False
    ignore_first: int = 0
    reference_cache_mb: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.force_multiple < 1 or (self.target_size is not None and self.target_size < 1):
            raise ConfigError("force_multiple and target_size are 1 or more")
        if self.reference_cache_mb < 0:
            raise ConfigError(f"reference_cache_mb is 0 or more, got {self.reference_cache_mb}")
        if self.target_size is not None and self.target_size < self.scale * self.force_multiple:
            raise ConfigError(
                f"target_size {self.target_size} is below scale · force_multiple = {self.scale * self.force_multiple}"
            )


class LoadedTile(NamedTuple):
    """A tile as it is stored, with what belongs to it.

    Args:
        image: a file, encoded bytes, or an array of pixels.
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
        self._ends = list(accumulate(chunk.tiles for chunk in self._chunks))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def chunks(self) -> int:
        """Number of folders, repeated ones counted again."""
        return len(self._chunks)

    def locate(self, index: int) -> tuple[int, int]:
        """(chunk, offset in it) of an item."""
        chunk = bisect_right(self._ends, index)
        return chunk, index - (self._ends[chunk - 1] if chunk else 0)

    def name(self, chunk: int) -> tuple[int, str]:
        """(number of the set, name of the folder, or of the image that is one)."""
        number, folder, first, _, is_image = self._chunks[chunk]
        tiles = self._sets[number]
        return number, tiles.tile_name(folder, first) if is_image else tiles.folder_name(folder)

    def count(self, chunk: int) -> int:
        """Tiles of a chunk."""
        return self._chunks[chunk].tiles

    def load(self, places: Sequence[tuple[int, int]]) -> list[LoadedTile]:
        """Tiles by chunk and offset, as `locate` says; centres and references only where the options want references.

        Raises:
            SampleError: an image cannot be read.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        where = []
        for chunk, offset in places:
            number, folder, first, *_ = self._chunks[chunk]
            of_set = wanted.setdefault(number, [])
            where.append((number, len(of_set)))
            of_set.append((folder, first + offset))
        loaded = {
            number: self._sets[number].load(of_set, reference=self.options.need_ref)
            for number, of_set in wanted.items()
        }
        return [loaded[number][place] for number, place in where]


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
    """Tiles of chunked folders, read; warns of folders that are left out."""

    def __init__(self, root: str, ignore_first: int = 0) -> None:
        super().__init__(root, ignore_first)
        if self.rejects:
            first = self.rejects[0]
            text = (
                f"{root}: folders left out: {len(self.rejects)}, the first {first.key}: {first.reason}: {first.detail}"
            )
            warnings.warn(text, stacklevel=2)

    def load(self, places: Sequence[tuple[int, int]], *, reference: bool) -> list[LoadedTile]:
        """See `TileSet.load`."""
        if not reference:
            return [LoadedTile(File(path), None, None, path) for path in (self.tile_path(*place) for place in places)]
        return [
            LoadedTile(File(path), None, None, path)
            if reference is None
            else LoadedTile(File(path), File(reference), center, path)
            for _, path, center, reference in (self.tile(*place) for place in places)
        ]


class PackedTiles:
    """Tiles of a packed dataset: fields `image`, and where they are there `center`, `size`, `reference`."""

    def __init__(self, dataset: str, split: str | None, ignore_first: int, *, reference: bool) -> None:
        self._samples = open_dataset(dataset, split, returns="sample")
        if reference and "reference" not in self._samples.schema.names:
            raise ConfigError(
                f"need_ref: {dataset} has no references; `tile --reference` or `pack --references` stores them"
            )
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

    def load(self, places: Sequence[tuple[int, int]], *, reference: bool) -> list[LoadedTile]:
        """See `TileSet.load`."""
        positions = [int(self._places[folder][offset]) for folder, offset in places]
        rows = self._samples.rows(positions, self._fields if reference else ["image"])
        return [self._loaded(row) for row in rows]

    def _loaded(self, row: Row) -> LoadedTile:
        schema = self._samples.schema
        center = None
        if "center" in row.values:
            place: Any = plain_value(schema["center"], row.values["center"])
            size: Any = plain_value(schema["size"], row.values["size"])
            center = int(place[0]), int(place[1]), int(size)
        image = stored_image(schema["image"], row.values["image"])
        if "reference" not in row.values:
            return LoadedTile(image, None, center, row.key)
        return LoadedTile(image, stored_image(schema["reference"], row.values["reference"]), center, row.key)


class MadeTile(NamedTuple):
    """A tile at both resolutions, as tensors: images float32 in 0–1, centres int64 (2,)."""

    hq: torch.Tensor
    lq: torch.Tensor
    hq_reference: torch.Tensor
    lq_reference: torch.Tensor
    hq_center: torch.Tensor
    lq_center: torch.Tensor


_Reference: TypeAlias = tuple[torch.Tensor, torch.Tensor, tuple[int, int]]
"""Both resolutions of a reference, and a tile's centre in it."""


class TileMaker:
    """Makes items of tiles."""

    def __init__(self, options: TileOptions) -> None:
        self.options = options
        self.scale = 1 if options.eval else options.scale
        self._corruptor = Corruptor(options.corruptions)
        self._view = LastView(self._view_of)
        self._last_nothing: _Reference = NOTHING, NOTHING, (0, 0)
        self._kept = ReferenceCache(options.reference_cache_mb * 1_000_000)

    def make(self, items: Sequence[Sequence[LoadedTile]], rngs: Sequence[SampleRng]) -> list[list[MadeTile]]:
        """Tiles of items, those of one item corrupted alike.

        Raises:
            SampleError: an image cannot be read.
            ConfigError: a centre is wanted and a tile has none.
        """
        tiles = [tile for item in items for tile in item]
        pairs = show_pairs([tile.image for tile in tiles], [tile.path for tile in tiles], [self._view] * len(tiles))
        lows = self._lows(pairs, [len(item) for item in items], rngs)
        references = self._references(tiles, pairs)
        found = np.array([center for _, _, center in references], np.int64)
        centers = zip(*(map(torch.from_numpy, each) for each in (found, found // self.scale)), strict=True)
        made = (
            MadeTile(pair.planes, low, high_reference, low_reference, *both)
            for pair, low, (high_reference, low_reference, _), both in zip(
                pairs, lows, references, centers, strict=True
            )
        )
        return [[next(made) for _ in item] for item in items]

    def _lows(self, pairs: Sequence[Pair], counts: Sequence[int], rngs: Sequence[SampleRng]) -> list[torch.Tensor]:
        """Low resolutions, of which so many are an item's."""
        lows = [pair.planes if pair.low_planes is None else pair.low_planes for pair in pairs]
        if self.options.eval:
            return lows
        end = 0
        for count, rng in zip(counts, rngs, strict=True):
            start, end = end, end + count
            steps = self._corruptor.draw(rng)
            if steps or self.options.corrupt_before_downsize:
                corrupted = self._corruptor.apply([image_of(low) for low in lows[start:end]], steps)
                sides = [
                    (pair.planes.shape[1] // self.scale, pair.planes.shape[2] // self.scale)
                    for pair in pairs[start:end]
                ]
                lows[start:end] = [chw(resized(low, *size)) for low, size in zip(corrupted, sides, strict=True)]
        return lows

    def _view_of(self, height: int, width: int) -> PairView:
        """All of a tile of these sides, brought to the target size and cut to the multiple."""
        options, size = self.options, self._size((height, width))
        scale = 0 if options.corrupt_before_downsize and not options.eval else self.scale
        kept = cut_to(size, options.force_multiple * options.scale)
        return PairView((0, 0, height, width), size, kept, scale=scale)

    def _size(self, sides: tuple[int, int]) -> tuple[int, int]:
        target = self.options.target_size
        return sides if target is None else (target, target)

    def _references(self, tiles: Sequence[LoadedTile], pairs: Sequence[Pair]) -> list[_Reference]:
        """What belongs to each tile of its reference, of the tile's own sides."""
        with_one = [(tile, pair) for tile, pair in zip(tiles, pairs, strict=True) if tile.reference is not None]
        names = [tile.path for tile, _ in with_one]
        views = [partial(self._reference_view, pair) for _, pair in with_one]
        shapes = [(*self._size(pair.sides), *pair.planes.shape) for _, pair in with_one]
        kept = self._kept.look_up([tile.reference for tile, _ in with_one], names, views, shapes)
        shown = iter(show_pairs(kept, names, views, room=1))
        return [
            self._nothing(pair.planes) if tile.reference is None else self._reference(tile, pair, next(shown))
            for tile, pair in zip(tiles, pairs, strict=True)
        ]

    def _nothing(self, planes: torch.Tensor) -> _Reference:
        """What a tile has that has no reference; the same for all tiles of equal sides."""
        height, width = planes.shape[1:]
        if self._last_nothing[0].shape[1:] != (height, width):
            low = NOTHING.expand(4, height // self.scale, width // self.scale)
            self._last_nothing = NOTHING.expand(4, height, width), low, (0, 0)
        return self._last_nothing

    def _reference_view(self, pair: Pair, height: int, width: int) -> PairView:
        kept = pair.planes.shape[1], pair.planes.shape[2]
        return PairView((0, 0, height, width), self._size(pair.sides), kept, scale=self.scale)

    def _reference(self, tile: LoadedTile, pair: Pair, reference: Pair) -> _Reference:
        """(the reference with its mask, its low resolution, the tile's centre)."""
        wanted = self.options.strict or self.options.needs_metadata
        if wanted and tile.center is None:
            raise ConfigError(f"{tile.path} has no centre in its set: leave strict and needs_metadata out")
        high, low, sides, size = reference.high, reference.low, reference.sides, self._size(pair.sides)
        assert low is not None  # every view of a reference has a scale
        assert reference.low_planes is not None
        row, column, side = tile.center if wanted and tile.center is not None else NO_CENTER
        mask = np.full((*sides, 1), AROUND, np.float32)
        half = side // 2
        mask[max(0, row - half) : row + half, max(0, column - half) : column + half] = 1
        mask = resized(mask, *size)[: high.shape[0], : high.shape[1]]
        high[..., 3:] = mask
        low[..., 3:] = resized(mask, *low.shape[:2])
        center = int(row * (size[0] / sides[0])), int(column * (size[1] / sides[1]))
        return reference.planes, reference.low_planes, center
