"""Images with dense masks in a parallel folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.image_files import stem_of, suffix_of
from imagemill.sources.layout import SPLITS, group_finder
from imagemill.sources.matching import (
    Match,
    Parallel,
    PartnerListing,
    count_outside,
    find_parallel,
    folder_names,
    given_parallel,
    levels,
    match_stems,
)
from imagemill.sources.walk import File, Tally, Walker, join, path_text, read_file, require_folder

MASK_FIELD = Field("mask", "mask")

MASK_NAMES = (
    ("images", "masks"),
    ("images", "labels"),
    ("images", "annotations"),
    ("imgs", "masks"),
    ("JPEGImages", "SegmentationClass"),
)
"""Names of the folders of images and masks, in any case."""

MASK_ENDINGS = (b"_masks", b"annot")
"""What the name of a mask folder adds to that of its images: `train_masks`, `trainannot`."""


class MaskSource(Source):
    """Images and their masks, matched by relative path without suffix; the key is the image's relative path.

    Folders are those of `MASK_NAMES` (at the top or in each split folder), or any `X` beside `X_masks`
    or `Xannot`, or those of the options. A mask is an image or a .npy file; it may be called `STEM_mask`.
    An image without a mask, and a mask without an image, are rejects that name the missing file.
    """

    kind = "masks"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern", "images", "masks"))
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        parallels = self._parallels(walker)
        with ListingBuilder(listing_path, {"image": pa.binary(), "mask": pa.binary()}) as builder:
            group = group_finder(self.options.group_pattern)
            listed = PartnerListing(builder, tally, ("image", "mask"), ("missing-mask", "missing-partner"), group)
            _list_masks(walker, parallels, listed)
            count_outside(walker, tally, parallels)
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(f"{self.path}: no images in {folder_names(parallels)}; {tally.found} files found")
        how = f"images with masks: {folder_names(parallels)}"
        return tally.scan(listing, (IMAGE_FIELD, MASK_FIELD), (self.reason, how, listed.remarks()))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key = row["key"]
        values = {name: read_file(self.path, row[name], key) for name in ("image", "mask")}
        return Sample(key, values, {name: path_text(row[name]) for name in ("image", "mask")})

    def _parallels(self, walker: Walker) -> list[Parallel]:
        images, masks = self.options.images, self.options.masks
        if images is not None or masks is not None:
            return given_parallel(walker, images or "images", masks or "masks")
        found = find_mask_folders(walker)
        if not found:
            names = ", ".join(f"{left} + {right}" for left, right in MASK_NAMES)
            raise ConfigError(
                f"{self.path} holds no folder of masks beside one of images: looked for {names}, "
                "X + X_masks, X + Xannot; images and masks name others"
            )
        return found


def find_mask_folders(walker: Walker) -> list[Parallel]:
    """Folders of images and masks by their usual names; empty where there are none."""
    found = find_parallel(walker, MASK_NAMES)
    if found:
        return found
    top = walker.folders()
    for folder in top:
        partner = next((folder + ending for ending in MASK_ENDINGS if folder + ending in top), None)
        if partner is not None:
            found.append(Parallel(folder, partner, b"", SPLITS.get(path_text(folder).lower())))
    return found


def mask_matches(walker: Walker, parallels: list[Parallel]) -> Iterator[tuple[Parallel, str | None, bytes, Match]]:
    """Every stem of the parallel folders: (which folders, split, path below them, files)."""
    for parallel, split, path, (left, right) in levels(walker, parallels):
        images = list(walker.images(join(parallel.left, path), left))
        masks = _masks(walker, join(parallel.right, path), right)
        stems = {stem_of(file.name) for file in images}
        for match in match_stems(images, masks, stem_of, partial(_mask_stem, image_stems=stems)):
            yield parallel, split, path, match


def _masks(walker: Walker, folder: bytes, files: Iterable[File]) -> Iterator[File]:
    for file in files:
        if suffix_of(file.name) == b".npy":
            yield file
        else:
            yield from walker.images(folder, (file,))


def _mask_stem(name: bytes, image_stems: set[bytes]) -> bytes:
    stem = name[:-4] if suffix_of(name) == b".npy" else stem_of(name)
    shorter = stem.removesuffix(b"_mask")
    return shorter if stem not in image_stems and shorter in image_stems else stem


def _list_masks(walker: Walker, parallels: list[Parallel], listed: PartnerListing) -> None:
    for parallel, split, path, match in mask_matches(walker, parallels):
        folders = (join(parallel.left, path), join(parallel.right, path))
        own = join(folders[0], match.left[0].name) if match.left else join(folders[1], match.right[0].name)
        wanted = (match.stem + b".*", match.stem + b".*")
        listed.add(match, key=path_text(own), split=split, folders=folders, wanted=wanted)
