"""`multi_frame_extensible`: a window of frames of one clip, the same tile of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from imagemill.datasets.base import TrainingDataset
from imagemill.datasets.batches import collate, joined
from imagemill.datasets.tiles import MadeTile, TileMaker, TileOptions, TileSet
from imagemill.errors import ConfigError

LAST_TWELVE = r"^(.*).{12}$"
"""The original's rule: a folder's clip is its name without the last 12 characters."""


@dataclass(frozen=True, kw_only=True)
class MultiFrameOptions(TileOptions):
    """Options.

    Args:
        num_frames: of a window.
        clip_pattern: regular expression on the name of a frame's folder of tiles, or of the frame itself where frames
            are images, relative to the set; its first group is the clip, frames of one clip are in the order of their
            names. By default a trailing frame counter, with any suffix behind it.
    """

    num_frames: int = 1
    clip_pattern: str = r"^(.*?)\d+(?:\.[A-Za-z]+)?$"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_frames < 1:
            raise ConfigError(f"num_frames is 1 or more, got {self.num_frames}")
        try:
            compiled = re.compile(self.clip_pattern)
        except re.error as error:
            raise ConfigError(f"clip_pattern {self.clip_pattern!r} is no regular expression: {error}") from None
        if not compiled.groups:
            raise ConfigError(f"clip_pattern {self.clip_pattern!r} needs a group in parentheses")


class MultiFrameDataset(TrainingDataset):
    """As `SingleImageDataset`, with a leading axis of frames: images (T, 3, H, W), centres (T, 2), one GT_path.

    The window holds the frame asked for and never crosses clips: it begins there, or, near a clip's end, as late as it
    can. GT_path is the last frame's. Clips shorter than a window are left out; `short_clips` says which.
    """

    options_class = MultiFrameOptions
    collate = staticmethod(collate)

    def __init__(self, options: MultiFrameOptions) -> None:
        self.options = options
        self.seed = options.seed
        self.tiles = TileSet(options, images_apart=True)
        self._maker = TileMaker(options)
        self.short_clips: tuple[str, ...] = ()
        self._windows = self._find_windows()
        if not self._windows:
            raise ConfigError(
                f"no clip has {options.num_frames} frames; clips by {options.clip_pattern!r}: "
                f"{', '.join(self.short_clips[:5])}"
            )
        ends, total = [], 0
        for chunk, _ in self._windows:
            total += self.tiles.count(chunk)
            ends.append(total)
        self._ends = torch.tensor(ends)

    def _find_windows(self) -> list[tuple[int, int]]:
        """(chunk, first chunk of its window) for every frame of a clip that is long enough."""
        pattern = re.compile(self.options.clip_pattern)
        clips: list[tuple[tuple[int, str], list[int]]] = []
        for chunk in range(self.tiles.chunks):
            number, name = self.tiles.name(chunk)
            match = pattern.match(name)
            clip = number, match[1] if match else name
            if clips and clips[-1][0] == clip and self._follows(clips[-1][1][-1], chunk):
                clips[-1][1].append(chunk)
            else:
                clips.append((clip, [chunk]))
        frames = self.options.num_frames
        self.short_clips = tuple(clip[1] for clip, chunks in clips if len(chunks) < frames)
        return [
            (chunk, min(chunk, chunks[-1] - frames + 1))
            for _, chunks in clips
            if len(chunks) >= frames
            for chunk in chunks
        ]

    def _follows(self, earlier: int, later: int) -> bool:
        """Whether a folder comes after another: a set that is repeated begins again at its first."""
        return self.tiles.name(earlier)[1] < self.tiles.name(later)[1]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def window(self, index: int) -> list[tuple[int, int]]:
        """(chunk, tile in it) of every frame of an item."""
        place = int(torch.searchsorted(self._ends, index, right=True))
        offset = index - (int(self._ends[place - 1]) if place else 0)
        first = self._windows[place][1]
        # A frame that was cut into fewer tiles gives its last one.
        chunks = range(first, first + self.options.num_frames)
        return [(chunk, min(offset, self.tiles.count(chunk) - 1)) for chunk in chunks]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """See `TrainingDataset.__getitems__`."""
        positions = self.positions(indices)
        tiles = self.tiles.load([place for position in positions for place in self.window(position)])
        count = self.options.num_frames
        windows = [tiles[start : start + count] for start in range(0, len(tiles), count)]
        items = self._maker.make(windows, self.rngs(positions))
        return [_item(window[-1].path, made) for window, made in zip(windows, items, strict=True)]


def _item(path: str, frames: Sequence[MadeTile]) -> dict[str, Any]:
    return {
        "lq": joined([frame.lq for frame in frames]),
        "hq": joined([frame.hq for frame in frames]),
        "gt_fullsize_ref": joined([frame.hq_reference for frame in frames]),
        "lq_fullsize_ref": joined([frame.lq_reference for frame in frames]),
        "lq_center": joined([frame.lq_center for frame in frames]),
        "gt_center": joined([frame.hq_center for frame in frames]),
        "GT_path": path,
    }
