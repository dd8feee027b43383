"""What hpc_pytorch_loader wrote: memmap, HDF5, Parquet (both versions), tar, Arrow IPC, and dense labels.

```
OLD/
  images/images_0.npy, images_1.npy, …      .h5, .parquet (which may be Arrow IPC), .tar
  labels/labels_0.npy, …                    .json beside .tar
  metadata/metadata.json                    {num_images_per_array, len, …, [mode, shape]}
  metadata/class_to_integer_mapping.json    not always there
```

Of the metadata, `len`, `num_images_per_array`, `mode` and `shape` are used; `total_num_arrays` is often wrong.
Files beyond those that `len` needs are left over from an earlier conversion: ignored, with a remark.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.core.sample import Encoded, Reject, Sample, Value
from imagemill.core.schema import Field
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.handles import Handles
from imagemill.sources.hpc_files import OPEN_ERRORS, Part, PartFile, PartKey, open_part
from imagemill.sources.layout import group_finder
from imagemill.sources.value_labels import NumberedLabels

CHANNELS = {"1": 1, "L": 1, "P": 1, "I": 1, "F": 1, "RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3, "RGBA": 4, "CMYK": 4}
"""Image mode in metadata.json → channels of the stored arrays; one channel has no axis of its own."""

PART_NAME = re.compile(r"(images|labels)_([0-9]+)(\.\w+)")


@dataclass(frozen=True)
class Metadata:
    """What metadata.json says and can be believed.

    Args:
        total: images in all files.
        per_file: images in every file but the last.
        image_shape: (H, W) or (H, W, C) of bare arrays, None where the images are encoded.
        mode: image mode of arrays.
    """

    total: int
    per_file: int
    image_shape: tuple[int, ...] | None
    mode: str | None

    @property
    def files(self) -> int:
        """How many files `total` needs."""
        return -(-self.total // self.per_file)

    def rows(self, number: int) -> int:
        """How many images file `number` should have."""
        return min(self.per_file, self.total - number * self.per_file)

    @classmethod
    def load(cls, folder: Path) -> Metadata:
        """Reads metadata/metadata.json below `folder`.

        Raises:
            ConfigError: it is missing or is not what hpc_pytorch_loader writes.
        """
        path = folder / "metadata" / "metadata.json"
        try:
            record = json.loads(path.read_bytes())
            total, per_file = int(record["len"]), int(record["num_images_per_array"])
            mode, shape = record.get("mode"), record.get("shape")
            channels = CHANNELS[mode] if shape else 1
            sides = tuple(int(side) for side in shape[:2]) if shape else ()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is not the metadata of a data set that hpc_pytorch_loader wrote ({error!r}); it needs "
                f"len and num_images_per_array, and for arrays shape and mode (one of {', '.join(CHANNELS)})"
            ) from None
        if total < 1 or per_file < 1 or any(side < 1 for side in sides):
            raise ConfigError(f"{path}: len {total}, num_images_per_array {per_file}, shape {shape}: nothing to read")
        image_shape = (*sides, channels) if channels > 1 else sides
        return cls(total, per_file, image_shape or None, mode)


@dataclass
class PartNames:
    """What lies in `images/` or in `labels/`.

    Args:
        names: number → file name, of the numbers that are needed.
        surplus: names of numbered files beyond those.
        others: names of all other entries.
    """

    names: dict[int, str] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_part(folder: Path, part: Part, files: int) -> PartNames:
    """Sorts the entries of one of the two folders.

    Raises:
        ConfigError: the folder cannot be read, or two formats lie side by side in it.
    """
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be read: {error.strerror}; hpc_pytorch_loader keeps its {part} there"
        ) from None
    found = PartNames()
    for name in entries:
        match = PART_NAME.fullmatch(name)
        if match is None or match[1] != part:
            found.others.append(name)
        elif int(match[2]) >= files:
            found.surplus.append(name)
        elif int(match[2]) in found.names:
            raise ConfigError(
                f"{folder} holds {found.names[int(match[2])]} and {name}: two conversions into one folder; "
                "copy the files of one format to a folder of their own, with metadata/, and read that"
            )
        else:
            found.names[int(match[2])] = name
    return found


def load_class_names(folder: Path) -> dict[int, str] | None:
    """Integer → class name from class_to_integer_mapping.json, None where there is no such file.

    Both ways round are read: {name: index} of a class_to_idx, {index: name} of `categories`.

    Raises:
        ConfigError: the file is neither.
    """
    path = folder / "metadata" / "class_to_integer_mapping.json"
    try:
        record = json.loads(path.read_bytes())
        if all(type(index) is int for index in record.values()):
            return {index: name for name, index in record.items()}
        return {int(index): str(name) for index, name in record.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read as class names: {error}") from None


class HpcSource(Source):
    """A folder that hpc_pytorch_loader wrote.

    Fields are `image`, and `label` or (dense labels) `mask`. Arrays come as (H, W, C) uint8, grey
    ones as (H, W, 1), masks as they are stored. Encoded images come byte for byte. Keys are
    `images_0/00003`: file and row.
    """

    kind = "hpc"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._parts: Handles[PartKey, PartFile] = Handles(open_part)
        self._image_shape: tuple[int, ...] | None = None

    def scan(self, listing_path: Path) -> Scan:
        """Opens every file once; reads labels and lengths, no pixels.

        Raises:
            ConfigError: the folder is not what hpc_pytorch_loader writes, or nothing in it can be read.
        """
        refuse_other_options(self.kind, self.options, ("class_to_idx", "group_pattern"))
        try:
            return _Scanner(self.path, self.options, self._parts).scan(listing_path)
        finally:
            self._parts.close()

    def read(self, row: Mapping[str, Any]) -> Sample:
        """The sample of one listing row.

        Raises:
            SampleError: "unreadable" or "truncated".
        """
        key, number = row["key"], row["row"]
        origins = {"image": f"images/{row['file']}/{number:05d}"}
        try:
            if self._image_shape is None:
                self._image_shape = Metadata.load(self.path).image_shape or ()
            shape = self._image_shape or None
            images = self._parts.get(PartKey(self.path / "images" / row["file"], "images", shape))
            values: dict[str, Value] = {"image": _picture(images.value(number), channels_axis=True)}
            if "mask_file" in row:
                origins["mask"] = f"labels/{row['mask_file']}/{number:05d}"
                masks = self._parts.get(PartKey(self.path / "labels" / row["mask_file"], "labels", shape, len(images)))
                values["mask"] = _picture(masks.value(number), channels_axis=False)
            else:
                values["label"] = row["label"]
        except SampleError as error:
            raise error.of(key, origins["image"]) from None
        except (ConfigError, *OPEN_ERRORS) as error:
            raise SampleError("unreadable", str(error), key=key, origin=origins["image"]) from None
        return Sample(key, values, origins)


def _picture(value: Any, *, channels_axis: bool) -> Value:
    if isinstance(value, bytes):
        return Encoded(value)
    array = np.asarray(value)
    return array[:, :, None] if channels_axis and array.ndim == 2 else array


class _BadFileError(Exception):
    """One of a pair of files cannot be used."""

    def __init__(self, path: str, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.path = path
        self.reason = reason


class _Scanner:
    """One scan in the making."""

    def __init__(self, path: Path, options: SourceOptions, parts: Handles[PartKey, PartFile]) -> None:
        self._path = path
        self._parts = parts
        self._metadata = Metadata.load(path)
        self._images = list_part(path / "images", "images", self._metadata.files)
        self._labels = list_part(path / "labels", "labels", self._metadata.files)
        self._numbers = NumberedLabels(load_class_names(path), options.class_to_idx)
        self._group = group_finder(options.group_pattern)
        self._rejects: list[Reject] = []
        self._surplus_rows = 0

    def scan(self, listing_path: Path) -> Scan:
        """The whole scan."""
        first_images, first_labels = self._first()
        self._image_shape, self._mask_shape = first_images.shape, first_labels.shape
        self._layout = first_images.layout
        self._dense = self._mask_shape != ()
        columns = {"file": pa.string(), "row": pa.int32()}
        columns |= {"mask_file": pa.string()} if self._dense else {"label": pa.int64()}
        with ListingBuilder(listing_path, columns) as builder:
            for number in range(self._metadata.files):
                self._add_file(builder, number)
            listing = builder.finish()
        ignored = self._ignored()
        found = self._metadata.total + sum(ignored.values())
        return Scan(listing, self._fields(), tuple(self._rejects), ignored, found, self._remarks())

    def _first(self) -> tuple[PartFile, PartFile]:
        """The first pair of files that opens: it says what kind of data set this is."""
        problem = ""
        for number in range(self._metadata.files):
            try:
                return self._pair(number)
            except _BadFileError as error:
                problem = problem or f"; {error.path}: {error}"
        raise ConfigError(f"{self._path}: none of the {self._metadata.files} files can be read{problem}")

    def _pair(self, number: int) -> tuple[PartFile, PartFile]:
        images = self._open("images", self._images, number, None)
        if images.shape is not None and len(images.shape) not in (2, 3):
            path = f"images/{self._images.names[number]}"
            raise _BadFileError(path, "bad-value", f"values of shape {images.shape} are no images")
        labels = self._open("labels", self._labels, number, len(images))
        return images, labels

    def _open(self, part: Part, found: PartNames, number: int, rows: int | None) -> PartFile:
        name = found.names.get(number)
        if name is None:
            raise _BadFileError(
                f"{part}/{part}_{number}", "missing-file", "metadata.json counts it, and it is not there"
            )
        try:
            return self._parts.get(PartKey(self._path / part / name, part, self._metadata.image_shape, rows))
        except OPEN_ERRORS as error:
            raise _BadFileError(f"{part}/{name}", "corrupt", f"the file cannot be opened: {error}") from None

    def _add_file(self, builder: ListingBuilder, number: int) -> None:
        expected = self._metadata.rows(number)
        try:
            images, labels = self._pair(number)
            self._check_shapes(number, images, labels)
            values = [] if self._dense else labels.values()
        except _BadFileError as error:
            for row in range(expected):
                self._reject(number, row, error.path, error.reason, str(error))
            return
        except OPEN_ERRORS as error:
            for row in range(expected):
                self._reject(number, row, f"labels/{self._labels.names[number]}", "corrupt", str(error))
            return
        rows = min(len(images), len(labels), expected)
        self._surplus_rows += max(len(images) - expected, 0)
        sizes = images.sizes()
        for row in range(rows):
            self._add_row(builder, number, row, sizes[row], values)
        for row in range(rows, expected):
            part, short = ("images", images) if len(images) <= row else ("labels", labels)
            name = (self._images if part == "images" else self._labels).names[number]
            self._reject(number, row, f"{part}/{name}", "missing-file", f"the file ends after {len(short)} {part}")

    def _check_shapes(self, number: int, images: PartFile, labels: PartFile) -> None:
        for part, file, shape, found in (
            ("images", images, self._image_shape, self._images),
            ("labels", labels, self._mask_shape, self._labels),
        ):
            if file.shape != shape:
                detail = f"values of shape {file.shape}, those of the first file have {shape}"
                raise _BadFileError(f"{part}/{found.names[number]}", "bad-value", detail)

    def _add_row(self, builder: ListingBuilder, number: int, row: int, size: int, labels: list[Any]) -> None:
        key = f"images_{number}/{row:05d}"
        own: dict[str, Any] = {"file": self._images.names[number], "row": row}
        if self._dense:
            own["mask_file"] = self._labels.names[number]
        else:
            if type(labels[row]) is not int or not self._numbers.knows(labels[row]):
                detail = f"label {labels[row]!r} is no integer, or class_to_idx leaves its class out"
                self._reject(number, row, f"labels/{self._labels.names[number]}", "bad-value", detail)
                return
            own["label"] = self._numbers.label(labels[row])
        builder.add(key=key, size=size, group=self._group(key), **own)

    def _reject(self, number: int, row: int, path: str, reason: str, detail: str) -> None:
        self._rejects.append(Reject(f"images_{number}/{row:05d}", path, reason, detail))

    def _ignored(self) -> dict[str, int]:
        surplus, others = "left over from an earlier conversion", "no file of hpc_pytorch_loader"
        counts = Counter({"surplus rows": self._surplus_rows})
        for found in (self._images, self._labels):
            counts.update({surplus: len(found.surplus), others: len(found.others)})
        return {label: count for label, count in sorted(counts.items()) if count}

    def _fields(self) -> tuple[Field, ...]:
        image = Field("image", "image")
        if self._image_shape is not None:
            shape = self._image_shape if len(self._image_shape) == 3 else (*self._image_shape, 1)
            image = Field("image", "image", shape=shape, codec="raw")
        if not self._dense:
            return image, self._numbers.field()
        if self._mask_shape is None:
            return image, Field("mask", "mask")
        return image, Field("mask", "mask", shape=self._mask_shape, codec="raw")

    def _remarks(self) -> tuple[str, ...]:
        metadata = self._metadata
        remarks = [f"written by hpc_pytorch_loader, {self._layout}: {metadata.total} images in {metadata.files} files"]
        left_over = [*self._images.surplus, *self._labels.surplus]
        if left_over:
            remarks.append(
                f"ignored {', '.join(left_over[:4])}{', …' if len(left_over) > 4 else ''}: metadata.json counts "
                f"{metadata.total} images, so these are left over from an earlier conversion"
            )
        if self._surplus_rows:
            remarks.append(f"ignored {self._surplus_rows} rows beyond those that metadata.json counts")
        if self._image_shape is not None and metadata.mode not in ("RGB", "L", None):
            remarks.append(
                f"the arrays were made in mode {metadata.mode}: their numbers are kept as they are, and from here on "
                "mean grey (1 channel), RGB (3) or RGBA (4)"
            )
        remarks.append("" if self._dense else self._numbers.remark())
        return tuple(remark for remark in remarks if remark)
