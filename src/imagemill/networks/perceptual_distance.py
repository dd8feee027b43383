"""LPIPS (Zhang, Isola, Efros, Shechtman and Wang 2018) in plain torch: how unlike two pictures are to AlexNet.

The package `lpips` brings the weights of its linear layers; to import it takes a torchvision that was made for the
installed torch. So only that file of it is read; AlexNet's weights are fetched once, as torchvision publishes them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from imagemill.config import cache_dir
from imagemill.errors import ConfigError, MissingExtra
from imagemill.networks.weights import PublishedWeights, fetched, read_weights

ALEXNET = PublishedWeights(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "sha256:7be5be79",
    "torchvision's AlexNet",
)
"""Its name holds the beginning of its digest, which is all that is published."""

LINEAR_FILE = Path("weights/v0.1/alex.pth")
"""Of the package `lpips`."""

CHANNELS = (64, 192, 384, 256, 256)
"""Of AlexNet's five convolutions, each followed by a ReLU whose output is compared."""
CONVOLUTIONS = (0, 3, 6, 8, 10)
"""Their numbers in torchvision's `features`."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of ImageNet for pictures in -1 to 1."""
SMALLEST_NORM = 1e-10
SMALLEST_SIDE = 31
"""Below, the third convolution has no pixel to see: such pictures are enlarged."""


class PerceptualDistance(nn.Module):  # type: ignore[misc, unused-ignore]
    """LPIPS of version 0.1 with AlexNet.

    Args:
        features: convolutions as torchvision's AlexNet names them, `features.0.weight`, …; others are left out.
        linear: weights of the differences as the package `lpips` names them, `lin0.model.1.weight`, ….

    Raises:
        ConfigError: a weight is missing, or has another shape.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, features: dict[str, torch.Tensor], linear: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        sources = (3, *CHANNELS[:-1])
        strides, paddings, kernels = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (11, 5, 3, 3, 3)
        shapes = zip(sources, CHANNELS, kernels, strides, paddings, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(*shape) for shape in shapes)
        self.linear = nn.ParameterList(torch.empty(1, channels, 1, 1) for channels in CHANNELS)
        for place, number in enumerate(CONVOLUTIONS):
            convolution = self.convolutions[place]
            _fill(convolution.weight, features, f"features.{number}.weight")
            _fill(convolution.bias, features, f"features.{number}.bias")
            _fill(self.linear[place], linear, f"lin{place}.model.1.weight")
        self.requires_grad_(False)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Distances of pictures (N, 3, H, W) in 0–1: (N,), 0 for equal ones."""
        distance = output.new_zeros(len(output))
        first, second = ((2 * _large(pictures) - 1 - self.shift) / self.scale for pictures in (output, target))
        for place, convolution in enumerate(self.convolutions):
            if place in (1, 2):
                first, second = (functional.max_pool2d(values, 3, 2) for values in (first, second))
            first, second = (functional.relu(convolution(values)) for values in (first, second))
            difference = (_unit(first) - _unit(second)).square()
            distance = distance + functional.conv2d(difference, self.linear[place]).mean((1, 2, 3))
        return distance


def load_perceptual_distance() -> PerceptualDistance:
    """LPIPS with its published weights, in evaluation mode.

    Raises:
        MissingExtra: the package `lpips` is not installed.
        ConfigError: one of the files is no such weights.
        RemoteError: AlexNet's weights are not in the cache and cannot be fetched; says what to do by hand.
    """
    found = importlib.util.find_spec("lpips")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("lpips", "lpips")
    linear = read_weights(Path(found.submodule_search_locations[0]) / LINEAR_FILE)
    hint = f"lay it down as {cache_dir() / 'weights' / ALEXNET.name}"
    network = PerceptualDistance(read_weights(fetched(ALEXNET, offline_hint=hint)), linear)
    network.eval()
    return network


def _large(pictures: torch.Tensor) -> torch.Tensor:
    height, width = (max(side, SMALLEST_SIDE) for side in pictures.shape[-2:])
    if (height, width) == pictures.shape[-2:]:
        return pictures
    return functional.interpolate(pictures, (height, width), mode="bilinear", align_corners=False)


def _unit(values: torch.Tensor) -> torch.Tensor:
    """Each pixel's channels as a vector of length 1."""
    return values / (values.square().sum(1, keepdim=True).sqrt() + SMALLEST_NORM)


def _fill(parameter: nn.Parameter, weights: dict[str, torch.Tensor], name: str) -> None:
    if name not in weights:
        raise ConfigError(f"the weights of LPIPS lack {name}: they hold {', '.join(list(weights)[:3])}, …")
    if weights[name].shape != parameter.shape:
        raise ConfigError(f"{name} of LPIPS has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}")
    with torch.no_grad():
        parameter.copy_(weights[name])
