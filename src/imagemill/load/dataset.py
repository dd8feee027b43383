"""`imagemill.open`: a dataset as a sequence of samples, for plain Python and for torch's DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
import numpy.typing as npt
import xxhash

from imagemill.core.imagenet import class_title
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, SampleError
from imagemill.formats.base import scalar_from_bytes
from imagemill.formats.store import Store, Verify
from imagemill.load.decode import field_modes, row_to_sample, shown_value

Returns: TypeAlias = Literal["tuple", "dict", "sample"]
Transform: TypeAlias = Callable[[Any], Any]

BLOCK = 64
"""Rows read at a time by an iteration: enough to spread the cost of a look-up, few enough to hold in memory."""


def open(
    path: str | os.PathLike[str],
    split: str | Sequence[str] | None = None,
    returns: Returns = "tuple",
    *,
    transform: Transform | None = None,
    target_transform: Transform | None = None,
    verify: Verify = "first",
    mode: str | None = None,
    cache_limit: int | str | None = None,
) -> ImageDataset:
    """Opens a split of a packed dataset as a map-style dataset.

    What `dataset[i]` is:

    ==========  =====================================================================
    "tuple"     the images, then every other field, in the schema's order: (image, label),
                (before, after), (image, mask), (image, text), …; a dataset of nothing but
                images gives the image itself, not a tuple of one
    "dict"      {field: value} of all fields
    "sample"    a `Sample`: key, origins, and files as `Encoded` bytes
    ==========  =====================================================================

    Images are upright Pillow images. Masks are Pillow images of mode L, I;16, I or F, with
    exactly the class ids that were packed, and arrays where Pillow has no mode for them.
    Labels are int (-1: no label), numbers int or float, vectors 1-D arrays, text str.

    Args:
        path: the dataset folder, or its URL (`https://…`, `s3://…`): shards come through a cache on this disk.
        split: name of a split, or several that are read as one (`["fold-1", "fold-2"]`); None where there is only one.
        returns: "tuple", "dict" or "sample".
        transform: applied to every image.
        target_transform: applied to every value that is no image.
        verify: check digests at the first read of a value in this process, always, or never.
        mode: Pillow mode of all images, "RGB", "L", …; None shows original files in RGB, resized
            images in the mode they were packed in, and raw arrays by their channels.
        cache_limit: bytes ("50GB") that cached shards of all URLs may take; None is `IMAGEMILL_CACHE_LIMIT` or 64 GB.

    Raises:
        ConfigError: no finished dataset there, no such split (the message lists them), or
            an option that cannot be.
        DamageError: the manifest cannot be read.
        RemoteError: the URL refuses or cannot be reached; also on reading.

    Example::

        dataset = imagemill.open("data/dataset", "train", transform=to_tensor)
        loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, num_workers=4)
    """
    store = Store(path, verify=verify, cache_limit=cache_limit)
    return ImageDataset(store, split, returns, transform=transform, target_transform=target_transform, mode=mode)


class ImageDataset(Sequence[Any]):
    """A split of a packed dataset, by position; made by `imagemill.open`.

    Picklable, and safe in workers that were forked, spawned or come from a fork server, and
    in threads: every process opens its own files when it first reads. A slice is a dataset
    over the same files.

    Raises, on reading:
        IndexError: no such position.
        DigestError: the stored bytes are damaged; names the sample.
        ShardError: a shard is missing or its structure is damaged.
        SampleError: the image cannot be decoded (packed with `--decode headers`); names the sample.
    """

    def __init__(
        self,
        store: Store,
        split: str | Sequence[str] | None = None,
        returns: Returns = "tuple",
        *,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        mode: str | None = None,
    ) -> None:
        if returns not in get_args(Returns):
            raise ConfigError(f"returns {returns!r} is none of {', '.join(get_args(Returns))}")
        if returns == "sample" and (transform or target_transform):
            raise ConfigError('transforms take decoded values, returns="sample" gives none: leave one of them out')
        self.store = store
        self.split = split_name(split) or only_split(store)
        self.returns: Returns = returns
        self.transform = transform
        self.target_transform = target_transform
        self.mode = mode
        self._modes = field_modes(store.manifest, mode)
        self._places = range(store.count(self.split))

    @property
    def schema(self) -> Schema:
        """Fields of every sample."""
        return self.store.schema

    @property
    def splits(self) -> dict[str, int]:
        """Samples in each split of the dataset."""
        return {name: self.store.count(name) for name in self.store.splits}

    @cached_property
    def shard_counts(self) -> tuple[int, ...]:
        """Samples of each shard that are in this dataset, in its order; what is not contiguous counts as one."""
        ends = list(accumulate(shard.count for shard in self.store.shards(self.split)))
        if self._places.step != 1:
            return (len(self),)
        bounds = [min(max(end, self._places.start), self._places.stop) for end in [0, *ends]]
        return tuple(stop - start for start, stop in pairwise(bounds) if stop > start)

    @property
    def classes(self) -> list[str]:
        """Name of class 0, 1, …, as ImageFolder has it; empty where labels are plain integers or missing."""
        labels = self.schema.of_kind("label")
        return list(labels[0].class_names or ()) if labels else []

    @property
    def class_titles(self) -> list[str]:
        """Names of classes for a person: ids of ImageNet with their names, "n01440764 tench", others as they are."""
        return [class_title(name) for name in self.classes]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name → number."""
        return {name: number for number, name in enumerate(self.classes)}

    @cached_property
    def keys(self) -> list[str]:
        """Stable key of every sample, from the indices: no image is read."""
        shards = range(len(self.store.shards(self.split)))
        columns = [self.store.index(self.split, number).column("key") for number in shards]
        every = [key for column in columns for key in column.to_pylist()]
        return every if self._places == range(len(every)) else [every[place] for place in self._places]

    @cached_property
    def targets(self) -> list[int]:
        """Label of every sample, as ImageFolder has it; images are not read.

        Raises:
            ConfigError: the dataset has no labels.
        """
        labels = self.schema.of_kind("label")
        if not labels:
            raise ConfigError(f"{self.store.folder} has no labels; its fields are {', '.join(self.schema.names)}")
        field = labels[0]
        blocks = [range(start, min(start + 4096, len(self))) for start in range(0, len(self), 4096)]
        rows = (row for block in blocks for row in self.rows(block, [field.name]))
        return [scalar_from_bytes(field, row.values[field.name]) for row in rows]

    @cached_property
    def fingerprint(self) -> int:
        """A number below 2**63 that other samples, another split or another slice would not have."""
        text = f"{self.store.manifest.to_json()}\0{self.split}\0{self._places!r}"
        return xxhash.xxh3_64_intdigest(text.encode()) >> 1

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ImageDataset: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        return self._shown(self.store.read(self.split, [self._place(index)])[0])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Samples at these positions, read together; torch's DataLoader asks for batches this way."""
        return [self._shown(row) for row in self.rows(indices)]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), BLOCK):
            yield from self.__getitems__(range(start, min(start + BLOCK, len(self))))

    def rows(self, indices: Sequence[int], fields: Sequence[str] | None = None) -> list[Row]:
        """Stored rows at these positions, digests checked, nothing decoded."""
        return self.store.read(self.split, [self._place(index) for index in indices], fields)

    def locate(
        self, indices: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard numbers and rows within them of samples at these positions, in [0, len), see `Store.locate`."""
        wanted = np.asarray(indices, np.int64)
        if len(self) < self.store.count(self.split):
            outside = wanted[(wanted < 0) | (wanted >= len(self))]
            if len(outside):
                raise IndexError(f"sample {outside[0]} of {len(self)} in split {self.split!r}")
        if self._places.start or self._places.step != 1:
            wanted = self._places.start + self._places.step * wanted
        return self.store.locate(self.split, wanted)

    def field_mode(self, field: Field) -> str:
        """The Pillow mode that images of this field are shown in."""
        return self._modes[field.name]

    def __repr__(self) -> str:
        fields = ", ".join(self.schema.names)
        return f"ImageDataset({str(self.store.folder)!r}, split={self.split!r}, samples={len(self)}, fields=({fields}))"

    def __getstate__(self) -> dict[str, Any]:
        # Lists of ten million keys are cheaper to find again than to send to every worker.
        return {name: value for name, value in self.__dict__.items() if name not in ("keys", "targets")}

    def _place(self, index: int) -> int:
        try:
            return self._places[index]
        except IndexError:
            raise IndexError(f"sample {index} of {len(self)} in split {self.split!r}") from None

    def _slice(self, index: slice) -> ImageDataset:
        view = ImageDataset(
            self.store,
            self.split,
            self.returns,
            transform=self.transform,
            target_transform=self.target_transform,
            mode=self.mode,
        )
        view._places = self._places[index]
        return view

    def _shown(self, row: Row) -> Any:
        if self.returns == "sample":
            return row_to_sample(self.schema, row)
        values = {field.name: self._value(field, row) for field in self.schema}
        return values if self.returns == "dict" else self._tuple(values)

    def _value(self, field: Field, row: Row) -> Any:
        try:
            value = shown_value(field, row.values[field.name], self._modes.get(field.name, ""))
        except SampleError as error:
            raise error.of(row.key, row.origins.get(field.name, "")) from None
        function = self.transform if field.kind == "image" else self.target_transform
        return value if function is None else function(value)

    def _tuple(self, values: Mapping[str, Any]) -> Any:
        images = [values[field.name] for field in self.schema if field.kind == "image"]
        others = [values[field.name] for field in self.schema if field.kind != "image"]
        return (*images, *others) if len(values) > 1 else (*images, *others)[0]


def split_name(split: str | Sequence[str] | None) -> str | None:
    """One name for a split or several, as `Store` takes it: `fold-1+fold-2`."""
    return split if split is None or isinstance(split, str) else "+".join(split)


def only_split(store: Store) -> str:
    """The split of a dataset that has one.

    Raises:
        ConfigError: it has several; the message lists them with their counts.
    """
    if len(store.splits) == 1:
        return store.splits[0]
    known = ", ".join(f"{name!r} ({store.count(name)})" for name in store.splits)
    raise ConfigError(f"{store.folder} has several splits, say which: {known}")
