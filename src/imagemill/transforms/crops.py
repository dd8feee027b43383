"""Resizing, cropping, flipping and turning, with the parameters and defaults of torchvision's of the same name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from imagemill.codecs.image import FILTERS
from imagemill.errors import ConfigError
from imagemill.transforms.base import Geometry
from imagemill.transforms.geometry import FITS, fit_size
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides, View

Size: TypeAlias = int | Sequence[int]
Box: TypeAlias = tuple[int, int, int, int]
"""(top, left, height, width)."""


class Resize(Geometry):
    """Both sides to a size, or the shorter one, the longer following the aspect.

    Args:
        size: (height, width), or one number: the shorter side; the longer is rounded down.
        filter: resampling filter of images, antialiased; masks take the nearest pixel.
        max_size: bound of the longer side where `size` is one number.
    """

    def __init__(self, size: Size, filter: str = "bilinear", max_size: int | None = None) -> None:
        self.short = size if isinstance(size, int) else None
        self.size = checked_size(size)
        self.filter = checked_filter(filter)
        self.max_size = max_size
        if max_size is not None and (self.short is None or max_size <= self.short):
            raise ConfigError(f"max_size={max_size} goes with one number as size, and must be above it; got {size}")

    def draw(self, sides: Sides, rng: SampleRng) -> None:
        """Nothing: it is the same for all."""

    def view(self, view: View, params: None) -> View:
        """The view, brought to the size."""
        return view.resized(*self._target(*view.size), self.filter)

    def _target(self, height: int, width: int) -> Sides:
        if self.short is None:
            return self.size
        short, long = self.short, max(1, int(self.short * max(height, width) / min(height, width)))
        if self.max_size is not None and long > self.max_size:
            short, long = max(1, int(self.max_size * short / long)), self.max_size
        return (short, long) if height <= width else (long, short)


class Fit(Geometry):
    """Brought to a size as `imagemill pack --fit` does it; see `imagemill.transforms.geometry.fit_size`.

    Args:
        size: (height, width), or one side of a square.
        fit: "exact", "contain" (white bars), "cover" (centre cut), "short" or "long".
        filter: resampling filter of images; masks take the nearest pixel.
    """

    def __init__(self, size: Size, fit: str = "cover", filter: str = "bicubic") -> None:
        self.size, self.fit, self.filter = checked_size(size), fit, checked_filter(filter)
        if fit not in FITS:
            raise ConfigError(f"fit {fit!r} is none of {', '.join(FITS)}")

    def draw(self, sides: Sides, rng: SampleRng) -> None:
        """Nothing: it is the same for all."""

    def view(self, view: View, params: None) -> View:
        """The view, scaled, then cut or padded."""
        place = fit_size(*view.size, self.size, self.fit)
        return view.resized(*place.scaled, self.filter).cropped(-place.top, -place.left, *place.out, fill=(255,))


class CenterCrop(Geometry):
    """The middle of the picture; where it is smaller, padded.

    Args:
        size: (height, width), or one side of a square.
        fill: colour of the padding, one value or one a channel.
        mask_fill: class id of the padding.
    """

    def __init__(self, size: Size, fill: int | Sequence[int] = 0, mask_fill: int = 0) -> None:
        self.size, self.fill, self.mask_fill = checked_size(size), checked_fill(fill), mask_fill

    def draw(self, sides: Sides, rng: SampleRng) -> None:
        """Nothing: it is the same for all."""

    def view(self, view: View, params: None) -> View:
        """The view, cut about its centre."""
        top, left = (_centred(old, new) for old, new in zip(view.size, self.size, strict=True))
        return view.cropped(top, left, *self.size, self.fill, self.mask_fill)


class RandomCrop(Geometry):
    """A box of a fixed size at a random place.

    Args:
        size: (height, width), or one side of a square.
        padding: pixels that are added on every side first.
        pad_if_needed: pads pictures that are smaller than `size`, on both sides; else they are an error.
        fill: colour of the padding, one value or one a channel.
        mask_fill: class id of the padding.

    Raises, when drawn:
        ConfigError: a picture is smaller than `size`.
    """

    def __init__(
        self,
        size: Size,
        padding: int = 0,
        pad_if_needed: bool = False,
        fill: int | Sequence[int] = 0,
        mask_fill: int = 0,
    ) -> None:
        self.size, self.fill, self.mask_fill = checked_size(size), checked_fill(fill), mask_fill
        self.padding, self.pad_if_needed = padding, pad_if_needed
        if padding < 0:
            raise ConfigError(f"padding must be 0 or more pixels, got {padding}")

    def draw(self, sides: Sides, rng: SampleRng) -> Box:
        """The box."""
        (top, left) = (self._start(old, new, rng) for old, new in zip(sides, self.size, strict=True))
        return top, left, *self.size

    def view(self, view: View, params: Box) -> View:
        """The view, cut to the box."""
        return view.cropped(*params, self.fill, self.mask_fill)

    def _start(self, old: int, new: int, rng: SampleRng) -> int:
        padding = self.padding
        if self.pad_if_needed and old + 2 * padding < new:
            padding += new - old - 2 * padding
        if old + 2 * padding < new:
            raise ConfigError(
                f"RandomCrop to {self.size[1]}x{self.size[0]} of a picture with a side of {old} pixels: "
                "resize it first (Resize), or say pad_if_needed=True"
            )
        return rng.integer(0, old + 2 * padding - new + 1) - padding


class RandomResizedCrop(Geometry):
    """A box of random area and aspect at a random place, brought to a size.

    As in "Going deeper with convolutions" (Szegedy et al., 2015) and torchvision: area uniform
    in `scale`, logarithm of the aspect uniform in `ratio`, ten tries, then the largest box in the centre.

    Args:
        size: (height, width), or one side of a square.
        scale: bounds of the box's share of the picture's area.
        ratio: bounds of its width / height.
        filter: resampling filter of images, antialiased; masks take the nearest pixel.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        filter: str = "bilinear",
    ) -> None:
        self.size, self.filter = checked_size(size), checked_filter(filter)
        self.scale, self.ratio = checked_range("scale", scale), checked_range("ratio", ratio)
        self._log_ratio = (math.log(ratio[0]), math.log(ratio[1]))

    def draw(self, sides: Sides, rng: SampleRng) -> Box:
        """The box."""
        return random_box(sides, self.scale, self._log_ratio, rng) or self._central(*sides)

    def view(self, view: View, params: Box) -> View:
        """The view, cut to the box and brought to the size."""
        return view.cropped(*params).resized(*self.size, self.filter)

    def _central(self, height: int, width: int) -> Box:
        box_height, box_width = height, width
        if width / height < self.ratio[0]:
            box_height = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            box_width = round(height * self.ratio[1])
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def random_box(sides: Sides, scale: tuple[float, float], log_ratio: tuple[float, float], rng: SampleRng) -> Box | None:
    """A box of random area and aspect that fits into a picture; None where ten tries did not."""
    height, width = sides
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(*log_ratio))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = rng.integer(0, height - box_height + 1)
            return top, rng.integer(0, width - box_width + 1), box_height, box_width
    return None


class _Flip(Geometry):
    def __init__(self, p: float = 0.5) -> None:
        self.p = checked_probability(p)

    def draw(self, sides: Sides, rng: SampleRng) -> bool:
        """Whether to flip."""
        return rng.random() < self.p


class HorizontalFlip(_Flip):
    """Left and right exchanged with probability `p`."""

    def view(self, view: View, params: bool) -> View:
        """The view, mirrored if drawn."""
        return view.turned(flip_columns=True) if params else view


class VerticalFlip(_Flip):
    """Top and bottom exchanged with probability `p`."""

    def view(self, view: View, params: bool) -> View:
        """The view, mirrored if drawn."""
        return view.turned(flip_rows=True) if params else view


class RandomRotate90(Geometry):
    """Turned counter-clockwise by 0, 90, 180 or 270 degrees, each as likely; no pixel is resampled.

    Args:
        p: probability that the turn is drawn at all.
    """

    def __init__(self, p: float = 1.0) -> None:
        self.p = checked_probability(p)

    def draw(self, sides: Sides, rng: SampleRng) -> int:
        """Quarter turns, 0 to 3."""
        return rng.integer(0, 4) if rng.random() < self.p else 0

    def view(self, view: View, params: int) -> View:
        """The view, turned as `numpy.rot90` does it."""
        return view.turned(transpose=params % 2 == 1, flip_rows=params in (1, 2), flip_columns=params in (2, 3))


def _centred(old: int, new: int) -> int:
    """Where the middle part starts: as torchvision, halves of a cut to the even number, the smaller pad first."""
    return -((new - old) // 2) if new > old else round((old - new) / 2)


def checked_size(size: Size) -> Sides:
    """(height, width) of a size given as one side or two.

    Raises:
        ConfigError: not one or two whole numbers above 0.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(f"size must be one side or (height, width), above 0, got {size!r}")
    return sides[0], sides[1]


def checked_filter(filter: str) -> str:
    """The filter itself, if it is known.

    Raises:
        ConfigError: it is not; the message lists the names.
    """
    if filter not in FILTERS:
        raise ConfigError(f"filter {filter!r} is none of {', '.join(FILTERS)}")
    return filter


def checked_fill(fill: int | Sequence[int]) -> tuple[int, ...]:
    """A colour as a tuple.

    Raises:
        ConfigError: a value outside 0 to 255.
    """
    values = (fill,) if isinstance(fill, int) else tuple(fill)
    if not values or not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
        raise ConfigError(f"fill must be one value, or one a channel, in 0 to 255, got {fill!r}")
    return values


def checked_range(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """(low, high), both above 0.

    Raises:
        ConfigError: they are not, or low is above high.
    """
    if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
        raise ConfigError(f"{name} must be (low, high) with 0 < low <= high, got {bounds!r}")
    return float(bounds[0]), float(bounds[1])


def checked_probability(p: float) -> float:
    """A probability.

    Raises:
        ConfigError: outside 0 to 1.
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"p is a probability, 0 to 1, got {p}")
    return p
