"""Losses: each a mean over images of a mean over an image, so that batches can be cut and added up exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from imagemill.training.metrics import ssim

CHARBONNIER_EPSILON = 1e-3
"""Below this a difference counts as its square does, above as its size does (Charbonnier et al. 1994)."""
PSNR_FLOOR = 1e-5
"""Mean squared error at which the psnr loss flattens out: 50 dB."""
DICE_SMOOTHING = 1.0
"""Pixels added to a class of none, so that it counts as met."""


def l1(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return (output - target).abs().mean()


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference."""
    return functional.mse_loss(output, target)


def charbonnier(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of sqrt(difference² + 0.001²): an L1 that is smooth at 0."""
    return ((output - target).square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def psnr_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over images of ln(mean squared difference + 1e-5): PSNR upside down, in units of 4.34 dB.

    Pictures count alike, however far off they are; beyond 50 dB nothing is gained.
    """
    return (mse_of_each(output, target) + PSNR_FLOOR).log().mean()


def mse_of_each(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each image, (N,)."""
    return (output - target).square().flatten(1).mean(1)


def ssim_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - SSIM."""
    return 1 - ssim(output, target).mean()


IMAGE_LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "psnr": psnr_loss,
    "ssim": ssim_loss,
}


def cross_entropy(logits: torch.Tensor, classes: torch.Tensor, ignored: int | None = None) -> torch.Tensor:
    """Mean over images of the mean over their pixels; ignored ones are left out.

    Args:
        logits: (N, classes, H, W).
        classes: int64 (N, H, W).
        ignored: a class that is none.
    """
    each = functional.cross_entropy(
        logits, classes, reduction="none", ignore_index=-100 if ignored is None else ignored
    )
    counted = torch.ones_like(each) if ignored is None else (classes != ignored).to(each)
    return (each.sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)).mean()


def dice(logits: torch.Tensor, classes: torch.Tensor, ignored: int | None = None) -> torch.Tensor:
    """1 - the mean over images and classes of 2 |A ∩ B| / (|A| + |B|), with softmax shares (Milletari et al. 2016).

    Only classes that an image has are counted.
    """
    shares = logits.softmax(1)
    counted = torch.ones_like(classes, dtype=torch.bool) if ignored is None else classes != ignored
    truth = functional.one_hot(classes.where(counted, 0), shares.shape[1]).movedim(-1, 1).to(shares) * counted[:, None]
    shares = shares * counted[:, None]
    both, either = (shares * truth).sum((2, 3)), (shares + truth).sum((2, 3))
    score = (2 * both + DICE_SMOOTHING) / (either + DICE_SMOOTHING)
    there = (truth.sum((2, 3)) > 0).to(score)
    return 1 - ((score * there).sum(1) / there.sum(1).clamp_min(1)).mean()


PALETTE = "palette"
"""Name of the loss that networks with a palette compute themselves, see `imagemill.networks.palette`."""

MASK_LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor, int | None], torch.Tensor]] = {
    "cross-entropy": cross_entropy,
    "dice": dice,
}
