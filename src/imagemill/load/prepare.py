"""From stored rows to their places in a batch: drawn, decoded, transformed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from imagemill.codecs.header import Header
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import SampleError
from imagemill.load import backend
from imagemill.load.backend import Fill, Pixels, put, read_sides
from imagemill.load.decode import mask_array, plain_value
from imagemill.load.slots import Slots
from imagemill.transforms.pipeline import Draws, Pipeline
from imagemill.transforms.render import render_mask
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import View


@dataclass(frozen=True, slots=True)
class Loaded:
    """A decoded sample on its way into a batch.

    Args:
        key: stable key.
        index: position in the dataset.
        values: one a field but images, which lie in their slots; masks (H, W) or (C, H, W).
    """

    key: str
    index: int
    values: dict[str, Any]


@dataclass(slots=True)
class _Drawn:
    """A row for which everything random is decided, or what is wrong with it."""

    row: Row
    view: View = field(default_factory=lambda: View.whole(1, 1))
    views: dict[str, View] = field(default_factory=dict)
    headers: dict[str, Header | None] = field(default_factory=dict)
    draws: Draws = ()
    error: SampleError | None = None


@dataclass(frozen=True)
class Preparation:
    """How rows become samples of a batch. Stateless, safe in threads.

    Args:
        schema: fields of the rows.
        modes: image field → Pillow mode.
        pipeline: transforms of single samples.
        fill: decoder of images.
    """

    schema: Schema
    modes: dict[str, str]
    pipeline: Pipeline
    fill: Fill = backend.fill

    def __call__(
        self, rows: Sequence[Row], ids: Sequence[int], rngs: Sequence[SampleRng], slots: Slots, start: int
    ) -> list[Loaded | SampleError]:
        """Rows decoded and transformed, images in `slots` from place `start` on.

        Args:
            rows: as stored.
            ids: their positions in the dataset.
            rngs: one a row.

        Returns:
            One a row: the sample, or why it cannot be decoded, with its name; its slot holds anything then.

        Raises:
            ConfigError: pictures of one batch differ in size.
        """
        drawn = [self._draw(row, rng) for row, rng in zip(rows, rngs, strict=True)]
        values = [self._others(sample) for sample in drawn]
        for picture in self.schema.of_kind("image"):
            if self.pipeline.others:
                self._decode_aside(picture, drawn, values)
            else:
                self._decode_in_place(picture, drawn, slots, start)
        return [
            sample.error or self.finished(sample.row.key, index, each, sample.draws, slots, start + number)
            for number, (sample, each, index) in enumerate(zip(drawn, values, ids, strict=True))
        ]

    def _draw(self, row: Row, rng: SampleRng) -> _Drawn:
        sample = _Drawn(row, draws=(None,) * len(self.pipeline.others))
        pictures = self.schema.of_kind("image")
        files = pictures or self.schema.of_kind("mask")[:1]
        try:
            for each in files:
                name = each.name
                sides, sample.headers[name] = read_sides(each, row.values[name])
                if not sample.views:
                    sample.view, sample.draws = self.pipeline.draw(sides, rng)
                sample.views[name] = sample.view.on(*sides)
        except SampleError as error:
            sample.error = error.of(row.key, row.origins.get(name, ""))
        return sample

    def _others(self, sample: _Drawn) -> dict[str, Any]:
        """Values of all fields that are no images."""
        values: dict[str, Any] = {}
        row = sample.row
        for each in self.schema:
            if each.kind == "image" or sample.error is not None:
                continue
            value = row.values[each.name]
            if not each.is_file:
                values[each.name] = plain_value(each, value)
                continue
            try:
                ids = mask_array(each, value)
            except SampleError as error:
                sample.error = error.of(row.key, row.origins.get(each.name, ""))
                continue
            values[each.name] = render_mask(ids, sample.view.on(*ids.shape[:2]))
        return values

    def _decode_in_place(self, picture: Field, drawn: Sequence[_Drawn], slots: Slots, start: int) -> None:
        bands = Image.getmodebands(self.modes[picture.name])
        good = [number for number, sample in enumerate(drawn) if sample.error is None]
        for number in good:
            sample = drawn[number]
            out = slots.places(picture.name, (*sample.views[picture.name].size, bands), sample.row.key)
        if len(good) == len(drawn):
            self._fill(picture, drawn, out[start : start + len(drawn)])
            return
        for number in good:
            self._fill(picture, drawn[number : number + 1], out[start + number : start + number + 1])

    def _decode_aside(self, picture: Field, drawn: Sequence[_Drawn], values: Sequence[dict[str, Any]]) -> None:
        """Into arrays (H, W, C) of their own, for transforms that are still to come."""
        bands = Image.getmodebands(self.modes[picture.name])
        for sample, each in zip(drawn, values, strict=True):
            if sample.error is None:
                each[picture.name] = np.empty((*sample.views[picture.name].size, bands), np.uint8)
                self._fill(picture, [sample], each[picture.name][None])

    def _fill(self, picture: Field, drawn: Sequence[_Drawn], out: Pixels) -> None:
        name = picture.name
        errors = self.fill(
            picture,
            [sample.row.values[name] for sample in drawn],
            [sample.headers[name] for sample in drawn],
            [sample.views[name] for sample in drawn],
            self.modes[name],
            out,
        )
        for sample, error in zip(drawn, errors, strict=True):
            if error is not None:
                sample.error = error.of(sample.row.key, sample.row.origins.get(name, ""))

    def finished(self, key: str, index: int, values: dict[str, Any], draws: Draws, slots: Slots, place: int) -> Loaded:
        """A sample after its last transforms, in its place.

        Args:
            values: one a field, images (H, W, C) but for those that lie in their slots already, masks (H, W[, C]).
            draws: of the transforms that are still to come.
        """
        values = self.pipeline.finish(values, self.schema, draws)
        for each in self.schema:
            if each.kind == "image" and each.name in values:
                pixels = values.pop(each.name)
                put(slots.places(each.name, pixels.shape, key)[place], pixels)
            elif each.kind == "mask" and values[each.name].ndim == 3:
                values[each.name] = np.moveaxis(values[each.name], 2, 0)
        return Loaded(key, index, values)
