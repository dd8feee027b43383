"""imagemill's own network: a small U-Net that corrects a baseline, so that training never starts below it.

The answer is `baseline(image) + correction`. The baseline is the image itself (enlarged for super-resolution), or the
look-up table fitted on the training split. The last layer of the correction is zero at first, so before the first step
the network *is* the baseline.

The work is done at 1/`patch` of the sides and below, where a 3×3 convolution costs a CPU little and sees more: the
first layer gathers patches, the last one hands each patch's pixels out again. Blocks scale and shift their channels by
the mean over the whole picture (`context`), which is what tells one paper from another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.base import Network
from imagemill.networks.lookup_table import LookupTable, plain_matrix

SKIPS = ("add", "concat")
STARTS = ("identity", "table", "nothing")
SIDES = (1, 2, 4)


@dataclass(frozen=True)
class ResidualUNetOptions:
    """Its size and what it starts from.

    Args:
        in_channels, out_channels: of the pictures.
        width: channels of the finest level; each coarser one has twice as many,
        widest: but no more than this.
        levels: of resolution; each halves the one before.
        blocks: at each level, on the way down and on the way up.
        middle_blocks: more of them at the coarsest level.
        skip: how the way up takes what the way down kept: "add" or "concat".
        residual: whether the answer corrects a baseline. False is for what is no picture: logits of masks.
        start: the baseline: "identity" (as `plain_matrix` has it), "table" (the same until `start_from` or a state dict
            brings a fitted one), or "nothing", which is residual=False.
        scale: of the output against the input: 1, 2 or 4.
        patch: side of the pixel patch that is one position of the finest level: 1, 2 or 4.
        context: whether blocks see the mean over the picture. Without it tiles come out as in the whole picture.
    """

    in_channels: int = 3
    out_channels: int = 3
    width: int = 32
    widest: int = 80
    levels: int = 4
    blocks: int = 1
    middle_blocks: int = 2
    skip: str = "add"
    residual: bool = True
    start: str = "identity"
    scale: int = 1
    patch: int = 2
    context: bool = True

    def __post_init__(self) -> None:
        allowed = {"skip": SKIPS, "start": STARTS, "scale": SIDES, "patch": SIDES}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is one of {', '.join(map(str, values))}, got {getattr(self, name)!r}")
        for name in ("in_channels", "out_channels", "width", "widest", "levels", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is 1 or more, got {getattr(self, name)}")
        if self.middle_blocks < 0:
            raise ConfigError(f"middle_blocks is 0 or more, got {self.middle_blocks}")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the finest."""
        return [max(self.width, min(self.width << level, self.widest)) for level in range(self.levels)]


class ResidualUNet(Network):
    """float32 (N, in_channels, H, W) to (N, out_channels, H · scale, W · scale), unclipped; any H and W from 1."""

    options_class = ResidualUNetOptions

    def __init__(self, options: ResidualUNetOptions) -> None:
        super().__init__(options)
        widths, patch = options.widths, options.patch
        self.scale = options.scale
        corrects = options.residual and options.start != "nothing"
        self.baseline = _baseline(options) if corrects else None
        self.stem = nn.Conv2d(options.in_channels, widths[0], patch + 2, stride=patch, padding=1)
        self.down = nn.ModuleList(_blocks(width, options.blocks, options.context) for width in widths[:-1])
        self.halve = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.middle = _blocks(widths[-1], options.blocks + options.middle_blocks, options.context)
        self.enlarge = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        joined = 2 if options.skip == "concat" else 1
        self.join = nn.ModuleList(nn.Conv2d(joined * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(_blocks(width, options.blocks, options.context) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], options.out_channels * (patch * options.scale) ** 2, 3, padding=1)
        if corrects:
            _set_to_zero(self.head)

    def start_from(self, table: LookupTable) -> None:
        """Takes a fitted table as the baseline, where the options have `start="table"`.

        Raises:
            ConfigError: the options say otherwise, or the table is for other channels.
        """
        if not isinstance(self.baseline, LookupTable):
            raise ConfigError('the network takes no table: its options want start="table" and residual=True')
        wanted, got = self.baseline.matrix.shape, table.matrix.shape
        if wanted != got:
            raise ConfigError(f"the table maps {got[1]} channels to {got[0]}, the network {wanted[1]} to {wanted[0]}")
        self.baseline.load_state_dict(table.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """The picture after."""
        height, width = images.shape[-2] * self.scale, images.shape[-1] * self.scale
        added = self.correction(images)[..., :height, :width]
        return added if self.baseline is None else added + self._enlarged(self.baseline(images))

    def correction(self, images: Tensor) -> Tensor:
        """What is added to the baseline, of the picture padded at the right and the bottom to whole patches."""
        multiple = self.options.patch << (self.options.levels - 1)
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        features, kept = self.stem(padded), []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            kept.append(blocks(features))
            features = halve(kept[-1])
        features = self.middle(features)
        for level in reversed(range(len(kept))):
            features = functional.pixel_shuffle(self.enlarge[level](features), 2)
            if self.options.skip == "concat":
                features = torch.cat([features, kept[level]], 1)
            else:
                features = features + kept[level]
            features = self.up[level](self.join[level](features))
        return functional.pixel_shuffle(self.head(features), self.options.patch * self.scale)

    def _enlarged(self, baseline: Tensor) -> Tensor:
        if self.scale == 1:
            return baseline
        return functional.interpolate(baseline, scale_factor=self.scale, mode="bicubic", align_corners=False)


class PlainMatrix(nn.Module):  # type: ignore[misc]
    """Identity between any numbers of channels, see `plain_matrix`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        changes = in_channels != out_channels
        self.register_buffer("matrix", plain_matrix(in_channels, out_channels) if changes else None, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        if self.matrix is None:
            return images
        return functional.conv2d(images, self.matrix[:, :, None, None].to(images.dtype))


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """x + two 3×3 convolutions of it; the second is zero at first, so that any depth begins as identity."""

    def __init__(self, channels: int, context: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = ContextGate(channels) if context else nn.Identity()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        _set_to_zero(self.second)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return features + self.second(self.gate(functional.silu(self.first(features))))


class ContextGate(nn.Module):  # type: ignore[misc]
    """Scales and shifts channels by what the whole picture holds on average; identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_mean = nn.Conv2d(channels, 2 * channels, 1)
        _set_to_zero(self.of_mean)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scale, shift = self.of_mean(features.mean((2, 3), keepdim=True)).chunk(2, 1)
        return features * (1 + scale) + shift


def _baseline(options: ResidualUNetOptions) -> nn.Module:
    kind = LookupTable if options.start == "table" else PlainMatrix
    return kind(options.in_channels, options.out_channels)


def _blocks(channels: int, count: int, context: bool) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, context) for _ in range(count)))


def _set_to_zero(layer: nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
