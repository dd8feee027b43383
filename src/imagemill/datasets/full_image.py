"""`fullimage`: a random square of an image, with the whole as reference. Deprecated: tiles do it faster."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage

from imagemill.datasets.base import Image, TrainingDataset, as_paths, centre_square, chw
from imagemill.datasets.pictures import as_floats, open_pictures, read_pixels
from imagemill.errors import ConfigError
from imagemill.transforms.corruptions import line_kernel, through_codec
from imagemill.transforms.rng import SampleRng

INSTEAD = (
    "mode fullimage decodes whole images for one square each: `imagemill tile` once, and then mode "
    "single_image_extensible, reads many times faster"
)
PLACE_SPREAD = 0.3
GAUSSIAN_SHARE, MOTION_SHARE = 0.4, 0.3


@dataclass(frozen=True)
class FullImageOptions:
    """Options.

    Args:
        dataroot_GT: folders or packed datasets of the high resolution; one or many.
        target_size: side of the high resolution.
        scale: of the low resolution: 1/scale of the side.
        dataroot_GT_weights: how often each is repeated.
        dataroot_LQ: folders of the low resolution, image by image beside `dataroot_GT`; not for training.
        phase: "train" cuts squares, any other gives whole images.
        min_tile_size: smallest side of a square, and the side that it is brought to first.
        fixed_size: squares of `min_tile_size` only.
        tile_scale_normal_stddev: of how much larger than that a square is, as a share of what is possible.
        use_flip, use_rot: random flips, random transposition.
        use_blurring: the low resolution is blurred now and then, by up to `blur_magnitude` pixels.
        blur_magnitude: of the blur.
        use_compression_artifacts: the low resolution goes through JPEG of random quality.
        lq_noise: standard deviation of its noise, in levels of 255.
        force_multiple: sides of the low resolution are a multiple of it, in phases that give whole images.
        split: of packed datasets.
        seed: of what is random.
    """

    dataroot_GT: Any  # noqa: N815  the original's names
    target_size: int
    scale: int = 1
    dataroot_GT_weights: Any = None  # noqa: N815
    dataroot_LQ: Any = None  # noqa: N815
    phase: str = "train"
    min_tile_size: int | None = None
    fixed_size: bool = False
    tile_scale_normal_stddev: float = 0.17
    use_flip: bool = False
    use_rot: bool = False
    use_blurring: bool = False
    blur_magnitude: int = 3
    use_compression_artifacts: bool = False
    lq_noise: float = 0.0
    force_multiple: int = 1
    split: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.target_size, self.scale, self.force_multiple, self.min_tile_size or 1) < 1:
            raise ConfigError("target_size, scale, force_multiple and min_tile_size are 1 or more")
        if self.dataroot_LQ is not None and self.phase == "train":
            raise ConfigError("dataroot_LQ goes with other phases: in train the low resolution is made of each square")
        if self.target_size % self.scale:
            raise ConfigError(f"scale {self.scale} does not divide target_size {self.target_size}")


class FullImageDataset(TrainingDataset):
    """{lq, hq, gt_fullsize_ref, lq_fullsize_ref, lq_center, gt_center, LQ_path, HQ_path}.

    As of `SingleImageDataset`; the mask is 1 where the square lies in its image, and 0 elsewhere.
    """

    options_class = FullImageOptions

    def __init__(self, options: FullImageOptions) -> None:
        warnings.warn(INSTEAD, DeprecationWarning, stacklevel=3)
        self.options = options
        self.seed = options.seed
        high = as_paths(options.dataroot_GT, options.dataroot_GT_weights)
        self.pictures = open_pictures(*high, options.split)
        self.low_pictures = None
        if options.dataroot_LQ is not None:
            low = as_paths(options.dataroot_LQ, options.dataroot_GT_weights)
            self.low_pictures = open_pictures(*low, options.split)
            if len(self.low_pictures) != len(self.pictures):
                raise ConfigError(
                    f"{len(self.low_pictures)} images in dataroot_LQ, {len(self.pictures)} in dataroot_GT"
                )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        image = as_floats(read_pixels(self.pictures, index))
        if self.options.phase == "train":
            high, whole, mask, center = self._square(image, self.rng(index))
        else:
            high = _cut_to(image, self.options.force_multiple * self.options.scale)
            whole, mask = high, np.ones((*high.shape[:2], 1), np.float32)
            center = high.shape[0] // 2, high.shape[1] // 2
        scale = self.options.scale
        reference = np.concatenate([whole, mask], axis=2)
        low_reference = _shrunk(reference, scale)
        path = self.pictures.path(index)
        low_path = path if self.low_pictures is None else self.low_pictures.path(index)
        return {
            "lq": chw(self._low(high, index)),
            "hq": chw(high),
            "gt_fullsize_ref": chw(reference),
            "lq_fullsize_ref": chw(low_reference),
            "lq_center": torch.tensor([place // scale for place in center], dtype=torch.int64),
            "gt_center": torch.tensor(center, dtype=torch.int64),
            "LQ_path": low_path,
            "HQ_path": path,
        }

    def _square(self, image: Image, rng: SampleRng) -> tuple[Image, Image, Image, tuple[int, int]]:
        """(square, whole, mask, centre), all brought to the target size."""
        options = self.options
        if options.use_flip:
            image = image[:, ::-1] if rng.random() < 0.5 else image
            image = image[::-1] if rng.random() < 0.5 else image
        if options.use_rot and rng.random() < 0.5:
            image = image.transpose(1, 0, 2)
        whole = np.ascontiguousarray(centre_square(image))
        side, least = len(whole), min(len(whole), options.min_tile_size or options.target_size)
        normal = rng.generator().standard_normal(3)
        share = 0.0 if options.fixed_size else min(abs(float(normal[0])) * options.tile_scale_normal_stddev, 1.0)
        crop = round(least + (side - least) * share)
        top, left = (
            round((side - crop) / 2 * (1 + min(max(float(value) * PLACE_SPREAD, -1), 1))) for value in normal[1:]
        )
        target = options.target_size
        mask = np.zeros((side, side, 1), np.float32)
        mask[top : top + crop, left : left + crop] = 1
        zoom = target / side
        center = int((top + crop // 2) * zoom), int((left + crop // 2) * zoom)
        tile = _linear(_linear(whole[top : top + crop, left : left + crop], options.min_tile_size or target), target)
        return tile, _linear(whole, target), _linear(mask, target), center

    def _low(self, high: Image, index: int) -> Image:
        options, rng = self.options, SampleRng(self.rng(index).bits(), 1)
        if self.low_pictures is not None:
            return _cut_to(as_floats(read_pixels(self.low_pictures, index)), options.force_multiple)
        low = high
        if options.use_blurring and options.phase == "train":
            low = _blurred(low, options.blur_magnitude, rng)
        low = _shrunk(low, options.scale)
        if options.phase == "train":
            if options.lq_noise:
                noise = rng.generator().standard_normal(low.shape, np.float32)
                low = low + noise * np.float32(options.lq_noise / 255)
            if options.use_compression_artifacts:
                low = through_codec(low, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 20 + rng.integer(0, 76))
        return np.asarray(np.clip(low, 0, 1), np.float32)


def _cut_to(image: Image, multiple: int) -> Image:
    height, width = (max(multiple, length - length % multiple) for length in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _linear(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), np.float32).reshape(
        side, side, -1
    )


def _shrunk(image: Image, scale: int) -> Image:
    """By Pillow's bicubic filter in float, which widens with the reduction as MATLAB's does, clipped to 0–1."""
    if scale == 1:
        return image
    height, width = image.shape[0] // scale, image.shape[1] // scale
    channels = (PillowImage.fromarray(np.ascontiguousarray(image[..., plane])) for plane in range(image.shape[2]))
    planes = [np.asarray(channel.resize((width, height), PillowImage.Resampling.BICUBIC)) for channel in channels]
    return np.asarray(np.clip(np.dstack(planes), 0, 1), np.float32)


def _blurred(image: Image, magnitude: int, rng: SampleRng) -> Image:
    kind, amount = rng.random(), rng.random() * magnitude
    if kind < GAUSSIAN_SHARE:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.05, amount)), np.float32)
    if kind < GAUSSIAN_SHARE + MOTION_SHARE:
        kernel = line_kernel(1 + amount, rng.uniform(0, math.pi))
        return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)
    return image
