"""Numbers that the originals gave, by our own measures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from imagemill.networks import create_network
from imagemill.networks.colour_fusion import ColourFusion
from imagemill.training.data import Pairs
from imagemill.training.losses import mse
from imagemill.training.metrics import psnr
from imagemill.training.plan import nature_of

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "data" / "golden"
PLATE = "fish_104_before.jpg"


def golden(name: str) -> Path:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def plate(half: str) -> torch.Tensor:
    path = golden("color_reverser/stage_resized") / PLATE.replace("before", half)
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255


def test_identity_has_the_psnr_that_the_original_measured() -> None:
    numbers = json.loads(golden("color_reverser/numbers.json").read_text("utf-8"))
    found = psnr(plate("before"), plate("after")).item()
    assert found == pytest.approx(numbers["identity_psnr_none"][PLATE], abs=1e-3)


def test_what_its_network_was_shown_is_what_ours_would_be() -> None:
    shown = np.load(golden("color_reverser/unet_head_forward.npz"))
    assert shown["names"][0] == PLATE
    assert torch.equal(torch.from_numpy(shown["inp"])[:1], plate("before"))
    network = create_network("unet").eval()
    with torch.no_grad():
        output = network(torch.from_numpy(shown["inp"])[:1])
    assert output.shape == shown["out"][:1].shape
    assert 0 < output.min() < output.max() < 1


def test_a_plates_lightness_is_recognised() -> None:
    nature = nature_of([Pairs(plate("before"), plate("after"), ["fish"], [0])])
    assert (nature.before_grey, nature.after_grey, nature.luma_kept) == (True, False, True)
    assert nature.size == (384, 256)


def in_the_originals_order(network: ColourFusion) -> list[nn.Conv2d]:
    """The order in which the original makes its layers: the fusion's is the last."""
    return [*network.encoder, *network.decoder, network.fusion]


def scattered(count: int, place: int) -> np.ndarray:
    """float64 (count,) in [-1, 1): the digits of a sine far behind the point, with which the original was filled."""
    digits = np.sin(np.arange(count) * 12.9898 + place * 78.233) * 43758.5453
    numbers: np.ndarray = 2 * (digits - np.floor(digits)) - 1
    return numbers


def filled_by_formula() -> ColourFusion:
    """The colour network with the weights of `network/forward.npz`.

    Kernels, (height, width, inputs, outputs) there, are He-scaled: sqrt(2 / (height · width · inputs)); biases 0.05.
    """
    network = create_network("colour-fusion").eval()
    assert isinstance(network, ColourFusion)
    with torch.no_grad():
        for number, layer in enumerate(in_the_originals_order(network)):
            outputs, inputs, height, width = layer.weight.shape
            kernel = scattered(layer.weight.numel(), 2 * number) * np.sqrt(2 / (height * width * inputs))
            kernel = kernel.reshape(height, width, inputs, outputs).transpose(3, 2, 0, 1)
            layer.weight.copy_(torch.from_numpy(kernel))
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(scattered(outputs, 2 * number + 1) * 0.05))
    return network


def test_the_colour_network_computes_what_the_original_does() -> None:
    values = np.load(golden("koalarization/network/forward.npz"))
    network = filled_by_formula()
    lightness = torch.from_numpy(values["L"]).movedim(-1, 1)
    with torch.no_grad():
        encoded = network.encode(lightness).movedim(1, -1).numpy()
        colours = network(lightness, torch.from_numpy(values["emb"])).movedim(1, -1).numpy()
    np.testing.assert_allclose(encoded, values["enc"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(colours, values["ab_out"], rtol=0, atol=1e-6)


def test_the_colour_network_learns_as_the_original_does() -> None:
    values = np.load(golden("koalarization/network/forward.npz"))
    network = filled_by_formula()
    lightness, truth = (torch.from_numpy(values[name]).movedim(-1, 1) for name in ("L", "ab_true"))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    costs = []
    for step in range(1, 4):
        # TensorFlow adds its 1e-8 to the root before the root's bias is corrected, torch after it.
        optimiser.param_groups[0]["eps"] = 1e-8 / np.sqrt(1 - 0.999**step)
        loss = mse(network(lightness, torch.from_numpy(values["emb"])), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        costs.append(loss.item())
    assert costs[0] == pytest.approx(float(values["cost"]), rel=1e-6)
    assert costs == pytest.approx(values["cost_hist"].tolist(), rel=1e-3)
