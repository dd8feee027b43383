"""Pictures as networks take and give them: between RGB tensors in 0–1 and the colour space of a model.

=======  ========  ==========================================================================
space    channels  values
=======  ========  ==========================================================================
rgb      3         0–1
grey     1         0–1: luma of BT.601, as Pillow's mode L
ycbcr    3 or 1    Y 0–1, Cb and Cr -0.5–0.5 (full range BT.601, as JPEG has it); 1 is Y alone
lab      3 or 1    as `imagemill.transforms.lab.scale_lab`: L -1–1, a and b / 127; 1 is L alone
=======  ========  ==========================================================================

An output of 2 channels in ycbcr or lab is colour alone: its Y or L is the input's. All functions work on
float32 (N, C, H, W), on any device, and are differentiable.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from imagemill.errors import ConfigError
from imagemill.transforms.lab import (
    CHROMA_SCALE,
    LIGHTNESS_HALF,
    LINE_OFFSET,
    LINE_SLOPE,
    SMALLEST_ROOT,
    WHITE,
    XYZ_OF_RGB,
)

SPACES = ("rgb", "grey", "ycbcr", "lab")

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in Y, ITU-R BT.601."""
_CB, _CR = 1.772, 1.402
"""2 · (1 - weight of blue), 2 · (1 - weight of red): what scales B - Y and R - Y to -0.5–0.5."""


def to_space(rgb: torch.Tensor, space: str, channels: int) -> torch.Tensor:
    """RGB pictures (N, 3, H, W) in a space; (N, channels, H, W).

    Raises:
        ConfigError: no such space, or a number of channels that it has not.
    """
    check_space(space, channels)
    if space == "rgb":
        return rgb
    if space == "grey":
        return luma(rgb)
    full = rgb_to_ycbcr(rgb) if space == "ycbcr" else rgb_to_scaled_lab(rgb)
    return full[:, 1:] if channels == 2 else full[:, :channels]


def from_space(values: torch.Tensor, space: str, lightness: torch.Tensor | None = None) -> torch.Tensor:
    """RGB pictures (N, 3, H, W) of pictures in a space; may lie outside 0–1 where the values do.

    Args:
        values: (N, C, H, W).
        lightness: (N, 1, H, W), Y or L as the space has it, for values of 2 channels.
    """
    channels = values.shape[1]
    check_space(space, channels)
    if space == "rgb":
        return values
    if space == "grey":
        return values.expand(-1, 3, -1, -1)
    if channels == 1:
        return (values if space == "ycbcr" else (values + 1) / 2).expand(-1, 3, -1, -1)
    if channels == 2:
        if lightness is None:
            raise ConfigError(f"two channels of {space} are colour alone: the lightness is wanted, too")
        values = torch.cat([lightness, values], 1)
    return ycbcr_to_rgb(values) if space == "ycbcr" else scaled_lab_to_rgb(values)


def check_space(space: str, channels: int) -> None:
    """Refuses what no picture is.

    Raises:
        ConfigError: no such space, or a number of channels that it has not.
    """
    allowed = {"rgb": (3,), "grey": (1,), "ycbcr": (1, 2, 3), "lab": (1, 2, 3)}
    if space not in allowed:
        raise ConfigError(f"colour space {space!r} is none of {', '.join(SPACES)}")
    if channels not in allowed[space]:
        raise ConfigError(f"colour space {space} has {' or '.join(map(str, allowed[space]))} channels, not {channels}")


def luma(rgb: torch.Tensor) -> torch.Tensor:
    """Y of RGB: (N, 1, H, W)."""
    weights = rgb.new_tensor(LUMA).view(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True)


def rgb_to_ycbcr(rgb: torch.Tensor) -> torch.Tensor:
    """YCbCr, Y in 0–1, Cb and Cr in -0.5–0.5."""
    y = luma(rgb)
    return torch.cat([y, (rgb[:, 2:] - y) / _CB, (rgb[:, :1] - y) / _CR], 1)


def ycbcr_to_rgb(ycbcr: torch.Tensor) -> torch.Tensor:
    """The reverse of `rgb_to_ycbcr`."""
    y, cb, cr = ycbcr[:, :1], ycbcr[:, 1:2], ycbcr[:, 2:]
    red, blue = y + _CR * cr, y + _CB * cb
    green = (y - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.cat([red, green, blue], 1)


def rgb_to_scaled_lab(rgb: torch.Tensor) -> torch.Tensor:
    """CIELAB (D65) scaled for networks, of sRGB in 0–1."""
    clipped = rgb.clamp(0, 1)
    linear = torch.where(clipped > 0.04045, ((clipped.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4, clipped / 12.92)
    matrix = torch.as_tensor(XYZ_OF_RGB / WHITE[:, None], dtype=rgb.dtype, device=rgb.device)
    relative = torch.einsum("ij,njhw->nihw", matrix, linear)
    roots = torch.where(
        relative > SMALLEST_ROOT, relative.clamp_min(SMALLEST_ROOT) ** (1 / 3), LINE_SLOPE * relative + LINE_OFFSET
    )
    x, y, z = roots.unbind(1)
    lab = ((116 * y - 16) / LIGHTNESS_HALF - 1, 500 * (x - y) / CHROMA_SCALE, 200 * (y - z) / CHROMA_SCALE)
    return torch.stack(lab, 1)


def scaled_lab_to_rgb(scaled: torch.Tensor) -> torch.Tensor:
    """sRGB in 0–1 of scaled CIELAB; colours outside sRGB are clipped."""
    y = ((scaled[:, 0] + 1) * LIGHTNESS_HALF + 16) / 116
    x, z = y + scaled[:, 1] * CHROMA_SCALE / 500, y - scaled[:, 2] * CHROMA_SCALE / 200
    roots = torch.stack([x, y, z.clamp_min(0)], 1)
    edge = SMALLEST_ROOT ** (1 / 3)
    relative = torch.where(roots > edge, roots.clamp_min(edge) ** 3, (roots - LINE_OFFSET) / LINE_SLOPE)
    matrix = torch.linalg.inv(torch.as_tensor(XYZ_OF_RGB / WHITE[:, None])).to(relative)
    linear = torch.einsum("ij,njhw->nihw", matrix, relative).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def enlarged(images: torch.Tensor, scale: int) -> torch.Tensor:
    """Pictures made larger by bicubic interpolation: what super-resolution is measured against."""
    if scale == 1:
        return images
    return functional.interpolate(images, scale_factor=scale, mode="bicubic", align_corners=False).clamp(0, 1)
