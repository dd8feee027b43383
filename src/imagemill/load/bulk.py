"""Whole batches by the native core: one call finds, checks, draws, decodes, changes and places all samples.

What it cannot do, it hands back: single samples that are no JPEG or PNG in perfect order or are damaged, and whole
batches where shards or sizes are not as it needs them. `feed.py` sends these the way of single samples, which says what
is wrong. Transforms that only Python can do follow sample by sample, on what the core has made.
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
from imagemill.load.shapes import Shapes, raw_sides
from imagemill.load.slots import Slots
from imagemill.native.samples import FIELD, FieldKind, Request, Team, bytes_at, texts_at
from imagemill.transforms.pipeline import Draws, Pipeline
from imagemill.transforms.program import changes_of, steps_of
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides

IntArray = npt.NDArray[np.int64]

_MODES = {"L": 1, "RGB": 3}
"""Modes of image files that the core decodes, and their channels."""


@dataclass(frozen=True)
class Made:
    """A batch as columns.

    Args:
        columns: values of every field that is no image, one a sample; masks (N, H, W[, C]).
        keys: of the samples.
        left: places of the samples that were not made; what stands there means nothing.
        size: (height, width) of the samples' first pictures.
        states: of the samples' random streams, where transforms are still to be drawn.
    """

    columns: dict[str, list[Any] | Array]
    keys: list[str]
    left: list[int]
    size: Sides
    states: list[int]


class Bulk:
    """How batches of a dataset are made by the core. Stateless, safe in threads, picklable.

    Args:
        dataset: what samples come from.
        fields: of `FIELD`, one a field of the schema and one for the keys; `out` and `sides` are open.
        shapes: of pictures.
        geometry: what is drawn for every sample, of `STEP`.
        changes: what is done to images then, of `STEP`.
        pipeline: all transforms; those after `changes` are not the core's.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        fields: npt.NDArray[Any],
        shapes: Shapes,
        geometry: npt.NDArray[Any],
        changes: npt.NDArray[Any],
        pipeline: Pipeline,
    ) -> None:
        self._dataset = dataset
        self._fields = fields
        self._shapes = shapes
        self._geometry = geometry
        self._changes = changes
        self._pipeline = pipeline
        self.finishes = len(changes) == len(pipeline.others)
        """Whether nothing is left to be done to the samples."""

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
        sides = None if shards is None else self._shapes(shards, numbers, rows)
        if shards is None or sides is None:
            return None
        fields = self._fields.copy()
        outputs = self._outputs(slots, fields, sides)
        fields["out"] = [each if isinstance(each, int) else native.address(each) for each in outputs]
        fields["channels_last"] = slots.channels_last
        columns = np.concatenate([shard.columns.addresses for shard in shards if shard.columns])
        request = Request(
            *(rows, numbers, names, epoch_state, columns, fields, self._geometry, self._changes),
            *(self._dataset.store.verify, known_profiles()),
        )
        states = None if self.finishes else np.empty(len(ids), np.uint64)
        statuses = team.load(request, states)
        left: list[int] = []
        if np.count_nonzero(statuses):
            if (statuses == native.Status.ELSEWHERE).any():
                return None
            left = np.flatnonzero(statuses).tolist()
        keys = outputs[-1]
        assert not isinstance(keys, int)
        size = sides[self._shapes.pictures[0].name] if sides else (0, 0)
        return Made(
            *(self._columns(outputs, sides, left), _texts(keys, left), left),
            *(size, [] if states is None else states.tolist()),
        )

    def values(self, made: Made, place: int, images: Slots) -> tuple[dict[str, Any], Draws]:
        """One sample, as the transforms that are left want it, and what these draw.

        Args:
            images: where its images lie.
        """
        values: dict[str, Any] = {}
        for field in self._dataset.schema:
            if field.kind == "image":
                values[field.name] = images.tensors[field.name][place].permute(1, 2, 0).numpy()
            else:
                value = made.columns[field.name][place]
                values[field.name] = value.item() if field.storage == "scalar" else value
        rng = SampleRng.at(made.states[place])
        return values, self._pipeline.draw_rest(made.size, rng, len(self._changes))

    def _located(self, ids: IntArray) -> tuple[list[OpenShard] | None, npt.NDArray[np.int32], IntArray]:
        """The shards in question, or None without columns; each sample's shard by its place among them; and its row."""
        numbers, rows = self._dataset.locate(ids)
        unique = sorted(set(numbers.tolist()))  # a fifth of the time of np.unique
        places = np.array(unique).searchsorted(numbers).astype(np.int32)
        try:
            shards = self._dataset.store.opened(self._dataset.split, unique)
        except DamageError:
            return None, places, rows  # which samples that concerns is asked one by one
        return None if None in [shard.columns for shard in shards] else shards, places, rows

    def _outputs(self, slots: Slots, fields: npt.NDArray[Any], sides: dict[str, Sides]) -> list[int | Array]:
        """Addresses of images in `slots`, arrays for everything else; sides and sizes go into `fields`."""
        outputs: list[int | Array] = []
        for field, plan in zip(self._dataset.schema, fields, strict=False):
            if field.name in sides:
                height, width = plan["sides"] = sides[field.name]
                plan["size_bytes"] = height * width * plan["channels"] * plan["element_bytes"]
            if field.kind == "image":
                outputs.append(slots.reserve(field.name, (height, width, int(plan["channels"]))))
            elif field.kind == "mask":
                outputs.append(slots.bytes(int(plan["size_bytes"])))
            elif field.size_bytes is not None:
                outputs.append(np.empty((slots.count, field.size_bytes), np.uint8))
            else:
                outputs.append(np.empty((slots.count, 2), np.int64))
        outputs.append(np.empty((slots.count, 2), np.int64))
        return outputs

    def _columns(
        self, outputs: Sequence[int | Array], sides: dict[str, Sides], left: list[int]
    ) -> dict[str, list[Any] | Array]:
        columns: dict[str, list[Any] | Array] = {}
        for field, output in zip(self._dataset.schema, outputs, strict=False):
            if not isinstance(output, int):
                columns[field.name] = _column(field, output, sides.get(field.name), left)
        return columns


def plan_bulk(dataset: ImageDataset, modes: dict[str, str], pipeline: Pipeline) -> Bulk | None:
    """How to make batches of a dataset by the core; None where there is no core, or it cannot."""
    schema = dataset.schema
    images, masks = schema.of_kind("image"), schema.of_kind("mask")
    channels = {image.name: _channels(image, modes[image.name]) for image in images}
    if not native.available() or not all(channels.values()):
        return None
    if not pipeline.is_empty and not images and not masks:
        return None
    fills = [_largest_fill(mask.numpy_dtype) for mask in masks]
    fewest = min(channels.values(), default=1)
    geometry = steps_of(pipeline.geometry, fewest, most_mask_fill=min(fills, default=None))
    shapes = Shapes(schema, pipeline.geometry)
    if geometry is None or shapes.is_impossible:
        return None
    fields = np.zeros(len(schema) + 1, FIELD)
    for place, field in enumerate(schema):
        fields[place]["kind"] = _kind(field)
        fields[place]["size_bytes"] = field.size_bytes or 0
        fields[place]["element_bytes"] = field.numpy_dtype.itemsize
        if field.kind == "image":
            fields[place]["channels"] = channels[field.name]
            fields[place]["raw_sides"] = raw_sides(field)
        elif field.kind == "mask":
            if field.storage == "bytes" and field.numpy_dtype != np.uint8:
                return None
            fields[place]["channels"] = (field.shape or ())[2] or 0 if len(field.shape or ()) == 3 else 1
            fields[place]["raw_sides"] = raw_sides(field)
    fields[-1]["kind"] = FieldKind.PLACE
    changes = changes_of(pipeline.others, {*channels.values()})
    return Bulk(dataset, fields, shapes, geometry, changes, pipeline)


def _channels(image: Field, mode: str) -> int:
    """Channels of an image field in the batch; 0 where the core cannot make them."""
    if image.storage == "bytes":
        return _MODES.get(mode, 0)
    if image.numpy_dtype != np.uint8 or mode != mode_of_channels(image):
        return 0
    shape = image.shape or ()
    return shape[2] or 0 if len(shape) == 3 else 1


def _largest_fill(dtype: np.dtype[Any]) -> int:
    """The largest class id that the core fills masks of a type with."""
    return min(int(np.iinfo(dtype).max), 255) if dtype.kind in "iu" else 0


def _kind(field: Field) -> FieldKind:
    if field.kind == "image":
        return FieldKind.IMAGE if field.storage == "bytes" else FieldKind.PIXELS
    if field.kind == "mask":
        return FieldKind.MASK if field.storage == "bytes" else FieldKind.MASK_PIXELS
    return FieldKind.BYTES if field.size_bytes is not None else FieldKind.PLACE


def _column(field: Field, output: Array, sides: Sides | None, left: list[int]) -> list[Any] | Array:
    """Values of a field, one a sample."""
    if field.storage == "text":
        return _texts(output, left)
    if field.kind != "mask" and field.size_bytes is None:
        return [raw_array(field, bytes_at(*place)) for place in _known(output, left).tolist()]
    column = output.view(field.numpy_dtype).astype(field.numpy_dtype.newbyteorder("="), copy=False)
    shape = tuple(side or 0 for side in field.shape or ())
    if sides is not None:
        depth = shape[2:] if shape[2:] != (1,) else ()
        return column.reshape(len(output), *sides, *depth)
    return column.reshape(len(output), *shape)


def _texts(places: Array, left: list[int]) -> list[str]:
    return texts_at(_known(places, left))


def _known(places: Array, left: list[int]) -> Array:
    """Places (address, length) of values, those of what is not there made empty."""
    if left:
        places[left] = (native.address(places), 0)
    return places
