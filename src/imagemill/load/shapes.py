"""What sides the pictures of a batch have, before and after their geometry, from the index alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imagemill.core.schema import Field, Schema
from imagemill.formats.store import OpenShard
from imagemill.transforms.base import Geometry
from imagemill.transforms.program import says_size, size_after
from imagemill.transforms.view import Sides

IntArray = npt.NDArray[np.int64]


class Shapes:
    """The (height, width) of all images and masks of a batch.

    Args:
        schema: fields.
        geometry: what pictures go through; the first image, or the first mask where there is no image, decides.

    Attributes:
        is_impossible: whether no batch can have one size.

    What the geometry says holds for partners of all sides; where one has another size all the same, the core says so.
    """

    def __init__(self, schema: Schema, geometry: Sequence[Geometry]) -> None:
        self.pictures = (*schema.of_kind("image"), *schema.of_kind("mask"))
        self._geometry = geometry
        self._raw = {each.name: raw_sides(each) for each in self.pictures if each.storage != "bytes"}
        self._always: dict[str, Sides] | None = None
        self.is_impossible = False
        size = size_after(geometry, None)
        if size is not None:
            self._always = {each.name: size for each in self.pictures}
        elif len(self._raw) == len(self.pictures):
            self._always = self._after(self._raw)
            self.is_impossible = self._always is None

    def __call__(
        self, shards: Sequence[OpenShard], places: npt.NDArray[np.int32], rows: IntArray
    ) -> dict[str, Sides] | None:
        """Field → sides in the batch; None where they differ from sample to sample.

        Args:
            places: of each sample's shard in `shards`.
            rows: of the samples in their shards.
        """
        if self._always is not None:
            return self._always
        sides = dict(self._raw)
        for each in self.pictures:
            if each.name not in sides:
                found = _common_sides(each.name, shards, places, rows)
                if found is None:
                    return None
                sides[each.name] = found
        return self._after(sides)

    def _after(self, sides: dict[str, Sides]) -> dict[str, Sides] | None:
        """Sides in the batch of pictures that had these."""
        if not self._geometry:
            return sides
        first = sides[self.pictures[0].name]
        size = size_after(self._geometry, first)
        # A partner of other sides comes to the same size only where a transform says one.
        if size is None or not (says_size(self._geometry) or all(each == first for each in sides.values())):
            return None
        return dict.fromkeys(sides, size)


def raw_sides(field: Field) -> Sides:
    """(height, width) of a raw image or mask; (0, 0) of a file."""
    height, width = (side or 0 for side in (field.shape or (0, 0))[:2]) if field.storage != "bytes" else (0, 0)
    return height, width


def _common_sides(
    name: str, shards: Sequence[OpenShard], places: npt.NDArray[np.int32], rows: IntArray
) -> Sides | None:
    """The sides that all of these files have, as packed; None where one has others."""
    found: set[Sides] = set()
    for place, shard in enumerate(shards):
        chosen = rows[places == place]
        heights, widths = (shard.index.numbers(f"{side}.{name}")[chosen] for side in ("height", "width"))
        found.add((int(heights[0]), int(widths[0])))
        if len(found) > 1 or (heights != heights[0]).any() or (widths != widths[0]).any():
            return None
    return found.pop() if found and min(max(found)) > 0 else None
