"""What suits a task where the user leaves it open: the shape of our own network, and the loss.

All of it was measured on 412 book plates of 128×128, by CPU-seconds of training (`benchmarks/train.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.networks.residual_unet import CHROMA_CHANNELS
from imagemill.training.losses import PALETTE
from imagemill.training.model_file import ModelSpec

COLOURISING: Mapping[str, Any] = {"patch": 4, "levels": 4, "tones": 8, "context": 48}
"""Colour of grey pictures is smooth where lightness is kept, so patches of 4 will do, at a quarter of the cost of
patches of 2; what it is hangs on the picture as a whole."""

COLOUR_LOSS: Mapping[str, float] = {"psnr": 1.0}
"""What it is measured by. A mean over all pixels is ruled by the few pictures that nobody can guess: the best look-up
table by mean squared error is 0.13 dB below the best by mean PSNR."""
PALETTE_LOSS: Mapping[str, float] = {"palette": 0.1}
"""Beside it, where the network has a palette: which colours are likely. Nothing else learns from it, so its weight only
says how much it counts where the gradient of all is clipped: little."""
IMAGE_LOSS: Mapping[str, float] = {"psnr": 1.0, "ssim": 2.0}
"""PSNR alone leaves grain on flat paper, which costs a few hundredths of SSIM."""
MASK_LOSS: Mapping[str, float] = {"cross-entropy": 1.0, "dice": 1.0}


def suited_options(spec: ModelSpec, loss: Mapping[str, float]) -> Mapping[str, Any]:
    """Options of a network, where it has them, for what a model is to learn.

    Args:
        loss: that the user asks for; empty leaves it open.
    """
    if not guesses_colour(spec):
        return {}
    return {**COLOURISING, "palette": spec.out_channels == CHROMA_CHANNELS and (not loss or PALETTE in loss)}


def suited_loss(spec: ModelSpec) -> Mapping[str, float]:
    """Loss term → weight."""
    if spec.task == "segmentation":
        return MASK_LOSS
    if not guesses_colour(spec):
        return IMAGE_LOSS
    return {**COLOUR_LOSS, **(PALETTE_LOSS if spec.options.get("palette") else {})}


def guesses_colour(spec: ModelSpec) -> bool:
    """Whether a model makes colour pictures of grey ones."""
    return spec.task == "image-to-image" and spec.in_channels == 1 and spec.out_channels > 1
