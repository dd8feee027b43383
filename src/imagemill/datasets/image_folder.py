"""`imagefolder`: images at two resolutions, corrupted on the way down, perhaps with another image of the same scene."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from imagemill.datasets.base import PairOptions, TrainingDataset, as_paths, chw, resized
from imagemill.datasets.batches import collate
from imagemill.datasets.pairs import LastView, Pair, cut_to, show_pair, show_pairs
from imagemill.datasets.patch_labels import PatchLabels, read_labeler
from imagemill.datasets.pictures import REFERENCE_MARK, SUFFIXES, File, open_pictures
from imagemill.errors import ConfigError, SampleError
from imagemill.native.pairs import PairView
from imagemill.transforms.corrupt import Corruptor, Step
from imagemill.transforms.corruptions import jitter_colours
from imagemill.transforms.geometry import resize_mask
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
        labeler: {"type": "patch_labels", "label_file": FILE}: only images that FILE labels, with its labels.
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
    labeler: Mapping[str, Any] | None = None

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


class _Drawn(NamedTuple):
    """What is random about an item.

    Args:
        others: images that may go with it, in the order in which they are tried.
        flip: whether left and right change places.
        jitter: names the random numbers of the colour jitter.
        steps: corruptions.
    """

    others: list[str]
    flip: bool
    jitter: int
    steps: tuple[Step, ...]


class ImageFolderDataset(TrainingDataset):
    """{hq, LQ_path, HQ_path, has_alt}; as asked for lq, corruption_entropy, alt_hq, alt_lq, fixed parameters, labels.

    Images are float32 (3, H, W), 0–1 unless normalised; `corruption_entropy` float32, the strengths of the fixed
    corruptions. Partners share the flip, the jitter and the corruptions; every one of them is normalised once.
    With a `labeler`: `labels` int64 and `labels_mask` float32, (1, H, W) as `hq`, which they follow through crop, flip
    and size; `label_strings`, number → name.
    """

    options_class = ImageFolderOptions
    collate = staticmethod(collate)

    def __init__(self, options: ImageFolderOptions) -> None:
        self.options = options
        self.seed = options.seed
        self.pictures = open_pictures(*as_paths(options.paths, options.weights), options.split)
        self.corruptor = Corruptor(options.corruptions)
        self.labels = None if options.labeler is None else read_labeler(options.labeler)
        self._views = tuple(LastView(partial(self._view, flip=flip)) for flip in (False, True))
        self._labelled = None if self.labels is None else self._find_labelled(self.labels)

    def _find_labelled(self, labels: PatchLabels) -> list[tuple[int, str]]:
        """(number, path relative to the data set's) of the images that have labels.

        Raises:
            ConfigError: labels of an image that is not there.
        """
        roots = [Path(path) for path in as_paths(self.options.paths, None)[0]]
        names = [relative_name(self.pictures.path(number), roots) for number in range(len(self.pictures))]
        missing = sorted(set(labels.patches) - set(names))
        if missing:
            count = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ConfigError(f"label_file has labels of {missing[0]}{count}, which {self.options.paths} has not")
        return [(number, name) for number, name in enumerate(names) if name in labels.patches]

    def __len__(self) -> int:
        return len(self.pictures) if self._labelled is None else len(self._labelled)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """See `TrainingDataset.__getitems__`."""
        positions = self.positions(indices)
        labelled = self._labelled
        numbers = positions if labelled is None else [labelled[place][0] for place in positions]
        names = [""] * len(numbers) if labelled is None else [labelled[place][1] for place in positions]
        stored = self.pictures.read(numbers)
        drawn = [self._draw(path, rng) for (_, path), rng in zip(stored, self.rngs(positions), strict=True)]
        pairs = show_pairs(
            [value for value, _ in stored], [path for _, path in stored], [self._views[draw.flip] for draw in drawn]
        )
        return [
            self._item(path, name, draw, pair)
            for (_, path), name, draw, pair in zip(stored, names, drawn, pairs, strict=True)
        ]

    def _draw(self, path: str, rng: SampleRng) -> _Drawn:
        others = self._others(path, rng)
        flip = rng.random() < 0.5 and not self.options.disable_flip
        return _Drawn(others, flip, rng.bits(), self.corruptor.draw(rng))

    def _item(self, path: str, name: str, drawn: _Drawn, pair: Pair) -> dict[str, Any]:
        options = self.options
        hq, lq = self._finished(pair, drawn)
        found = self._first_of(drawn) if drawn.others else None
        item = {"hq": self._tensor(hq), "LQ_path": path, "HQ_path": path, "has_alt": found is not None}
        if options.fetch_alt_image or options.fetch_alt_tiled_image:
            alt_hq, alt_lq = found or (hq.clone(), None if lq is None else lq.clone())
            item["alt_hq"] = self._tensor(alt_hq)
            if alt_lq is not None:
                item["alt_lq"] = self._tensor(alt_lq)
        if lq is not None:
            item["lq"] = self._tensor(lq)
            strengths = self.corruptor.entropy(drawn.steps) if drawn.steps else None
            item["corruption_entropy"] = torch.empty(0) if strengths is None else torch.from_numpy(strengths)
        for parameter, numbers in options.fixed_parameters.items():
            item[parameter] = torch.tensor(numbers, dtype=torch.float32)
        if self.labels is not None:
            labels, mask = (self._placed(part, flip=drawn.flip) for part in self.labels.of(name, *pair.sides))
            item["labels"] = torch.from_numpy(labels.astype(np.int64))[None]
            item["labels_mask"] = torch.from_numpy(mask.astype(np.float32))[None]
            item["label_strings"] = dict(self.labels.strings)
        return item

    def _first_of(self, drawn: _Drawn) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Another image, the first that can be read."""
        made = (self._tried(other, drawn) for other in drawn.others)
        return next((other for other in made if other is not None), None)

    def _tried(self, path: str, drawn: _Drawn) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """Both resolutions of another image, made as its partner's; None where it cannot be read."""
        try:
            return self._finished(show_pair(File(path), path, self._views[drawn.flip]), drawn)
        except SampleError:
            return None

    def _view(self, height: int, width: int, *, flip: bool) -> PairView:
        """The part of an image of these sides that is used, and the size it is brought to."""
        options = self.options
        top = left = 0
        if options.center_crop_hq_sz is not None:
            side = options.center_crop_hq_sz
            top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
            height, width = min(height, side), min(width, side)
        if options.force_square:
            side = min(height, width)
            across = (width - side) // 2
            # It is mirrored first: of an odd rest the larger half then lies on the other side.
            top, left = top + (height - side) // 2, left + (width - side - across if flip else across)
            height = width = side
        box = top, left, height, width
        if options.all_image_color_jitter:  # comes before the resize
            return PairView(box, (height, width), (height, width), flip)
        size = self._sides(height, width)
        scale = 0 if options.skip_lq or options.corrupt_before_downsize else options.scale
        return PairView(box, size, cut_to(size, options.force_multiple * options.scale), flip, scale)

    def _finished(self, pair: Pair, drawn: _Drawn) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Both resolutions of what `_view` names, with all that is still to be done; no low one with `skip_lq`."""
        options, steps = self.options, drawn.steps
        if not options.all_image_color_jitter and (options.skip_lq or (pair.low_planes is not None and not steps)):
            return pair.planes, pair.low_planes
        hq, lq = pair.high, pair.low
        if options.all_image_color_jitter:
            hq = jitter_colours(hq, options.all_image_color_jitter, SampleRng(drawn.jitter))
            hq = resized(np.clip(hq, 0, 1, dtype=np.float32), *self._sides(*hq.shape[:2]))
            height, width = cut_to(hq.shape[:2], options.force_multiple * options.scale)
            hq = hq if hq.shape[:2] == (height, width) else np.ascontiguousarray(hq[:height, :width])
        planes = chw(hq) if options.all_image_color_jitter else pair.planes
        if options.skip_lq or (lq is not None and not steps):
            return planes, None if lq is None else pair.low_planes
        height, width = hq.shape[0] // options.scale, hq.shape[1] // options.scale
        if options.corrupt_before_downsize:
            factor = options.corrupt_before_downsize_factor
            before = resized(hq, hq.shape[0] // factor, hq.shape[1] // factor)
            return planes, chw(resized(self.corruptor.apply([before], steps)[0], height, width))
        return planes, chw(self.corruptor.apply([resized(hq, height, width) if lq is None else lq], steps)[0])

    def _sides(self, height: int, width: int) -> tuple[int, int]:
        """What an image of these sides is brought to."""
        if self.options.target_size is None:
            return height, width
        zoom = self.options.target_size / min(height, width)
        return round(height * zoom), round(width * zoom)

    def _placed(self, labels: Any, *, flip: bool) -> Any:
        """Labels, (H, W), where the image's pixels have gone: the nearest one's."""
        top, left, height, width = self._view(*labels.shape, flip=flip).box
        part = labels[top : top + height, left : left + width]
        part = np.ascontiguousarray(part[:, ::-1] if flip else part)
        height, width = self._sides(*part.shape)
        placed = resize_mask(part, (height, width))
        height, width = cut_to((height, width), self.options.force_multiple * self.options.scale)
        return placed[:height, :width]

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.options.normalize is not None:
            mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATIONS[self.options.normalize])
            tensor = (tensor - mean) / deviation
        return tensor * 2 - 1 if self.options.rgb_n1_to_1 else tensor

    def _others(self, path: str, rng: SampleRng) -> list[str]:
        """Images that may go with one, in the order in which they are tried."""
        if self.options.fetch_alt_image:
            following = next_frame(path)
            return [] if following is None else [following]
        if not self.options.fetch_alt_tiled_image or not (folder := Path(path).parent).is_dir():
            return []
        names = sorted(name for name in os.listdir(folder) if _is_other(name, Path(path).name))
        return [str(folder / names[place]) for place in rng.permutation(len(names))]


def relative_name(path: str, roots: Sequence[Path]) -> str:
    """A path relative to the first of these folders that it lies in, with `/`; else as it is."""
    for root in roots:
        if Path(path).is_relative_to(root):
            return Path(path).relative_to(root).as_posix()
    return path


def next_frame(path: str) -> str | None:
    """The path with its frame counter, the last 8 digits before the suffix, one higher; None without a counter."""
    match = re.fullmatch(rf"(.*?)(\d{{{COUNTER_DIGITS}}})(\.\w+)", path, re.DOTALL)
    return None if match is None else f"{match[1]}{int(match[2]) + 1:0{COUNTER_DIGITS}d}{match[3]}"


def _is_other(name: str, own: str) -> bool:
    return name != own and name.lower().endswith(SUFFIXES) and REFERENCE_MARK not in name
