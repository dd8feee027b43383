"""The colour network of the LAB pipeline: lightness and an embedding of the picture to its colours.

Iizuka, Simo-Serra and Ishikawa ("Let there be color!", 2016) gave the idea of fusing a global feature into each place
of an encoder's output; here the feature is a classifier's logits. Layers and sizes are those of deep-koalarization.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.networks.base import Network

ENCODER = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 1), (256, 1))
"""(channels, stride) of each convolution 3x3 of the encoder."""
FUSED = 256
CHROMA_CHANNELS = 2


@dataclass(frozen=True)
class ColourFusionOptions:
    """The embedding that is fused.

    Args:
        embedding_size: of the vector that comes with every picture; 1001 are Inception-ResNet-v2's logits.
    """

    embedding_size: int = 1001

    def __post_init__(self) -> None:
        if self.embedding_size < 1:
            raise ConfigError(f"embedding_size is 1 or more, got {self.embedding_size}")


class ColourFusion(Network):
    """Lightness float32 (N, 1, H, W) in -1–1 and embedding (N, n) to a and b, float32 (N, 2, H, W) in -1–1.

    Scales are those of `imagemill.transforms.lab.scale_lab`. Height and width are multiples of 8.
    """

    options_class = ColourFusionOptions
    colour = "lab"
    required_multiple = 8

    def __init__(self, options: ColourFusionOptions) -> None:
        super().__init__(options)
        channels = [1, *(count for count, _ in ENCODER)]
        self.encoder = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=0 if stride == 2 else 1)
            for before, (after, stride) in zip(channels, ENCODER, strict=False)
        )
        self.fusion = nn.Conv2d(channels[-1] + options.embedding_size, FUSED, 1)
        sizes = ((FUSED, 128), (128, 64), (64, 64), (64, 32), (32, CHROMA_CHANNELS))
        self.decoder = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in sizes)

    def encode(self, lightness: torch.Tensor) -> torch.Tensor:
        """Features of the picture: (N, 256, H / 8, W / 8)."""
        features = lightness
        for layer in self.encoder:
            if layer.stride[0] == 2:
                # TensorFlow's "same" padding of even sides puts the odd row and column last.
                features = functional.pad(features, (0, 1, 0, 1))
            features = functional.relu(layer(features))
        return features

    def forward(self, lightness: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """a and b; the picture's last doubling comes after the last convolution."""
        features = self.encode(lightness)
        spread = embedding[:, :, None, None].expand(-1, -1, *features.shape[2:])
        features = functional.relu(self.fusion(torch.cat([features, spread], 1)))
        features = _doubled(functional.relu(self.decoder[0](features)))
        features = functional.relu(self.decoder[1](features))
        features = _doubled(functional.relu(self.decoder[2](features)))
        features = functional.relu(self.decoder[3](features))
        return _doubled(torch.tanh(self.decoder[4](features)))


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")
