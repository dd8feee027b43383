"""What each named corruption does to an image.

A corruption takes float32 (H, W, 3) in 0–1, a strength in 0–1 and a `SampleRng` for all further choices, and gives a
new array; strength 0 changes nothing, or as little as the corruption can. `corrupt.py` says which are applied, in
which order, how strongly, and clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from imagemill.transforms.rng import SampleRng

Image: TypeAlias = npt.NDArray[np.float32]
Corruption: TypeAlias = Callable[[Image, float, SampleRng], Image]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""
DOWNSCALERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
BLOCK = 8
"""Side of a block of JPEG and of most video codecs, in pixels."""


def quantize_colours(image: Image, strength: float, rng: SampleRng) -> Image:
    """Levels of 255 rounded down to multiples of 4, 8, 16 or 32."""
    step = 2 ** (int(strength * 10 / 3) + 2)
    return np.asarray(image * 255 // step * step / 255, np.float32)


def jitter_colours(image: Image, strength: float, rng: SampleRng) -> Image:
    """Brightness, contrast, saturation and hue changed by up to a fifth, in this order."""
    spread = 0.2 * strength
    image = image * np.float32(rng.uniform(1 - spread, 1 + spread))
    grey = float((image @ LUMA).mean())
    image = grey + (image - grey) * np.float32(rng.uniform(1 - spread, 1 + spread))
    greys = (image @ LUMA)[..., None]
    image = (greys + (image - greys) * np.float32(rng.uniform(1 - spread, 1 + spread))).clip(0, 1)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * rng.uniform(-spread, spread)) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def blur(image: Image, strength: float, rng: SampleRng, *, blur_scale: float = 1.0) -> Image:
    """A Gaussian of sigma up to 1.5 pixels times the scale."""
    sigma = 1.5 * blur_scale * strength
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma)) if sigma > 0.05 else image.copy()


def blur_by_motion(image: Image, strength: float, rng: SampleRng, *, blur_scale: float = 1.0) -> Image:
    """The mean along a line of 1 to 4 pixels (times the scale) in a random direction."""
    length = 3 * blur_scale * strength + 1
    kernel = line_kernel(length, rng.uniform(0, math.pi))
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101))


def line_kernel(length: float, angle: float) -> Image:
    """A line of this length (pixels) and angle (radians) as a kernel of odd sides that sums to 1, centred exactly."""
    reach = (length - 1) / 2
    half = math.ceil(reach)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    places = np.linspace(-reach, reach, 8 * (2 * half + 1) + 1)
    for place in places:
        y, x = half + place * math.sin(angle), half + place * math.cos(angle)
        row, column = min(int(y), 2 * half), min(int(x), 2 * half)
        down, right = y - row, x - column
        for i, share_y in ((row, 1 - down), (row + 1, down)):
            for j, share_x in ((column, 1 - right), (column + 1, right)):
                if share_y * share_x > 0:
                    kernel[i, j] += share_y * share_x
    return np.asarray(kernel / kernel.sum(), np.float32)


def resampling_factor(name: str, strength: float) -> int:
    """How far `lq_resampling` goes down: 1, 2 or 4 by strength; `lq_resampling4x` always 4."""
    if name == "lq_resampling4x":
        return 4
    return 1 if strength < 0.3 else 2 if strength < 0.7 else 4


def downscale(image: Image, factor: int, rng: SampleRng) -> Image:
    """The image at 1/factor of its sides (at least 1), by nearest, bilinear, bicubic or Lanczos, drawn evenly."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    sides = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.resize(image, sides, interpolation=DOWNSCALERS[rng.integer(0, len(DOWNSCALERS))]))


def add_uniform_noise(image: Image, strength: float, rng: SampleRng, *, fixed: float | None = None) -> Image:
    """Uniform noise of width 6/255 times the strength, or of a fixed width, around 0, per pixel and channel."""
    width = 6 / 255 * strength if fixed is None else fixed
    noise = rng.generator().random(image.shape, dtype=np.float32)
    return image + (noise - np.float32(0.5)) * np.float32(width)


def add_gaussian_noise(image: Image, strength: float, rng: SampleRng) -> Image:
    """Gaussian noise of sigma up to 25/255, per pixel and channel."""
    return image + rng.generator().standard_normal(image.shape, np.float32) * np.float32(25 / 255 * strength)


def add_poisson_noise(image: Image, strength: float, rng: SampleRng) -> Image:
    """Shot noise: white is 4096 photons at strength 0 and 32 at strength 1 (sigma 1/64 to 0.18 of white)."""
    photons = 4096.0 ** (1 - strength) * 32.0**strength
    return np.asarray(rng.generator().poisson(image.clip(0, 1) * photons) / photons, np.float32)


def encode_jpeg(image: Image, strength: float, rng: SampleRng, *, worst: int, span: int) -> Image:
    """Through JPEG (4:2:0) of quality `worst` (strength 1) to `worst + span` (strength 0)."""
    return through_codec(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, int((1 - strength) * span) + worst)


def encode_webp(image: Image, strength: float, rng: SampleRng) -> Image:
    """Through lossy WebP of quality 10 (strength 1) to 70 (strength 0)."""
    return through_codec(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, int((1 - strength) * 60) + 10)


def through_codec(image: Image, suffix: str, option: int, quality: int) -> Image:
    """An image encoded and decoded again; what lies outside 0–1 is clipped first."""
    levels = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)[..., ::-1]
    encoded = cv2.imencode(suffix, levels, [option, quality])[1]
    decoded: npt.NDArray[np.uint8] = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return np.asarray(decoded[..., ::-1], np.float32) / np.float32(255)


def overexpose(image: Image, strength: float, rng: SampleRng) -> Image:
    """Everything brighter by up to 0.3, so that light parts saturate."""
    return image + np.float32(0.3 * strength)


def drop_colour(image: Image, strength: float, rng: SampleRng) -> Image:
    """The mean of the channels in each of them, whatever the strength."""
    return np.repeat(image.mean(axis=2, keepdims=True), image.shape[2], axis=2)


def disturb_blocks(image: Image, strength: float, rng: SampleRng) -> Image:
    """Blocks of 8×8 pixels off by up to 12/255 in each channel, and up to one in twenty frozen to its mean colour."""
    height, width = image.shape[:2]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    draw = rng.generator()
    offsets = (draw.random((rows, columns, 3), dtype=np.float32) * 2 - 1) * np.float32(12 / 255 * strength)
    frozen = draw.random((rows, columns)) < 0.05 * strength
    means = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    grown = partial(np.kron, b=np.ones((BLOCK, BLOCK, 1), np.float32))
    spread = grown(np.dstack([offsets, means * frozen[..., None], frozen.astype(np.float32)]))[:height, :width]
    return np.asarray(image * (1 - spread[..., 6:]) + spread[..., 3:6] + spread[..., :3], np.float32)


def shift_colours(image: Image, strength: float, rng: SampleRng) -> Image:
    """Each channel lighter or darker by up to 0.1: a wrong white balance."""
    return image + np.array([rng.uniform(-0.1, 0.1) * strength for _ in range(3)], np.float32)


def interlace(image: Image, strength: float, rng: SampleRng) -> Image:
    """Every second row shifted sideways by up to 6 pixels, as fields of two moments are; strength 0 shifts none."""
    pixels = round(6 * strength) * (1 if rng.bits() & 1 else -1)
    result = image.copy()
    field = rng.integer(0, 2)
    columns = np.arange(image.shape[1]) - pixels
    result[field::2] = image[field::2, columns.clip(0, image.shape[1] - 1)]
    return result


def aberrate(image: Image, strength: float, rng: SampleRng) -> Image:
    """Red larger and blue smaller (or the reverse) about the centre, by up to 1 % of the side."""
    height, width = image.shape[:2]
    amount = 0.01 * strength * (1 if rng.bits() & 1 else -1)
    channels = []
    for channel, scale in zip(cv2.split(image), (1 + amount, 1.0, 1 - amount), strict=True):
        centre = (width - 1) / 2 * (1 - scale), (height - 1) / 2 * (1 - scale)
        warp = np.array([[scale, 0, centre[0]], [0, scale, centre[1]]], np.float64)
        channels.append(cv2.warpAffine(channel, warp, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return np.asarray(cv2.merge(channels))


def leave(image: Image, strength: float, rng: SampleRng) -> Image:
    """The image as it is."""
    return image


CORRUPTIONS: dict[str, Corruption] = {
    "none": leave,
    "color_quantization": quantize_colours,
    "color_jitter": jitter_colours,
    "gaussian_blur": blur,
    "motion_blur": blur_by_motion,
    "noise": add_uniform_noise,
    "noise-5": partial(add_uniform_noise, fixed=5 / 255),
    "gaussian_noise": add_gaussian_noise,
    "poisson_noise": add_poisson_noise,
    "jpeg": partial(encode_jpeg, worst=10, span=20),
    "jpeg-low": partial(encode_jpeg, worst=15, span=10),
    "jpeg-medium": partial(encode_jpeg, worst=23, span=25),
    "jpeg-broad": partial(encode_jpeg, worst=15, span=60),
    "jpeg-normal": partial(encode_jpeg, worst=47, span=35),
    "webp": encode_webp,
    "saturation": overexpose,
    "greyscale": drop_colour,
    "block_noise": disturb_blocks,
    "color_shift": shift_colours,
    "interlacing": interlace,
    "chromatic_aberration": aberrate,
}
"""Name → what it does, but for resampling, whose second half waits for the end (see `corrupt.py`)."""

RESAMPLINGS = ("lq_resampling", "lq_resampling4x")
BLURS = ("gaussian_blur", "motion_blur")
"""Those whose reach `blur_scale` multiplies."""
