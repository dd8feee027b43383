"""What pictures are measured by; each says how. Per image, never per batch: a batch has no error of its own.

All take float tensors (N, 3, H, W), RGB in 0–1 (values beyond are clipped), and give float (N,).
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from imagemill.errors import ImagemillError
from imagemill.networks.perceptual_distance import load_perceptual_distance
from imagemill.training.colour import rgb_to_scaled_lab
from imagemill.transforms.lab import CHROMA_SCALE, LIGHTNESS_HALF

_log = logging.getLogger(__name__)

SMALLEST_ERROR = 1e-10
"""Mean squared error of equal pictures: 100 dB."""
SSIM_SIDE, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
"""Window and constants of Wang, Bovik, Sheikh and Simoncelli 2004."""
STUDIO_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
STUDIO_BLACK = 16 / 255
"""Y of BT.601 in 16–235, as super-resolution papers measure (MATLAB's rgb2ycbcr)."""

PROTOCOLS = {
    "psnr": "PSNR over RGB, clipped to 0-1, no border cut, per image then mean",
    "psnr-y": "PSNR over Y (BT.601, 16-235), a border of scale pixels cut, per image then mean",
    "ssim": "SSIM over R, G and B (Gaussian window 11, sigma 1.5, valid places only), per image then mean",
    "ssim-y": "SSIM over Y (BT.601, 16-235), a border of scale pixels cut, per image then mean",
    "ciede2000": "CIEDE2000 (D65, kL = kC = kH = 1), mean over pixels, per image then mean; 0 is equal",
    "colourfulness": "M3 of Hasler and Süsstrunk 2003 over 0-255, per image then mean; of the output alone",
    "lpips": "LPIPS 0.1 with AlexNet (Zhang et al. 2018), per image then mean; 0 is equal",
    "miou": "intersection over union of all pixels of the split, mean over classes that occur",
    "accuracy": "share of pixels with the right class",
    "loss": "the training loss, per image then mean",
}
"""What is printed with each number."""


IMAGE_METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "ciede2000", "loss")
MASK_METRICS = ("miou", "accuracy", "loss")
"""What a best model can be chosen by."""


def psnr(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Peak signal to noise ratio in dB."""
    error = (output.clamp(0, 1) - target.clamp(0, 1)).double().square().mean((1, 2, 3))
    return -10 * torch.log10(error + SMALLEST_ERROR)


def studio_luma(rgb: torch.Tensor, border: int) -> torch.Tensor:
    """Y in 16–235 of 255, without a border: (N, 1, H', W')."""
    y = (rgb.clamp(0, 1) * rgb.new_tensor(STUDIO_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True) + STUDIO_BLACK
    return y[..., border : y.shape[-2] - border, border : y.shape[-1] - border]


def ssim(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity, 1 for equal pictures; differentiable. Pictures below 11 pixels take a smaller window."""
    side = min(SSIM_SIDE, *(length - 1 + length % 2 for length in output.shape[-2:]))
    offsets = torch.arange(side, dtype=output.dtype, device=output.device) - side // 2
    weights = torch.exp(-offsets.square() / (2 * SSIM_SIGMA**2))
    weights = weights / weights.sum()
    channels = output.shape[1]

    def blurred(values: torch.Tensor) -> torch.Tensor:
        # The window is separable: two passes of 11 taps instead of one of 121.
        rows = functional.conv2d(values, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return functional.conv2d(rows, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    mean_a, mean_b = blurred(output), blurred(target)
    variance_a = blurred(output * output) - mean_a * mean_a
    variance_b = blurred(target * target) - mean_b * mean_b
    covariance = blurred(output * target) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    return (likeness / ((mean_a**2 + mean_b**2 + SSIM_C1) * (variance_a + variance_b + SSIM_C2))).mean((1, 2, 3))


def ciede2000(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean colour difference, by the formulas of Sharma, Wu and Dalal 2005."""
    first, second = (_lab(each).double() for each in (output, target))
    return colour_difference(first, second).mean((1, 2))


def colour_difference(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """CIEDE2000 of LAB pixels (N, 3, H, W) in their own units: (N, H, W)."""
    (l1, a1, b1), (l2, a2, b2) = first.unbind(1), second.unbind(1)
    chroma_power = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1 + 0.5 * (1 - torch.sqrt(chroma_power / (chroma_power + 25.0**7)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = (c1 * c2) == 0
    turn = torch.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    hue = 2 * torch.sqrt(c1 * c2) * torch.sin(torch.deg2rad(turn) / 2)
    middle = torch.where(grey, h1 + h2, _mean_hue(h1, h2))
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * _cos(middle - 30) + 0.24 * _cos(2 * middle) + 0.32 * _cos(3 * middle + 6)
    weight = weight - 0.20 * _cos(4 * middle - 63)
    off = (light - 50) ** 2
    scale_l = 1 + 0.015 * off / torch.sqrt(20 + off)
    scale_c, scale_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * weight
    rotation = -2 * torch.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation = rotation * torch.sin(torch.deg2rad(60 * torch.exp(-(((middle - 275) / 25) ** 2))))
    parts = (l2 - l1) / scale_l, (c2 - c1) / scale_c, hue / scale_h
    return torch.sqrt((sum(part**2 for part in parts) + rotation * parts[1] * parts[2]).clamp_min(0))


def _mean_hue(h1: torch.Tensor, h2: torch.Tensor) -> torch.Tensor:
    total = h1 + h2
    apart = (h1 - h2).abs() > 180
    return torch.where(apart, torch.where(total < 360, total + 360, total - 360), total) / 2


def _cos(degrees: torch.Tensor) -> torch.Tensor:
    return torch.cos(torch.deg2rad(degrees))


def _lab(rgb: torch.Tensor) -> torch.Tensor:
    scaled = rgb_to_scaled_lab(rgb)
    return torch.cat([(scaled[:, :1] + 1) * LIGHTNESS_HALF, scaled[:, 1:] * CHROMA_SCALE], 1)


def colourfulness(images: torch.Tensor) -> torch.Tensor:
    """How colourful pictures are: 0 grey, 33 moderate, 59 quite, 109 extremely."""
    red, green, blue = (images.clamp(0, 1) * 255).unbind(1)
    first, second = red - green, (red + green) / 2 - blue
    spread = torch.hypot(first.std((1, 2), unbiased=False), second.std((1, 2), unbiased=False))
    return spread + 0.3 * torch.hypot(first.mean((1, 2)), second.mean((1, 2)))


def image_metrics(
    output: torch.Tensor, target: torch.Tensor, *, scale: int = 1, luma: bool = False
) -> dict[str, torch.Tensor]:
    """Every metric of pictures, each float (N,).

    Args:
        scale: of a super-resolution; so many border pixels are cut of Y.
        luma: whether Y is measured where nothing was enlarged, too.
    """
    clipped, wanted = output.clamp(0, 1), target.clamp(0, 1)
    found = {
        "psnr": psnr(clipped, wanted),
        "ssim": ssim(clipped, wanted),
        "ciede2000": ciede2000(clipped, wanted),
        "colourfulness": colourfulness(clipped),
    }
    border = scale if scale > 1 and min(target.shape[-2:]) > 2 * scale + 1 else 0
    if scale > 1 or luma:
        y = [studio_luma(each, border) for each in (clipped, wanted)]
        found |= {"psnr-y": psnr(*y), "ssim-y": ssim(*y)}
    distance = lpips_distance()
    if distance is not None:
        found["lpips"] = distance(clipped, wanted)
    return found


@cache
def lpips_distance() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """LPIPS where the package `lpips` is installed and AlexNet's weights are at hand; None elsewhere, which is said."""
    if importlib.util.find_spec("lpips") is None:
        return None
    try:
        network = load_perceptual_distance()
    except ImagemillError as error:
        _log.warning("LPIPS is not measured: %s", error)
        return None

    def distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = network.to(output.device)(output, target)
        return found

    return distance


class Confusion:
    """Pixels by true and predicted class, added up over a split.

    Args:
        classes: how many.
        ignored: a class that is none.
    """

    def __init__(self, classes: int, ignored: int | None = None) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)
        self._ignored = ignored

    def add(self, predicted: torch.Tensor, truth: torch.Tensor) -> None:
        """More pixels: int64 of equal shapes."""
        kept = torch.ones_like(truth, dtype=torch.bool) if self._ignored is None else truth != self._ignored
        classes = len(self.counts)
        places = truth[kept] * classes + predicted[kept]
        self.counts += torch.bincount(places, minlength=classes**2).view(classes, classes).cpu()

    def summary(self) -> dict[str, float]:
        """mIoU and accuracy, of what was added."""
        counts = self.counts.double()
        hit, either = counts.diag(), counts.sum(0) + counts.sum(1) - counts.diag()
        there = either > 0
        miou = float((hit[there] / either[there]).mean()) if there.any() else math.nan
        return {"miou": miou, "accuracy": float(hit.sum() / counts.sum().clamp_min(1))}


def protocol_lines(names: Mapping[str, Any] | list[str]) -> list[str]:
    """How each of these numbers is measured, a line each."""
    return [f"{name}: {PROTOCOLS[name]}" for name in names if name in PROTOCOLS]
