"""JPEGs of usual size, which the native core may prove in this process: no other decoder is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.codecs.header import Header
from imagemill.codecs.jpeg_header import read_jpeg_header
from imagemill.core.sample import Buffer
from imagemill.curate.limits import Limits, check_bytes, check_pixels


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Args:
        header: the image's header.
        notes: what the pixel policy does to it, then harmless irregularities.
    """

    header: Header
    notes: tuple[str, ...]


PLAIN_PIXELS = {False: 1 << 26, True: 1 << 22}
"""Most pixels of a JPEG that is decoded in a process that must not be lost, by whether it is progressive: such a one is
held in memory whole."""


def plain_header(data: Buffer, limits: Limits, *, full: bool) -> Header | None:
    """The header of a JPEG of usual size, None of every other file.

    Fit for a process that must not be lost, as it is read in Python; and the native core proves such a file in time
    and memory that follow from its size.

    Args:
        data: the whole file.
        limits: sizes are checked before anything is decoded.
        full: it is to be decoded; False trusts what the header says, of whatever size.

    Raises:
        SampleError: what `inspect` would raise, where that shows before anything is decoded.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    check_bytes(len(data), limits)
    header = read_jpeg_header(data)
    check_pixels(header, limits)
    return None if full and header.pixels > PLAIN_PIXELS[header.progressive] else header
