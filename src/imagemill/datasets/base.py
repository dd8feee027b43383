"""What a training data set is, and the pixel work that several share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch

from imagemill.errors import ConfigError, did_you_mean
from imagemill.transforms.corrupt import CorruptionOptions
from imagemill.transforms.rng import SampleRng, mix, stream_state

Image: TypeAlias = npt.NDArray[np.float32]
"""float32 (H, W, C) in 0–1, RGB."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (H, W, 3), RGB, as they are read."""


LOADER_OPTIONS = frozenset(
    ("name", "mode", "phase", "n_workers", "batch_size", "pin_memory", "use_shuffle", "data_type", "dist")
)
"""Keys of an option dict that concern the loader, not the data set."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Options of data sets that make a low resolution of a high one.

    Args:
        paths: where the images are: folders or packed datasets, one or many.
        weights: how often each path is repeated.
        scale: of the low resolution: 1/scale of the side.
        split: of packed datasets.
        seed: of what is random.
        fixed_corruptions, random_corruptions, num_corrupts_per_image, corruption_blur_scale, cosine_bias, random_seed:
            see `imagemill.transforms.corrupt.CorruptionOptions`.
    """

    paths: Any
    weights: Any = None
    scale: int = 1
    split: str | None = None
    seed: int = 0
    fixed_corruptions: tuple[str, ...] = ()
    random_corruptions: tuple[str, ...] = ()
    num_corrupts_per_image: int = 0
    corruption_blur_scale: float = 1.0
    cosine_bias: bool = True
    random_seed: int | None = None
    corruptions: CorruptionOptions = field(init=False)

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigError(f"scale is 1 or more, got {self.scale}")
        corruptions = CorruptionOptions(
            self.fixed_corruptions,
            self.random_corruptions,
            self.num_corrupts_per_image,
            self.corruption_blur_scale,
            self.cosine_bias,
            self.random_seed or 0,
        )
        object.__setattr__(self, "corruptions", corruptions)


class TrainingDataset(torch.utils.data.Dataset[dict[str, Any]], ABC):  # type: ignore[misc]
    """A map-style data set of dicts; picklable, safe in forked and spawned workers.

    Attributes:
        seed: of everything random.
        epoch: set by `set_epoch`; joins the key of the random numbers.
    """

    options_class: ClassVar[type[Any]]
    seed: int = 0
    epoch: int = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Made from an option dict; raises ConfigError as `parse_options`."""
        return cls(parse_options(cls.options_class, options))

    @abstractmethod
    def __init__(self, options: Any) -> None:
        """Made from its options class."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """An item."""

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several items, equal to those that are got one by one; what torch's `DataLoader` asks for."""
        return [self[index] for index in indices]

    @staticmethod
    def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch of items, as torch's `default_collate` makes it."""
        batch: dict[str, Any] = torch.utils.data.default_collate(list(items))
        return batch

    def set_epoch(self, epoch: int) -> None:
        """From now on items are drawn as for this epoch."""
        self.epoch = epoch

    def rng(self, index: int) -> SampleRng:
        """The random numbers of an item."""
        return self.rngs([index])[0]

    def rngs(self, indices: Sequence[int]) -> list[SampleRng]:
        """The random numbers of several items."""
        state = stream_state(self.seed % 2**64, self.epoch)
        return [SampleRng.at(mix(state ^ index)) for index in indices]

    def position(self, index: int) -> int:
        """The index from 0, negative ones counted from the end.

        Raises:
            IndexError: outside the data set.
        """
        return self.positions([index])[0]

    def positions(self, indices: Sequence[int]) -> list[int]:
        """The same of several."""
        count = len(self)
        for index in indices:
            if not -count <= index < count:
                raise IndexError(f"index {index} of a data set of {count} items")
        return [index % count for index in indices]


def parse_options(options_class: type[Any], options: Mapping[str, Any]) -> Any:
    """An options dataclass from a dict; keys that concern the loader are passed over.

    Raises:
        ConfigError: an unknown key (the message names the nearest), a missing one, or values that cannot work.
    """
    known = [entry.name for entry in fields(options_class) if entry.init]
    given = {}
    for name, value in options.items():
        if name in known:
            given[name] = value
        elif name not in LOADER_OPTIONS:
            mode = options.get("mode", options_class.__name__)
            hint = did_you_mean(name, known)
            raise ConfigError(f"{mode}: unknown option {name!r}; known: {', '.join(known)}{hint}")
    try:
        return options_class(**given)
    except TypeError as error:
        raise ConfigError(f"{options.get('mode', '')}: {error}") from None


def as_paths(paths: Any, weights: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Paths and how often each is repeated, from one path or many.

    Raises:
        ConfigError: no path, weights of another number, or below 1.
    """
    many = (paths,) if isinstance(paths, str) or not isinstance(paths, list | tuple) else tuple(paths)
    counts = (1,) * len(many) if weights is None else tuple(int(weight) for weight in weights)
    if not many or len(counts) != len(many) or min(counts, default=0) < 1:
        raise ConfigError(f"paths and weights belong together, weights are 1 or more: got {paths!r} and {weights!r}")
    return tuple(map(str, many)), counts


def resized(image: Image, height: int, width: int) -> Image:
    """An image by area: float32 (height, width, C); of planes it makes planes."""
    if image.shape[:2] == (height, width):
        return image
    if not is_planar(image):
        result = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        return result.reshape(height, width, -1)
    planes = np.empty((image.shape[2], height, width), np.float32)
    for plane, smaller in zip(image.transpose(2, 0, 1), planes, strict=True):
        cv2.resize(plane, (width, height), dst=smaller, interpolation=cv2.INTER_AREA)
    return planes.transpose(1, 2, 0)


def is_planar(image: Image) -> bool:
    """Whether an image (H, W, C) is a view of C planes (H, W), one after the other."""
    return image.shape[2] > 1 and image.transpose(2, 0, 1).flags.c_contiguous


def chw(image: Image) -> torch.Tensor:
    """float32 (C, H, W); planes are the tensor's own memory from then on, anything else is copied."""
    turned = image.transpose(2, 0, 1)
    if turned.flags.c_contiguous and len(turned) > 1:
        return torch.from_numpy(turned)
    height, width, channels = image.shape
    planes = torch.empty(channels, height, width)
    cv2.split(image, list(planes.numpy()))  # a quarter of the time of a transposed copy
    return planes


def centre_square(image: Any) -> Any:
    """The centred square."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
