"""Pairs of images, before and after: by name in one folder, or in two parallel folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.image_files import ignored_label, stem_of, suffix_of
from imagemill.sources.layout import divide, group_finder, split_folders
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

PAIR_FIELDS = (Field("before", "image"), Field("after", "image"))

PARALLEL_NAMES = (
    ("before", "after"),
    ("noisy", "clean"),
    ("input", "target"),
    ("lq", "hq"),
    ("A", "B"),
    ("source", "target"),
)
"""Names of parallel folders, in any case; A and B only where no other folder lies beside them."""

_MARKED = re.compile(rb"(.+)_(before|after)", re.IGNORECASE | re.DOTALL)


class PairSource(Source):
    """Images `before` and `after`; the key is the relative path without what tells the two apart.

    By name: `STEM_before.EXT` and `STEM_after.EXT` in the same folder; only the end of the stem counts,
    and the two suffixes may differ. In parallel folders (`PARALLEL_NAMES`, or those of the options), at
    the top or in each split folder: the same relative path, whatever the suffix, a trailing `_before` or
    `_after` aside. Split folders give the split. An image without its partner is a reject that names
    the missing file; two files that claim the same side are one, too.
    """

    kind = "pairs"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern", "before", "after"))
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        parallels = self._parallels(walker)
        with ListingBuilder(listing_path, {"before": pa.binary(), "after": pa.binary()}) as builder:
            group = group_finder(self.options.group_pattern)
            listed = PartnerListing(builder, tally, ("before", "after"), ("missing-partner", "missing-partner"), group)
            if parallels:
                _list_parallel(walker, parallels, listed)
                count_outside(walker, tally, parallels)
            else:
                _list_by_name(walker, tally, listed)
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(
                f"{self.path} holds no pairs: neither images NAME_before.EXT and NAME_after.EXT, nor two parallel "
                f"folders such as before and after (before and after name others); {tally.found} files found"
            )
        how = (
            f"pairs in parallel folders: {folder_names(parallels)}"
            if parallels
            else "pairs by name, _before and _after"
        )
        return tally.scan(listing, PAIR_FIELDS, (self.reason, how, listed.remarks()))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key = row["key"]
        values = {name: read_file(self.path, row[name], key) for name in ("before", "after")}
        return Sample(key, values, {name: path_text(row[name]) for name in ("before", "after")})

    @property
    def parallel(self) -> bool:
        """Whether the pairs are told by their folders, and not by their names."""
        return bool(self._parallels(Walker(self.path, Tally(), sizes=False)))

    def _parallels(self, walker: Walker) -> list[Parallel]:
        before, after = self.options.before, self.options.after
        if before is None and after is None:
            return find_parallel(walker, PARALLEL_NAMES)
        if before is None or after is None:
            raise ConfigError(f"before and after go together: before is {before!r}, after is {after!r}")
        return given_parallel(walker, before, after)


def marker_of(name: bytes) -> str | None:
    """Which half of a pair a file name says it is: "before", "after" or None."""
    match = _MARKED.fullmatch(stem_of(name))
    return match[2].lower().decode() if match else None


def without_marker(name: bytes) -> bytes:
    """A file name without suffix, and without `_before` or `_after` at its end."""
    stem = stem_of(name)
    match = _MARKED.fullmatch(stem)
    return match[1] if match else stem


def _list_by_name(walker: Walker, tally: Tally, listed: PartnerListing) -> None:
    splits = split_folders(walker.folders())
    for level in walker.levels():
        halves: dict[str | None, list[File]] = {"before": [], "after": [], None: []}
        for file in walker.images(level.path, level.files[0]):
            halves[marker_of(file.name)].append(file)
        for file in halves[None]:
            tally.ignore(f"{ignored_label(file.name)} without _before or _after")
        split = divide(level.path, splits)[0]
        for match in match_stems(halves["before"], halves["after"], without_marker, without_marker):
            suffix = suffix_of((match.left or match.right)[0].name)
            wanted = (match.stem + b"_before" + suffix, match.stem + b"_after" + suffix)
            key = path_text(join(level.path, match.stem))
            listed.add(match, key=key, split=split, folders=(level.path, level.path), wanted=wanted)


def _list_parallel(walker: Walker, parallels: list[Parallel], listed: PartnerListing) -> None:
    for parallel, split, path, match in parallel_matches(walker, parallels):
        folders = (join(parallel.left, path), join(parallel.right, path))
        name = (match.left or match.right)[0].name
        key = path_text(join(parallel.above, path, match.stem))
        listed.add(match, key=key, split=split, folders=folders, wanted=(name, name))


def parallel_matches(walker: Walker, parallels: list[Parallel]) -> Iterator[tuple[Parallel, str | None, bytes, Match]]:
    """Every stem of the parallel folders: (which folders, split, path below them, files)."""
    for parallel, split, path, (left, right) in levels(walker, parallels):
        before = list(walker.images(join(parallel.left, path), left))
        after = list(walker.images(join(parallel.right, path), right))
        same = {stem_of(file.name) for file in before} & {stem_of(file.name) for file in after}
        stem = partial(_parallel_stem, same=same)
        for match in match_stems(before, after, stem, stem):
            yield parallel, split, path, match


def _parallel_stem(name: bytes, same: set[bytes]) -> bytes:
    return stem_of(name) if stem_of(name) in same else without_marker(name)
