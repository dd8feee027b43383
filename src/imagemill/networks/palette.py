"""Colour as a choice among a few dozen, instead of one mean.

A grey petal may be red or blue; the answer with the least error is the brown between them, and pictures made of such
answers are sepia. So it is learnt for every place how likely each colour of a palette is (Zhang, Isola and Efros,
"Colorful image colorization", 2016, have the idea, the soft targets, the weights for rare colours and the annealed
mean). What is learnt is evidence, added to how likely colours are at a pixel's tone in all training pictures: white
paper stays paper, and colours end where tones do, although the evidence is as coarse as patches of 4×4.

Convolutions that are trained for minutes find no evidence in a few hundred pictures. A small perceptron on numbers that
are computed does: tones and gradients around a patch, near and far, and the statistics of the whole picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.lookup_table import SPANS, Pairs, span_that_holds
from imagemill.networks.picture_statistics import PictureStatistics

RINGS = ((0.1, 8), (0.22, 12), (0.42, 12), (0.68, 12), (1.0, 12))
"""Chroma, as a share of the strongest, and hues of each ring around grey: finer where eyes and most pixels are."""
COLOURS = 1 + sum(hues for _, hues in RINGS)
STRONGEST = 0.999
"""Share of the pixels whose chroma the outermost ring holds."""
LEAST_CHROMA, MOST_CHROMA = 0.02, 1.5
"""Strongest chroma at least, so that pictures without any have a palette, too; and what a and b of LAB stay below."""
CHROMA_STEPS = 1500
NEAREST = 4
"""Colours of the palette that a pixel counts for, by their distance."""
FINEST = 0.05
"""Spread of the soft targets at grey, as a share of the strongest chroma; it grows with chroma."""
TONES = 16
"""Steps of lightness between which the likeliness of colours is linear."""
RARE = 0.5
"""How far weights even out rare and frequent colours: 0 not at all, 1 wholly."""
ANNEALED = 0.38
"""Temperature of the vivid answer, as Zhang et al. chose it; 1 would be the mean of all colours."""

PATCH = 4
"""Side of the patch that evidence is for."""
AROUND = (1, 3, 7, 15)
"""Sides in patches of the squares whose mean tone, deviation and gradients are looked at."""
STEPS = (1, 2, 4, 8)
"""Distances in patches of the 5×5 tones around a patch that are looked at."""
COSINES = 8
NUMBERS = 5 * len(AROUND) + 25 * len(STEPS) + PATCH**2 + COSINES
HIDDEN = 192
LEARNT_FROM = 2
"""One patch in so many of a row is learnt from: neighbours say the same."""


class Palette(nn.Module):  # type: ignore[misc]
    """How likely each colour is at each place of a picture, and what follows for learning and for the picture.

    All take `images`, (N, C, H, W) as the network does, of which the first channel is looked at: lightness.

    Attributes:
        span: (2,), the values between which tones lie; 0 and 1 at first.
        colours: (COLOURS, 2), chroma as the network gives it.
        likely: (TONES, COLOURS), logarithms of the share that each colour has at a tone.
        weight: (COLOURS,), of a pixel of that colour in the loss; mean 1 over the training pixels.
        pixels: of the pictures that it was fitted on; larger ones are looked at as if they had no more. 0: as they are.
    """

    span: Tensor
    colours: Tensor
    likely: Tensor
    weight: Tensor
    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("span", torch.tensor(SPANS[0]))
        self.register_buffer("colours", rings(1.0))
        self.register_buffer("likely", torch.zeros(TONES, COLOURS))
        self.register_buffer("weight", torch.ones(COLOURS))
        self.register_buffer("pixels", torch.tensor(0.0))
        self.register_buffer("mean", torch.zeros(NUMBERS))
        self.register_buffer("spread", torch.ones(NUMBERS))
        self.statistics = PictureStatistics(1)
        self.near = nn.Linear(NUMBERS, HIDDEN)
        self.whole = nn.Linear(self.statistics.size, HIDDEN)
        self.second, self.third = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(3))
        self.last = nn.Linear(HIDDEN, COLOURS)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
    def fit(self, pairs: Pairs, *, whole: bool = True) -> None:
        """Takes all that is computed, not learnt, from training pairs, as the network takes and gives them.

        Args:
            whole: whether they are whole pictures, so that larger ones may be looked at as if they were of this size.

        Raises:
            ConfigError: there are none.
        """
        low, high, strongest, pixels = _extent(pairs)
        self.span.copy_(torch.tensor(span_that_holds(low, high)))
        self.colours.copy_(rings(strongest))
        self.pixels.fill_(pixels if whole else 0)
        self.statistics.calibrate(lambda: (before[:, :1] for before, _ in pairs()))
        counts = torch.zeros(TONES, COLOURS, dtype=torch.float64)
        sums = torch.zeros(2, NUMBERS, dtype=torch.float64)
        patches = 0
        for before, after in pairs():
            tone = self._steps(_sampled(before)[:, 0]).round().long().flatten()
            counts.index_add_(0, tone.cpu(), self.shares(_pixels(_sampled(after))).double().cpu())
            numbers = self._numbers(self._tones(before)).flatten(0, 2).double()
            sums += torch.stack([numbers.sum(0), numbers.square().sum(0)]).cpu()
            patches += len(numbers)
        mean, square = sums / patches
        self.mean.copy_(mean)
        # What hardly varies in training must not explode on the first picture that differs.
        self.spread.copy_((square - mean.square()).clamp(min=0).sqrt() + 1e-2)
        share = (counts.sum(0) + 1) / (counts.sum() + COLOURS)
        # A tone that was hardly met has the colours of all others.
        self.likely.copy_(((counts + share) / (counts.sum(1, keepdim=True) + 1)).log())
        weight = 1 / ((1 - RARE) * share + RARE / COLOURS)
        self.weight.copy_(weight / (weight * share).sum())
        # Learning with weights begins where the weighted shares are.
        self.last.bias.copy_(self.weight.log())

    def shares(self, chroma: Tensor) -> Tensor:
        """Soft targets: how much of each colour these pixels have, (pixels, 2) to (pixels, COLOURS), 1 in all."""
        distance, nearest = torch.cdist(chroma, self.colours).topk(NEAREST, dim=1, largest=False)
        radius = self.colours.norm(dim=1)
        spread = FINEST * radius.max() + radius[nearest] / 8
        shares = (-0.5 * (distance / spread).square()).softmax(1)
        return chroma.new_zeros(len(chroma), COLOURS).scatter_(1, nearest, shares)

    def loss(self, images: Tensor, wanted: Tensor) -> Tensor:
        """Weighted cross-entropy of what is likely and what is there: each picture's mean, then the mean over pictures.

        Args:
            wanted: (N, 2, H, W), their chroma.
        """
        evidence = self.evidence(self._tones(images), every=LEARNT_FROM)
        steps = self._steps(_sampled(images)[:, 0, :, ::LEARNT_FROM])
        lower = steps.floor().clamp(max=TONES - 2)
        entry = lower.long()
        likely = torch.lerp(self.likely[entry], self.likely[entry + 1], (steps - lower)[..., None])
        chances = (evidence + likely).log_softmax(-1).flatten(0, -2)
        shares = self.shares(_pixels(_sampled(wanted)[..., ::LEARNT_FROM]))
        # All pictures of a batch have equally many pixels, so this is the mean of their means.
        return -((shares * chances).sum(1) * (shares * self.weight).sum(1)).mean()

    def likeliest(self, images: Tensor) -> Tensor:
        """The annealed mean: (N, 2, H, W), chroma near the likeliest colours."""
        height, width = images.shape[-2:]
        tones = self._tones(images)
        seen = self._as_fitted(tones)
        evidence = self.evidence(seen)
        # The grid covers whole patches, which may reach beyond the picture.
        reach = [
            math.ceil(side * PATCH * patches / small)
            for side, patches, small in zip((height, width), evidence.shape[1:3], seen.shape[-2:], strict=True)
        ]
        steps = self._steps(images[:, :1])
        found = torch.zeros_like(images[:, :1])
        for tone, likely in enumerate(self.likely):
            # Chroma of patches for each tone, then of each pixel between those of its tones: a bilateral grid.
            chroma = (((evidence + likely) / ANNEALED).softmax(-1) @ self.colours).movedim(-1, 1)
            spread = functional.interpolate(chroma, size=reach, mode="bilinear", align_corners=False)
            found = found + spread[..., :height, :width] * (1 - (steps - tone).abs()).clamp(min=0)
        return found

    def evidence(self, tones: Tensor, every: int = 1) -> Tensor:
        """What speaks for each colour, of tones from 0 to 1: (N, 1, H, W) to (N, rows, columns, COLOURS) of patches.

        Args:
            every: takes one column of patches in so many.
        """
        numbers = (self._numbers(tones)[:, :, ::every] - self.mean) / self.spread
        # The statistics have a span of their own; tones are brought back to it.
        low, high = self.span.unbind()
        whole = self.whole(self.statistics(tones * (high - low) + low))
        hidden = functional.silu(self.norms[0](self.near(numbers) + whole[:, None, None]))
        for layer, norm in zip((self.second, self.third), self.norms[1:], strict=True):
            hidden = hidden + functional.silu(norm(layer(hidden)))
        found: Tensor = self.last(hidden)
        return found

    def _tones(self, images: Tensor) -> Tensor:
        """Lightness from 0 to 1: (N, 1, H, W)."""
        low, high = self.span.to(images.dtype).unbind()
        return ((images[:, :1] - low) / (high - low)).clamp(0, 1)

    def _steps(self, lightness: Tensor) -> Tensor:
        """Where lightness, as the network takes it, lies among the tones: 0 to TONES - 1."""
        low, high = self.span.to(lightness.dtype).unbind()
        return ((lightness - low) / (high - low)).clamp(0, 1) * (TONES - 1)

    def _as_fitted(self, tones: Tensor) -> Tensor:
        """Pictures that are larger than those of the training, made smaller: what is looked at is a matter of size."""
        height, width = tones.shape[-2:]
        share = math.sqrt(float(self.pixels) / (height * width))
        if not 0 < share < 1:
            return tones
        sides = [max(1, round(side * share)) for side in (height, width)]
        return functional.interpolate(tones, size=sides, mode="area")

    @staticmethod
    @torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]
    def _numbers(tones: Tensor) -> Tensor:
        """What is looked at, of each patch: (N, 1, H, W) to (N, rows, columns, NUMBERS)."""
        tones = _whole_patches(tones)
        across = functional.pad((tones[..., 1:] - tones[..., :-1]).abs(), (0, 1))
        down = functional.pad((tones[..., 1:, :] - tones[..., :-1, :]).abs(), (0, 0, 0, 1))
        coarse = functional.avg_pool2d(torch.cat([tones, tones.square(), across, down], 1), PATCH)
        found = []
        for side in AROUND:
            mean, square, wide, high = _mean_around(coarse, side).unbind(1)
            deviation = (square - mean.square()).clamp(min=1e-5).sqrt().log()
            wide, high = (wide + 3e-3).log(), (high + 3e-3).log()
            found += [mean, deviation, wide, high, wide - high]
        for step in STEPS:
            found += _neighbours(_mean_around(coarse[:, :1], step | 1), step)
        found += [torch.cos(coarse[:, 0] * math.pi * (number + 1)) for number in range(COSINES)]
        return torch.cat([torch.stack(found, -1), functional.pixel_unshuffle(tones, PATCH).movedim(1, -1)], -1)


def rings(strongest: float) -> Tensor:
    """The palette for chroma up to this: float32 (COLOURS, 2)."""
    points = [(0.0, 0.0)]
    for number, (share, hues) in enumerate(RINGS):
        for hue in range(hues):
            angle = 2 * math.pi * (hue + number % 2 / 2) / hues
            points.append((strongest * share * math.cos(angle), strongest * share * math.sin(angle)))
    return torch.tensor(points)


def _extent(pairs: Pairs) -> tuple[float, float, float, float]:
    """The least and the most of the inputs, the strongest chroma but for a few pixels, and pixels of a picture.

    Raises:
        ConfigError: no pairs.
    """
    low, high, pictures, pixels = math.inf, -math.inf, 0, 0
    counts = torch.zeros(CHROMA_STEPS + 1, dtype=torch.int64)
    for before, after in pairs():
        low, high = min(low, float(before[:, 0].min())), max(high, float(before[:, 0].max()))
        steps = (_pixels(_sampled(after)).norm(dim=1) * (CHROMA_STEPS / MOST_CHROMA)).ceil().long()
        counts += torch.bincount(steps.clamp(max=CHROMA_STEPS), minlength=len(counts)).cpu()
        pictures, pixels = pictures + len(before), pixels + before[:, 0].numel()
    if not pictures:
        raise ConfigError("a palette is fitted on pairs, and there are none: the training split is empty")
    strongest = int((counts.cumsum(0) < STRONGEST * counts.sum()).sum()) * MOST_CHROMA / CHROMA_STEPS
    return low, high, max(strongest, LEAST_CHROMA), pixels / pictures


def _sampled(images: Tensor) -> Tensor:
    """A pixel of each patch: (N, C, rows, columns)."""
    return _whole_patches(images)[..., 1::PATCH, 1::PATCH]


def _whole_patches(images: Tensor) -> Tensor:
    """Pictures filled up, at the right and the bottom, to whole patches."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % PATCH, 0, -height % PATCH), mode="replicate")


def _pixels(images: Tensor) -> Tensor:
    """(N, C, H, W) as (N · H · W, C)."""
    return images.movedim(1, -1).flatten(0, 2)


def _mean_around(images: Tensor, side: int) -> Tensor:
    """Means of squares of an odd side around each place, of what there is inside the picture."""
    if side == 1:
        return images
    half = side // 2
    rows = functional.avg_pool2d(images, (side, 1), 1, (half, 0), count_include_pad=False)
    return functional.avg_pool2d(rows, (1, side), 1, (0, half), count_include_pad=False)


def _neighbours(images: Tensor, step: int) -> list[Tensor]:
    """The 5×5 values around each place of (N, 1, H, W), so far apart; the edge goes on beyond it: (N, H, W) each."""
    height, width = images.shape[-2:]
    wide = functional.pad(images, (2 * step,) * 4, mode="replicate")[:, 0]
    starts = range(0, 5 * step, step)
    return [wide[:, top : top + height, left : left + width] for top in starts for left in starts]
