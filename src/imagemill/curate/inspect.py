"""One look at an image: limits first, then its header, then, if asked, every byte of it."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill import native
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
    header = read_header(data)
    check_pixels(header, limits)
    if full and not (header.pixels <= PLAIN_PIXELS[header.progressive] and native.prove_jpeg(data)):
        return None
    return Inspection(header, header.notes())


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
