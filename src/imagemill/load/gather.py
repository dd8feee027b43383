"""Raw arrays from the memory map straight into the batch: no row, no view, no decoder in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.core.schema import Field, Schema
from imagemill.formats.store import OpenShard
from imagemill.load.backend import put
from imagemill.load.dataset import ImageDataset
from imagemill.load.decode import mode_of_channels, plain_value, raw_array
from imagemill.load.prepare import Loaded
from imagemill.load.slots import Slots


def can_gather(schema: Schema, modes: dict[str, str]) -> bool:
    """Whether every value has a fixed size and images need no conversion."""
    images = schema.of_kind("image")
    return all(field.size_bytes for field in schema) and all(
        field.numpy_dtype == np.uint8 and modes[field.name] == mode_of_channels(field) for field in images
    )


def reserve(schema: Schema, slots: Slots) -> None:
    """Makes the image tensors at once, in the caller's thread.

    Memory that the pool's threads allocate and others free goes back to the system, and costs a
    page fault for every 4 kB when it is taken again: twice the time of the copy itself.
    """
    for field in schema.of_kind("image"):
        slots.places(field.name, _sides(field), "")


def gather(dataset: ImageDataset, ids: Sequence[int], slots: Slots, start: int) -> list[Loaded] | None:
    """Samples at these positions, images copied into `slots` from place `start` on, digests checked.

    Returns:
        One a position, as `Preparation` gives them; None where the format's layout allows no gather.

    Raises:
        DigestError: a damaged value; names the sample.
        ShardError: a missing or damaged shard.
    """
    numbers, rows = dataset.locate(ids)
    samples: list[Loaded | None] = [None] * len(ids)
    for number in np.unique(numbers).tolist():
        places = np.flatnonzero(numbers == number).tolist()
        shard = dataset.store.shard(dataset.split, number)
        values = _values(shard, rows[places].tolist(), dataset.store.verify)
        if values is None:
            return None
        keys = shard.index.strings("key", rows[places].tolist())
        for place, key, each in zip(places, keys, values, strict=True):
            samples[place] = _loaded(dataset.schema, key, ids[place], each, slots, start + place)
    return [sample for sample in samples if sample is not None]


def _values(shard: OpenShard, rows: list[int], verify: str) -> list[dict[str, memoryview]] | None:
    """The bytes of these rows, as they lie in the map."""
    values: list[dict[str, memoryview]] = [{} for _ in rows]
    for field in shard.schema:
        buffers = shard.reader.buffers(field.name)
        if buffers is None or (buffers.lengths[rows] != field.size_bytes).any():
            return None
        whole = buffers.values.data
        size_bytes = field.size_bytes or 0
        for each, first in zip(values, buffers.starts[rows].tolist(), strict=True):
            each[field.name] = whole[first : first + size_bytes]
    if verify != "never":
        shard.check(rows, values, shard.schema.names)
    return values


def _loaded(schema: Schema, key: str, index: int, values: dict[str, memoryview], slots: Slots, place: int) -> Loaded:
    others: dict[str, Any] = {}
    for field in schema:
        value = values[field.name]
        if field.kind == "image":
            pixels: npt.NDArray[np.uint8] = np.frombuffer(value, np.uint8).reshape(_sides(field))
            put(slots.places(field.name, pixels.shape, key)[place], pixels)
        elif field.kind == "mask":
            ids = raw_array(field, value)
            ids = ids[:, :, 0] if ids.ndim == 3 and ids.shape[2] == 1 else ids
            others[field.name] = np.moveaxis(ids, 2, 0) if ids.ndim == 3 else ids
        else:
            others[field.name] = plain_value(field, value)
    return Loaded(key, index, others)


def _sides(field: Field) -> tuple[int, int, int]:
    height, width, *channels = (side or 0 for side in field.shape or ())
    return height, width, channels[0] if channels else 1
