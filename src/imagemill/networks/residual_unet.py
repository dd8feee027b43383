"""A small residual U-Net: any number of channels in and out, any size, identity at the start where it can be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.base import Network

SKIPS = ("add", "concat")


@dataclass(frozen=True)
class ResidualUNetOptions:
    """Its size.

    Args:
        in_channels, out_channels: of the pictures.
        width: channels of the first level; each level below has twice as many.
        levels: of resolution.
        blocks: at each level, on the way down and up.
        middle_blocks: at the lowest level.
        skip: "add" or "concat".
        scale: of the output against the input: 1, 2 or 4.
    """

    in_channels: int = 3
    out_channels: int = 3
    width: int = 16
    levels: int = 3
    blocks: int = 1
    middle_blocks: int = 1
    skip: str = "add"
    scale: int = 1

    def __post_init__(self) -> None:
        if self.skip not in SKIPS:
            raise ConfigError(f"skip {self.skip!r} is none of {', '.join(SKIPS)}")
        if self.scale not in (1, 2, 4):
            raise ConfigError(f"scale is 1, 2 or 4, got {self.scale}")
        if min(self.in_channels, self.out_channels, self.width, self.levels, self.blocks) < 1 or self.middle_blocks < 0:
            raise ConfigError("channels, width, levels and blocks are 1 or more")


class _Block(nn.Module):  # type: ignore[misc]
    """x + two convolutions of it; the second starts at zero, so the block starts as identity."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(count, count, 3, padding=1)
        self.second = nn.Conv2d(count, count, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = features + self.second(functional.gelu(self.first(features)))
        return result


class ResidualUNet(Network):
    """float32 (N, in_channels, H, W) to (N, out_channels, H · scale, W · scale), any H and W.

    The output is the input (of equal channels; else their mean) plus what the network adds, which is zero at first.
    """

    options_class = ResidualUNetOptions

    def __init__(self, options: ResidualUNetOptions) -> None:
        super().__init__(options)
        self.scale = options.scale
        widths = [options.width * 2**level for level in range(options.levels)]
        self.intro = nn.Conv2d(options.in_channels, options.width, 3, padding=1)
        self.down = nn.ModuleList(_stack(width, options.blocks) for width in widths[:-1])
        self.halve = nn.ModuleList(nn.Conv2d(before, after, 2, 2) for before, after in pairwise(widths))
        self.middle = _stack(widths[-1], options.blocks + options.middle_blocks)
        self.enlarge = nn.ModuleList(nn.Conv2d(after, before * 4, 1) for before, after in pairwise(widths))
        joined = 2 if options.skip == "concat" else 1
        self.join = nn.ModuleList(nn.Conv2d(width * joined, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(_stack(width, options.blocks) for width in widths[:-1])
        self.outro = nn.Conv2d(options.width, options.out_channels * options.scale**2, 3, padding=1)
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The picture after."""
        height, width = images.shape[2:]
        multiple = 2 ** (self.options.levels - 1)
        padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        features, skips = self.intro(padded), []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            features = blocks(features)
            skips.append(features)
            features = halve(features)
        features = self.middle(features)
        for level in range(len(self.enlarge) - 1, -1, -1):
            features = functional.pixel_shuffle(self.enlarge[level](features), 2)
            skip = skips[level]
            features = features + skip if self.options.skip == "add" else torch.cat([features, skip], 1)
            features = self.up[level](self.join[level](features))
        added = self.outro(features)[:, :, :height, :width]
        if self.scale > 1:
            added = functional.pixel_shuffle(added, self.scale)
            images = functional.interpolate(images, scale_factor=self.scale, mode="bilinear")
        if self.options.in_channels != self.options.out_channels:
            images = images.mean(1, keepdim=True)
        result: torch.Tensor = images + added
        return result


def _stack(count: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(count) for _ in range(blocks)))
