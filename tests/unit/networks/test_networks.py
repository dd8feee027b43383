"""The registry of networks, and the original networks against what was recorded of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imagemill.errors import ConfigError
from imagemill.networks import NETWORKS, create_network
from imagemill.networks.base import options_of
from imagemill.networks.unet import FORMS, variant_of

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "data" / "golden"
LISTINGS = {
    "first": "model.py@828db35",
    "residual": "model.py@2fe1cbc",
    "head": "HEAD model_parts.unet.UNet",
}


@pytest.mark.parametrize("variant", FORMS)
def test_parameters_of_the_original(variant: str) -> None:
    network = create_network("unet", variant=variant)
    assert sum(weight.numel() for weight in network.parameters()) == FORMS[variant].parameters
    side = network.required_multiple
    assert network.eval()(torch.zeros(1, 3, side, side)).shape == (1, 3, side, side)
    assert variant_of(network.state_dict()) == variant


@pytest.mark.parametrize("variant", LISTINGS)
def test_state_dict_of_the_original(variant: str) -> None:
    path = GOLDEN / "color_reverser" / "state_dict_listing.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    listed = json.loads(path.read_text("utf-8"))[LISTINGS[variant]]["keys"]
    own = create_network("unet", variant=variant).state_dict()
    assert list(own) == list(listed)
    assert {name: [*tensor.shape, str(tensor.dtype)] for name, tensor in own.items()} == listed


def test_colour_fusion_has_the_variables_of_the_original() -> None:
    network = create_network("colour-fusion")
    assert sum(weight.numel() for weight in network.parameters()) == 6_574_050
    path = GOLDEN / "koalarization" / "network" / "checkpoint_vars.txt"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    lines = [line.split(" ", 1) for line in path.read_text("utf-8").splitlines()]
    kernels = {name: tuple(json.loads(shape)) for name, shape in lines if name.endswith("/kernel")}
    listed = [kernels["conv2d" + (f"_{number}" if number else "") + "/kernel"] for number in range(len(kernels))]
    layers = [*network.encoder, network.fusion, *network.decoder]
    assert [tuple(np.transpose(layer.weight.detach().numpy(), (2, 3, 1, 0)).shape) for layer in layers] == listed


def test_colour_fusion_gives_colours_of_the_pictures_size() -> None:
    network = create_network("colour-fusion", embedding_size=5).eval()
    output = network(torch.zeros(2, 1, 32, 16), torch.zeros(2, 5))
    assert output.shape == (2, 2, 32, 16)
    assert network.encode(torch.zeros(2, 1, 32, 16)).shape == (2, 256, 4, 2)


@pytest.mark.parametrize(("size", "scale"), [((57, 101), 1), ((16, 16), 2), ((9, 7), 4)])
def test_the_default_takes_any_size(size: tuple[int, int], scale: int) -> None:
    network = create_network(in_channels=1, out_channels=3, scale=scale).eval()
    assert network(torch.rand(1, 1, *size)).shape == (1, 3, size[0] * scale, size[1] * scale)
    assert network.required_multiple == 1


def test_a_network_is_made_again_from_its_options() -> None:
    for name in NETWORKS:
        first = create_network(name)
        again = create_network(name, **json.loads(json.dumps(options_of(first))))
        assert again.options == first.options
        assert [*again.state_dict()] == [*first.state_dict()]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("residul-unet", {}, "did you mean 'residual-unet'"),
        ("unet", {"varient": "head"}, "did you mean 'variant'"),
        ("unet", {"variant": "heads"}, "5,158,995 parameters"),
        ("unet", {"variant": 3}, "variant is a str"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create_network(name, **options)
