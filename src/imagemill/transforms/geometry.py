"""Sizes and resizing: images with Pillow's filters, masks by nearest neighbour, in the same boxes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill.codecs.image import FILTERS
from imagemill.core.sample import Array
from imagemill.errors import ConfigError

Fit = Literal["exact", "contain", "cover", "short", "long"]
FITS: tuple[Fit, ...] = get_args(Fit)
_SIZE = re.compile(r"\s*([0-9]+)\s*(?:[xX×]\s*([0-9]+))?\s*")
_SIDE_LIMIT = 1_000_000


HUGE_PIXELS = 2**26
"""An image scaled to more of them, to be cut, is cut first; its filter then sees nothing beyond the cut."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a resized image goes: scaled to `scaled`, then cut or padded to `out`.

    Args:
        scaled: (height, width) that the whole image is resized to.
        out: (height, width) of the result.
        top: first row of the scaled image in the result; negative where it is cut.
        left: first column, likewise.
    """

    scaled: tuple[int, int]
    out: tuple[int, int]
    top: int = 0
    left: int = 0

    @property
    def cuts(self) -> bool:
        """Whether the scaled image covers the result, and juts out of it."""
        return self.top <= 0 and self.left <= 0 and self.scaled != self.out

    def seen(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of what is seen, in pixels of an image of these sides, where it is cut."""
        down, across = height / self.scaled[0], width / self.scaled[1]
        top, left = -self.top * down, -self.left * across
        return left, top, min(width, left + self.out[1] * across), min(height, top + self.out[0] * down)


def parse_size(text: str) -> tuple[int, int]:
    """A size as a person types it, as (height, width): "256x384" is 256 wide, 384 high; "256" is square.

    Raises:
        ConfigError: anything else, or a side of 0.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(f"size {text!r} is not WIDTHxHEIGHT: write 256x384 (256 wide, 384 high), or one side, as 256")
    width = int(match[1])
    height = int(match[2] or match[1])
    if not (1 <= width <= _SIDE_LIMIT and 1 <= height <= _SIDE_LIMIT):
        raise ConfigError(f"size {text!r}: sides are 1 to {_SIDE_LIMIT:,} pixels")
    return height, width


def fit_size(height: int, width: int, size: tuple[int, int], fit: str) -> Placement:
    """How an image of height x width comes to `size`.

    exact    both sides as asked, the aspect is not kept
    contain  aspect kept, all of the image inside `size`, centred; the rest is padding
    cover    aspect kept, all of `size` covered, centred; what juts out is cut
    short    aspect kept, the shorter side becomes min(size)
    long     aspect kept, the longer side becomes max(size)

    The side that follows from the aspect is rounded to the nearest whole pixel (halves up),
    at least 1; for `cover` at least the side asked for, for `contain` at most. Of an odd rest,
    the smaller half goes above and to the left.

    Raises:
        ConfigError: an unknown fit, or a side below 1.
    """
    if fit not in FITS:
        raise ConfigError(f"unknown fit {fit!r}; known: {', '.join(FITS)}")
    if min(height, width, *size) < 1:
        raise ConfigError(f"cannot fit {width}x{height} to {size[1]}x{size[0]}: sides are at least 1 pixel")
    if fit == "exact":
        return Placement(size, size)
    if fit in ("short", "long"):
        side = min(size) if fit == "short" else max(size)
        by_height = (height <= width) == (fit == "short")
        scaled = _scaled(height, width, side, by_height)
        return Placement(scaled, scaled)
    wider = width * size[0] > size[1] * height
    by_height = wider == (fit == "cover")
    scaled = _scaled(height, width, size[0] if by_height else size[1], by_height)
    bound = max if fit == "cover" else min
    scaled = (bound(scaled[0], size[0]), bound(scaled[1], size[1]))
    return Placement(scaled, size, _offset(size[0], scaled[0]), _offset(size[1], scaled[1]))


def _scaled(height: int, width: int, side: int, by_height: bool) -> tuple[int, int]:
    if by_height:
        return side, max(1, (2 * width * side + height) // (2 * height))
    return max(1, (2 * height * side + width) // (2 * width)), side


def _offset(out: int, scaled: int) -> int:
    """Smaller half first, for a gap as for a cut."""
    return (out - scaled) // 2 if out >= scaled else -((scaled - out) // 2)


def resize(
    array: npt.NDArray[np.uint8],
    size: tuple[int, int],
    *,
    fit: str = "exact",
    filter: str = "bicubic",
    pad: tuple[int, ...] = (255, 255, 255),
) -> npt.NDArray[np.uint8]:
    """An image at another size.

    Args:
        array: uint8, shape (H, W, C) with C of 1, 3 or 4 (RGBA), or (H, W).
        size: (height, width); what it means depends on `fit`, see `fit_size`.
        fit: one of `FITS`.
        filter: name in `imagemill.codecs.image.FILTERS`; bicubic and the like widen when
            they reduce (Pillow's filters, no prior reduction), so thin lines do not alias.
        pad: colour around the image with fit="contain", one value a channel or one for all.

    Returns:
        uint8, (height, width, C) or (height, width), C order; the array itself where nothing changes.

    Raises:
        ConfigError: unknown fit or filter, another dtype, or a pad of another number of channels.
    """
    if filter not in FILTERS:
        raise ConfigError(f"unknown filter {filter!r}; known: {', '.join(FILTERS)}")
    place = fit_size(array.shape[0], array.shape[1], size, fit)
    if array.dtype != np.uint8:
        raise ConfigError(f"images are resized as uint8, not {array.dtype}: scale them first, or use resize_mask")
    if filter == "nearest":
        return _nearest_placed(array, place, pad)
    scaled = array
    if place.scaled != array.shape[:2]:
        single = array.ndim == 3 and array.shape[2] == 1
        image = Image.fromarray(array[:, :, 0] if single else array)
        if place.scaled[0] * place.scaled[1] > HUGE_PIXELS and place.cuts:
            box = place.seen(array.shape[0], array.shape[1])
            cut = image.resize(place.out[::-1], FILTERS[filter], box)
            return np.array(cut).reshape(*place.out, *array.shape[2:])
        scaled = np.array(image.resize(place.scaled[::-1], FILTERS[filter])).reshape(*place.scaled, *array.shape[2:])
    return _placed(scaled, place, pad)


def resize_mask(array: Array, size: tuple[int, int], *, fit: str = "exact", pad: int = 0) -> Array:
    """A mask at another size, by nearest neighbour, in the same boxes as `resize`.

    Every value of the result is one of the mask's own, or `pad`. The value taken is the one
    under the centre of the new pixel.

    Args:
        array: any dtype, shape (H, W) or (H, W, C).
        size: (height, width), as for `resize`.
        fit: as for `resize`.
        pad: class id around the mask with fit="contain".

    Returns:
        The same dtype, (height, width[, C]).
    """
    place = fit_size(array.shape[0], array.shape[1], size, fit)
    return _nearest_placed(array, place, (pad,))


def _nearest_placed(array: Array, place: Placement, pad: tuple[int, ...]) -> Array:
    if place.cuts:
        # Only what is seen is made: a strip of one row, covered by a square, is millions of pixels wide.
        rows, columns = (
            _centres(old, new)[max(-start, 0) : max(-start, 0) + seen]
            for old, new, start, seen in zip(
                array.shape, place.scaled, (place.top, place.left), place.out, strict=False
            )
        )
        return array[rows[:, None], columns]
    return _placed(_nearest(array, place.scaled), place, pad)


def _nearest(array: Array, scaled: tuple[int, int]) -> Array:
    if array.shape[:2] == scaled:
        return array
    rows, columns = _centres(array.shape[0], scaled[0]), _centres(array.shape[1], scaled[1])
    return array[rows[:, None], columns]


def _centres(old: int, new: int) -> npt.NDArray[np.int64]:
    """floor((i + 1/2) * old / new), exact in integers (Pillow's floats slip where a centre lies on a border)."""
    centres: npt.NDArray[np.int64] = (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
    return centres


def _placed(scaled: Array, place: Placement, pad: tuple[int, ...]) -> Array:
    if place.scaled == place.out:
        return scaled
    top, left = max(-place.top, 0), max(-place.left, 0)
    part = scaled[top : top + place.out[0], left : left + place.out[1]]
    if part.shape[:2] == place.out:
        return np.ascontiguousarray(part)
    channels = scaled.shape[2:]
    if (channels and len(pad) not in (1, *channels)) or (not channels and len(set(pad)) > 1):
        raise ConfigError(f"pad {pad} for {channels[0] if channels else 1} channels: give one value, or one a channel")
    out = np.empty((*place.out, *channels), scaled.dtype)
    out[:] = pad if channels else pad[0]
    top, left = max(place.top, 0), max(place.left, 0)
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out
