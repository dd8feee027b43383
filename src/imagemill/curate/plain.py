"""JPEGs in perfect order, looked at without loading a decoder but the native core."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill import native
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
"""Most pixels of a JPEG that `inspect_plain` decodes, by whether it is progressive: those are held in memory whole."""


def inspect_plain(data: Buffer, limits: Limits, *, full: bool) -> Inspection | None:
    """What `inspect` says of a JPEG that is in perfect order and of usual size, None of every other file.

    Fit for a process that must not be lost: headers are read in Python, and what is decoded is decoded by the native
    core alone, in time and memory that follow from the file's size.

    Args:
        data: the whole file.
        limits: sizes are checked before anything is decoded.
        full: prove every code of the file; False trusts what the header says.

    Raises:
        SampleError: what `inspect` would raise, where that shows before anything is decoded.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    check_bytes(len(data), limits)
    header = read_jpeg_header(data)
    check_pixels(header, limits)
    if full and not (header.pixels <= PLAIN_PIXELS[header.progressive] and native.prove_jpeg(data)):
        return None
    return Inspection(header, header.notes())
