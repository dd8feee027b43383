"""The original networks' recorded outputs, their weights filled by the formula that filled them there.

The formula stands nowhere; it was found from the outputs. The bits of a sine far behind its point give numbers that
follow no pattern: the colour network's tensors are numbered, the U-Net's differ by the length of their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imagemill.networks import create_network
from imagemill.networks.colour_fusion import ColourFusion
from imagemill.training.losses import mse

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "data" / "golden"


def recorded(name: str) -> dict[str, np.ndarray]:
    """Arrays of a golden file, by name."""
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with np.load(path) as file:
        return dict(file)


def scattered(count: int, place: int) -> np.ndarray:
    """float64 (count,) in [-1, 1)."""
    digits = np.sin(np.arange(count) * 12.9898 + place * 78.233) * 43758.5453
    numbers: np.ndarray = 2 * (digits - np.floor(digits)) - 1
    return numbers


def of_the_unet(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of the U-Net's state dict: kernels are He-scaled, the last one has 0.2."""
    numbers = scattered(int(np.prod(shape)), len(name)).reshape(shape)
    kind = name.rsplit(".", 1)[1]
    if len(shape) == 4:
        scale = 0.2 if name == "decoder.out_conv.0.weight" else np.sqrt(2 / np.prod(shape[1:]))
        return numbers * scale
    if kind == "running_var":
        return 1 + 0.25 * numbers
    if kind == "weight":
        return 1 + 0.1 * numbers
    return numbers * (0.1 if kind == "running_mean" else 0.05)


def test_the_unet_computes_what_the_original_does() -> None:
    values = recorded("color_reverser/unet_head_forward.npz")
    network = create_network("unet", variant="head").eval()
    network.load_state_dict(
        {
            name: torch.from_numpy(of_the_unet(name, tuple(tensor.shape))) if tensor.is_floating_point() else tensor
            for name, tensor in network.state_dict().items()
        }
    )
    with torch.no_grad():
        output = network(torch.from_numpy(values["inp"])).numpy()
    np.testing.assert_allclose(output, values["out"], rtol=0, atol=1e-6)


def in_the_originals_order(network: ColourFusion) -> list[nn.Conv2d]:
    """The order in which the original makes its layers: the fusion's is the last."""
    return [*network.encoder, *network.decoder, network.fusion]


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
    values = recorded("koalarization/network/forward.npz")
    network = filled_by_formula()
    lightness = torch.from_numpy(values["L"]).movedim(-1, 1)
    with torch.no_grad():
        encoded = network.encode(lightness).movedim(1, -1).numpy()
        colours = network(lightness, torch.from_numpy(values["emb"])).movedim(1, -1).numpy()
    np.testing.assert_allclose(encoded, values["enc"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(colours, values["ab_out"], rtol=0, atol=1e-6)


def test_the_colour_network_learns_as_the_original_does() -> None:
    values = recorded("koalarization/network/forward.npz")
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
