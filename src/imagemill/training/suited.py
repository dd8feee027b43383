"""What suits a task where the user leaves it open: the shape of our own network, and the loss.

All of it was measured on 412 book plates of 128×128, by CPU-seconds of training (`benchmarks/train.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.training.model_file import ModelSpec

COLOURISING: Mapping[str, Any] = {"patch": 4, "levels": 4, "tones": 8, "context": 48}
"""Colour of grey pictures is smooth where lightness is kept, so patches of 4 will do, at a quarter of the cost of
patches of 2; what it is hangs on the picture as a whole."""

COLOUR_LOSS: Mapping[str, float] = {"psnr": 1.0}
"""What it is measured by. A mean over all pixels is ruled by the few pictures that nobody can guess: the best look-up
table by mean squared error is 0.13 dB below the best by mean PSNR."""
IMAGE_LOSS: Mapping[str, float] = {"psnr": 1.0, "ssim": 2.0}
"""PSNR alone leaves grain on flat paper, which costs a few hundredths of SSIM."""
MASK_LOSS: Mapping[str, float] = {"cross-entropy": 1.0, "dice": 1.0}


def suited_options(spec: ModelSpec) -> Mapping[str, Any]:
    """Options of a network, where it has them, for what a model is to learn."""
    return COLOURISING if guesses_colour(spec) else {}


def suited_loss(spec: ModelSpec) -> Mapping[str, float]:
    """Loss term → weight."""
    if spec.task == "segmentation":
        return MASK_LOSS
    return COLOUR_LOSS if guesses_colour(spec) else IMAGE_LOSS


def guesses_colour(spec: ModelSpec) -> bool:
    """Whether a model makes colour pictures of grey ones."""
    return spec.task == "image-to-image" and spec.in_channels == 1 and spec.out_channels > 1
