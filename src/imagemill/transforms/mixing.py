"""Transforms of whole batches, on the device where they are: normalisation, MixUp, CutMix.

Tensors are only asked for their own methods, so nothing here imports torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imagemill.core.schema import Schema
from imagemill.errors import ConfigError
from imagemill.transforms.base import BatchTransform
from imagemill.transforms.crops import checked_probability
from imagemill.transforms.rng import SampleRng

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet's training images in [0, 1], as torchvision's models expect them."""


class Normalize(BatchTransform):
    """Images as float32: (pixel / 255 - mean) / std, on the device where they are.

    Args:
        mean, std: one value, or one a channel, of pixels in [0, 1].
        fields: images that are meant; None is all.
    """

    def __init__(
        self,
        mean: float | Sequence[float] = IMAGENET_MEAN,
        std: float | Sequence[float] = IMAGENET_STD,
        fields: Sequence[str] | None = None,
    ) -> None:
        self.mean, self.std, self.fields = _values(mean), _values(std), fields
        if min(self.std) <= 0:
            raise ConfigError(f"std must be above 0, got {std}")

    def apply(self, batch: dict[str, Any], schema: Schema, rng: SampleRng) -> dict[str, Any]:
        """The batch with its images normalised."""
        names = [field.name for field in schema.of_kind("image")] if self.fields is None else self.fields
        return {**batch, **{name: self._normalized(batch[name]) for name in names}}

    def _normalized(self, images: torch.Tensor) -> torch.Tensor:
        full = 1.0 if images.is_floating_point() else 255.0
        for values in (self.mean, self.std):
            if len(values) not in (1, images.shape[1]):
                raise ConfigError(f"Normalize has {len(values)} channels, the images have {images.shape[1]}")
        floats = images.float() if full == 255.0 else images.clone()
        offset = floats.new_tensor([full * value for value in self.mean]).view(-1, 1, 1)
        scale = floats.new_tensor([full * value for value in self.std]).view(-1, 1, 1)
        return floats.sub_(offset).div_(scale)


class _Mix(BatchTransform):
    """Every image mixed with the one before it in the batch, labels likewise.

    Args:
        num_classes: classes; labels become float32 (N, num_classes), each row summing to 1.
        alpha: of the Beta(alpha, alpha) distribution that the share is drawn from, once a batch.
        p: probability that a batch is mixed at all; labels come as shares of classes either way.
        label: field of the labels.

    Partners lie in one rank's batch, so the mix, unlike the order and the transforms of samples,
    depends on the number of ranks.
    """

    def __init__(self, num_classes: int, alpha: float = 1.0, p: float = 1.0, label: str = "label") -> None:
        if num_classes < 1 or alpha <= 0:
            raise ConfigError(f"num_classes {num_classes} must be 1 or more and alpha {alpha} above 0")
        self.num_classes, self.alpha, self.p, self.label = num_classes, float(alpha), checked_probability(p), label

    def apply(self, batch: dict[str, Any], schema: Schema, rng: SampleRng) -> dict[str, Any]:
        """The batch, mixed."""
        if self.label not in batch:
            raise ConfigError(f"the batch has no {self.label!r} to mix; it has {', '.join(batch)}: say label=")
        labels = self._shares(batch[self.label])
        if rng.random() >= self.p:
            return {**batch, self.label: labels}
        share = float(rng.generator().beta(self.alpha, self.alpha))
        names = [field.name for field in schema.of_kind("image")]
        mixed, share = self._mixed([batch[name] for name in names], share, rng)
        labels = labels.mul(share).add_(labels.roll(1, 0), alpha=1 - share)
        return {**batch, **dict(zip(names, mixed, strict=True)), self.label: labels}

    @abstractmethod
    def _mixed(self, images: list[torch.Tensor], share: float, rng: SampleRng) -> tuple[list[torch.Tensor], float]:
        """Images mixed, and the share that each kept."""

    def _shares(self, labels: torch.Tensor) -> torch.Tensor:
        if labels.ndim == 2:
            return labels
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
            raise ConfigError(
                f"labels from {int(labels.min())} to {int(labels.max())} cannot be mixed as {self.num_classes} classes "
                "(-1 is no label)"
            )
        shares = labels.new_zeros((len(labels), self.num_classes)).float()
        return shares.scatter_(1, labels[:, None], 1.0)


class MixUp(_Mix):
    """share * image + (1 - share) * the one before it (Zhang et al., "mixup", 2018); images become float32.

    Images that were not normalised before are floats in 0 to 255 then; so give `Normalize` first.
    """

    def _mixed(self, images: list[torch.Tensor], share: float, rng: SampleRng) -> tuple[list[torch.Tensor], float]:
        floats = [image.float() for image in images]
        return [image.mul(share).add_(image.roll(1, 0), alpha=1 - share) for image in floats], share


class CutMix(_Mix):
    """A rectangle of each image taken from the one before it (Yun et al., "CutMix", 2019); the type stays.

    The rectangle has sqrt(1 - share) of both sides, its centre is anywhere, it is cut at the border,
    and the share of the labels is that of the pixels that are left.
    """

    def _mixed(self, images: list[torch.Tensor], share: float, rng: SampleRng) -> tuple[list[torch.Tensor], float]:
        centre = rng.random(), rng.random()
        half = 0.5 * math.sqrt(1 - share)
        mixed = []
        for image in images:
            rows, columns = (_interval(side, at, half) for side, at in zip(image.shape[-2:], centre, strict=True))
            image = image.clone()
            image[:, :, rows, columns] = image[:, :, rows, columns].roll(1, 0)
            mixed.append(image)
            share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (image.shape[-2] * image.shape[-1])
        return mixed, share


def _interval(side: int, centre: float, half: float) -> slice:
    middle, reach = int(centre * side), int(half * side)
    return slice(max(middle - reach, 0), min(middle + reach, side))


def _values(value: float | Sequence[float]) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, int | float) else tuple(float(part) for part in value)
