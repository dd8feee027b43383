"""What one image may cost; apart from those who look at images, so that options load no decoder."""

from __future__ import annotations

from dataclasses import dataclass


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
