"""Images with a caption each, `NAME.txt` beside `NAME.jpg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Sample
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.image_files import ignored_label, stem_of, suffix_of
from imagemill.sources.layout import divide, group_finder, split_folders
from imagemill.sources.walk import File, Keys, Level, Tally, Walker, join, path_text, read_file, require_folder

TEXT_FIELD = Field("text", "text", codec="utf8")


class CaptionSource(Source):
    """Every image below a folder and the text beside it; the key is the image's relative path.

    The text of `NAME.txt` is field `text`, white space around it removed. Split folders give the split.
    An image without a text is a reject; a text without an image is counted as ignored; one that
    several images share (`a.jpg`, `a.png`) serves them all.
    """

    kind = "captions"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern",))
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        splits = split_folders(walker.folders())
        group = group_finder(self.options.group_pattern)
        with ListingBuilder(listing_path, {"path": pa.binary(), "caption": pa.binary()}) as builder:
            keys = Keys(tally)
            for level in walker.levels():
                _list_level(walker, tally, builder, keys, level, divide(level.path, splits)[0], group)
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(f"{self.path} holds no images: {tally.found} files found")
        return tally.scan(listing, (IMAGE_FIELD, TEXT_FIELD), (self.reason, "captions: NAME.txt beside each image"))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: "unreadable" as ever; "bad-value" where a caption is no UTF-8.
        """
        key = row["key"]
        image = read_file(self.path, row["path"], key)
        caption = bytes(read_file(self.path, row["caption"], key).data)
        try:
            text = caption.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            origin = path_text(row["caption"])
            raise SampleError("bad-value", f"the caption is no UTF-8: {error}", key=key, origin=origin) from None
        return Sample(key, {"image": image, "text": text}, {"image": path_text(row["path"])})


def captioned(
    walker: Walker, folder: bytes, files: Sequence[File]
) -> tuple[list[tuple[File, File | None]], list[File]]:
    """The images of a folder, each with its caption file if there is one, and the captions of no image."""
    texts = {file.name[:-4]: file for file in files if suffix_of(file.name) == b".txt"}
    others = [file for file in files if suffix_of(file.name) != b".txt"]
    images = [(file, texts.get(stem_of(file.name))) for file in walker.images(folder, others)]
    used = {caption.name for _, caption in images if caption}
    return images, [file for file in texts.values() if file.name not in used]


def _list_level(
    walker: Walker,
    tally: Tally,
    builder: ListingBuilder,
    keys: Keys,
    level: Level,
    split: str | None,
    group: Callable[[str], str | None],
) -> None:
    images, unused = captioned(walker, level.path, level.files[0])
    counted: set[bytes] = set()
    for file, caption in images:
        path = join(level.path, file.name)
        key = path_text(path)
        if caption is None:
            wanted = path_text(join(level.path, stem_of(file.name) + b".txt"))
            tally.reject(path, "missing-caption", f"{wanted} is not there")
            continue
        files = 1 if caption.name in counted else 2
        counted.add(caption.name)
        if keys.claim(key, path, files):
            own = {"path": path, "caption": join(level.path, caption.name)}
            size = file.size + caption.size
            builder.add(key=key, size=size, files=files, split=split, group=group(key), **own)
    for file in unused:
        tally.ignore(f"{ignored_label(file.name)} without an image")
