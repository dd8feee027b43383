"""`imagefolder`: images at two resolutions, corrupted on the way down, perhaps with another image of the same scene."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagemill.datasets.base import Image, PairOptions, Pixels, TrainingDataset, as_paths, centre_square, chw, resized
from imagemill.datasets.pictures import REFERENCE_MARK, SUFFIXES, as_floats, open_pictures, read_pixels
from imagemill.errors import ConfigError, SampleError
from imagemill.transforms.corrupt import Corruptor, Step
from imagemill.transforms.corruptions import jitter_colours
from imagemill.transforms.rng import SampleRng

NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "stylegan2_norm": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Name → means and standard deviations of the channels."""

COUNTER_DIGITS = 8
"""Of the frame counter at the end of a name, before its suffix."""


@dataclass(frozen=True, kw_only=True)
class ImageFolderOptions(PairOptions):
    """Options, beside those of `PairOptions`.

    Args:
        target_size: side of the high resolution; None keeps the image's.
        force_multiple: sides of the low resolution are a multiple of it; the rest is cut off right and below.
        corrupt_before_downsize: corruptions come before the low resolution is made, else after.
        corrupt_before_downsize_factor: they come after a reduction by this already.
        center_crop_hq_sz: first the centre of this side is cut out.
        force_square: the centred square is taken.
        disable_flip: no random horizontal flip.
        skip_lq: no low resolution.
        rgb_n1_to_1: images in -1 to 1.
        normalize: "imagenet" or "stylegan2_norm".
        all_image_color_jitter: strength, 0 to 1, of a colour jitter of all images of an item.
        fetch_alt_image: `alt_hq`, the image with the next frame counter.
        fetch_alt_tiled_image: `alt_hq`, another image of the same folder.
        fixed_parameters: name → numbers that every item carries.
    """

    target_size: int | None = None
    force_multiple: int = 1
    corrupt_before_downsize: bool = False
    corrupt_before_downsize_factor: int = 1
    center_crop_hq_sz: int | None = None
    force_square: bool = True
    disable_flip: bool = False
    skip_lq: bool = False
    rgb_n1_to_1: bool = False
    normalize: str | None = None
    all_image_color_jitter: float = 0.0
    fetch_alt_image: bool = False
    fetch_alt_tiled_image: bool = False
    fixed_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalize is not None and self.normalize not in NORMALIZATIONS:
            raise ConfigError(f"normalize {self.normalize!r} is none of {', '.join(NORMALIZATIONS)}")
        if self.fetch_alt_image and self.fetch_alt_tiled_image:
            raise ConfigError("fetch_alt_image and fetch_alt_tiled_image exclude each other")
        if min(self.force_multiple, self.corrupt_before_downsize_factor) < 1:
            raise ConfigError("force_multiple and corrupt_before_downsize_factor are 1 or more")
        if self.scale % self.corrupt_before_downsize_factor:
            raise ConfigError("corrupt_before_downsize_factor divides scale")
        if not 0 <= self.all_image_color_jitter <= 1:
            raise ConfigError("all_image_color_jitter is from 0 to 1")


class ImageFolderDataset(TrainingDataset):
    """{hq, LQ_path, HQ_path, has_alt}, and as asked for lq, corruption_entropy, alt_hq, alt_lq, fixed parameters.

    Images are float32 (3, H, W), 0–1 unless normalised; `corruption_entropy` float32, the strengths of the fixed
    corruptions. Partners share the flip, the jitter and the corruptions; every one of them is normalised once.
    """

    options_class = ImageFolderOptions

    def __init__(self, options: ImageFolderOptions) -> None:
        self.options = options
        self.seed = options.seed
        self.pictures = open_pictures(*as_paths(options.paths, options.weights), options.split)
        self.corruptor = Corruptor(options.corruptions)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = self.position(index)
        options, rng = self.options, self.rng(index)
        path = self.pictures.path(index)
        image = self.pictures.read(index)
        other = self._other(path, rng)
        flip = rng.random() < 0.5 and not options.disable_flip
        jitter, steps = rng.bits(), self.corruptor.draw(rng)
        hq = self._high(image, jitter, flip=flip)
        item: dict[str, Any] = {"hq": self._tensor(hq), "LQ_path": path, "HQ_path": path, "has_alt": other is not None}
        if not options.skip_lq:
            item["lq"] = self._tensor(self._low(hq, steps))
            item["corruption_entropy"] = torch.from_numpy(self.corruptor.entropy(steps))
        if options.fetch_alt_image or options.fetch_alt_tiled_image:
            alt = hq if other is None else self._high(other, jitter, flip=flip)
            item["alt_hq"] = self._tensor(alt)
            if not options.skip_lq:
                item["alt_lq"] = self._tensor(self._low(alt, steps))
        for name, numbers in options.fixed_parameters.items():
            item[name] = torch.tensor(numbers, dtype=torch.float32)
        return item

    def _high(self, pixels: Pixels, jitter: int, *, flip: bool) -> Image:
        options = self.options
        if options.center_crop_hq_sz is not None:
            pixels = centre(pixels, options.center_crop_hq_sz)
        if flip:
            pixels = pixels[:, ::-1]
        if options.force_square:
            pixels = centre_square(pixels)
        image = as_floats(pixels)
        if options.all_image_color_jitter:
            image = jitter_colours(image, options.all_image_color_jitter, SampleRng(jitter))
            image = np.clip(image, 0, 1, dtype=np.float32)
        height, width = image.shape[:2]
        if options.target_size is not None:
            zoom = options.target_size / min(height, width)
            image = resized(image, round(height * zoom), round(width * zoom))
        multiple = options.force_multiple * options.scale
        height, width = (max(multiple, length - length % multiple) for length in image.shape[:2])
        return np.ascontiguousarray(image[:height, :width])

    def _low(self, hq: Image, steps: tuple[Step, ...]) -> Image:
        options = self.options
        height, width = hq.shape[0] // options.scale, hq.shape[1] // options.scale
        if not options.corrupt_before_downsize:
            return self.corruptor.apply([resized(hq, height, width)], steps)[0]
        factor = options.corrupt_before_downsize_factor
        before = resized(hq, hq.shape[0] // factor, hq.shape[1] // factor)
        return resized(self.corruptor.apply([before], steps)[0], height, width)

    def _tensor(self, image: Image) -> torch.Tensor:
        tensor = chw(image)
        if self.options.normalize is not None:
            mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATIONS[self.options.normalize])
            tensor = (tensor - mean) / deviation
        return tensor * 2 - 1 if self.options.rgb_n1_to_1 else tensor

    def _other(self, path: str, rng: SampleRng) -> Pixels | None:
        """The image that goes with one, None where there is none that can be read."""
        if self.options.fetch_alt_image:
            following = next_frame(path)
            return None if following is None else _read(following)
        if not self.options.fetch_alt_tiled_image:
            return None
        folder = Path(path).parent
        if not folder.is_dir():
            return None
        names = sorted(name for name in os.listdir(folder) if _is_other(name, Path(path).name))
        for place in rng.permutation(len(names)):
            image = _read(str(folder / names[place]))
            if image is not None:
                return image
        return None


def next_frame(path: str) -> str | None:
    """The path with its frame counter, the last 8 digits before the suffix, one higher; None without a counter."""
    match = re.fullmatch(rf"(.*?)(\d{{{COUNTER_DIGITS}}})(\.\w+)", path, re.DOTALL)
    return None if match is None else f"{match[1]}{int(match[2]) + 1:0{COUNTER_DIGITS}d}{match[3]}"


def centre(image: Pixels, side: int) -> Pixels:
    """The centre of an image, at most so many pixels high and wide."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _is_other(name: str, own: str) -> bool:
    return name != own and name.lower().endswith(SUFFIXES) and REFERENCE_MARK not in name


def _read(path: str) -> Pixels | None:
    try:
        return read_pixels(path)
    except SampleError:
        return None
