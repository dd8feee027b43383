"""One look at an image: limits first, then its header, then, if asked, every byte of it."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.codecs.image import Header, read_header, verify
from imagemill.core.sample import Buffer
from imagemill.curate.limits import Limits
from imagemill.errors import SampleError


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found.

    Args:
        header: the image's header.
        notes: what the pixel policy does to it, then harmless irregularities.
    """

    header: Header
    notes: tuple[str, ...]


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


def check_bytes(size: int, limits: Limits) -> None:
    """Refuses a file that is too long.

    Raises:
        SampleError: "too-many-bytes".
    """
    if size > limits.max_bytes:
        raise SampleError("too-many-bytes", f"{size:,} bytes, the limit is {limits.max_bytes:,}")


def check_pixels(header: Header, limits: Limits) -> None:
    """Refuses a picture that is too large.

    Raises:
        SampleError: "too-many-pixels".
    """
    if header.pixels > limits.max_pixels:
        size = f"{header.width}x{header.height}"
        raise SampleError("too-many-pixels", f"{size} = {header.pixels:,} pixels, the limit is {limits.max_pixels:,}")
    if header.decoded_bytes > limits.max_memory_bytes:
        kind = f"{header.width}x{header.height}, {header.channels} channels of {header.bits} bits"
        detail = f"{kind} take {header.decoded_bytes:,} bytes decoded, the limit is {limits.max_memory_bytes:,}"
        raise SampleError("memory", detail)
