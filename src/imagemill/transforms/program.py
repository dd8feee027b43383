"""Transforms that the native core can draw and do by itself, as a table of numbers.

The classes in `crops`, `colour` and `erase` are the definition; `native/core/program.cpp` and `changes.cpp` do the
same, and tests hold them equal. A class derived from one of them, or another, is not in the table: Python sees to it.
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
from imagemill.transforms.colour import CHANGES, ColorJitter, Grayscale, RandomGrayscale
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
from imagemill.transforms.erase import Cutout, RandomErasing
from imagemill.transforms.geometry import FITS
from imagemill.transforms.view import Sides

Row = dict[str, Any]


def steps_of(
    geometry: Sequence[Geometry], channels: int, *, most_mask_fill: int | None = None
) -> npt.NDArray[Any] | None:
    """The geometry as the core takes it, of `STEP`; None where it cannot.

    Args:
        channels: the fewest that the images have: a fill colour must not have more.
        most_mask_fill: the largest class id that masks are to be filled with; None where there are none.
    """
    rows = [_row(each, channels) for each in geometry]
    fills = [] if most_mask_fill is None else [getattr(each, "mask_fill", 0) for each in geometry]
    if None in rows or not all(0 <= fill <= (most_mask_fill or 0) for fill in fills):
        return None
    return _table(rows)


def changes_of(others: Sequence[Any], channels: set[int]) -> npt.NDArray[Any]:
    """As many of these transforms, from the first on, as the core can do, as it takes them, of `STEP`.

    Args:
        others: what follows geometry.
        channels: numbers of channels that images have.
    """
    rows: list[Row | None] = []
    for each in others if channels <= {1, 3} else ():
        describe = _CHANGES.get(type(each))
        row = None if describe is None else describe(each, channels)
        if row is None:
            break
        rows.append(row)
    return _table(rows)


def _table(rows: Sequence[Row | None]) -> npt.NDArray[Any]:
    table = np.zeros(len(rows), STEP)
    for place, row in enumerate(rows):
        for name, value in (row or {}).items():
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
    common = {"filter": FILTERS.index(filter), "fill": _colour(fill), "mask_fill": getattr(each, "mask_fill", 0)}
    return {**common, **describe(each)}


def _colour(fill: tuple[int, ...]) -> tuple[int, ...]:
    return fill * FILL_CHANNELS if len(fill) == 1 else (*fill, 0, 0, 0)[:FILL_CHANNELS]


def _resized_crop(each: RandomResizedCrop) -> Row:
    logs = (math.log(each.ratio[0]), math.log(each.ratio[1]))
    return {
        "step": Step.RANDOM_RESIZED_CROP,
        "size": each.size,
        "reals": (*each.scale, *logs, *each.ratio, 0, 0),
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
    return lambda each: {"step": step, "reals": (each.p, *(0,) * 7)}


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


def _jitter(each: ColorJitter, channels: set[int]) -> Row:
    drawn = [each.ranges[name] for name in CHANGES]
    bits = sum(1 << place for place, bounds in enumerate(drawn) if bounds is not None)
    return {
        "step": Step.COLOR_JITTER,
        "numbers": (bits, 0, 0, 0),
        "reals": [bound for bounds in drawn for bound in bounds or (0, 0)],
    }


def _grey(each: Grayscale, channels: set[int]) -> Row | None:
    return {"step": Step.GRAYSCALE} if channels == {each.channels} else None


def _random_grey(each: RandomGrayscale, channels: set[int]) -> Row:
    return {"step": Step.GRAYSCALE, "numbers": (1, 0, 0, 0), "reals": (each.p, *(0,) * 7)}


def _erasing(each: RandomErasing, channels: set[int]) -> Row | None:
    value = each.value or (0,)
    if len(value) != 1 and channels != {len(value)}:
        return None
    return {
        "step": Step.RANDOM_ERASING,
        "numbers": (each.value is None, 0, 0, 0),
        "reals": (*each.scale, *each.log_ratio, each.p, 0, 0, 0),
        "fill": _colour(value),
    }


def _cutout(each: Cutout, channels: set[int]) -> Row | None:
    if len(each.value) != 1 and channels != {len(each.value)}:
        return None
    return {
        "step": Step.CUTOUT,
        "numbers": (each.size, 0, 0, 0),
        "reals": (each.p, *(0,) * 7),
        "fill": _colour(each.value),
    }


_CHANGES: dict[type[Any], Callable[[Any, set[int]], Row | None]] = {
    ColorJitter: _jitter,
    Grayscale: _grey,
    RandomGrayscale: _random_grey,
    RandomErasing: _erasing,
    Cutout: _cutout,
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
