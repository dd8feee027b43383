"""Pictures to try a model on: a file, or a folder in which some have the picture that is wanted beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.image_files import ignored_label
from imagemill.sources.layout import divide, split_folders
from imagemill.sources.matching import Match, match_stems
from imagemill.sources.pairs import marker_of, without_marker
from imagemill.sources.walk import File, Keys, Level, Tally, Walker, join, path_text, read_file, require_folder


class PlaySource(Source):
    """Pictures, each alone or with its counterpart: the layouts `play_data` and `test_these`.

    With a model that takes `before`: `NAME_before.EXT` is an input, `NAME_after.EXT` beside it what is wanted, any
    other picture an input too; a `NAME_after.EXT` alone is ignored. With one that takes `after`, the other way round.

    Args:
        path: folder.
        takes, gives: "before" and "after", or the reverse.
        only: names of the files in the folder that are meant; None is all of it, sub-folders too.
    """

    kind = "pictures"

    def __init__(self, path: Path, takes: str, gives: str, only: frozenset[bytes] | None = None) -> None:
        super().__init__(path, SourceOptions())
        self.takes = takes
        self.gives = gives
        self.only = only

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ())
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        splits = {} if self.only else split_folders(walker.folders())
        keys, pairs = Keys(tally), 0
        with ListingBuilder(listing_path, {self.takes: pa.binary(), self.gives: pa.binary()}) as builder:
            for level in self._levels(walker, tally):
                split = divide(level.path, splits)[0]
                for match in self._matches(walker, level):
                    pairs += self._list(builder, tally, keys, level.path, split, match)
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(
                f"{self.path} holds no picture for this model: it takes NAME_{self.takes}.EXT, or pictures whose names "
                f"say neither _before nor _after; {tally.found} files found"
            )
        fields = (Field(self.takes, "image"), Field(self.gives, "image"))
        remark = f"{builder.rows} pictures, {pairs} of them with the {self.gives} beside it"
        return tally.scan(listing, fields, (self.reason, remark))

    def _levels(self, walker: Walker, tally: Tally) -> Iterator[Level]:
        if self.only is None:
            yield from walker.levels()
            return
        level = next(walker.levels())
        files = [file for file in level.files[0] if file.name in self.only]
        tally.found, tally.rejects = len(files), []
        tally.ignored.clear()
        yield Level(b"", (files,))

    def _matches(self, walker: Walker, level: Level) -> Iterator[Match]:
        """Inputs (left) and wanted pictures (right) of a folder, by stem."""
        inputs: list[File] = []
        wanted: list[File] = []
        for file in walker.images(level.path, level.files[0]):
            (wanted if marker_of(file.name) == self.gives else inputs).append(file)
        return match_stems(inputs, wanted, without_marker, without_marker)

    def _list(
        self, builder: ListingBuilder, tally: Tally, keys: Keys, folder: bytes, split: str | None, match: Match
    ) -> bool:
        """Lists the inputs of one stem; whether one of them has its counterpart."""
        marked = [file for file in match.left if marker_of(file.name) == self.takes]
        paired = len(marked) == 1 and len(match.right) == 1
        for file in match.left:
            path = join(folder, file.name)
            partner = join(folder, match.right[0].name) if paired and file is marked[0] else None
            key = path_text(path)
            if keys.claim(key, path, files=1 + (partner is not None)):
                size = file.size + (match.right[0].size if partner else 0)
                own: dict[str, Any] = {self.takes: path, self.gives: partner}
                builder.add(key=key, size=size, files=1 + (partner is not None), split=split, **own)
        for file in match.right if not paired else ():
            tally.ignore(f"{ignored_label(file.name)} _{self.gives} alone")
        return paired

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`; without a value for a counterpart that is not there."""
        key = row["key"]
        there = {name: row[name] for name in (self.takes, self.gives) if row[name] is not None}
        values = {name: read_file(self.path, path, key) for name, path in there.items()}
        return Sample(key, values, {name: path_text(path) for name, path in there.items()})
