"""Perceptual hashes of thumbnails, for many pictures at once, in all eight orientations.

Both are the hashes of the ImageHash package (its `phash` and `dhash` of 64 bits), taken of a grey thumbnail of
32 x 32 instead of the picture: equal bits for an equal thumbnail. Bits count from the highest, row by row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.curate.quality import THUMBNAIL_SIDE

Thumbnails = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

TURNS = 8
"""Orientations: bit 2 swaps rows and columns, then bit 1 turns upside down, then bit 0 mirrors."""
_HASH_SIDE = 8


def turned(thumbnails: npt.NDArray[Any], turn: int) -> npt.NDArray[Any]:
    """Thumbnails, shape (N, 32, 32), in one of the eight orientations; a view."""
    if turn & 4:
        thumbnails = thumbnails.swapaxes(1, 2)
    if turn & 2:
        thumbnails = thumbnails[:, ::-1]
    return thumbnails[:, :, ::-1] if turn & 1 else thumbnails


def phash(thumbnails: Thumbnails) -> Hashes:
    """Which of the 8 x 8 lowest frequencies of the cosine transform exceed their median.

    Args:
        thumbnails: uint8, shape (N, 32, 32).

    Returns:
        uint64, shape (N,).
    """
    basis = _cosines()
    frequencies = (basis @ thumbnails.astype(np.float64) @ basis.T).reshape(len(thumbnails), -1)
    return _packed(frequencies > np.median(frequencies, axis=1, keepdims=True))


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """The first eight rows of the discrete cosine transform, type II, without normalisation; shape (8, 32)."""
    frequency, place = np.arange(_HASH_SIDE)[:, None], np.arange(THUMBNAIL_SIDE)[None, :]
    return np.asarray(2 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * THUMBNAIL_SIDE)))


def dhash(thumbnails: Thumbnails) -> Hashes:
    """Where the thumbnail, brought to 9 x 8 pixels, gets brighter from one column to the next.

    Args:
        thumbnails: uint8, shape (N, 32, 32).

    Returns:
        uint64, shape (N,).
    """
    wide = _rounded(thumbnails.astype(np.float64) @ _lanczos(_HASH_SIDE + 1).T)
    small = _rounded(_lanczos(_HASH_SIDE) @ wide)
    return _packed((small[:, :, 1:] > small[:, :, :-1]).reshape(len(thumbnails), -1))


def _rounded(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Levels as Pillow keeps them between and after its two passes: whole numbers from 0 to 255."""
    return np.asarray(np.clip(np.floor(levels + 0.5 + 1e-6), 0, 255))


@cache
def _lanczos(size: int) -> npt.NDArray[np.float64]:
    """Pillow's LANCZOS weights from 32 to `size` pixels, shape (size, 32)."""
    scale = THUMBNAIL_SIDE / size
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum(np.floor(centres - 3 * scale + 0.5), 0)
    last = np.minimum(np.floor(centres + 3 * scale + 0.5), THUMBNAIL_SIDE)
    places = np.arange(THUMBNAIL_SIDE)
    offsets = (places[None, :] + 0.5 - centres[:, None]) / scale
    weights = np.where(np.abs(offsets) < 3, np.sinc(offsets) * np.sinc(offsets / 3), 0.0)
    weights[(places[None, :] < first[:, None]) | (places[None, :] >= last[:, None])] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _packed(bits: npt.NDArray[np.bool_]) -> Hashes:
    """64 truth values a row as one number, the first highest."""
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)
