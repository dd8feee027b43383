"""A part of an image at its own size: what tiles are cut from.

Plain JPEGs are read by the native core, which transforms only what the part needs; everything else, and what the core
hands back, goes through `imagemill.codecs.image`. Damage that lies below the part of a JPEG is not looked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.codecs.header import Header
from imagemill.codecs.image import decode
from imagemill.core.sample import Buffer

Pixels = npt.NDArray[np.uint8]


def decode_region(data: Buffer, header: Header, box: tuple[int, int, int, int]) -> Pixels:
    """A part of an image file.

    Args:
        data: the whole file.
        header: what `read_header` said of it.
        box: (top, left, height, width) in upright pixels, inside the image.

    Returns:
        uint8 (height, width, 3), C order.

    Raises:
        SampleError: the bytes are no whole image.
    """
    is_plain = header.format == "JPEG" and header.mode in ("L", "RGB") and not header.icc and header.orientation == 1
    if is_plain and native.available():
        status, pixels = native.read_rgb(data if isinstance(data, bytes) else bytes(data), box)
        if status == native.Status.DONE:
            return pixels
    top, left, height, width = box
    pixels = decode(data, mode="RGB", header=header)[top : top + height, left : left + width]
    return np.ascontiguousarray(pixels)
