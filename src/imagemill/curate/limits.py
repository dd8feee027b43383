"""What one image may cost; apart from those who look at images, so that options load no decoder."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.codecs.header import Header
from imagemill.errors import SampleError


@dataclass(frozen=True)
class Limits:
    """What one image may cost.

    Args:
        max_pixels: width x height of one frame; the default is where Pillow calls a file a bomb.
        max_bytes: size of the file.
        max_seconds: wall time of one decode, enforced by `curate.isolated`.
        max_memory_bytes: memory that decoding may take: an image whose pixels alone take more is not decoded; what
            a decoder allocates besides counts where one runs in `curate.isolated`.
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 512 * 1024 * 1024
    max_seconds: float = 30.0
    max_memory_bytes: int = 2 * 1024**3


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
