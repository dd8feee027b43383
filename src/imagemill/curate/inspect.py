"""One look at an image: limits first, then its header, then, if asked, every byte of it."""

from __future__ import annotations

from imagemill.codecs.image import read_header, verify
from imagemill.core.sample import Buffer
from imagemill.curate.limits import Limits, check_bytes, check_pixels
from imagemill.curate.plain import Inspection


def inspect(data: Buffer, limits: Limits, *, full: bool) -> Inspection:
    """Checks one image file.

    Args:
        data: the whole file.
        limits: sizes are checked before anything is decoded.
        full: decode everything; False trusts what the header says.

    Raises:
        SampleError: "too-many-bytes", "too-many-pixels", "memory", or what `read_header` and `verify` find.
    """
    check_bytes(len(data), limits)
    header = read_header(data)
    check_pixels(header, limits)
    notes = header.notes()
    return Inspection(header, notes + verify(data, header) if full else notes)
