"""JPEGs to recoded JPEGs and back by the native core; `imagemill.codecs.recoded` is what others call."""

from __future__ import annotations

import ctypes

import numpy as np

from imagemill.core.sample import Buffer
from imagemill.native import DECODERS, MAX_PIXELS, Status, address, library
from imagemill.native.signatures import taken


def recode(data: Buffer, *, compact: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[bytes, str]:
    """The recoded form of a JPEG or of a recoded one, or why it has none.

    Args:
        data: the whole file.
        compact: two codes for tokens, not one: fewer bytes, decoding takes longer.
        max_pixels: larger pictures are not recoded.

    Returns:
        (bytes, "") or (b"", reason): "not-jpeg", "truncated", "damaged", "cmyk", "12-bit", "arithmetic",
        "hierarchical", "no-scan", "scans-missing", "too-large", "unusual-…" (components, sampling, size, coefficients,
        coding).

    Raises:
        ConfigError: the core is not available.
        MemoryError: there is not enough of it.
    """
    core, view, why = library(), np.frombuffer(data, np.uint8), ctypes.c_char_p()
    made = core.imagemill_recode(address(view), view.size, max_pixels, int(compact), ctypes.byref(why))
    if made:
        return taken(core, made), ""
    if why.value is None:
        raise MemoryError(f"no memory to recode a JPEG of {view.size:,} bytes")
    return b"", why.value.decode()


def restore(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> bytes | None:
    """The JPEG of a recoded one, its digest checked; None where that is damaged or has more pixels.

    Raises:
        ConfigError: the core is not available.
        MemoryError: there is not enough of it.
    """
    core, view, damaged = library(), np.frombuffer(data, np.uint8), ctypes.c_int32()
    made = core.imagemill_restore(address(view), view.size, max_pixels, ctypes.byref(damaged))
    if made:
        return taken(core, made)
    if not damaged.value:
        raise MemoryError(f"no memory to restore a JPEG from {view.size:,} bytes")
    return None


def run_over(data: Buffer) -> bool:
    """Reads every coefficient of a JPEG (by libjpeg) or a recoded one and makes nothing of them, for benchmarks.

    Returns:
        Whether that went well.
    """
    view = np.frombuffer(data, np.uint8)
    return bool(library().imagemill_run_over(address(view), view.size))


def run_pixels(data: Buffer, box: tuple[int, int, int, int], *, shrink: int = 1, decoder: str = "any") -> bool:
    """Makes rows of pixels of a JPEG or a recoded one and keeps none, for benchmarks; arguments as for `read_jpeg`.

    Returns:
        Whether that went well.
    """
    view, numbers = np.frombuffer(data, np.uint8), np.array(box, np.int32)
    status = library().imagemill_read_jpeg(
        *(bytes(data), view.size, address(numbers), shrink, DECODERS.index(decoder), None)
    )
    return bool(status == Status.DONE)
