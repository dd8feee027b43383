"""`single_image_extensible`: a tile at two resolutions, with its reference image and centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagemill.datasets.base import TrainingDataset
from imagemill.datasets.batches import collate
from imagemill.datasets.tiles import LoadedTile, MadeTile, TileMaker, TileOptions, TileSet


class SingleImageDataset(TrainingDataset):
    """{lq, hq, gt_fullsize_ref, lq_fullsize_ref, lq_center, gt_center, LQ_path, GT_path} of one tile.

    `hq` is float32 (3, H, W) and `lq` (3, H / scale, W / scale), in 0–1; the references have a fourth channel, a mask:
    1 where the tile is, 0.1 elsewhere, and are 0 where there is none (one zero, seen as such a tensor: it cannot be
    written to, and neither can a batch of them that `collate` made); centres are int64 (row, column).
    """

    options_class = TileOptions
    collate = staticmethod(collate)

    def __init__(self, options: TileOptions) -> None:
        self.options = options
        self.seed = options.seed
        self.tiles = TileSet(options)
        self._maker = TileMaker(options)

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """See `TrainingDataset.__getitems__`."""
        positions = self.positions(indices)
        tiles = self.tiles.load([self.tiles.locate(position) for position in positions])
        items = self._maker.make([[tile] for tile in tiles], self.rngs(positions))
        return [_item(tile, made) for tile, (made,) in zip(tiles, items, strict=True)]


def _item(tile: LoadedTile, made: MadeTile) -> dict[str, Any]:
    return {
        "lq": made.lq,
        "hq": made.hq,
        "gt_fullsize_ref": made.hq_reference,
        "lq_fullsize_ref": made.lq_reference,
        "lq_center": made.lq_center,
        "gt_center": made.hq_center,
        "LQ_path": tile.path,
        "GT_path": tile.path,
    }
