"""What a tile of a chunked set becomes in a batch: both resolutions, the reference, the centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from imagemill.datasets.base import Image, PairOptions, as_paths, chw, resized
from imagemill.datasets.chunk_index import ChunkIndex
from imagemill.datasets.pictures import as_floats, as_pixels, as_planes, is_packed, read_pixels
from imagemill.errors import ConfigError
from imagemill.load.dataset import open as open_dataset
from imagemill.transforms.corrupt import Corruptor
from imagemill.transforms.rng import SampleRng

NO_CENTER = (128, 128, 256)
"""(row, column, size) that stands for a tile whose place is not known, as the original has it."""
AROUND = 0.1
"""Of the mask, where the tile is not."""


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


@dataclass(frozen=True)
class LoadedTile:
    """A tile with what belongs to it.

    Args:
        image: float32 (H, W, 3) in 0–1.
        reference: the same of the reference, None where there is none.
        center: (row, column, size) in pixels of the reference, None where there is none.
        path: of the tile.
    """

    image: Image
    reference: Image | None
    center: tuple[int, int, int] | None
    path: str


class TileSet:
    """The tiles of several chunked sets and packed datasets, folder by folder, repeated by weights.

    A packed dataset's folders are its groups of tiles: keys up to their last `/`.
    """

    def __init__(self, options: TileOptions) -> None:
        self.options = options
        paths, weights = as_paths(options.paths, options.weights)
        self._sets = [
            PackedTiles(path, options.split, options.ignore_first)
            if is_packed(path)
            else ChunkedTiles(path, options.ignore_first)
            for path in paths
        ]
        self._chunks = [
            (number, folder)
            for number, weight in enumerate(weights)
            for _ in range(weight)
            for folder in range(self._sets[number].folders)
        ]
        self._ends = np.cumsum([self._sets[number].count(folder) for number, folder in self._chunks])

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
        """(number of the set, name of the folder)."""
        number, folder = self._chunks[chunk]
        return number, self._sets[number].folder_name(folder)

    def count(self, chunk: int) -> int:
        """Tiles of a chunk."""
        number, folder = self._chunks[chunk]
        return self._sets[number].count(folder)

    def load(self, chunk: int, offset: int) -> LoadedTile:
        """A tile, read.

        Raises:
            SampleError: an image cannot be read, or a centre is wanted and there is none.
        """
        number, folder = self._chunks[chunk]
        return self._sets[number].load(folder, offset, reference=self.options.need_ref)


class ChunkedTiles(ChunkIndex):
    """Tiles of chunked folders, read."""

    def load(self, folder: int, offset: int, *, reference: bool) -> LoadedTile:
        """See `TileSet.load`."""
        tile = self.tile(folder, offset)
        wanted = tile.reference if reference else None
        whole = None if wanted is None else as_floats(read_pixels(wanted))
        return LoadedTile(as_planes(read_pixels(tile.path)), whole, tile.center, tile.path)


class PackedTiles:
    """Tiles of a packed dataset: fields `image`, and where they are there `center`, `size`, `reference`."""

    def __init__(self, dataset: str, split: str | None, ignore_first: int) -> None:
        self._samples = open_dataset(dataset, split, returns="sample")
        groups: dict[str, list[int]] = {}
        for position, key in enumerate(self._keys()):
            groups.setdefault(key.rpartition("/")[0], []).append(position)
        self._names = [name for name, places in groups.items() if len(places) > ignore_first]
        self._places = [np.array(groups[name][ignore_first:], np.int64) for name in self._names]
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

    def load(self, folder: int, offset: int, *, reference: bool) -> LoadedTile:
        """See `TileSet.load`."""
        sample = self._samples[int(self._places[folder][offset])]
        values = sample.values
        center = (*map(int, values["center"]), int(values["size"])) if "center" in values else None
        wanted = None
        if reference and "reference" in values:
            wanted = as_floats(as_pixels(values["reference"], sample.key))
        image = as_planes(as_pixels(values["image"], sample.key))
        return LoadedTile(image, wanted, center, sample.key)  # type: ignore[arg-type]


@dataclass(frozen=True)
class MadeTile:
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
        ConfigError: a centre is wanted and a tile has none.
    """
    prepared = [_prepared(tile, options) for tile in tiles]
    scale = 1 if options.eval else options.scale
    corruptor = Corruptor(options.corruptions)
    lows = [image for image, _, _ in prepared]
    if options.eval:
        lows = [image.copy(order="K") for image in lows]  # tensors of their own
    else:
        steps = corruptor.draw(rng)
        if options.corrupt_before_downsize:
            lows = corruptor.apply(lows, steps)
        lows = [resized(image, image.shape[0] // scale, image.shape[1] // scale) for image in lows]
        if not options.corrupt_before_downsize:
            lows = corruptor.apply(lows, steps)
    return [_made(*parts, low, scale) for parts, low in zip(prepared, lows, strict=True)]


def _prepared(tile: LoadedTile, options: TileOptions) -> tuple[Image, Image | None, tuple[int, int]]:
    """(image, reference with its mask or None, centre), at the target size and cut to the multiple."""
    image = tile.image
    side = options.target_size or image.shape[0]
    reference, center = (None, (0, 0)) if tile.reference is None else _reference(tile, tile.reference, options, side)
    image = resized(image, side, side if options.target_size else image.shape[1])
    multiple = options.force_multiple * options.scale
    height, width = (max(multiple, length - length % multiple) for length in image.shape[:2])
    return image[:height, :width], None if reference is None else reference[:height, :width], center


def _reference(tile: LoadedTile, reference: Image, options: TileOptions, side: int) -> tuple[Image, tuple[int, int]]:
    wanted = options.strict or options.needs_metadata
    if wanted and tile.center is None:
        raise ConfigError(f"{tile.path} has no centre in its set: leave strict and needs_metadata out")
    row, column, size = tile.center if wanted and tile.center is not None else NO_CENTER
    mask = np.full((*reference.shape[:2], 1), AROUND, np.float32)
    half = size // 2
    mask[max(0, row - half) : row + half, max(0, column - half) : column + half] = 1
    zoom = side / reference.shape[0]
    joined = resized(np.concatenate([reference, mask], axis=2), side, side)
    return joined, (int(row * zoom), int(column * zoom))


def _made(image: Image, reference: Image | None, center: tuple[int, int], low: Image, scale: int) -> MadeTile:
    height, width = image.shape[:2]
    if reference is None:
        whole, small = torch.zeros(4, height, width), torch.zeros(4, height // scale, width // scale)
    else:
        whole = chw(reference)
        small = chw(resized(reference, reference.shape[0] // scale, reference.shape[1] // scale))
    return MadeTile(
        hq=chw(image),
        lq=chw(low),
        hq_reference=whole,
        lq_reference=small,
        hq_center=torch.tensor(center, dtype=torch.int64),
        lq_center=torch.tensor([place // scale for place in center], dtype=torch.int64),
    )
