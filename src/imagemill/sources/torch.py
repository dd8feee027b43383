"""Any `torch.utils.data.Dataset`, or anything with `__len__` and `__getitem__`. torch is not imported: the
dataset brought it along if it needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from imagemill.core.sample import Sample, Value
from imagemill.errors import ConfigError, SampleError
from imagemill.sources.base import ListingBuilder, Scan, Source, SourceOptions, refuse_other_options
from imagemill.sources.folder import IMAGE_FIELD
from imagemill.sources.image_files import has_image_suffix
from imagemill.sources.layout import NO_LABEL, group_finder
from imagemill.sources.torch_items import ITEMS, LABEL_NAMES, Part, field_of, parts_of, places, value_of
from imagemill.sources.value_labels import NumberedLabels
from imagemill.sources.walk import Tally, path_text, read_file

PROBED_ITEMS = 100
"""How many items are tried to find one that can be read and shows the structure of all."""

MARK = "/"
"""Between kind, field and place in the name of a listing column of nulls, which tells `read` the structure."""


class TorchSource(Source):
    """A dataset given in Python: items are an image, a tuple that begins with one, or a dict.

    The first item that can be read decides the fields; an item of another structure is a reject, and so is
    one whose reading raises. What counts as what:

    =====================================================  ==============================================
    the first image; a Pillow image of any mode, uint8     `image`; pixels are stored without loss
    (H, W[, C]), a tensor (C, H, W) of uint8 or of floats
    from 0 to 1
    a second colour image or float tensor in a tuple       `before` and `after` are the two
    another array of 2 or 3 dimensions, or a Pillow image  `mask`, every value as it is
    of mode P, L, I, 1 or F
    an int, a NumPy integer or a tensor of one             `label` (in a dict only under such a name)
    a vector, a list of numbers                            `vector`
    a str; a float                                         `text`; `number`
    =====================================================  ==============================================

    In a dict the keys name the fields. Class names come from `class_to_idx`, `classes`, `categories`, or
    Hugging Face's `features`.

    A torchvision `ImageFolder` without transforms is read file by file, untouched; its keys are relative
    paths. All other keys are the item's number, `00000042`.

    Args:
        dataset: the dataset; picklable if workers are to read it.
        options: `class_to_idx` and `group_pattern` apply.
        name: what remarks call it.

    Raises:
        ConfigError: it has no length, cannot be indexed, or is a path.
    """

    kind = "torch"

    def __init__(self, dataset: Any, options: SourceOptions | None = None, name: str = "") -> None:
        # There is no path: nothing on disk is this source.
        super().__init__(None, options or SourceOptions())  # type: ignore[arg-type]
        if isinstance(dataset, str | bytes | os.PathLike):
            raise ConfigError("a source of kind 'torch' is a Python object: imagemill.pack(dataset, OUT)")
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise ConfigError(
                f"{type(dataset).__name__} has no __len__ and __getitem__: give a map-style dataset, or list(dataset)"
            )
        self.dataset = dataset
        self.name = name or type(dataset).__name__
        self._numbers: NumberedLabels | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_numbers": None}

    def scan(self, listing_path: Path) -> Scan:
        """Looks at the first items only; see `Source.scan`.

        Raises:
            ConfigError: it is empty, none of its first items can be read, or they hold no image.
        """
        refuse_other_options(self.kind, self.options, ("class_to_idx", "group_pattern"))
        if not len(self.dataset):
            raise ConfigError(f"{self.name} has no items")
        if is_image_folder(self.dataset):
            return self._scan_files(listing_path)
        return self._scan_items(listing_path)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: "unreadable" where the dataset raises, "bad-value" where an item differs from the first.
        """
        if "path" in row:
            root, path = Path(self.dataset.root), row["path"]
            label = NO_LABEL if row["label"] is None else row["label"]
            return Sample(
                row["key"], {"image": read_file(root, path, row["key"]), "label": label}, {"image": path_text(path)}
            )
        key, index = row["key"], row["index"]
        parts = [Part(*name.split(MARK, 2)) for name in row if MARK in name]  # type: ignore[arg-type]
        try:
            item = self.dataset[index]
        except Exception as error:
            # Whatever a user's dataset raises is about this item.
            raise SampleError("unreadable", f"{type(error).__name__}: {error}", key=key, origin=key) from error
        try:
            return Sample(key, self._values(parts, item), dict(_origins(parts, key)))
        except (ValueError, TypeError, OverflowError) as error:
            raise SampleError("bad-value", str(error), key=key, origin=key) from None

    def _values(self, parts: Sequence[Part], item: Any) -> dict[str, Value]:
        if sorted(places(item)) != sorted(part.at for part in parts):
            raise ValueError(f"the item is {_shape_of(item)}, the first one was another structure")
        values = {part.field: value_of(part.kind, part.of(item)) for part in parts}
        if "label" in values:
            values["label"] = self._label(values["label"])
        return values

    def _label(self, label: Value) -> int:
        if self._numbers is None:
            self._numbers = self._new_numbers()
        if not isinstance(label, int) or not self._numbers.knows(label):
            raise ValueError(f"label {label!r} is no class of the dataset, or class_to_idx leaves it out")
        return self._numbers.label(label)

    def _new_numbers(self) -> NumberedLabels:
        return NumberedLabels(class_names_of(self.dataset), self.options.class_to_idx, complete=True)

    def _scan_files(self, listing_path: Path) -> Scan:
        tally, numbers = Tally(), self._new_numbers()
        group = group_finder(self.options.group_pattern)
        root = os.fsencode(self.dataset.root)
        with ListingBuilder(listing_path, {"path": pa.binary(), "label": pa.int64()}) as builder:
            for name, number in self.dataset.samples:
                tally.found += 1
                path = os.path.relpath(os.fsencode(name), root).replace(os.fsencode(os.sep), b"/")
                key = path_text(path)
                if not numbers.knows(number):
                    tally.reject(path, "bad-value", f"class_to_idx leaves class {number} out")
                    continue
                try:
                    size = os.stat(name).st_size
                except OSError as error:
                    tally.reject(path, "unreadable", error.strerror or str(error))
                    continue
                builder.add(key=key, size=size, group=group(key), path=path, label=numbers.label(number))
            listing = builder.finish()
        remark = f"{self.name}: image files are taken as they are, untouched"
        return tally.scan(listing, (IMAGE_FIELD, numbers.field()), (self.reason, remark, numbers.remark()))

    def _scan_items(self, listing_path: Path) -> Scan:
        parts, values, problem = self._first()
        numbers = self._new_numbers()
        targets = self._targets(parts, values)
        group = group_finder(self.options.group_pattern)
        size = sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray))
        own: dict[str, Any] = dict.fromkeys(MARK.join(part) for part in parts)
        columns = {"index": pa.int64(), **dict.fromkeys(own, pa.null())}
        columns |= {"label": pa.int64()} if targets is not None else {}
        with ListingBuilder(listing_path, columns) as builder:
            for index in range(len(self.dataset)):
                key = f"{index:08d}"
                if targets is not None:
                    known = numbers.knows(targets[index])
                    own["label"] = numbers.label(targets[index]) if known else None
                builder.add(key=key, size=size, group=group(key), index=index, **own)
            listing = builder.finish()
        fields = [field_of(part, values[part.field], numbers.field().class_names) for part in parts]
        found = ", ".join(f"{part.field} ({part.kind})" for part in parts)
        remark = f"{self.name}: {len(self.dataset)} items with {found}{problem}"
        tally = Tally(found=len(self.dataset))
        return tally.scan(listing, fields, (self.reason, remark, numbers.remark()))

    def _first(self) -> tuple[tuple[Part, ...], dict[str, Value], str]:
        """The structure of the first item that can be read, its values, and a word on those before it."""
        problem = ""
        for index in range(min(PROBED_ITEMS, len(self.dataset))):
            try:
                item = self.dataset[index]
            except Exception as error:  # noqa: BLE001 - whatever a user's dataset raises is about this item
                problem = problem or f"; item {index} raised {type(error).__name__}: {error}"
                continue
            parts = parts_of(item)
            try:
                return parts, self._values(parts, item), problem
            except ValueError as error:
                raise ConfigError(f"item {index} of {self.name} cannot be stored: {error}") from None
        raise ConfigError(f"none of the first items of {self.name} can be read{problem}. {ITEMS}")

    def _targets(self, parts: Sequence[Part], values: Mapping[str, Value]) -> list[int] | None:
        """All labels, where the dataset has them in `targets` and no transform changes them."""
        if "label" not in (part.field for part in parts) or getattr(self.dataset, "target_transform", None) is not None:
            return None
        targets = getattr(self.dataset, "targets", None)
        if targets is None or len(targets) != len(self.dataset):
            return None
        found = np.asarray(targets)
        return found.tolist() if found.ndim == 1 and found.dtype.kind in "iu" else None


def _origins(parts: Sequence[Part], key: str) -> Iterator[tuple[str, str]]:
    for part in parts:
        if part.kind in ("image", "mask"):
            yield part.field, key if part.field == "image" else f"{key}_{part.field}"


def _shape_of(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"a dict with {', '.join(map(str, item))}"
    return f"a tuple of {len(item)}" if isinstance(item, tuple | list) else f"one {type(item).__name__}"


def class_names_of(dataset: Any) -> dict[int, str] | None:
    """Label → class name, from what torchvision and Hugging Face call it; of a `Subset` that of the whole."""
    for _ in range(8):
        given = getattr(dataset, "class_to_idx", None)
        if isinstance(given, Mapping) and all(type(index) is int for index in given.values()):
            return {index: str(name) for name, index in given.items()}
        features = getattr(dataset, "features", None)
        described = features if isinstance(features, Mapping) else {}
        found = [getattr(described.get(name), "names", None) for name in LABEL_NAMES]
        for names in (getattr(dataset, "classes", None), getattr(dataset, "categories", None), *found):
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return dict(enumerate(names))
        dataset = getattr(dataset, "dataset", None)
    return None


def is_image_folder(dataset: Any) -> bool:
    """Whether this is torchvision's ImageFolder, without transforms, so that its files can be taken untouched.

    Told by its attributes, and by its first image that can be read: it must be what the file holds.
    """
    samples, root = getattr(dataset, "samples", None), getattr(dataset, "root", None)
    if not isinstance(samples, list) or root is None or len(samples) != len(dataset):
        return False
    if any(getattr(dataset, name, None) is not None for name in ("transform", "target_transform", "transforms")):
        return False
    if not hasattr(dataset, "class_to_idx") or not all(_is_file_sample(sample, str(root)) for sample in samples):
        return False
    for index, (path, label) in enumerate(samples[:PROBED_ITEMS]):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            item = dataset[index]
        except (OSError, UnidentifiedImageError, ValueError):
            continue
        is_pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Image.Image)
        return is_pair and item[1] == label and np.array_equal(np.asarray(item[0].convert("RGB")), pixels)
    return False


def _is_file_sample(sample: Any, root: str) -> bool:
    if not isinstance(sample, tuple) or len(sample) != 2 or type(sample[1]) is not int:
        return False
    path = sample[0]
    return isinstance(path, str) and path.startswith(root) and has_image_suffix(os.fsencode(path))
