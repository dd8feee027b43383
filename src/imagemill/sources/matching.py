"""Two files that make one sample: found by name in parallel folders, or side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder
from imagemill.sources.image_files import ignored_label
from imagemill.sources.layout import divide, split_folders
from imagemill.sources.walk import File, Keys, Tally, Walker, join, path_text


class Parallel(NamedTuple):
    """Two folders whose files belong together.

    Args:
        left: folder of the images (before), relative to the source.
        right: folder of their partners (after, masks).
        above: the split folder that both lie in, or empty.
        split: the split of all that lies in them, or None.
    """

    left: bytes
    right: bytes
    above: bytes
    split: str | None


class Match(NamedTuple):
    """All files of one stem: one on each side where all is well."""

    stem: bytes
    left: list[File]
    right: list[File]


def match_stems(
    left: Iterable[File],
    right: Iterable[File],
    left_stem: Callable[[bytes], bytes],
    right_stem: Callable[[bytes], bytes],
) -> Iterator[Match]:
    """Files of the same stem, in the order of the stems; files without a partner come alone."""
    matches: dict[bytes, Match] = {}
    for file in left:
        stem = left_stem(file.name)
        matches.setdefault(stem, Match(stem, [], [])).left.append(file)
    for file in right:
        stem = right_stem(file.name)
        matches.setdefault(stem, Match(stem, [], [])).right.append(file)
    for stem in sorted(matches):
        yield matches[stem]


def find_parallel(walker: Walker, names: Sequence[tuple[str, str]]) -> list[Parallel]:
    """Parallel folders of the first pair of names that is there, at the top or else in each split folder.

    Args:
        walker: of the source.
        names: (left, right) folder names, compared without case, the preferred ones first.
    """
    top = walker.folders()
    pair = _named_pair(top, names)
    if pair:
        return [Parallel(*pair, b"", None)]
    found = []
    for folder, split in split_folders(top).items():
        pair = _named_pair(walker.folders(folder), names)
        if pair:
            found.append(Parallel(join(folder, pair[0]), join(folder, pair[1]), folder, split))
    return found


def _named_pair(folders: Iterable[bytes], names: Sequence[tuple[str, str]]) -> tuple[bytes, bytes] | None:
    by_name = {path_text(folder).lower(): folder for folder in folders}
    for left, right in names:
        # Single letters say little: beside other folders they are classes.
        if len(left) == 1 and len(by_name) > 2:
            continue
        if left.lower() in by_name and right.lower() in by_name:
            return by_name[left.lower()], by_name[right.lower()]
    return None


def given_parallel(walker: Walker, left: str, right: str) -> list[Parallel]:
    """Parallel folders that the user named, at the top or else in each split folder.

    Raises:
        ConfigError: they are nowhere; the message lists the folders that are there.
    """
    names = (_inside(left), _inside(right))
    top = walker.folders()
    found = []
    for above, split in {b"": None, **split_folders(top)}.items():
        pair = [join(above, name) for name in names]
        if all(walker.has_folder(folder) for folder in pair):
            found.append(Parallel(pair[0], pair[1], above, split))
        if found and not above:
            break
    if not found:
        there = ", ".join(path_text(folder) for folder in top[:20]) or "none"
        raise ConfigError(
            f"no folders {left!r} and {right!r} in {walker.path} or its splits; the folders there are: {there}"
        )
    return found


def _inside(folder: str) -> bytes:
    path = os.path.normpath(folder)
    if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
        raise ConfigError(f"{folder!r} must be a folder inside the source, given relative to it")
    return b"" if path == os.curdir else os.fsencode(path).replace(os.fsencode(os.sep), b"/")


def levels(
    walker: Walker, parallels: Sequence[Parallel]
) -> Iterator[tuple[Parallel, str | None, bytes, tuple[list[File], ...]]]:
    """Every folder of the parallel folders: (which, split, path below them, files of both sides).

    Split folders may also lie inside the parallel folders, `before/train`.
    """
    skip = {folder for parallel in parallels for folder in (parallel.left, parallel.right)}
    for parallel in parallels:
        inner = {} if parallel.split else split_folders(walker.folders(parallel.left))
        for level in walker.levels((parallel.left, parallel.right), skip):
            split = parallel.split or divide(level.path, inner)[0]
            yield parallel, split, level.path, level.files


def count_outside(walker: Walker, tally: Tally, parallels: Sequence[Parallel]) -> None:
    """Counts as ignored whatever lies in the source and in none of the parallel folders."""
    skip = {folder for parallel in parallels for folder in (parallel.left, parallel.right)}
    if b"" in skip:
        return
    for level in walker.levels(skip=skip):
        for file in level.files[0]:
            tally.ignore(f"{ignored_label(file.name)} outside the paired folders")


class PartnerListing:
    """Writes samples of two files into a listing, and rejects files whose partner is not there, or not one.

    Args:
        builder: with two own columns for the paths.
        tally: the account of the scan.
        columns: names of the two columns.
        missing: reason of a left file without a right one, and of a right file without a left one.
        group: from key to group.
    """

    def __init__(
        self,
        builder: ListingBuilder,
        tally: Tally,
        columns: tuple[str, str],
        missing: tuple[str, str],
        group: Callable[[str], str | None],
    ) -> None:
        self._builder = builder
        self._tally = tally
        self._columns = columns
        self._missing = missing
        self._group = group
        self._keys = Keys(tally)
        self.split_counts: dict[str, int] = {}

    def add(
        self, match: Match, *, key: str, split: str | None, folders: tuple[bytes, bytes], wanted: tuple[bytes, bytes]
    ) -> None:
        """Lists a match, or rejects it.

        Args:
            match: files of one stem.
            key: of the sample.
            split: given by the source, or None.
            folders: where the left and the right files lie, relative to the source.
            wanted: name that a missing left or right file would have.
        """
        if len(match.left) > 1 or len(match.right) > 1:
            self._reject_ambiguous(match, key, folders)
        elif not match.right:
            self._reject_missing(match.left[0], key, self._missing[0], folders[0], join(folders[1], wanted[1]))
        elif not match.left:
            self._reject_missing(match.right[0], key, self._missing[1], folders[1], join(folders[0], wanted[0]))
        else:
            self._list(match, key, split, folders)

    def _list(self, match: Match, key: str, split: str | None, folders: tuple[bytes, bytes]) -> None:
        left, right = match.left[0], match.right[0]
        paths = join(folders[0], left.name), join(folders[1], right.name)
        if not self._keys.claim(key, paths[0], files=2):
            return
        if split is not None:
            self.split_counts[split] = self.split_counts.get(split, 0) + 1
        own: Mapping[str, bytes] = dict(zip(self._columns, paths, strict=True))
        size = left.size + right.size
        self._builder.add(key=key, size=size, files=2, split=split, group=self._group(key), **own)

    def _reject_ambiguous(self, match: Match, key: str, folders: tuple[bytes, bytes]) -> None:
        at_fault = 0 if len(match.left) > 1 else 1
        candidates = (match.left, match.right)[at_fault]
        names = " and ".join(path_text(join(folders[at_fault], file.name)) for file in candidates)
        self._tally.reject(
            join(folders[at_fault], candidates[0].name),
            "duplicate-key",
            f"{names} both stand for {self._columns[at_fault]!r}: keep one",
            key=key,
            files=len(match.left) + len(match.right),
        )

    def _reject_missing(self, file: File, key: str, reason: str, folder: bytes, wanted: bytes) -> None:
        self._tally.reject(join(folder, file.name), reason, f"{path_text(wanted)} is not there", key=key)

    def remarks(self) -> str:
        """What the user should know about splits."""
        counts = ", ".join(f"{name} {self.split_counts[name]}" for name in sorted(self.split_counts))
        return f"splits given by folders: {counts}" if counts else ""


def matched_share(matches: Iterable[Match], limit: int) -> tuple[int, int]:
    """How many of the first `limit` stems have exactly one file on each side: (matched, looked at)."""
    matched = looked_at = 0
    for match in matches:
        looked_at += 1
        matched += len(match.left) == 1 and len(match.right) == 1
        if looked_at == limit:
            break
    return matched, looked_at


def folder_names(parallels: Collection[Parallel]) -> str:
    """The parallel folders as text, `train/noisy + train/clean, val/noisy + val/clean`."""
    return ", ".join(f"{path_text(parallel.left)} + {path_text(parallel.right)}" for parallel in parallels)
