"""The look-up table: fitted to the mean, applied exactly, and what channels it follows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imagemill.errors import ConfigError
from imagemill.networks.lookup_table import LUMA, LookupTable, Pairs, fit_lookup_table


def noise(channels: int, count: int = 4, side: int = 24, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(seed)).byte()


def split(before: Tensor, after: Tensor) -> Pairs:
    return lambda: zip(before.split(3), after.split(3), strict=True)


def unit(images: Tensor) -> Tensor:
    return images.float() / 255


def mean_psnr(table: LookupTable, before: Tensor, after: Tensor) -> float:
    error = (table(unit(before)) - unit(after)).square().mean((1, 2, 3))
    return float(-10 * error.log10().mean())


def test_each_grey_gets_the_mean_colour_that_it_had() -> None:
    before, after = noise(1), noise(3, seed=1)
    table = fit_lookup_table(split(before, after))
    answer = table(unit(before))
    for grey in (0, 17, 128, 255):
        met = (before == grey).expand_as(after)
        wanted = torch.stack([unit(after)[:, c][met[:, c]].mean() for c in range(3)])
        got = torch.stack([answer[:, c][met[:, c]].mean() for c in range(3)])
        torch.testing.assert_close(got, wanted)


def test_a_curve_of_every_channel_is_found_exactly() -> None:
    before = noise(3)
    after = torch.stack([255 - before[:, 0], (before[:, 1].float() ** 2 / 255).round().byte(), before[:, 2] // 2], 1)
    table = fit_lookup_table(split(before, after))
    assert torch.equal((table(unit(before)) * 255).round().byte(), after)


def test_exchanged_channels_and_luma_are_found_by_the_matrix() -> None:
    before = noise(3)
    table = fit_lookup_table(split(before, before.flip(1)))
    assert mean_psnr(table, before, before.flip(1)) > 45
    grey = torch.einsum("c,nchw->nhw", torch.tensor(LUMA), before.float())[:, None].round().byte()
    assert mean_psnr(fit_lookup_table(split(before, grey)), before, grey) > 50
    assert mean_psnr(fit_lookup_table(split(before, grey.repeat(1, 3, 1, 1))), before, grey.repeat(1, 3, 1, 1)) > 45


def test_entries_that_met_nothing_follow_their_neighbours() -> None:
    before = torch.tensor([[50, 100, 200]], dtype=torch.uint8).view(1, 1, 1, 3)
    after = torch.tensor([[10, 20, 60]], dtype=torch.uint8).view(1, 1, 1, 3)
    table = fit_lookup_table(lambda: [(before, after)])
    asked = torch.tensor([[0, 75, 150, 255]], dtype=torch.uint8).view(1, 1, 1, 4)
    assert (table(unit(asked)) * 255).round().flatten().tolist() == [10, 15, 40, 60]


def test_floats_between_entries_are_interpolated_and_others_clamped() -> None:
    table = LookupTable(1, 3)
    ramp = torch.linspace(-0.1, 1.1, 1000).view(1, 1, 1, 1000)
    torch.testing.assert_close(table(ramp), ramp.clamp(0, 1).repeat(1, 3, 1, 1), atol=1e-6, rtol=0)


def test_channels_below_zero_have_a_span_of_their_own() -> None:
    chroma = unit(noise(2)) - 0.5
    table = fit_lookup_table(split(chroma, -chroma))
    assert table.span.tolist() == [[-0.5, 0.5]] * 2
    torch.testing.assert_close(table(chroma), -chroma, atol=3e-3, rtol=0)
    colours = fit_lookup_table(split(unit(noise(1)), chroma))
    assert colours.curves.shape == (2, 256)
    assert float(colours.curves.std()) > 0


def test_more_rounds_climb_the_mean_of_psnr() -> None:
    before = noise(1, count=6)
    after = before.clone()
    after[3:] = noise(1, count=3, seed=5)
    plain, climbed = (fit_lookup_table(split(before, after), rounds=rounds) for rounds in (1, 6))
    assert mean_psnr(climbed, before, after) > mean_psnr(plain, before, after) + 3


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="training split is empty"):
        fit_lookup_table(list)
    with pytest.raises(ConfigError, match="enlarge the smaller picture"):
        fit_lookup_table(lambda: [(noise(3), noise(3, side=48))])
