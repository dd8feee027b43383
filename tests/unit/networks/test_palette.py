"""Colours as a choice: fitted on pairs, learnt, and answered with the mean or with the likeliest."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from imagemill.errors import ConfigError
from imagemill.networks import create_network
from imagemill.networks.lookup_table import Pairs, fit_lookup_table
from imagemill.networks.palette import COLOURS, TONES, Palette, rings
from imagemill.networks.residual_unet import ResidualUNet

RED, BLUE = (-0.15, 0.26), (0.26, -0.15)
DARK, LIGHT = 0.4, 0.95
PICTURES = 8


def petals() -> tuple[Tensor, Tensor]:
    """Light paper without colour, with a dark square, red but for the last picture, where it is blue."""
    before = torch.full((PICTURES, 1, 24, 32), LIGHT)
    chroma = torch.zeros(PICTURES, 2, 24, 32)
    before[..., 4:20, 8:24] = DARK
    chroma[..., 4:20, 8:24] = torch.tensor(RED)[:, None, None]
    chroma[-1, :, 4:20, 8:24] = torch.tensor(BLUE)[:, None, None]
    return before, chroma


def batches() -> Iterable[tuple[Tensor, Tensor]]:
    before, chroma = petals()
    return zip(before.split(3), chroma.split(3), strict=True)


def test_soft_targets_mean_the_colour_they_stand_for() -> None:
    palette = Palette()
    palette.colours.copy_(rings(0.4))
    chroma = 0.25 * torch.rand(200, 2) - 0.12
    shares = palette.shares(chroma)
    torch.testing.assert_close(shares.sum(1), torch.ones(200))
    assert (shares @ palette.colours - chroma).norm(dim=1).max() < 0.04
    assert palette.shares(torch.zeros(1, 2)).argmax() == 0


def test_what_is_fitted_is_how_often_colours_are() -> None:
    palette = Palette()
    palette.fit(batches)
    strongest = max(math.hypot(*colour) for colour in (RED, BLUE))
    assert palette.colours.norm(dim=1).max().item() == pytest.approx(strongest, rel=0.01)
    chances = palette.likely.exp()
    torch.testing.assert_close(chances.sum(1), torch.ones(TONES))
    dark, light = (chances[round(tone * (TONES - 1))] for tone in (DARK, LIGHT))
    red, blue = (palette.shares(torch.tensor([colour])).argmax() for colour in (RED, BLUE))
    assert light[0] > 0.5
    assert dark[red] > 4 * dark[blue] > 20 * dark[0]
    # Paper is what most pixels show, so one of it counts least.
    assert palette.weight[0] < palette.weight[red] < palette.weight[blue]


def test_nobody_fits_a_palette_on_nothing() -> None:
    with pytest.raises(ConfigError, match="the training split is empty"):
        Palette().fit(list)


def network_for(pairs: Pairs, **options: object) -> ResidualUNet:
    """One that has been shown what there is, and has learnt nothing yet."""
    small = {"width": 4, "levels": 2, "middle_blocks": 0}
    network = create_network(in_channels=1, out_channels=2, start="table", palette=True, **small, **options)
    network.start_from(fit_lookup_table(pairs))
    network.calibrate(pairs)
    return network.eval()


def answers(network: ResidualUNet, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, vivid, and halfway between."""
    found = []
    for vividness in (0.0, 1.0, 0.5):
        network.vividness = vividness
        with torch.no_grad():
            found.append(network(images))
    return found[0], found[1], found[2]


def test_the_mean_is_brown_and_the_likeliest_is_red_or_blue() -> None:
    torch.manual_seed(0)
    before, chroma = petals()
    before[-1, :, 4:20, 4:28] = DARK  # the blue one is wider: its tone says nothing
    chroma[-1, :, 4:20, 4:28] = torch.tensor(BLUE)[:, None, None]
    network = network_for(lambda: [(before, chroma)])
    optimizer = torch.optim.AdamW(network.palette.parameters(), lr=3e-3)
    for _ in range(40):
        loss = network(before, chroma)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mean, vivid, between = answers(network, before)
    torch.testing.assert_close(between, (mean + vivid) / 2)
    for number, colour in ((0, RED), (PICTURES - 1, BLUE)):
        assert (vivid[number, :, 12, 16] - torch.tensor(colour)).norm() < 0.05
        # Colours end where tones do, in the midst of a patch, too.
        assert vivid[number, :, 2, 16].norm() < 0.05
    assert (mean[:, :, 12, 16] - torch.tensor(RED)).norm(dim=1).min() > 0.04


def test_a_larger_print_gets_the_same_colours() -> None:
    torch.manual_seed(0)
    network = network_for(batches)
    nn.init.normal_(network.palette.last.weight, std=0.5)
    before, _ = petals()
    small = answers(network, before)[1]
    large = answers(network, before.repeat_interleave(3, 2).repeat_interleave(3, 3))[1]
    assert (large[..., 1::3, 1::3] - small).norm(dim=1).median() < 0.01
    # Of parts of pictures nobody knows how large the whole is.
    network.calibrate(batches, whole=False)
    assert network.palette.pixels == 0


def test_a_batch_in_pieces_has_the_same_loss() -> None:
    network = network_for(batches)
    nn.init.normal_(network.palette.last.weight)
    before, chroma = petals()
    whole = network(before, chroma)[1]
    pieces = [network(*part)[1] for part in zip(before.split(2), chroma.split(2), strict=True)]
    torch.testing.assert_close(torch.stack(pieces).mean(), whole)


def test_any_size_passes() -> None:
    network = network_for(batches)
    for height, width in ((1, 1), (33, 18), (5, 101)):
        network.vividness = 0.0
        _, loss = network(torch.rand(2, 1, height, width), torch.zeros(2, 2, height, width))
        assert loss.isfinite()
        assert answers(network, torch.rand(2, 1, height, width))[1].shape == (2, 2, height, width)


def test_it_is_for_colour_alone() -> None:
    with pytest.raises(ConfigError, match="two channels, colour alone"):
        create_network(palette=True)
    assert len(rings(1.0)) == COLOURS
