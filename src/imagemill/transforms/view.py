"""What is seen of a picture: one box, one size, one turn, however many transforms led there."""

from __future__ import annotations

import math
from typing import NamedTuple

Sides = tuple[int, int]
"""(height, width)."""


class View(NamedTuple):
    """A part of an upright picture, brought to a size, then turned.

    Geometry composes: cropping, resizing and turning a view give a view, so that a picture
    is resampled once, and a decoder can leave out what is not seen.

    Args:
        picture: (height, width) of the upright picture.
        top, left, height, width: the box, in pixels of the picture; may end between pixels, and
            may reach beyond `limit` (what lies there is `fill`).
        limit: (top, left, bottom, right) of the pixels that may have a say in the result: what
            an earlier crop cut off does not shine through a later resize.
        out: (height, width) that the box is brought to, before it is turned.
        transpose: whether rows and columns change places, …
        flip_rows: … whether rows are then reversed, …
        flip_columns: … and columns.
        filter: resampling filter of images; masks take the nearest pixel.
        is_resized: whether some transform said a size, so that partners of other sides come to the same.
        fill: colour beyond the limit, one value a channel or one for all.
        mask_fill: class id beyond the limit.
    """

    picture: Sides
    top: float
    left: float
    height: float
    width: float
    limit: tuple[int, int, int, int]
    out: Sides
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    filter: str = "bilinear"
    is_resized: bool = False
    fill: tuple[int, ...] = (0,)
    mask_fill: int = 0

    @classmethod
    def whole(cls, height: int, width: int) -> View:
        """All of a picture, as it is."""
        return cls((height, width), 0, 0, height, width, (0, 0, height, width), (height, width))

    @property
    def size(self) -> Sides:
        """(height, width) of the result."""
        return self.out[::-1] if self.transpose else self.out

    @property
    def is_whole(self) -> bool:
        """Whether the result is the picture itself."""
        turned = self.transpose or self.flip_rows or self.flip_columns
        return not turned and self.out == self.picture and self.box == (0, 0, *self.picture)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(top, left, height, width)."""
        return self.top, self.left, self.height, self.width

    @property
    def is_padded(self) -> bool:
        """Whether the box reaches beyond what may be seen."""
        top, left, bottom, right = self.limit
        low = self.top < top or self.left < left
        return low or self.top + self.height > bottom or self.left + self.width > right

    def cropped(
        self, top: int, left: int, height: int, width: int, fill: tuple[int, ...] = (0,), mask_fill: int = 0
    ) -> View:
        """A box of what is seen; where it reaches beyond, the rest is filled."""
        rows, columns = self.size
        beyond = min(top, left) < 0 or top + height > rows or left + width > columns
        base = self._confined()._replace(fill=fill, mask_fill=mask_fill) if beyond else self
        if self.flip_rows:
            top = rows - top - height
        if self.flip_columns:
            left = columns - left - width
        if self.transpose:
            top, left, height, width = left, top, width, height
        down, across = self.height / self.out[0], self.width / self.out[1]
        return base._replace(
            top=self.top + top * down,
            left=self.left + left * across,
            height=height * down,
            width=width * across,
            out=(height, width),
        )

    def resized(self, height: int, width: int, filter: str) -> View:
        """The same part at another size."""
        out = (width, height) if self.transpose else (height, width)
        return self._confined()._replace(out=out, filter=filter, is_resized=True)

    def turned(self, *, transpose: bool = False, flip_rows: bool = False, flip_columns: bool = False) -> View:
        """Rows and columns swapped if asked for, then reversed if asked for."""
        rows, columns = self.flip_rows, self.flip_columns
        if transpose:
            rows, columns = columns, rows
        return self._replace(
            transpose=self.transpose != transpose,
            flip_rows=rows != flip_rows,
            flip_columns=columns != flip_columns,
        )

    def on(self, height: int, width: int) -> View:
        """The same view of a partner that may have other sides: the box covers the same part of it.

        The result has the same size where a transform said one; a mere crop keeps the partner's own scale.
        """
        if (height, width) == self.picture:
            return self
        down, across = height / self.picture[0], width / self.picture[1]
        out = self.out if self.is_resized else (_at_least_1(self.out[0] * down), _at_least_1(self.out[1] * across))
        return self._rescaled((height, width), down, across, out)

    def reduced(self, factor: int, *, rows_reversed: bool = False, columns_reversed: bool = False) -> View:
        """The same view of the picture decoded at 1/factor of its sides, which are rounded up.

        Args:
            rows_reversed, columns_reversed: whether the picture was turned after it was decoded, so
                that what was rounded up lies at its top, at its left.
        """
        height, width = (-(-side // factor) for side in self.picture)
        down = height - self.picture[0] / factor if rows_reversed else 0.0
        right = width - self.picture[1] / factor if columns_reversed else 0.0
        return self._rescaled((height, width), 1 / factor, 1 / factor, self.out, (down, right))

    def _rescaled(
        self, picture: Sides, down: float, across: float, out: Sides, shift: tuple[float, float] = (0.0, 0.0)
    ) -> View:
        top, left, bottom, right = self.limit
        limit = (
            math.floor(top * down + shift[0]),
            math.floor(left * across + shift[1]),
            min(math.ceil(bottom * down + shift[0]), picture[0]),
            min(math.ceil(right * across + shift[1]), picture[1]),
        )
        return self._replace(
            picture=picture,
            top=self.top * down + shift[0],
            left=self.left * across + shift[1],
            height=self.height * down,
            width=self.width * across,
            limit=limit,
            out=out,
        )

    def _confined(self) -> View:
        """The same view, its surroundings out of reach."""
        top, left, bottom, right = self.limit
        limit = (
            max(top, math.floor(self.top)),
            max(left, math.floor(self.left)),
            min(bottom, math.ceil(self.top + self.height)),
            min(right, math.ceil(self.left + self.width)),
        )
        return self if limit == self.limit else self._replace(limit=limit)


def _at_least_1(side: float) -> int:
    return max(1, math.floor(side + 0.5))
