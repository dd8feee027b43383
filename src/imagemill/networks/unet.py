"""The U-Net of Image-Color-Reverser in its four forms: parameters, keys of the state dict and outputs are the same.

Every form halves by 2x2 max pooling and doubles bilinearly with aligned corners; a block is twice (convolution 3x3,
batch normalisation, ReLU). They differ in levels, in what is added to pooled features, in how skips are joined, and in
whether nine more blocks lie at the bottom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from imagemill.errors import ConfigError, did_you_mean
from imagemill.networks.base import Network

CHANNELS = (16, 32, 48, 64, 80, 96, 112, 128)
IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Form:
    """How one variant is built.

    Args:
        levels: of resolution; sides must be multiples of 2 ** (levels - 1).
        skip: "add" (before the decoder's block), "concat" (before it), or "add-after" (after it, of the pooled
            features).
        residual_blocks: on pooled features; those without a use are in the state dict all the same.
        used_residual_blocks: how many of them are called.
        middle_blocks: at the lowest level.
        nested: whether keys begin with `encoder.`, `mid.`, `decoder.`.
        parameters: trainable ones, as counted from the original.
    """

    levels: int
    skip: str
    residual_blocks: int
    used_residual_blocks: int
    middle_blocks: int
    nested: bool
    parameters: int


FORMS: Mapping[str, Form] = {
    "first": Form(8, "add", 0, 0, 0, False, 1_587_411),
    "small": Form(7, "add-after", 6, 6, 0, False, 1_488_915),
    "residual": Form(8, "concat", 7, 6, 0, False, 2_497_875),
    "head": Form(8, "concat", 7, 6, 9, True, 5_158_995),
}
"""The README's network, De-Noisy-Small's, the one with residual blocks, and the last one."""


@dataclass(frozen=True)
class UNetOptions:
    """Which form, and for what.

    Args:
        variant: "first", "small", "residual" or "head", see `FORMS`.
        in_channels, out_channels: of the pictures; the original's have 3.
        activation: what ends it: "sigmoid", as in the original, or "none", for the logits of masks.

    Raises:
        ConfigError: no such variant or activation, or channels below 1.
    """

    variant: str = "head"
    in_channels: int = IMAGE_CHANNELS
    out_channels: int = IMAGE_CHANNELS
    activation: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.variant not in FORMS:
            sizes = ", ".join(f"{name} ({form.parameters:,} parameters)" for name, form in FORMS.items())
            raise ConfigError(f"unknown variant {self.variant!r}; known: {sizes}{did_you_mean(self.variant, FORMS)}")
        if self.activation not in ("sigmoid", "none"):
            raise ConfigError(f"activation {self.activation!r} is none of sigmoid, none")
        if min(self.in_channels, self.out_channels) < 1:
            raise ConfigError(f"channels are 1 or more, got {self.in_channels} in and {self.out_channels} out")


class UNet(Network):
    """Pictures in 0–1 to pictures in 0–1; float32 (N, C, H, W), sides multiples of `required_multiple`."""

    options_class = UNetOptions
    colour = "rgb"

    def __init__(self, options: UNetOptions) -> None:
        super().__init__(options)
        form = FORMS[options.variant]
        self.form = form
        self.required_multiple = 2 ** (form.levels - 1)
        self.has_idle_parameters = form.used_residual_blocks < form.residual_blocks
        encoder, middle, decoder = _parts(form, options)
        if form.nested:
            self.encoder, self.mid, self.decoder = encoder, middle, decoder
        else:
            for name, module in (*encoder.items(), *decoder.items()):
                self.add_module(name, module)

    def _part(self, group: str, name: str) -> nn.Module:
        part: nn.Module = getattr(self, group)[name] if self.form.nested else getattr(self, name)
        return part

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The picture after."""
        form, skips, features = self.form, [], images
        for level in range(1, form.levels + 1):
            if level > 1:
                features = functional.max_pool2d(features, 2)
                if level - 1 <= form.used_residual_blocks:
                    features = features + self._part("encoder", f"res_enc{level - 1}")(features)
            pooled = features
            features = self._part("encoder", f"enc_conv{level}")(features)
            skips.append(pooled if form.skip == "add-after" else features)
        for number in range(1, form.middle_blocks + 1):
            features = self._part("mid", f"mid_conv{number}")(features)
        for level in range(form.levels, 0, -1):
            features = self._joined(features, skips, level)
        ended = self._part("decoder", "out_conv")[0](features)
        return torch.sigmoid(ended) if self.options.activation == "sigmoid" else ended

    def _joined(self, features: torch.Tensor, skips: list[torch.Tensor], level: int) -> torch.Tensor:
        """One level of the way up."""
        form, block = self.form, self._part("decoder", f"dec_conv{level}")
        if form.skip == "add-after":
            result: torch.Tensor = block(features)
            return _doubled(result + skips[level - 1]) if level > 1 else result
        if level < form.levels:
            features, skip = _doubled(features), skips[level - 1]
            features = features + skip if form.skip == "add" else torch.cat([features, skip], 1)
        joined: torch.Tensor = block(features)
        return joined


def variant_of(keys: Mapping[str, torch.Tensor]) -> str | None:
    """Which variant a state dict is of, by its keys and shapes; None where it is of none."""
    shapes = {name: tuple(tensor.shape) for name, tensor in keys.items()}
    for name in FORMS:
        with torch.device("meta"):
            own = UNet(UNetOptions(name)).state_dict()
        if {key: tuple(tensor.shape) for key, tensor in own.items()} == shapes:
            return name
    return None


def _parts(form: Form, options: UNetOptions) -> tuple[nn.ModuleDict, nn.ModuleDict, nn.ModuleDict]:
    """Encoder, middle and decoder; the order of modules is the order of the original's keys."""
    channels = CHANNELS[: form.levels]
    encoder, middle, decoder = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
    for level, count in enumerate(channels, start=1):
        encoder[f"enc_conv{level}"] = _block(channels[level - 2] if level > 1 else options.in_channels, count)
        if level <= form.residual_blocks:
            encoder[f"res_enc{level}"] = _residual_block(count)
    for number in range(1, form.middle_blocks + 1):
        middle[f"mid_conv{number}"] = _block(channels[-1], channels[-1])
    for level in range(form.levels, 0, -1):
        joins = form.skip == "concat" and level < form.levels
        out = channels[level - 2] if level > 1 else 2 * channels[0]
        decoder[f"dec_conv{level}"] = _block(channels[level - 1] * (2 if joins else 1), out)
    decoder["out_conv"] = nn.Sequential(nn.Conv2d(2 * channels[0], options.out_channels, 1), nn.Sigmoid())
    return encoder, middle, decoder


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _residual_block(count: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(count, count, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(count),
        nn.Conv2d(count, count, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(count),
    )


def _doubled(features: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
