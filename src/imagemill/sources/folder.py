"""Images in folders: class folders, split folders, or one flat pile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.core.sample import Sample, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.sources.base import ListingBuilder, Scan, Source, refuse_other_options
from imagemill.sources.layout import NO_LABEL, Labels, Layout, class_folder, group_finder, read_layout
from imagemill.sources.walk import Keys, Level, Tally, Walker, join, path_text, read_file, require_folder

IMAGE_FIELD = Field("image", "image")


class FolderSource(Source):
    """Every image below a folder; the key is its relative path.

    `train`, `val` (`valid`, `validation`, `dev`) and `test` at the top are splits (`read_layout`). If images lie in
    sub-folders, the first folder below the split is the class, as in torchvision's ImageFolder; images
    beside class folders have no label (null in the listing, -1 when read). Images without any
    sub-folder have no label field at all, and a single folder around everything is neither split nor class.
    `SourceOptions.labels` says otherwise.
    """

    kind = "folder"

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        refuse_other_options(self.kind, self.options, ("group_pattern", "class_to_idx", "labels"))
        require_folder(self.path)
        tally = Tally()
        walker = Walker(self.path, tally)
        wanted = bool(self.options.labels) or self.options.class_to_idx is not None
        layout = read_layout(_FolderTree(self.path), keep_classes=wanted)
        labels = Labels(self.options.class_to_idx) if self._has_labels(layout) else None
        columns = {"path": pa.binary()} | ({"label": labels.type} if labels else {})
        with ListingBuilder(listing_path, columns) as builder:
            listed = _Listed(builder, tally, labels, layout, self.options.group_pattern)
            for level in walker.levels():
                listed.add_level(walker, level)
            listing = builder.finish()
        if not builder.rows and not tally.rejects:
            raise ConfigError(
                f"{self.path} holds no images: {tally.found} files found, none with an image's suffix or content"
            )
        fields = (IMAGE_FIELD, labels.field()) if labels else (IMAGE_FIELD,)
        return tally.scan(listing, fields, (self.reason, *listed.remarks()))

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`."""
        key, path = row["key"], row["path"]
        values: dict[str, Value] = {"image": read_file(self.path, path, key)}
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        return Sample(key, values, {"image": path_text(path)})

    def _has_labels(self, layout: Layout) -> bool:
        if self.options.labels is False:
            if self.options.class_to_idx is not None:
                raise ConfigError("class_to_idx is given, and labels are switched off: leave one of the two away")
            return False
        if not layout.has_classes and (self.options.labels or self.options.class_to_idx is not None):
            raise ConfigError(f"{self.path}: labels are asked for, and no sub-folder holds an image to be a class")
        return layout.has_classes


class _Listed:
    """The samples of a scan in the making."""

    def __init__(
        self,
        builder: ListingBuilder,
        tally: Tally,
        labels: Labels | None,
        layout: Layout,
        group_pattern: str | None,
    ) -> None:
        self._builder = builder
        self._tally = tally
        self._labels = labels
        self._layout = layout
        self._group = group_finder(group_pattern)
        self._keys = Keys(tally)
        self._split_counts = dict.fromkeys(sorted(set(layout.splits.values())), 0)
        self._unlabelled = 0

    def add_level(self, walker: Walker, level: Level) -> None:
        """Lists the images of one folder."""
        split, inside = self._layout.divide(level.path)
        name = path_text(class_folder(inside))
        for file in walker.images(level.path, level.files[0]):
            path = join(level.path, file.name)
            key = path_text(path)
            if not self._keys.claim(key, path):
                continue
            own: dict[str, Any] = {"path": path}
            if self._labels is not None:
                if name and not self._labels.knows(name):
                    self._tally.reject(path, "bad-value", f"class {name!r} is not in class_to_idx")
                    continue
                own["label"] = self._labels.label(name) if name else None
                self._unlabelled += not name
            if split is not None:
                self._split_counts[split] += 1
            self._builder.add(key=key, size=file.size, split=split, group=self._group(key), **own)

    def remarks(self) -> tuple[str, ...]:
        """What the user should know about splits and classes."""
        splits = ", ".join(f"{name} {count}" for name, count in self._split_counts.items())
        return (
            f"splits given by folders: {splits}" if splits else "",
            self._labels.remark(self._unlabelled) if self._labels else "no class folders: no labels",
        )


class _FolderTree:
    """The folders of a source on disk; whether one holds an image is known once the first is found."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, folder: bytes) -> list[bytes]:
        """See `Tree.names`."""
        return Walker(self._path, Tally(), sizes=False).folders(folder)

    def holding(self, folder: bytes) -> Iterator[bytes]:
        """See `Tree.holding`."""
        return (name for name in self.names(folder) if any(self._images(join(folder, name))))

    def has_images(self, folder: bytes) -> bool:
        """See `Tree.has_images`."""
        return next(self._images(folder), False)

    def _images(self, folder: bytes) -> Iterator[bool]:
        """Whether images lie in a folder, then in each folder below it."""
        walker = Walker(self._path, Tally(), sizes=False)
        for level in walker.levels((folder,)):
            yield any(walker.images(join(folder, level.path), level.files[0]))
