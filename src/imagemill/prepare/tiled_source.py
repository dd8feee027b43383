"""The tiles of a source as a source, so that they are packed like anything else: any format, split, engine, rank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.codecs.image import encode_photo_png, photo_png_writer
from imagemill.core.sample import Encoded, Reject, Sample
from imagemill.core.schema import Field
from imagemill.errors import SampleError
from imagemill.prepare.region_tiles import RegionTiles
from imagemill.prepare.tile_cutting import DecodedImage, TileMaker, picture_of, read_mask, require_one_image
from imagemill.sources.base import LISTING_COLUMNS, ListingBuilder, Scan, Source, SourceOptions
from imagemill.sources.chunked import BOX_FIELD, CENTER_FIELDS
from imagemill.transforms.tiling import Pixels, Region, Tile, is_dull, is_masked_out, plan_regions

OWN_COLUMNS = {"image_key": pa.string(), "image_size": pa.int64(), "part": pa.int32(), "tile": pa.int32()}
TILE_DIGITS = 6


class TiledSource(Source):
    """Each tile of each image of a source is a sample: `KEY/000012`, its group the image's (or its group's).

    The fields are those of the source, the image replaced by the tile as a JPEG (or, without loss, a PNG), and `box`
    (top, left, height, width in the upright source), `center` and `size` (pixels of the reference), and, if asked
    for, `reference`. Counts are of tiles, and of images that give none.

    Args:
        source: of images: samples with exactly one.
        maker: how they are cut; its quality and reference apply.
        lossless: tiles as PNG.
        as_arrays: tiles as pixels, for datasets that store no files.
        limit: only the first so many images.
    """

    kind = "tiles"

    def __init__(
        self,
        source: Source,
        maker: TileMaker,
        *,
        lossless: bool = False,
        as_arrays: bool = False,
        limit: int | None = None,
    ) -> None:
        super().__init__(source.path, SourceOptions())
        self.as_arrays = as_arrays
        self.limit = limit
        self.source = source
        self.maker = maker
        self.lossless = lossless
        self.remote = source.remote
        self._last: tuple[tuple[str, int], Sample, DecodedImage, RegionTiles] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def described(self) -> dict[str, Any]:
        """See `Source.described`: the source's own, and how it is cut."""
        ours = {"kind": self.kind, "of": self.source.described(), "lossless": self.lossless, "limit": self.limit}
        return (
            ours | ({"png": photo_png_writer()} if self.lossless and not self.as_arrays else {}) | self.maker.to_json()
        )

    def fetch(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Source.fetch`."""
        return self.source.fetch(row)

    def scan(self, listing_path: Path) -> Scan:
        """Looks at every image's header, to know its tiles; see `Source.scan`."""
        inner = self.source.scan(listing_path.with_name(f"{listing_path.name}.images"))
        require_one_image(inner.fields, "tiles")
        names = [name for name in inner.listing.column_names if name not in LISTING_COLUMNS]
        types = {name: inner.listing.schema.field(name).type for name in names}
        rejects = list(inner.rejects)
        with ListingBuilder(listing_path, {**OWN_COLUMNS, **types}) as builder:
            for batch in inner.listing.slice(0, self.limit).to_batches():
                for row in batch.to_pylist():
                    self._list(builder, row, names, rejects)
            listing = builder.finish()
        found = listing.num_rows + sum(reject.files for reject in rejects) + sum(inner.ignored.values())
        remark = f"{inner.listing.slice(0, self.limit).num_rows} images cut into {listing.num_rows} tiles"
        remarks = (*inner.remarks, remark)
        return Scan(listing, self._fields(inner.fields), tuple(rejects), inner.ignored, found, remarks)

    def _fields(self, inner: tuple[Field, ...]) -> tuple[Field, ...]:
        reference = (Field("reference", "image"),) if self.maker.reference else ()
        return (*inner, BOX_FIELD, *CENTER_FIELDS, *reference)

    def _list(self, builder: ListingBuilder, row: dict[str, Any], names: list[str], rejects: list[Reject]) -> None:
        key = row["key"]
        own = {name: row[name] for name in names}
        try:
            regions = self._regions(self.source.read(row))
        except SampleError as error:
            rejects.append(Reject(key, error.origin or key, error.reason, error.detail, row["files"]))
            return
        tiles = [(part, tile) for part, region in enumerate(regions) for tile in range(len(region.tiles))]
        if not tiles:
            rejects.append(Reject(key, key, "too-small", "smaller than every crop, or excluded", row["files"]))
        for number, (part, tile) in enumerate(tiles):
            crop = regions[part].tiles[tile].side
            builder.add(
                key=f"{key}/{number:0{TILE_DIGITS}d}",
                # What is read is the whole image, once for all of its tiles; a tile weighs about a byte a pixel less.
                size=crop * crop // 4,
                group=row["group"] or key,
                split=row["split"],
                image_key=key,
                image_size=row["size"],
                part=part,
                tile=tile,
                **own,
            )

    def _regions(self, sample: Sample) -> tuple[Region, ...]:
        return plan_regions(*self.maker.sides(picture_of(sample)[1]), self.maker.options, sample.key)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """The tile of one listing row; the image it is cut from stays decoded for the next.

        Raises:
            SampleError: the image cannot be used, or the tile is left out ("excluded-dull", "excluded-masked").
        """
        sample, image, tiles = self._region(row)
        region, index = image.regions[row["part"]], row["tile"]
        if self.maker.masks is not None:
            mask = read_mask(self.maker.masks, sample.key, self.maker.limits)
            if is_masked_out(mask, region, region.tiles[index], image.sides):
                raise SampleError("excluded-masked", "the mask marks less than half of it", key=row["key"])
        if is_dull(tiles.pixels(index), self.maker.options):
            raise SampleError("excluded-dull", "it shows too little", key=row["key"])
        values = {
            **sample.values,
            picture_of(sample)[0]: self._tile(tiles, index),
            **_where(region, region.tiles[index]),
        }
        if self.maker.reference:
            values["reference"] = self._stored(tiles.reference())
        return Sample(row["key"], values, sample.origins)

    def _region(self, row: Mapping[str, Any]) -> tuple[Sample, DecodedImage, RegionTiles]:
        wanted = row["image_key"], row["part"]
        if self._last is None or self._last[0] != wanted:
            sample = self.source.read({**row, "key": row["image_key"], "size": row["image_size"]})
            image = self.maker.decode(picture_of(sample)[1], sample.key)
            self._last = wanted, sample, image, self.maker.tiles_of(image, row["part"])
        return self._last[1:]

    def _tile(self, tiles: RegionTiles, index: int) -> Any:
        if self.as_arrays or self.lossless:
            return self._stored(tiles.pixels(index))
        return Encoded(tiles.jpeg(index))

    def _stored(self, pixels: Pixels) -> Any:
        whole = np.ascontiguousarray(pixels)
        if self.as_arrays:
            return whole
        return Encoded(encode_photo_png(whole) if self.lossless else self.maker.encode(whole))


def _where(region: Region, tile: Tile) -> dict[str, Any]:
    box, center = np.array(region.source_box(tile), np.int32), np.array(tile.center, np.int32)
    return {"box": box, "center": center, "size": tile.size}
