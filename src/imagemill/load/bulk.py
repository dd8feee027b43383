"""Whole batches by the native core: one call finds, checks, draws, decodes and places all samples.

What it cannot do, it hands back: single samples that are no JPEG in perfect order or are damaged, and whole batches
where shards or sizes are not as it needs them. `feed.py` sends these the way of single samples, which says what is
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.codecs.colour_map import known_profiles
from imagemill.core.sample import Array
from imagemill.core.schema import Field
from imagemill.errors import DamageError
from imagemill.formats.store import OpenShard
from imagemill.load.dataset import ImageDataset
from imagemill.load.decode import mode_of_channels, raw_array
from imagemill.load.slots import Slots
from imagemill.native.samples import FIELD, FieldKind, Request, Team, bytes_at, texts_at
from imagemill.transforms.pipeline import Pipeline
from imagemill.transforms.program import says_size, size_after, steps_of
from imagemill.transforms.view import Sides

IntArray = npt.NDArray[np.int64]

_MODES = {"L": 1, "RGB": 3}
"""Modes of image files that the core decodes, and their channels."""


@dataclass(frozen=True)
class Made:
    """A batch as columns.

    Args:
        columns: values of every field that is no image, one a sample.
        keys: of the samples.
        left: places of the samples that were not made; what stands there means nothing.
    """

    columns: dict[str, list[Any] | Array]
    keys: list[str]
    left: list[int]


class Bulk:
    """How batches of a dataset are made by the core. Stateless, safe in threads, picklable.

    Args:
        dataset: what samples come from.
        fields: of `FIELD`, one a field of the schema and one for the keys; `out` is open.
        shapes: (H, W, C) of every image field in the batch.
        steps: what is drawn for every sample.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        fields: npt.NDArray[Any],
        shapes: dict[str, tuple[int, int, int]],
        steps: npt.NDArray[Any],
    ) -> None:
        self._dataset = dataset
        self._fields = fields
        self._shapes = shapes
        self._steps = steps

    def __call__(self, team: Team, ids: IntArray, names: IntArray, epoch_state: int, slots: Slots) -> Made | None:
        """Samples at these positions, images in `slots`.

        Args:
            ids: positions in the dataset.
            names: what tells the samples' random streams from others of the epoch.
            epoch_state: state of these streams before the name.

        Returns:
            None where this batch cannot be made like this.
        """
        shards, numbers, rows = self._located(ids)
        if shards is None:
            return None
        outputs = self._outputs(slots)
        fields = self._fields.copy()
        fields["out"] = [each if isinstance(each, int) else native.address(each) for each in outputs]
        fields["channels_last"] = slots.channels_last
        columns = np.stack([shard.columns.addresses for shard in shards if shard.columns])
        request = Request(
            *(rows, numbers, names, epoch_state, columns, fields, self._steps),
            *(self._dataset.store.verify, known_profiles()),
        )
        statuses = team.load(request)
        left: list[int] = []
        if statuses.any():
            if (statuses == native.Status.ELSEWHERE).any():
                return None
            left = np.flatnonzero(statuses).tolist()
        return self._made(outputs, left)

    def _located(self, ids: IntArray) -> tuple[list[OpenShard] | None, npt.NDArray[np.int32], IntArray]:
        """The shards in question, or None without columns; each sample's shard by its place among them; and its row."""
        numbers, rows = self._dataset.locate(ids)
        unique = sorted(set(numbers.tolist()))  # a fifth of the time of np.unique
        places = np.searchsorted(np.array(unique), numbers).astype(np.int32)
        try:
            shards = self._dataset.store.opened(self._dataset.split, unique)
        except DamageError:
            return None, places, rows  # which samples that concerns is asked one by one
        return None if None in [shard.columns for shard in shards] else shards, places, rows

    def _outputs(self, slots: Slots) -> list[int | Array]:
        """Addresses of images in `slots`, arrays for everything else."""
        outputs: list[int | Array] = []
        for field in self._dataset.schema:
            if field.kind == "image":
                slots.places(field.name, self._shapes[field.name], "")
                outputs.append(slots.tensors[field.name].data_ptr())
            elif field.size_bytes is not None:
                outputs.append(np.empty((slots.count, field.size_bytes), np.uint8))
            else:
                outputs.append(np.empty((slots.count, 2), np.int64))
        outputs.append(np.empty((slots.count, 2), np.int64))
        return outputs

    def _made(self, outputs: Sequence[int | Array], left: list[int]) -> Made:
        columns: dict[str, list[Any] | Array] = {}
        for field, output in zip(self._dataset.schema, outputs, strict=False):
            if not isinstance(output, int):
                columns[field.name] = _column(field, output, left)
        keys = outputs[-1]
        assert not isinstance(keys, int)
        return Made(columns, _texts(keys, left), left)


def plan_bulk(dataset: ImageDataset, modes: dict[str, str], pipeline: Pipeline) -> Bulk | None:
    """How to make batches of a dataset by the core alone; None where there is no core, or it cannot."""
    schema = dataset.schema
    images = schema.of_kind("image")
    channels = {image.name: _channels(image, modes[image.name]) for image in images}
    if not native.available() or pipeline.others or not all(channels.values()):
        return None
    if pipeline.geometry and (not images or schema.of_kind("mask")):
        return None
    steps = steps_of(pipeline.geometry, min(channels.values(), default=1))
    shapes = _shapes(images, channels, pipeline)
    if steps is None or shapes is None or any(field.kind == "mask" and not field.size_bytes for field in schema):
        return None
    fields = np.zeros(len(schema) + 1, FIELD)
    for place, field in enumerate(schema):
        fields[place]["kind"] = _kind(field)
        fields[place]["size_bytes"] = field.size_bytes or 0
        if field.kind == "image":
            height, width, number = shapes[field.name]
            fields[place]["channels"], fields[place]["sides"] = number, (height, width)
            fields[place]["raw_sides"] = _raw_sides(field) or (0, 0)
            fields[place]["size_bytes"] = height * width * number
    fields[-1]["kind"] = FieldKind.PLACE
    return Bulk(dataset, fields, shapes, steps)


def _channels(image: Field, mode: str) -> int:
    """Channels of an image field in the batch; 0 where the core cannot make them."""
    if image.storage == "bytes":
        return _MODES.get(mode, 0)
    if image.numpy_dtype != np.uint8 or mode != mode_of_channels(image):
        return 0
    shape = image.shape or ()
    return shape[2] or 0 if len(shape) == 3 else 1


def _shapes(
    images: Sequence[Field], channels: dict[str, int], pipeline: Pipeline
) -> dict[str, tuple[int, int, int]] | None:
    """(H, W, C) of every image field in the batch; None where that depends on the sample."""
    # A partner of other sides comes to the same size only where a transform says one.
    if len(images) > 1 and pipeline.geometry and not says_size(pipeline.geometry):
        return None
    shapes = {}
    for image in images:
        sides = size_after(pipeline.geometry, _raw_sides(image))
        if sides is None:
            return None
        shapes[image.name] = (*sides, channels[image.name])
    return shapes


def _raw_sides(image: Field) -> Sides | None:
    if image.storage == "bytes":
        return None
    height, width = (side or 0 for side in (image.shape or (0, 0))[:2])
    return height, width


def _kind(field: Field) -> FieldKind:
    if field.kind == "image":
        return FieldKind.JPEG if field.storage == "bytes" else FieldKind.PIXELS
    return FieldKind.BYTES if field.size_bytes is not None else FieldKind.PLACE


def _column(field: Field, output: Array, left: list[int]) -> list[Any] | Array:
    """Values of a field, as `imagemill.load.batch.assemble` takes them."""
    if field.storage == "text":
        return _texts(output, left)
    if field.size_bytes is None:
        return [raw_array(field, bytes_at(*place)) for place in _known(output, left).tolist()]
    column = output.view(field.numpy_dtype).astype(field.numpy_dtype.newbyteorder("="), copy=False)
    column = column.reshape(len(output), *(side or 0 for side in field.shape or ()))
    if field.kind == "mask" and column.ndim == 4:
        return column[:, :, :, 0] if column.shape[3] == 1 else column.transpose(0, 3, 1, 2)
    return column


def _texts(places: Array, left: list[int]) -> list[str]:
    return texts_at(_known(places, left))


def _known(places: Array, left: list[int]) -> Array:
    """Places (address, length) of values, those of what is not there made empty."""
    if left:
        places[left] = (native.address(places), 0)
    return places
