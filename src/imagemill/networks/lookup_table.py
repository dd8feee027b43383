"""The simplest model there is: a 256-entry table a channel, fitted on the training split.

What no network may fall short of. Grey → colour it gives every grey the mean colour it had; between images of equal
channels it is a curve a channel; colour → grey it is a curve of the luma. Identity, the other baseline, is the table
that changes nothing.

An output channel is `curve(row · input)`: `matrix` has a row of weights an output channel, `curves` 256 values. Where a
least-squares matrix explains the training data better than the plain choice of channels (colour pictures to grey ones
of three channels, exchanged channels), it is taken. ICC's matrix/TRC profiles have the same two parts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from imagemill.errors import ConfigError

ENTRIES = 256
SPANS = ((0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0))
"""What channels range over: RGB, grey and Y; Cb and Cr; scaled L, a and b."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in luma, ITU-R BT.601: what JPEG's Y and Pillow's mode L are."""

Pairs: TypeAlias = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives the batches of a split, (N, C, H, W) in and out, anew at every call: fitting passes over them several times."""


def plain_matrix(in_channels: int, out_channels: int) -> Tensor:
    """Which input an output channel follows where nothing was fitted, float32 (out_channels, in_channels).

    Equal numbers: each its own. Three to one: luma. One to two: nothing, as Cb and Cr (or a and b) of a grey picture
    are zero. Else: all follow the mean.
    """
    if in_channels == out_channels:
        return torch.eye(in_channels)
    if (in_channels, out_channels) == (3, 1):
        return torch.tensor([LUMA])
    if (in_channels, out_channels) == (1, 2):
        return torch.zeros(2, 1)
    return torch.full((out_channels, in_channels), 1 / in_channels)


class LookupTable(nn.Module):  # type: ignore[misc]
    """Applies a table to pictures of any size: float (N, in_channels, H, W) to (N, out_channels, H, W).

    Between two entries it interpolates, so pictures of floats pass without steps; what a byte can hold meets an entry
    exactly. A new one is identity on 0–1 (`plain_matrix`), until a state dict or `fit_lookup_table` brings another.

    Args:
        in_channels, out_channels: of the pictures.

    Attributes:
        matrix: (out_channels, in_channels).
        span: (out_channels, 2), the values of row · input where a curve begins and ends, 0 and 1 at first.
        curves: (out_channels, 256).
    """

    matrix: Tensor
    span: Tensor
    curves: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("matrix", plain_matrix(in_channels, out_channels))
        self.register_buffer("span", torch.tensor([SPANS[0]]).repeat(out_channels, 1))
        self.register_buffer("curves", torch.linspace(0, 1, ENTRIES).repeat(out_channels, 1))

    def positions(self, images: Tensor) -> Tensor:
        """Where on its curve each output channel of each pixel lies: float (N, out_channels, H, W), 0 to 255."""
        mixed = nn.functional.conv2d(images, self.matrix.to(images.dtype)[:, :, None, None])
        low, high = self.span.to(images.dtype)[:, :, None, None].unbind(1)
        return ((mixed - low) / (high - low)).clamp(0, 1) * (ENTRIES - 1)

    def forward(self, images: Tensor) -> Tensor:
        """The pictures through matrix and curves."""
        position = self.positions(images)
        lower = position.floor().clamp(max=ENTRIES - 2)
        # Channel c's curve begins at entry 256 c of all curves in a row: one gather serves all channels.
        entry = lower.long() + _first_entries(len(self.curves), images.device)
        values = self.curves.to(images.dtype).flatten()
        return torch.lerp(values[entry], values[entry + 1], position - lower)


def fit_lookup_table(pairs: Pairs, *, rounds: int = 1) -> LookupTable:
    """The table that explains the pairs best.

    One round gives the mean of what each entry met: least squares over all pixels. Each further one weighs every
    picture by 1 / (its squared error in the round before), which climbs the *mean over pictures of PSNR* instead: 0.13
    dB on book plates. Entries that met nothing follow their neighbours.

    Args:
        pairs: the training split; bytes, or floats as networks take them.
        rounds: 1 for least squares; 6 for PSNR, where nothing moves any more.

    Raises:
        ConfigError: no pairs, or pictures of a pair that differ in size or number.
    """
    table = _table_for(pairs)
    error = _fit_curves(table, pairs, None)
    mixed = _table_for(pairs, least_squares=True)
    # Sums in another order are no reason to leave the plain matrix.
    if _fit_curves(mixed, pairs, None) < 0.999 * error:
        table = mixed
    for _ in range(rounds - 1):
        _fit_curves(table, pairs, copy.deepcopy(table))
    return table


def _table_for(pairs: Pairs, least_squares: bool = False) -> LookupTable:
    """A table with a matrix for these pairs, and the span that holds what comes of it."""
    gram, cross = _moments(pairs)
    table = LookupTable(len(gram), len(cross))
    if least_squares:
        # Equal channels make it singular; the pseudo-inverse then shares the weight among them.
        table.matrix.copy_(cross @ torch.linalg.pinv(gram, hermitian=True, rtol=1e-9))
    elif not table.matrix.any():
        table.matrix.fill_(1 / len(gram))
    low, high = torch.full((len(cross),), math.inf), torch.full((len(cross),), -math.inf)
    for batch in pairs():
        mixed = nn.functional.conv2d(_checked(*batch)[0], table.matrix[:, :, None, None])
        low, high = torch.minimum(low, mixed.amin((0, 2, 3))), torch.maximum(high, mixed.amax((0, 2, 3)))
    spans = [span_that_holds(*pair) for pair in zip(low.tolist(), high.tolist(), strict=True)]
    table.span.copy_(torch.tensor(spans))
    return table


def span_that_holds(least: float, most: float) -> tuple[float, float]:
    """The first of `SPANS` that these values lie in; where none holds them, the values themselves."""
    holding = (span for span in SPANS if span[0] - 1e-4 <= least and most <= span[1] + 1e-4)
    return next(holding, (least, most))


def _moments(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Sums over all pixels of before · beforeᵀ and after · beforeᵀ, in doubles."""
    gram = cross = None
    for batch in pairs():
        before, after = (images.movedim(1, 0).flatten(1).double() for images in _checked(*batch))
        gram = before @ before.T + (0 if gram is None else gram)
        cross = after @ before.T + (0 if cross is None else cross)
    if gram is None or cross is None:
        raise ConfigError("a look-up table is fitted on pairs, and there are none: the training split is empty")
    return gram, cross


def _checked(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """A batch of pairs as floats."""
    if before.ndim != 4 or after.ndim != 4 or before.shape[0] != after.shape[0] or before.shape[2:] != after.shape[2:]:
        raise ConfigError(
            f"a look-up table is fitted on pairs (N, C, H, W) of equal size, got {tuple(before.shape)} and "
            f"{tuple(after.shape)}: enlarge the smaller picture first"
        )
    unit = [images.float() / 255 if images.dtype == torch.uint8 else images.float() for images in (before, after)]
    return unit[0], unit[1]


def _fit_curves(table: LookupTable, pairs: Pairs, previous: LookupTable | None) -> float:
    """Sets the curves to (weighted) means; gives the squared error that remains."""
    out_channels = len(table.curves)
    weights, total = torch.zeros(2, out_channels * ENTRIES, dtype=torch.float64)
    energy = 0.0
    for batch in pairs():
        before, after = _checked(*batch)
        entry = (table.positions(before).round().long() + _first_entries(out_channels, after.device)).flatten()
        weight = _weights(previous, before, after).expand_as(after).reshape(-1).double()
        values = after.reshape(-1).double()
        weights += torch.bincount(entry, weight, minlength=len(weights))
        total += torch.bincount(entry, weight * values, minlength=len(weights))
        energy += float((weight * values * values).sum())
    mean = total / weights.clamp(min=1e-300)
    for channel, (met, values) in enumerate(zip(weights.view(-1, ENTRIES) > 0, mean.view(-1, ENTRIES), strict=True)):
        table.curves[channel] = _filled(values, met)
    return energy - float((mean * total).sum())


def _weights(previous: LookupTable | None, before: Tensor, after: Tensor) -> Tensor:
    """Of each picture, (N, 1, 1, 1): 1, or one over its mean squared error under an earlier table."""
    if previous is None:
        return after.new_ones(len(after), 1, 1, 1)
    error = (previous(before) - after).square().mean((1, 2, 3), keepdim=True)
    # A perfect picture must not outweigh all others: 1e-5 is 50 dB.
    return 1 / (error + 1e-5)


def _first_entries(out_channels: int, device: torch.device) -> Tensor:
    """Where each channel's curve begins when all stand in a row, (out_channels, 1, 1)."""
    return torch.arange(0, out_channels * ENTRIES, ENTRIES, device=device)[:, None, None]


def _filled(values: Tensor, met: Tensor) -> Tensor:
    """A curve whose entries that met nothing lie between those that did, level beyond the ends."""
    known = met.nonzero().flatten()
    entries = torch.arange(ENTRIES)
    right = torch.searchsorted(known, entries).clamp(max=len(known) - 1)
    left = (right - (known[right] > entries).long()).clamp(min=0)
    span = (known[right] - known[left]).clamp(min=1)
    share = ((entries - known[left]) / span).clamp(0, 1).double()
    return torch.lerp(values[known[left]], values[known[right]], share)
