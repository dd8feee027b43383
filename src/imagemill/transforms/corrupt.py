"""Corruptions of images: which, how strongly, in which order; drawn once, the same for all frames of a window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from imagemill.core.schema import Field
from imagemill.errors import ConfigError, did_you_mean
from imagemill.transforms.base import PixelTransform
from imagemill.transforms.corruptions import (
    BLURS,
    CORRUPTIONS,
    RESAMPLINGS,
    Image,
    downscale,
    resampling_factor,
)
from imagemill.transforms.real_esrgan import RealEsrgan
from imagemill.transforms.rng import SampleRng
from imagemill.transforms.view import Sides

NAMES = (*CORRUPTIONS, *RESAMPLINGS, "real_esrgan")


@dataclass(frozen=True)
class CorruptionOptions:
    """Which corruptions, and how they are drawn.

    Args:
        fixed_corruptions: applied to every image, in this order.
        random_corruptions: `num_corrupts_per_image` of these are drawn with replacement, before the fixed ones.
        num_corrupts_per_image: how many.
        corruption_blur_scale: multiplies the reach of blurs.
        cosine_bias: a strength drawn evenly becomes 1 - cos(strength · π/2): weak corruptions are more frequent.
        random_seed: joins the key of the random numbers, for another draw at the same (seed, epoch, index).

    Raises:
        ConfigError: an unknown corruption, or random ones without a count, or a count without any.
    """

    fixed_corruptions: tuple[str, ...] = ()
    random_corruptions: tuple[str, ...] = ()
    num_corrupts_per_image: int = 0
    corruption_blur_scale: float = 1.0
    cosine_bias: bool = True
    random_seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed_corruptions", tuple(self.fixed_corruptions))
        object.__setattr__(self, "random_corruptions", tuple(self.random_corruptions))
        for name in (*self.fixed_corruptions, *self.random_corruptions):
            if name not in NAMES:
                raise ConfigError(f"unknown corruption {name!r}; known: {', '.join(NAMES)}{did_you_mean(name, NAMES)}")
        if self.num_corrupts_per_image < 0 or self.corruption_blur_scale < 0:
            raise ConfigError("num_corrupts_per_image and corruption_blur_scale are 0 or more")
        if self.num_corrupts_per_image and not self.random_corruptions:
            raise ConfigError("num_corrupts_per_image asks for random_corruptions, and there are none")


class Step(NamedTuple):
    """One corruption as it was drawn.

    Args:
        name: which.
        strength: 0–1.
        key: names the random numbers of everything else it draws.
    """

    name: str
    strength: float
    key: int


class Corruptor:
    """Draws corruptions and applies them; pure, safe in threads.

    Random corruptions come first, then the fixed ones in their order; what a resampling took down is brought back to
    its size, bilinearly, after all others. Values are clipped to 0–1 after each.

    Example::

        >>> corruptor = Corruptor(CorruptionOptions(fixed_corruptions=("gaussian_blur", "jpeg")))
        >>> steps = corruptor.draw(SampleRng(0, 0, 7))
        >>> [step.name for step in steps]
        ['gaussian_blur', 'jpeg']
    """

    def __init__(self, options: CorruptionOptions) -> None:
        self.options = options

    def draw(self, rng: SampleRng) -> tuple[Step, ...]:
        """What is done to a sample, decided by the random numbers alone."""
        options = self.options
        key = rng.bits()
        if not (options.num_corrupts_per_image or options.fixed_corruptions):
            return ()
        rng = SampleRng(key, options.random_seed % 2**64)
        drawn = [
            options.random_corruptions[rng.integer(0, len(options.random_corruptions))]
            for _ in range(options.num_corrupts_per_image)
        ]
        return tuple(Step(name, self._strength(rng), rng.bits()) for name in (*drawn, *options.fixed_corruptions))

    def _strength(self, rng: SampleRng) -> float:
        even = rng.random()
        return 1 - math.cos(even * math.pi / 2) if self.options.cosine_bias else even

    def apply(self, images: Sequence[Image], steps: Sequence[Step]) -> list[Image]:
        """Frames corrupted alike: the same steps with the same choices; only noise differs from frame to frame.

        Args:
            images: float32 (H, W, 3) in 0–1.

        Returns:
            New arrays of the same shapes, in 0–1.
        """
        return [self._one(image, steps, frame) for frame, image in enumerate(images)]

    def _one(self, image: Image, steps: Sequence[Step], frame: int) -> Image:
        height, width = image.shape[:2]
        # Channels together, as OpenCV wants them.
        result = np.ascontiguousarray(image) if steps else image
        for step in steps:
            result = np.clip(self._apply(result, step, frame), 0, 1, dtype=np.float32)
        if result.shape[:2] != (height, width):
            result = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        return result.copy(order="K") if result is image else result

    def _apply(self, image: Image, step: Step, frame: int) -> Image:
        # Noise is new in every frame of a window, as a camera's is; every other choice is shared.
        rng = SampleRng(step.key, frame) if "noise" in step.name else SampleRng(step.key)
        if step.name in RESAMPLINGS:
            return downscale(image, resampling_factor(step.name, step.strength), rng)
        if step.name == "real_esrgan":
            return RealEsrgan().corrupt(image, rng)
        if step.name in BLURS:
            corruption = CORRUPTIONS[step.name]
            return corruption(image, step.strength, rng, blur_scale=self.options.corruption_blur_scale)  # type: ignore[call-arg]
        return CORRUPTIONS[step.name](image, step.strength, rng)

    def entropy(self, steps: Sequence[Step]) -> npt.NDArray[np.float32]:
        """Strengths of the fixed corruptions, in their order: float32 (number of fixed corruptions,)."""
        count = len(self.options.fixed_corruptions)
        return np.array([step.strength for step in steps[len(steps) - count :]], np.float32)


class Corrupt(PixelTransform):
    """Corruptions as a transform of a `Loader`; partners are corrupted alike, or only the fields named.

    Args:
        fixed, random, count, blur_scale, cosine_bias: as in `CorruptionOptions`.
        fields: names of the image fields to corrupt, as ("before",); None takes all.
    """

    def __init__(
        self,
        fixed: Sequence[str] = (),
        random: Sequence[str] = (),
        count: int = 0,
        *,
        blur_scale: float = 1.0,
        cosine_bias: bool = True,
        fields: Sequence[str] | None = None,
    ) -> None:
        self.corruptor = Corruptor(CorruptionOptions(tuple(fixed), tuple(random), count, blur_scale, cosine_bias))
        self.fields = None if fields is None else frozenset(fields)

    def draw(self, sides: Sides, rng: SampleRng) -> tuple[Step, ...]:
        """The steps."""
        return self.corruptor.draw(rng)

    def apply(self, value: Any, field: Field, params: Any) -> Any:
        """Images of the fields wanted corrupted, anything else as it is."""
        return super().apply(value, field, params) if self.fields is None or field.name in self.fields else value

    def pixels(self, pixels: npt.NDArray[np.uint8], params: Any) -> npt.NDArray[np.uint8]:
        """The image corrupted; a grey one is corrupted as three equal channels, and their mean is kept."""
        grey = pixels.shape[2] == 1
        image = (np.repeat(pixels, 3, axis=2) if grey else pixels).astype(np.float32) / np.float32(255)
        result = self.corruptor.apply([image], params)[0] * 255 + 0.5
        return (result.mean(axis=2, keepdims=True) if grey else result).astype(np.uint8)


def corruption_options(options: Mapping[str, Any]) -> CorruptionOptions:
    """The corruption part of an option dict, by the names that the super-resolution family gave them.

    Raises:
        ConfigError: as `CorruptionOptions`.
    """
    names = CorruptionOptions.__dataclass_fields__
    return CorruptionOptions(**{name: options[name] for name in names if options.get(name) is not None})
