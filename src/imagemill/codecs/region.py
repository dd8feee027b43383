"""A part of an image at its own size, or made smaller by area: what training data sets and tiles are cut from.

Plain JPEGs are read by the native core, which transforms only what the part needs; everything else, and what the core
hands back, goes through `imagemill.codecs.image`. Damage that lies below the part of a JPEG is not looked for.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.codecs.header import Header
from imagemill.codecs.image import decode
from imagemill.core.sample import Buffer

Pixels = npt.NDArray[np.uint8]

_NEVER = 1e9
"""As `shrink_gap`: no reduced decode, whose pixels are not quite an area's mean."""


class Region(NamedTuple):
    """What is seen of an image.

    Args:
        box: (top, left, height, width) in upright pixels, inside the image.
        size: (height, width) it is to be made in the end.
        mirrored: left and right change places.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    mirrored: bool = False

    @property
    def shrinks(self) -> bool:
        """Whether neither side grows and one becomes smaller."""
        sides = self.box[2:]
        return sides != self.size and self.size[0] <= sides[0] and self.size[1] <= sides[1]


def decode_region(data: Buffer, header: Header, region: Region) -> Pixels:
    """The part of an image file that a region names.

    Args:
        data: the whole file.
        header: what `read_header` said of it.

    Returns:
        uint8 (height, width, 3): of the region's size, a view of three planes, if the native core could make it
        smaller by area (`cv2.INTER_AREA`, to within a level); else of the box's own size, in C order.

    Raises:
        SampleError: the bytes are no whole image.
    """
    is_plain = header.format == "JPEG" and header.mode in ("L", "RGB") and not header.icc and header.orientation == 1
    if is_plain and native.available():
        found = _shrunk(data, region) if region.shrinks else _as_it_lies(data, region)
        if found is not None:
            return found
    top, left, height, width = region.box
    pixels = decode(data, mode="RGB", header=header)[top : top + height, left : left + width]
    return np.asarray(cv2.flip(pixels, 1), np.uint8) if region.mirrored else np.ascontiguousarray(pixels)


def _shrunk(data: Buffer, region: Region) -> Pixels | None:
    # Planes, which the core weighs eight pixels at a time.
    out = np.empty((1, 3, *region.size), np.uint8)
    outcome = native.decode_batch(
        [data],
        np.array([region.box], np.int32),
        out,
        turns=np.array([region.mirrored], np.uint8),
        orientations=np.array([1], np.uint8),
        filter=native.AREA,
        layout="NCHW",
        shrink_gap=_NEVER,
    )
    return out[0].transpose(1, 2, 0) if outcome.statuses[0] == native.Status.DONE else None


def _as_it_lies(data: Buffer, region: Region) -> Pixels | None:
    status, pixels = native.read_rgb(data if isinstance(data, bytes) else bytes(data), region.box)
    if status != native.Status.DONE:
        return None
    return np.asarray(cv2.flip(pixels, 1) if region.mirrored else pixels, np.uint8)
