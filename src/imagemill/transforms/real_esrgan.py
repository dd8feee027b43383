"""The second-order degradation of Real-ESRGAN, for any image and size.

Blur, resize, noise and JPEG, twice, with a sinc filter for ringing at the end; all ranges and probabilities are those
of Wang, Xie, Dong and Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021
(section 3 and appendix), and of the training options published with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from imagemill.transforms.corruptions import LUMA, Image, through_codec
from imagemill.transforms.rng import SampleRng

Kernel = npt.NDArray[np.float32]
Range = tuple[float, float]

KERNEL_SIDES = tuple(range(7, 22, 2))
SHAPES = ("gaussian", "generalized", "plateau")
SHAPE_SHARES = (0.70, 0.15, 0.15)
"""Of each shape, isotropic ones: 0.45 of 0.70, 0.12 of 0.15, 0.12 of 0.15."""
ISOTROPIC_SHARES = (0.45 / 0.70, 0.12 / 0.15, 0.12 / 0.15)
RESIZERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Order:
    """One round of blur, resize, noise and JPEG.

    Args:
        blur: probability.
        sinc: share of blurs that are sinc filters.
        sigma: of the blur, in pixels.
        beta_generalized, beta_plateau: exponents of the two other shapes.
        resize: probabilities of enlarging, shrinking, keeping the size.
        scale: what sides are multiplied by, at most and at least.
        gaussian: share of Gaussian noise, the rest being Poisson noise.
        noise: sigma of Gaussian noise in levels of 255.
        poisson: scale of Poisson noise.
        grey_noise: share of noise that is equal in all channels.
        jpeg: qualities.
    """

    blur: float = 1.0
    sinc: float = 0.1
    sigma: Range = (0.2, 3.0)
    beta_generalized: Range = (0.5, 4.0)
    beta_plateau: Range = (1.0, 2.0)
    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    scale: Range = (0.15, 1.5)
    gaussian: float = 0.5
    noise: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    grey_noise: float = 0.4
    jpeg: Range = (30.0, 95.0)


@dataclass(frozen=True)
class RealEsrgan:
    """Two orders and a final sinc filter."""

    first: Order = field(default_factory=Order)
    second: Order = field(
        default_factory=lambda: Order(
            blur=0.8,
            sigma=(0.2, 1.5),
            resize=(0.3, 0.4, 0.3),
            scale=(0.3, 1.2),
            noise=(1.0, 25.0),
            poisson=(0.05, 2.5),
        )
    )
    final_sinc: float = 0.8

    def corrupt(self, image: Image, rng: SampleRng) -> Image:
        """An image degraded twice, at its own size again.

        Args:
            image: float32 (H, W, 3) in 0–1.
        """
        height, width = image.shape[:2]
        once = _noisy(_resized(_blurred(image, self.first, rng), image.shape, self.first, rng), self.first, rng)
        once = _jpeg(once, self.first, rng)
        twice = _noisy(_resized(_blurred(once, self.second, rng), image.shape, self.second, rng), self.second, rng)
        sharpen = sinc_kernel(_cutoff(21, rng), 21) if rng.random() < self.final_sinc else None
        resizer = RESIZERS[rng.integer(0, len(RESIZERS))]
        sinc_first = rng.random() < 0.5
        if not sinc_first:
            twice = _jpeg(twice, self.second, rng)
        twice = np.asarray(cv2.resize(twice, (width, height), interpolation=resizer))
        if sharpen is not None:
            twice = _filtered(twice, sharpen)
        return _jpeg(twice, self.second, rng) if sinc_first else twice.clip(0, 1)


def _blurred(image: Image, order: Order, rng: SampleRng) -> Image:
    if rng.random() >= order.blur:
        return image
    side = KERNEL_SIDES[rng.integer(0, len(KERNEL_SIDES))]
    if rng.random() < order.sinc:
        return _filtered(image, sinc_kernel(_cutoff(side, rng), side))
    return _filtered(image, draw_kernel(order, side, rng))


def draw_kernel(order: Order, side: int, rng: SampleRng) -> Kernel:
    """A blur kernel of random shape, widths and angle: float32 (side, side), sum 1."""
    shape = _choice(SHAPE_SHARES, rng)
    isotropic = rng.random() < ISOTROPIC_SHARES[shape]
    sigma_x = rng.uniform(*order.sigma)
    sigma_y = sigma_x if isotropic else rng.uniform(*order.sigma)
    angle = 0.0 if isotropic else rng.uniform(-math.pi, math.pi)
    betas = (None, order.beta_generalized, order.beta_plateau)[shape]
    # Half of the exponents below 1, half above, as the source draws them.
    beta = 1.0 if betas is None else rng.uniform(betas[0], 1) if rng.random() < 0.5 else rng.uniform(1, betas[1])
    return blur_kernel(SHAPES[shape], side, sigma_x, sigma_y, angle, beta)


def blur_kernel(shape: str, side: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Kernel:
    """A kernel over d² = the squared distance in sigmas: exp(-d²/2), exp(-(d²)^beta / 2) or 1 / (1 + (d²)^beta)."""
    places = np.arange(side) - side // 2
    y, x = np.meshgrid(places, places, indexing="ij")
    along = (x * math.cos(angle) + y * math.sin(angle)) / sigma_x
    across = (y * math.cos(angle) - x * math.sin(angle)) / sigma_y
    distance = along**2 + across**2
    if shape == "plateau":
        kernel = 1 / (1 + distance**beta)
    else:
        kernel = np.exp(-0.5 * (distance**beta if shape == "generalized" else distance))
    return np.asarray(kernel / kernel.sum(), np.float32)


def sinc_kernel(cutoff: float, side: int) -> Kernel:
    """The ideal circular low-pass filter, cutoff · J1(cutoff · r) / (2π r), cut to (side, side), sum 1.

    Args:
        cutoff: radians a pixel, up to π.
    """
    places = np.arange(side) - side // 2
    radius = np.hypot(*np.meshgrid(places, places, indexing="ij"))
    radius[side // 2, side // 2] = 1
    kernel = cutoff * bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    return np.asarray(kernel / kernel.sum(), np.float32)


def bessel_j1(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Bessel function J1, from its integral: the mean of cos(t - x sin t) over t from 0 to 2π.

    The sum of a periodic function over even steps converges exponentially: 128 steps are exact to 1e-12 up to x = 90.
    """
    t = np.arange(128) * (2 * math.pi / 128)
    return np.asarray(np.cos(t - x[..., None] * np.sin(t)).mean(axis=-1))


def _cutoff(side: int, rng: SampleRng) -> float:
    return rng.uniform(math.pi / 3 if side < 13 else math.pi / 5, math.pi)


def _filtered(image: Image, kernel: Kernel) -> Image:
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def _resized(image: Image, whole: tuple[int, ...], order: Order, rng: SampleRng) -> Image:
    """The image at a random share of the sides that the picture had at first."""
    kind = _choice(order.resize, rng)
    scale = (rng.uniform(1, order.scale[1]), rng.uniform(order.scale[0], 1), 1.0)[kind]
    sides = max(1, round(whole[1] * scale)), max(1, round(whole[0] * scale))
    return np.asarray(cv2.resize(image, sides, interpolation=RESIZERS[rng.integer(0, len(RESIZERS))]))


def _noisy(image: Image, order: Order, rng: SampleRng) -> Image:
    grey = rng.random() < order.grey_noise
    draw = rng.generator()
    if rng.random() < order.gaussian:
        shape = (*image.shape[:2], 1) if grey else image.shape
        noise = draw.standard_normal(shape, np.float32) * np.float32(rng.uniform(*order.noise) / 255)
        return np.asarray((image + noise).clip(0, 1), np.float32)
    scale = rng.uniform(*order.poisson)
    light = (image.clip(0, 1) @ LUMA)[..., None] if grey else image.clip(0, 1)
    # As many photons for white as there are different levels, rounded up to a power of two.
    levels = 2.0 ** math.ceil(math.log2(max(2, len(np.unique((light * 255).round().astype(np.uint8))))))
    noise = (draw.poisson(light * levels) / levels - light) * scale
    return np.asarray((image + noise).clip(0, 1), np.float32)


def _jpeg(image: Image, order: Order, rng: SampleRng) -> Image:
    return through_codec(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, round(rng.uniform(*order.jpeg)))


def _choice(shares: tuple[float, ...], rng: SampleRng) -> int:
    place = rng.random() * sum(shares)
    for index, share in enumerate(shares[:-1]):
        place -= share
        if place < 0:
            return index
    return len(shares) - 1
