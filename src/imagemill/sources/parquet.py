"""Parquet files that hold the images themselves, as Hugging Face's `datasets` writes them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.core.sample import Encoded, Sample, Value
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.handles import Handles
from imagemill.sources.layout import NO_LABEL
from imagemill.sources.parquet_files import READ_ERRORS, OpenKey, OpenParquet, open_parquet
from imagemill.sources.parquet_scan import ROLE, Scanner
from imagemill.sources.walk import join, path_text, read_file


class ParquetSource(Source):
    """A Parquet file with images in it, or a folder of such files of one schema.

    Images are columns of `struct<bytes, path>` or of bytes; where `bytes` is null, the file at `path`
    is taken, if it lies beside or below the Parquet file. `image` is the first of them, or the one that
    `path_column` names; columns called `before` and `after` keep these names; one called `mask`,
    `label`, `annotation`, … (or `mask_column`) is the mask. The label is `label_column`, or an integer or
    text column called `label` or `class`, or the first with class names; class names come from the
    description that `datasets` stores. Text, numbers and lists of numbers become fields of their own.
    A null label is -1, a null number NaN, a null text empty (a null caption rejects the sample).

    The split is `split_column`, a column `split`, or the file's name (`train-00000-of-00002.parquet`).
    Keys are a text column `key` or `__key__` if no two are equal, else file and row
    (`data/train-00000-of-00002/00000017`). Rows are read a row group at a time.
    """

    kind = "parquet"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._open: Handles[OpenKey, OpenParquet] = Handles(open_parquet, keep=2)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`: labels, splits and lengths of vectors are read, images are not."""
        columns = [f"{part}_column" for part in ("path", "label", "caption", "vector", "mask", "split", "group")]
        refuse_other_options(self.kind, self.options, (*columns, "group_pattern", "class_to_idx", "labels"))
        if self.options.group_column is not None and self.options.group_pattern is not None:
            raise ConfigError("group_column and group_pattern both say what a group is: give one of them")
        return Scanner(self.path, self.root, self.options).scan(listing_path, self.reason)

    @property
    def root(self) -> Path:
        """The folder that files are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: "unreadable"; "missing-file", "missing-mask", "missing-caption" where a value is null.
        """
        key, file = row["key"], row["file"]
        roles = [name.split(ROLE, 2) for name in row if ROLE in name]
        wanted = OpenKey(os.path.join(os.fsencode(self.root), file), tuple(column for _, _, column in roles))
        try:
            stored = self._open.get(wanted).row(row["row"])
        except READ_ERRORS as error:
            raise SampleError("unreadable", str(error), key=key, origin=path_text(file)) from None
        values: dict[str, Value] = {}
        origins: dict[str, str] = {}
        for kind, name, column in roles:
            if kind in ("image", "mask"):
                values[name], origins[name] = self._picture(row, kind, name, stored[column])
            else:
                values[name] = _plain(kind, name, stored[column], key, path_text(file))
        if "label" in row:
            values["label"] = NO_LABEL if row["label"] is None else row["label"]
        return Sample(key, values, origins)

    def _picture(self, row: Mapping[str, Any], kind: str, field: str, stored: Any) -> tuple[Value, str]:
        struct = stored if isinstance(stored, dict) else {"bytes": stored}
        content, name = struct.get("bytes"), struct.get("path") or ""
        suffix = posixpath.splitext(name)[1]
        word = "" if field == "image" else f"_{field}"
        origin = f"{path_text(row['file'])}/{row['row']:08d}{word}{suffix if len(suffix) < 8 else ''}"
        if content is not None:
            return Encoded(content), origin
        path = os.fsencode(posixpath.normpath(name))
        if not name or posixpath.isabs(name) or path.startswith(b".."):
            reason = "missing-file" if kind == "image" else "missing-mask"
            detail = f"{field} has no bytes, and its path {name!r} lies not beside the Parquet file"
            raise SampleError(reason, detail, key=row["key"], origin=origin)
        path = join(row["file"].rpartition(b"/")[0], path)
        if not os.path.exists(os.path.join(os.fsencode(self.root), path)):
            detail = f"{field} has no bytes, and the file that it names is not there"
            raise SampleError("missing-file", detail, key=row["key"], origin=path_text(path))
        return read_file(self.root, path, row["key"]), path_text(path)


def _plain(kind: str, name: str, value: Any, key: str, origin: str) -> Value:
    if value is None:
        if kind == "text" and name == "text":
            raise SampleError("missing-caption", "the caption is null", key=key, origin=origin)
        if kind == "vector":
            raise SampleError("bad-value", f"{name} is null", key=key, origin=origin)
        return "" if kind == "text" else NO_LABEL if kind == "classes" else float("nan")
    if kind == "vector":
        return np.asarray(value)
    return int(value) if isinstance(value, bool) else value
