"""From a model's numbers to a file: quantised, or the likeliest class; written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.core.files import atomic_write
from imagemill.prediction.decoded import Decoded
from imagemill.prediction.model import ModelFacts
from imagemill.prediction.options import PredictOptions
from imagemill.prediction.picture import encode_mask, encode_picture, without_colour
from imagemill.prediction.plan import format_of
from imagemill.prediction.tiling import Values

ROWS_AT_ONCE = 256
"""Rows that are quantised at a time, so that a large picture needs no second copy in float."""


@dataclass(frozen=True)
class Output:
    """A predicted picture.

    Args:
        place: in the plan.
        name: path below OUT.
        decoded: what it was made from.
        pixels: uint8 (H, W, 3 or 1), or class ids (H, W).
        alone: whether the network saw it by itself.
    """

    place: int
    name: str
    decoded: Decoded
    pixels: npt.NDArray[Any]
    alone: bool


def finished(values: Values, facts: ModelFacts) -> npt.NDArray[Any]:
    """Pixels of a model's output.

    Args:
        values: float32, (C, H, W): 0–1, or logits.

    Returns:
        uint8 (H, W, C), rounded to the nearest of 0–255; of a segmentation class ids (H, W), uint8 or uint16.
    """
    if facts.segments:
        ids: npt.NDArray[Any] = values.argmax(axis=0).astype(np.uint8 if values.shape[0] <= 256 else np.uint16)
        return ids
    channels, height, width = values.shape
    pixels = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, ROWS_AT_ONCE):
        part = np.nan_to_num(values[:, top : top + ROWS_AT_ONCE], nan=0.0)
        pixels[top : top + ROWS_AT_ONCE] = (np.clip(part, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def written(path: Path, output: Output, facts: ModelFacts, options: PredictOptions) -> None:
    """Writes the file of a predicted picture.

    Raises:
        SampleError: it does not fit the format.
    """
    picture = output.decoded.picture
    if facts.segments:
        atomic_write(path, encode_mask(output.pixels, palette=options.palette))
        return
    pixels = without_colour(output.pixels) if options.keep_grey and picture.grey else output.pixels
    atomic_write(path, encode_picture(pixels, picture, format_of(output.name), options.quality))
