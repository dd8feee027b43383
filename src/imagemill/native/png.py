"""PNG files by the native core: inflated, unfiltered and proven whole in one go."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagemill.core.sample import Buffer
from imagemill.native import Status, address, library


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
