"""Chunked folders: tiles of one image a folder, with a reference image and the tiles' centres.

As the super-resolution family's extractor writes them, and `imagemill tile`, which adds `tiles.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imagemill.codecs.centers import Centers, decode_centers
from imagemill.core.sample import Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.layout import divide, group_finder, split_folders
from imagemill.sources.walk import File, Keys, Tally, Walker, join, path_text, read_file, require_folder

CENTERS_NAME, REFERENCE_NAME, TILES_NAME = "centers.pt", "ref.jpg", "tiles.json"

IMAGE_FIELD = Field("image", "image")
CENTER_FIELDS = (Field("center", "vector", "int32", (2,), "raw"), Field("size", "number", "int32", (), "raw"))
LOOKED_AT = 8
"""Folders, and entries in them, that are looked at before a kind is guessed."""
BOX_FIELD = Field("box", "vector", "int32", (4,), "raw")
REFERENCE_FIELD = Field("reference", "image")


class Chunk(NamedTuple):
    """What a chunked folder says of its tiles.

    Args:
        centers: tile number → ((row, column), side) in pixels of the reference; None where it has none.
        boxes: tile number → (top, left, height, width) in the source; None without `tiles.json`.
        group: the source image, None without `tiles.json`.
    """

    centers: Centers | None
    boxes: Mapping[int, tuple[int, ...]] | None
    group: str | None


class ChunkedSource(Source):
    """Every tile below a folder; the key is its relative path, the group the image it was cut from.

    Fields are `image`, and where the folders tell them `center` and `size` (pixels of the reference image) and `box`
    (top, left, height, width in the source). A file whose name contains `ref.jpg` is a reference, not a tile.
    A `centers.pt` that holds anything but integers runs nothing and is a reject, with its tiles. With the option
    `references` every tile also has the field `reference`, the reference image of its folder.
    """

    kind = "chunked"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern", "references"))
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        told = _told(self.path)
        columns = {"path": pa.binary()}
        columns |= {"center": pa.list_(pa.int32(), 2), "tile_size": pa.int32()} if told.centers else {}
        columns |= {"box": pa.list_(pa.int32(), 4)} if told.boxes else {}
        splits = split_folders(walker.folders())
        with ListingBuilder(listing_path, columns) as builder:
            listed = _Listed(self.path, builder, tally, told, group_finder(self.options.group_pattern))
            for level in walker.levels():
                listed.add(walker, level.path, level.files[0], divide(level.path, splits)[0])
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(f"{self.path} holds no tiles: {tally.found} files found, none an image")
        fields = (IMAGE_FIELD, *(CENTER_FIELDS if told.centers else ()), *((BOX_FIELD,) if told.boxes else ()))
        fields += (REFERENCE_FIELD,) if self.options.references else ()
        return tally.scan(listing, fields, (self.reason, f"{listed.folders} images cut into {builder.rows} tiles"))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key, path = row["key"], row["path"]
        values: dict[str, Any] = {"image": read_file(self.path, path, key)}
        if "center" in row:
            values |= {"center": np.asarray(row["center"], np.int32), "size": row["tile_size"]}
        if "box" in row:
            values["box"] = np.asarray(row["box"], np.int32)
        origins = {"image": path_text(path)}
        if self.options.references:
            reference = join(path.rpartition(b"/")[0], REFERENCE_NAME.encode())
            values["reference"] = read_file(self.path, reference, key)
            origins["reference"] = path_text(reference)
        return Sample(key, values, origins)


class _Told(NamedTuple):
    """What the folders of a set say of their tiles."""

    centers: bool
    boxes: bool


def _told(root: Path) -> _Told:
    """What the first folder of tiles has is expected of all."""
    for folder, _, names in os.walk(root):
        if CENTERS_NAME in names:
            return _Told(True, (Path(folder) / TILES_NAME).exists())
    return _Told(False, False)


class _Listed:
    """The tiles of a scan in the making."""

    def __init__(self, root: Path, builder: ListingBuilder, tally: Tally, told: _Told, group: Any) -> None:
        self._root = root
        self._builder = builder
        self._tally = tally
        self._told = told
        self._group = group
        self._keys = Keys(tally)
        self.folders = 0

    def add(self, walker: Walker, folder: bytes, files: Iterable[File], split: str | None) -> None:
        """Lists the tiles of one folder."""
        tiles = [file for file in walker.images(folder, files) if self._is_tile(file)]
        if not tiles:
            return
        self.folders += 1
        chunk, trouble = self._chunk(folder)
        for file in tiles:
            path = join(folder, file.name)
            key = path_text(path)
            error = trouble or missing(chunk, file.name, self._told)
            if error is not None:
                self._tally.reject(path, error.reason, error.detail)
            elif self._keys.claim(key, path):
                group = self._group(key) or chunk.group or path_text(folder)
                self._builder.add(
                    key=key, size=file.size, split=split, group=group, path=path, **self._own(chunk, file)
                )

    def _is_tile(self, file: File) -> bool:
        if REFERENCE_NAME.encode() in file.name:
            self._tally.ignore(f"reference images ({REFERENCE_NAME})")
            return False
        return True

    def _chunk(self, folder: bytes) -> tuple[Chunk, SampleError | None]:
        try:
            return read_chunk(self._root / os.fsdecode(folder)), None
        except SampleError as error:
            return Chunk(None, None, None), error

    def _own(self, chunk: Chunk, file: File) -> dict[str, Any]:
        own: dict[str, Any] = {}
        number = tile_number(file.name)
        if self._told.centers and chunk.centers is not None and number is not None:
            center, size = chunk.centers[number]
            own |= {"center": list(center), "tile_size": size}
        if self._told.boxes and chunk.boxes is not None and number is not None:
            own["box"] = list(chunk.boxes[number])
        return own


def missing(chunk: Chunk, name: bytes, told: tuple[bool, bool]) -> SampleError | None:
    """What a tile lacks that the other folders of its set tell."""
    number = tile_number(name)
    if told[0] and (chunk.centers is None or number not in chunk.centers):
        return SampleError("bad-value", f"no centre of this tile in {CENTERS_NAME}, which other folders have")
    if told[1] and (chunk.boxes is None or number not in chunk.boxes):
        return SampleError("bad-value", f"no box of this tile in {TILES_NAME}, which other folders have")
    return None


def tile_number(name: bytes) -> int | None:
    """The number that a tile's name is, None where it is none."""
    stem = name.partition(b".")[0]
    return int(stem) if stem.isdigit() else None


def read_chunk(folder: Path) -> Chunk:
    """What `centers.pt` and `tiles.json` of a folder say.

    Raises:
        SampleError: one of them cannot be read, or holds what it must not.
    """
    try:
        content = (folder / CENTERS_NAME).read_bytes()
    except FileNotFoundError:
        centers = None
    except OSError as error:
        raise SampleError("unreadable", f"{CENTERS_NAME}: {error.strerror}") from None
    else:
        centers = decode_centers(content)
    about = _about(folder / TILES_NAME)
    if about is None:
        return Chunk(centers, None, None)
    boxes = {int(number): tuple(tile["box"]) for number, tile in about["tiles"].items()}
    return Chunk(centers, boxes, about["key"])


def _about(path: Path) -> dict[str, Any] | None:
    try:
        about = json.loads(path.read_bytes())
        if all(len(tile["box"]) == 4 for tile in about["tiles"].values()) and isinstance(about["key"], str):
            return dict(about)
        problem = "a tile without a box of 4 numbers"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = str(error)
    raise SampleError("corrupt", f"{TILES_NAME} cannot be read: {problem}")


def is_chunked(root: Path, folders: Sequence[bytes]) -> bool:
    """Whether a folder is chunked: one of its first sub-folders (or of its splits') has centres, or a reference.

    Args:
        folders: names of the sub-folders at the top, sorted.
    """
    try:
        return any(_looks_chunked(path) for path in _first_folders(root, folders))
    except OSError:
        return False


def _first_folders(root: Path, folders: Sequence[bytes]) -> Iterator[Path]:
    splits = split_folders(folders)
    for folder in folders[:LOOKED_AT]:
        path = root / os.fsdecode(folder)
        if folder in splits:
            with os.scandir(path) as entries:
                yield from (Path(entry.path) for entry in islice(entries, LOOKED_AT) if entry.is_dir())
        else:
            yield path


def _looks_chunked(folder: Path) -> bool:
    if (folder / CENTERS_NAME).is_file():
        return True
    if not (folder / REFERENCE_NAME).is_file():
        return False
    with os.scandir(folder) as entries:
        return any(tile_number(os.fsencode(entry.name)) is not None for entry in islice(entries, LOOKED_AT))
