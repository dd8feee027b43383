"""PNG files by the native core: inflated, unfiltered and proven whole in one go; and written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError
from imagemill.native import Status, address, library
from imagemill.native.signatures import taken


def read_png(content: Buffer, sides: tuple[int, int], channels: int) -> npt.NDArray[np.uint8] | Status:
    """Pixels of a PNG; what else it is where the core hands it back.

    Args:
        content: the whole file.
        sides: (height, width) that it has.
        channels: 1 or 3; 0 for the values of a mask, levels or indices of up to 8 bits, which come as (H, W).

    Raises:
        ConfigError: the core is not available.
    """
    data = np.frombuffer(content, np.uint8)
    out = np.empty((*sides, channels) if channels else sides, np.uint8)
    status = Status(library().imagemill_read_png(address(data), data.size, *sides, channels, address(out)))
    return out if status is Status.DONE else status


def write_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of a photograph: of every row the filter whose differences are smallest, runs and Huffman codes.

    Args:
        pixels: uint8 (H, W, 1) or (H, W, 3) RGB, C order or rows of such.

    Raises:
        ConfigError: the core is not available, or cannot write these.
        MemoryError: there is not enough.
    """
    core = library()
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ConfigError(f"no PNG of {pixels.dtype} {pixels.shape}")
    if pixels.strides[1:] != (pixels.shape[2], 1) or pixels.strides[0] < 0:
        pixels = np.ascontiguousarray(pixels)
    start = int(pixels.__array_interface__["data"][0])
    made = core.imagemill_write_png(start, pixels.strides[0], *pixels.shape)
    if not made:
        raise MemoryError(f"no memory to write a PNG of {pixels.shape[1]}x{pixels.shape[0]}")
    return taken(core, made)
