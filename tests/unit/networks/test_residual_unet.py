"""imagemill's own network: it starts at its baseline, takes any size, and learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from imagemill.errors import ConfigError
from imagemill.networks import create_network
from imagemill.networks.lookup_table import LookupTable, fit_lookup_table, plain_matrix

SMALL = {"width": 8, "widest": 16, "levels": 3, "middle_blocks": 1}


def picture(channels: int, height: int = 57, width: int = 101) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("height", "width"), [(57, 101), (640, 960), (1, 1), (3, 200)])
def test_any_size_passes(height: int, width: int) -> None:
    network = create_network(**SMALL)
    nn.init.normal_(network.head.weight)
    assert network(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3), (3, 1), (1, 2), (5, 4)])
def test_it_starts_as_identity(channels: tuple[int, int]) -> None:
    network = create_network(in_channels=channels[0], out_channels=channels[1], **SMALL)
    before = picture(channels[0])
    wanted = torch.einsum("oi,nihw->nohw", plain_matrix(*channels), before)
    torch.testing.assert_close(network(before), wanted)


def test_equal_channels_start_as_the_picture_itself() -> None:
    before = picture(3)
    assert torch.equal(create_network(**SMALL)(before), before)


def test_it_starts_as_the_fitted_table_and_keeps_it_in_its_state() -> None:
    before, after = picture(1), picture(3).square()
    table = fit_lookup_table(lambda: [(before, after)])
    options = {"in_channels": 1, "out_channels": 3, "start": "table", **SMALL}
    network = create_network(**options)
    network.start_from(table)
    torch.testing.assert_close(network(before), table(before))
    again = create_network(**options)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(before), network(before))


@pytest.mark.parametrize("scale", [2, 4])
def test_super_resolution_starts_as_a_bicubic_enlargement(scale: int) -> None:
    before = picture(3, 9, 14)
    network = create_network(scale=scale, **SMALL)
    torch.testing.assert_close(network(before), nn.functional.interpolate(before, scale_factor=scale, mode="bicubic"))
    nn.init.normal_(network.head.weight)
    assert network(before).shape == (2, 3, 9 * scale, 14 * scale)


FORMS = [
    {"skip": "concat"},
    {"patch": 1},
    {"patch": 4, "scale": 2},
    {"start": "table", "context": 6, "tones": 3},
    {"context": 6, "residual": False},
]


@pytest.mark.parametrize("options", FORMS)
def test_every_form_learns(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = create_network(**{**SMALL, **options})
    before = picture(3, 24, 32)
    target = 0.3 * network(before).detach()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = (network(before) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.grad is not None for weight in network.parameters())


def test_without_context_a_tile_comes_out_as_in_the_whole() -> None:
    torch.manual_seed(0)
    network = create_network(**SMALL)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.05)
    whole = picture(3, 256, 8)
    parts = network(whole)[..., 120:136, :], network(whole[..., 64:192, :])[..., 56:72, :]
    torch.testing.assert_close(*parts)
    assert not torch.allclose(parts[0], whole[..., 120:136, :], atol=1e-3)


def test_with_context_the_whole_picture_has_a_say() -> None:
    torch.manual_seed(0)
    network = create_network(in_channels=1, start="table", context=6, dropout=0.5, **SMALL).eval()
    before = picture(1)
    torch.testing.assert_close(network(before), before.repeat(1, 3, 1, 1))
    network.calibrate(lambda: ((part, part) for part in before.split(1)))
    nn.init.normal_(network.bend.values.weight)
    changed = before.clone()
    changed[..., 50:] = 0
    difference = (network(changed) - network(before))[..., :30, :30]
    assert difference.abs().mean() > 0.01


def test_for_masks_it_corrects_nothing() -> None:
    network = create_network(out_channels=12, residual=False, **SMALL)
    assert network.baseline is None
    assert network(picture(3)).std().item() > 0


def test_the_default_is_small() -> None:
    assert sum(weight.numel() for weight in create_network().parameters()) < 1_000_000


@pytest.mark.parametrize(
    ("options", "said"),
    [({"skip": "mul"}, "add, concat"), ({"start": "lut"}, "identity, table"), ({"levels": 0}, "1 or more, got 0")],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create_network(**options)


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match='start="table"'):
        create_network(**SMALL).start_from(LookupTable(3, 3))
    with pytest.raises(ConfigError, match="maps 1 channels to 3, the network 3 to 3"):
        create_network(start="table", **SMALL).start_from(LookupTable(1, 3))
