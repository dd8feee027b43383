"""Geometry that the native core can draw by itself, as a table of numbers.

The classes in `crops` are the definition; `native/core/program.cpp` does the same, and a test holds them equal. A class
derived from one of them, or another, is not in the table: its samples are drawn in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.native import FILTERS
from imagemill.native.samples import FILL_CHANNELS, STEP, Step
from imagemill.transforms.base import Geometry
from imagemill.transforms.crops import (
    CenterCrop,
    Fit,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    VerticalFlip,
)
from imagemill.transforms.geometry import FITS
from imagemill.transforms.view import Sides

Row = dict[str, Any]


def steps_of(geometry: Sequence[Geometry], channels: int) -> npt.NDArray[Any] | None:
    """The geometry as the core takes it, of `STEP`; None where it cannot.

    Args:
        channels: the fewest that the images have: a fill colour must not have more.
    """
    rows = [_row(each, channels) for each in geometry]
    table = np.zeros(len(rows), STEP)
    for place, row in enumerate(rows):
        if row is None:
            return None
        for name, value in row.items():
            table[place][name] = value
    return table


def size_after(geometry: Sequence[Geometry], sides: Sides | None) -> Sides | None:
    """(height, width) that pictures have after the geometry; None where that depends on the picture.

    Args:
        sides: of the pictures before, where all are equal.
    """
    for each in geometry:
        sides = _size(each, sides)
    return sides


def says_size(geometry: Sequence[Geometry]) -> bool:
    """Whether pictures are brought to some size, so that partners of other sides come to the same."""
    return any(isinstance(each, (RandomResizedCrop, Resize, Fit)) for each in geometry)


def _row(each: Geometry, channels: int) -> Row | None:
    describe = _ROWS.get(type(each))
    filter, fill = getattr(each, "filter", FILTERS[0]), getattr(each, "fill", (0,))
    if describe is None or filter not in FILTERS or len(fill) not in (1, channels):
        return None
    colour = (fill * FILL_CHANNELS)[:FILL_CHANNELS] if len(fill) == 1 else (*fill, 0, 0, 0)[:FILL_CHANNELS]
    return {"filter": FILTERS.index(filter), "fill": colour, **describe(each)}


def _resized_crop(each: RandomResizedCrop) -> Row:
    logs = (math.log(each.ratio[0]), math.log(each.ratio[1]))
    return {
        "step": Step.RANDOM_RESIZED_CROP,
        "size": each.size,
        "reals": (*each.scale, *logs),
        "more": each.ratio,
    }


def _resize(each: Resize) -> Row:
    if each.short is None:
        return {"step": Step.RESIZE, "size": each.size}
    return {"step": Step.RESIZE_SHORT, "numbers": (each.short, each.max_size or 0, 0, 0)}


def _fit(each: Fit) -> Row:
    numbers = ([*FITS].index(each.fit), 0, 0, 0)  # type: ignore[arg-type]
    return {"step": Step.FIT, "size": each.size, "numbers": numbers, "fill": (255,) * FILL_CHANNELS}


def _random_crop(each: RandomCrop) -> Row:
    return {"step": Step.RANDOM_CROP, "size": each.size, "numbers": (each.padding, each.pad_if_needed, 0, 0)}


def _chance(step: Step) -> Callable[[Any], Row]:
    return lambda each: {"step": step, "reals": (each.p, 0, 0, 0)}


_ROWS: dict[type[Geometry], Callable[[Any], Row]] = {
    RandomResizedCrop: _resized_crop,
    Resize: _resize,
    Fit: _fit,
    CenterCrop: lambda each: {"step": Step.CENTER_CROP, "size": each.size},
    RandomCrop: _random_crop,
    HorizontalFlip: _chance(Step.FLIP_COLUMNS),
    VerticalFlip: _chance(Step.FLIP_ROWS),
    RandomRotate90: _chance(Step.ROTATE_90),
}


def _size(each: Geometry, sides: Sides | None) -> Sides | None:
    if isinstance(each, (HorizontalFlip, VerticalFlip)):
        return sides
    if isinstance(each, RandomRotate90):
        return sides if sides is not None and sides[0] == sides[1] else None
    if (isinstance(each, Resize) and each.short is not None) or (
        isinstance(each, Fit) and each.fit in ("short", "long")
    ):
        return None
    if isinstance(each, (RandomResizedCrop, Resize, Fit, CenterCrop, RandomCrop)):
        return each.size
    return None
