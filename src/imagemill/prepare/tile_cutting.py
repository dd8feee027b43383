"""One image cut into tiles, in the worker: decoded once under limits, each tile a JPEG."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from imagemill.codecs import image as images
from imagemill.codecs.recoded import as_file
from imagemill.codecs.region import decode_region
from imagemill.core.sample import Encoded, Sample, Value
from imagemill.core.schema import Field
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.region_tiles import RegionTiles
from imagemill.transforms.tiling import (
    Pixels,
    Region,
    Tile,
    TileOptions,
    box_around,
    cut_region,
    is_dull,
    is_masked_out,
    plan_regions,
)

Mask = npt.NDArray[Any]

_UNSAFE = re.compile(r'[\x00-\x1f<>:"\\|?*~]')
"""Characters that some file system takes amiss, and the mark before a digest."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
NAME_BYTES = 150


class CutRegion(NamedTuple):
    """A region with its tiles as files.

    Args:
        region: where it lies.
        reference: the whole region, small, as a JPEG; empty where none is wanted.
        tiles: the tiles kept, with their JPEGs.
        dull, masked: tiles left out.
    """

    region: Region
    reference: bytes
    tiles: list[tuple[Tile, bytes]]
    dull: int
    masked: int


class DecodedImage(NamedTuple):
    """What is seen of an image.

    Args:
        sides: (height, width) of the upright source.
        regions: its parts that are cut.
        pixels: uint8 (H, W, 1 or 3): the source, or a part that holds all regions.
        corner: (top, left) of that part.
    """

    sides: tuple[int, int]
    regions: tuple[Region, ...]
    pixels: Pixels
    corner: tuple[int, int]


class CutImage(NamedTuple):
    """An image's regions; sides are (height, width) of the upright source, path where it was found."""

    path: str
    sides: tuple[int, int]
    regions: list[CutRegion]


@dataclass(frozen=True)
class TileMaker:
    """Cuts the first image of a sample; picklable.

    Args:
        options: where the tiles lie.
        limits: what one image may cost.
        quality: of the JPEGs, 1–100.
        reference: whether a reference image is made.
        masks: folder of masks, `KEY.png` or `KEY` with the suffix `.png`: only tiles that a mask marks are kept.
    """

    options: TileOptions
    limits: Limits
    quality: int = 95
    reference: bool = True
    masks: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """All that decides the tiles, as plain values."""
        record = asdict(self)
        del record["limits"]
        record["masks"] = None if self.masks is None else str(self.masks)
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain

    def __call__(self, sample: Sample) -> CutImage:
        """The image, cut.

        Raises:
            SampleError: no usable image, "too-small", "missing-mask", "excluded-dull", "excluded-masked".
        """
        name, value = picture_of(sample)
        image = self.decode(value, sample.key)
        mask = None if self.masks is None else read_mask(self.masks, sample.key, self.limits)
        regions = [self._cut(image, index, mask) for index in range(len(image.regions))]
        if not any(cut.tiles for cut in regions):
            raise self._nothing_left(regions)
        return CutImage(sample.origins.get(name, sample.key), image.sides, regions)

    def decode(self, value: Value, key: str) -> DecodedImage:
        """The regions of an image, checked against the limits; grey images stay grey.

        Raises:
            SampleError: no usable image, "too-small".
        """
        if not isinstance(value, Encoded):
            array = np.asarray(value)
            pixels = array if array.ndim == 3 else array[..., None]
            sides = pixels.shape[0], pixels.shape[1]
            return DecodedImage(sides, plan_regions(*sides, self.options, key), pixels, (0, 0))
        header = inspect(value.data, self.limits, full=False).header
        regions = plan_regions(*header.sides, self.options, key)
        if header.mode == "L":
            return DecodedImage(header.sides, regions, images.decode(value.data, mode="L", header=header), (0, 0))
        top, left, _, width = box_around(regions)
        # Down to the last row, so that no damage is passed over.
        box = top, left, header.sides[0] - top, width
        pixels = decode_region(as_file(value.data), header, box)
        return DecodedImage(header.sides, regions, pixels, (top, left))

    def tiles_of(self, image: DecodedImage, index: int) -> RegionTiles:
        """The tiles of one of an image's regions."""
        region = image.regions[index]
        pixels = cut_region(image.pixels, region, image.corner)
        return RegionTiles(pixels, region, self.options, self.quality)

    def sides(self, value: Value) -> tuple[int, int]:
        """(height, width) of the upright image, from its header."""
        if isinstance(value, Encoded):
            return inspect(value.data, self.limits, full=False).header.sides
        height, width = np.asarray(value).shape[:2]
        return height, width

    def encode(self, pixels: Pixels) -> bytes:
        """A JPEG of a tile or reference."""
        return images.encode_jpeg(pixels, self.quality)

    def _cut(self, image: DecodedImage, index: int, mask: Mask | None) -> CutRegion:
        region, made = image.regions[index], self.tiles_of(image, index)
        tiles, dull, masked = [], 0, 0
        for number, tile in enumerate(region.tiles):
            if mask is not None and is_masked_out(mask, region, tile, image.sides):
                masked += 1
            elif is_dull(made.pixels(number), self.options):
                dull += 1
            else:
                tiles.append((tile, made.jpeg(number)))
        reference = self.encode(made.reference()) if self.reference and tiles else b""
        return CutRegion(region, reference, tiles, dull, masked)

    def _nothing_left(self, regions: list[CutRegion]) -> SampleError:
        dull, masked = sum(cut.dull for cut in regions), sum(cut.masked for cut in regions)
        if masked:
            return SampleError("excluded-masked", f"all tiles: {masked} by the mask, {dull} too dull")
        if dull:
            return SampleError("excluded-dull", f"all {dull} tiles show too little")
        width, height = (regions[0].region.width, regions[0].region.height) if regions else (0, 0)
        what = f"what is cut, {width}x{height}, is smaller than every crop, or all are excluded"
        return SampleError("too-small", what)


def picture_of(sample: Sample) -> tuple[str, Value]:
    """(name, value) of a sample's image."""
    return next((name, value) for name, value in sample.values.items() if is_picture(value))


def is_picture(value: Value) -> bool:
    """Whether a value of a sample is an image."""
    return isinstance(value, Encoded) or (isinstance(value, np.ndarray) and value.ndim in (2, 3))


def require_one_image(fields: Iterable[Field], what: str) -> None:
    """Checks that samples have one image and no other picture, so that nothing of them gets lost.

    Args:
        fields: of the source.
        what: is made of it, for the message: "tiles".

    Raises:
        ConfigError: they have none, several, or masks.
    """
    pictures = [field for field in fields if field.is_file]
    if [field.kind for field in pictures] != ["image"]:
        names = ", ".join(field.name for field in pictures) or "none"
        raise ConfigError(
            f"{what} are made of one image a sample, and this source has {names}: "
            "give the folder of the images alone, or say --source folder"
        )


def read_mask(folder: Path, key: str, limits: Limits) -> Mask:
    """The mask of an image: (h, w), 0 where nothing is wanted.

    Raises:
        SampleError: "missing-mask", or what is wrong with it.
    """
    for path in (folder / f"{key}.png", (folder / key).with_suffix(".png")):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        inspect(content, limits, full=False)
        mask = images.decode_mask(content)
        return mask if mask.ndim == 2 else mask.max(axis=2)
    raise SampleError("missing-mask", f"neither {key}.png nor the same with its suffix replaced lies in {folder}")


def folder_name(key: str, part: str = "") -> str:
    """A folder's name for an image: different for different keys, on file systems without case, too.

    Args:
        key: of the image.
        part: "left" or "right" of a stereo pair.
    """
    name = key.replace("%", "%25").replace("/", "%2F")
    plain = name == name.lower() and not name.endswith((".", " ")) and len(name.encode()) <= NAME_BYTES
    if not plain or _UNSAFE.search(name) or _RESERVED.fullmatch(name):
        name = f"{_UNSAFE.sub('_', name)[: NAME_BYTES // 3].rstrip('. ')}~{xxhash.xxh3_64_hexdigest(key.encode())}"
    return f"{name}%{part}" if part else name


def facts(key: str, image: CutImage, cut: CutRegion, options: TileOptions) -> dict[str, Any]:
    """What `tiles.json` says of a region; its tiles in order, not numbered yet."""
    region = cut.region
    return {
        "version": 1,
        "key": key,
        "source": image.path,
        "height": image.sides[0],
        "width": image.sides[1],
        "part": region.name,
        "region": list(region.source_rectangle),
        "reference_side": options.reference_pixels,
        "tiles": [
            {
                "box": list(region.source_box(tile)),
                "scale": tile.scale,
                "side": tile.side,
                "center": list(tile.center),
                "size": tile.size,
            }
            for tile, _ in cut.tiles
        ],
    }
