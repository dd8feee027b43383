"""imagemill's own network: a small U-Net that corrects a baseline, so that training never starts below it.

The answer is `baseline(image) + correction`. The baseline is the image itself (enlarged for super-resolution), or the
look-up table fitted on the training split. The last layer of the correction is zero at first, so before the first step
the network *is* the baseline.

The work is done at 1/`patch` of the sides and below, where a 3×3 convolution costs a CPU little and sees more: the
first layer gathers patches, the last one hands each patch's pixels out again.

Where colours are guessed, the picture as a whole decides (`context`): its statistics become a code that bends the
table's curves for this picture, and scales and shifts the channels of every block. The mean of all colours that a place
may have is the best answer by error, and a pale one; a `palette` has the network say which colours are likely, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.base import Network
from imagemill.networks.lookup_table import ENTRIES, LookupTable, Pairs, plain_matrix
from imagemill.networks.palette import Palette
from imagemill.networks.picture_statistics import PictureStatistics

CHROMA_CHANNELS = 2
SKIPS = ("add", "concat")
STARTS = ("identity", "table", "nothing")
SIDES = (1, 2, 4)
KNOTS = 12
"""Values between which a picture's bend of a curve is linear."""


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
        tones: cosines of rising frequency that each input channel is given to the network as, besides itself: what
            tells paper of 235 from paper of 240. 0 for none.
        context: numbers in the code of the whole picture. 0 for none, and then tiles come out as in the whole picture.
        dropout: share of the code that is dropped in training.
        palette: whether it says, beside the mean, which colours are likely; for outputs that are colour alone.
    """

    in_channels: int = 3
    out_channels: int = 3
    width: int = 32
    widest: int = 64
    levels: int = 3
    blocks: int = 1
    middle_blocks: int = 1
    skip: str = "add"
    residual: bool = True
    start: str = "identity"
    scale: int = 1
    patch: int = 2
    tones: int = 0
    context: int = 0
    dropout: float = 0.0
    palette: bool = False

    def __post_init__(self) -> None:
        allowed = {"skip": SKIPS, "start": STARTS, "scale": SIDES, "patch": SIDES}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ConfigError(f"{name} is one of {', '.join(map(str, values))}, got {getattr(self, name)!r}")
        for name in ("in_channels", "out_channels", "width", "widest", "levels", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in ("middle_blocks", "tones", "context"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is 0 or more, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is a share from 0 to below 1, got {self.dropout}")
        if self.palette and (self.out_channels != CHROMA_CHANNELS or self.scale != 1):
            raise ConfigError("a palette is for outputs of two channels, colour alone, of the input's size")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from the finest."""
        return [max(self.width, min(self.width << level, self.widest)) for level in range(self.levels)]


class ResidualUNet(Network):
    """float32 (N, in_channels, H, W) to (N, out_channels, H · scale, W · scale), unclipped; any H and W from 1.

    Attributes:
        vividness: of networks with a palette: 0 answers with the mean of the colours that a place may have, 1 with the
            likeliest, values between with what lies between.
    """

    options_class = ResidualUNetOptions

    def __init__(self, options: ResidualUNetOptions) -> None:
        super().__init__(options)
        widths, patch = options.widths, options.patch
        self.scale = options.scale
        corrects = options.residual and options.start != "nothing"
        self.baseline = _baseline(options) if corrects else None
        bends = options.context and isinstance(self.baseline, LookupTable)
        self.bend = Bend(options.out_channels, options.context) if bends else None
        self.context = PictureCode(options) if options.context else None
        stem_channels = options.in_channels * (1 + options.tones)
        self.stem = nn.Conv2d(stem_channels, widths[0], patch + 2, stride=patch, padding=1)
        self.down = nn.ModuleList(_Blocks(width, options.blocks, options.context) for width in widths[:-1])
        self.halve = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.middle = _Blocks(widths[-1], options.blocks + options.middle_blocks, options.context)
        self.enlarge = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        joined = 2 if options.skip == "concat" else 1
        self.join = nn.ModuleList(nn.Conv2d(joined * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(_Blocks(width, options.blocks, options.context) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], options.out_channels * (patch * options.scale) ** 2, 3, padding=1)
        if corrects:
            _set_to_zero(self.head)
        self.palette = Palette() if options.palette else None
        self.vividness = 0.0

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

    def calibrate(self, pairs: Pairs, *, whole: bool = True) -> None:
        """Has what is computed, not learnt, taken from training pairs, as the network takes and gives them.

        That is the statistics of `context`, brought to mean 0 and deviation 1, without which training begins with a
        code that hardly varies, and the palette. A network without both looks at no pairs.

        Args:
            whole: whether they are whole pictures, not parts.
        """
        if self.context is not None:
            self.context.statistics.calibrate(lambda: (before for before, _ in pairs()))
        if self.palette is not None:
            self.palette.fit(pairs, whole=whole)

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The picture after.

        Args:
            images: the picture before.
            wanted: of a network with a palette, the picture that should come out; the palette's loss is then given,
                too, a number.
        """
        code = None if self.context is None else self.context(images)
        height, width = images.shape[-2] * self.scale, images.shape[-1] * self.scale
        answer = self.correction(images, code)[..., :height, :width]
        if self.baseline is not None:
            baseline = self.baseline(images)
            if self.bend is not None:
                baseline = baseline + self.bend(self.baseline.positions(images), code)
            answer = answer + self._enlarged(baseline)
        if self.palette is None:
            return answer
        if wanted is not None:
            return answer, self.palette.loss(images, wanted)
        return torch.lerp(answer, self.palette.likeliest(images), self.vividness) if self.vividness else answer

    def correction(self, images: Tensor, code: Tensor | None) -> Tensor:
        """What is added to the baseline, of the picture padded at the right and the bottom to whole patches."""
        multiple = self.options.patch << (self.options.levels - 1)
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        features, kept = self.stem(self._with_tones(padded)), []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            kept.append(blocks(features, code))
            features = halve(kept[-1])
        features = self.middle(features, code)
        for level in reversed(range(len(kept))):
            features = functional.pixel_shuffle(self.enlarge[level](features), 2)
            if self.options.skip == "concat":
                features = torch.cat([features, kept[level]], 1)
            else:
                features = features + kept[level]
            features = self.up[level](self.join[level](features), code)
        return functional.pixel_shuffle(self.head(features), self.options.patch * self.scale)

    def _with_tones(self, images: Tensor) -> Tensor:
        """The picture around 0, and cosines of it."""
        cosines = [torch.cos(images * (math.pi * (tone + 1))) for tone in range(self.options.tones)]
        return torch.cat([images - 0.5, *cosines], 1)

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


class PictureCode(nn.Module):  # type: ignore[misc]
    """A picture's statistics as the code that steers blocks and curves: (N, in_channels, H, W) to (N, context)."""

    def __init__(self, options: ResidualUNetOptions) -> None:
        super().__init__()
        self.statistics = PictureStatistics(options.in_channels)
        self.first = nn.Linear(self.statistics.size, options.context)
        self.second = nn.Linear(options.context, options.context)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, images: Tensor) -> Tensor:
        """The code."""
        code = self.dropout(functional.silu(self.first(self.statistics(images))))
        return self.dropout(functional.silu(self.second(code)))


class Bend(nn.Module):  # type: ignore[misc]
    """What a picture's code adds to the table's curves: linear between `KNOTS` values a channel, zero at first."""

    def __init__(self, out_channels: int, context: int) -> None:
        super().__init__()
        self.values = nn.Linear(context, out_channels * KNOTS)
        _set_to_zero(self.values)

    def forward(self, positions: Tensor, code: Tensor) -> Tensor:
        """Positions on the curves (N, C, H, W), 0 to 255, and the code, to (N, C, H, W)."""
        position = (positions * ((KNOTS - 1) / (ENTRIES - 1))).flatten(2)
        values = self.values(code).unflatten(1, (-1, KNOTS))
        lower = position.floor().clamp(max=KNOTS - 2)
        entry = lower.long()
        bent = torch.lerp(values.gather(2, entry), values.gather(2, entry + 1), position - lower)
        return bent.view_as(positions)


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """x + two 3×3 convolutions of it; the second is zero at first, so that any depth begins as identity.

    A code of the whole picture scales and shifts what lies between them.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.steer = nn.Linear(context, 2 * channels) if context else None
        _set_to_zero(self.second)
        if self.steer is not None:
            _set_to_zero(self.steer)

    def forward(self, features: Tensor, code: Tensor | None) -> Tensor:
        """(N, C, H, W) to the same shape."""
        between = functional.silu(self.first(features))
        if self.steer is not None:
            scale, shift = self.steer(code)[:, :, None, None].chunk(2, 1)
            between = between * (1 + scale) + shift
        return features + self.second(between)


class _Blocks(nn.ModuleList):  # type: ignore[misc]
    def __init__(self, channels: int, count: int, context: int) -> None:
        super().__init__(ResidualBlock(channels, context) for _ in range(count))

    def forward(self, features: Tensor, code: Tensor | None) -> Tensor:
        for block in self:
            features = block(features, code)
        return features


def _baseline(options: ResidualUNetOptions) -> nn.Module:
    kind = LookupTable if options.start == "table" else PlainMatrix
    return kind(options.in_channels, options.out_channels)


def _set_to_zero(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
