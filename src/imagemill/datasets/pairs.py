"""An image at two resolutions, as training data sets show it: by the native core where it can, else by OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from imagemill import native
from imagemill.codecs.colour_map import known_profiles, learn_profile
from imagemill.core.sample import Encoded
from imagemill.datasets.base import Image, Pixels, resized
from imagemill.datasets.pictures import as_pixels, as_planes
from imagemill.errors import SampleError
from imagemill.native.pairs import PairView, Picture, open_picture, open_pixels

ViewOf: TypeAlias = Callable[[int, int], PairView]
"""What is seen of an image of this height and width."""


class Pair(NamedTuple):
    """An image at two resolutions.

    Args:
        high: a view of planes, of the sides kept.
        low: the same of those over the scale; None without a scale.
        sides: upright (height, width) of the whole image.
    """

    high: Image
    low: Image | None
    sides: tuple[int, int]


def show_pair(value: Any, name: str, view_of: ViewOf, *, room: int = 0) -> Pair:
    """A part of an image by area, and its low resolution; damage that lies below the part is not looked for.

    Args:
        value: encoded bytes, or pixels.
        name: for messages.
        room: channels that the images have beyond three, whose values mean nothing yet.

    Raises:
        SampleError: it cannot be decoded, or is smaller than what is to be kept of it; by this name.
    """
    picture = _opened(value)
    if picture is not None:
        with picture:
            view = _checked(view_of(*picture.sides), name)
            if view.is_within(picture.sides):
                shown = picture.show(view, planes=3 + room)
                if shown is not None:
                    high, low = shown
                    return Pair(high.transpose(1, 2, 0), None if low is None else low.transpose(1, 2, 0), picture.sides)
    pixels = as_pixels(value, name)
    height, width = pixels.shape[:2]
    return _by_opencv(pixels, _checked(view_of(height, width), name), room)


def cut_to(sides: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Sides without what a multiple leaves over."""
    return sides[0] - sides[0] % multiple, sides[1] - sides[1] % multiple


def _checked(view: PairView, name: str) -> PairView:
    if min(view.kept) < 1:
        height, width = view.size
        raise SampleError(
            "too-small", f"{width}x{height} holds no multiple of the sides asked for", key=name, origin=name
        )
    return view


def _opened(value: Any) -> Picture | None:
    if not native.available():
        return None
    if not isinstance(value, Encoded):
        is_plain = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,) and value.size
        return open_pixels(value) if is_plain else None
    found = open_picture(value.data, known_profiles())
    if isinstance(found, int) and found and learn_profile(found, value.data):
        found = open_picture(value.data, known_profiles())
    return None if isinstance(found, int) else found


def _by_opencv(pixels: Pixels, view: PairView, room: int) -> Pair:
    sides = pixels.shape[0], pixels.shape[1]
    top, left, height, width = view.box
    part = pixels[top : top + height, left : left + width]
    image = resized(as_planes(np.ascontiguousarray(part[:, ::-1] if view.mirrored else part)), *view.size)
    high = _with_room(image[: view.kept[0], : view.kept[1]], room)
    if not view.scale:
        return Pair(high, None, sides)
    low = resized(high[..., :3], view.kept[0] // view.scale, view.kept[1] // view.scale)
    return Pair(high, _with_room(low, room), sides)


def _with_room(image: Image, room: int) -> Image:
    """A copy as a view of planes, with so many more of them."""
    height, width, channels = image.shape
    planes = np.empty((channels + room, height, width), np.float32)
    planes[:channels] = image.transpose(2, 0, 1)
    return planes.transpose(1, 2, 0)
