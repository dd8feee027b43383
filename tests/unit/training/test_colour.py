"""Colour spaces of models, against Pillow's and the package's own LAB."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.errors import ConfigError
from imagemill.training.colour import SPACES, from_space, luma, rgb_to_scaled_lab, rgb_to_ycbcr, to_space
from imagemill.transforms.lab import rgb_to_lab, scale_lab


def pictures() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((2, 3, 6, 7), np.float32))


def test_ycbcr_is_that_of_jpeg() -> None:
    pixels = (pictures()[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    rgb = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None]
    expected = np.asarray(Image.fromarray(pixels).convert("YCbCr"), np.float32) / 255 - (0, 128 / 255, 128 / 255)
    assert np.abs(rgb_to_ycbcr(rgb)[0].permute(1, 2, 0).numpy() - expected).max() < 1.5 / 255
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32) / 255
    assert np.abs(luma(rgb)[0, 0].numpy() - grey).max() < 1.01 / 255


def test_lab_is_that_of_the_transforms() -> None:
    rgb = pictures()
    expected = scale_lab(rgb_to_lab(np.ascontiguousarray(rgb[0].permute(1, 2, 0).numpy())))
    assert np.abs(rgb_to_scaled_lab(rgb)[0].permute(1, 2, 0).numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("space", SPACES)
def test_there_and_back(space: str) -> None:
    rgb = pictures()
    channels = 1 if space == "grey" else 3
    back = from_space(to_space(rgb, space, channels), space)
    expected = luma(rgb).expand(-1, 3, -1, -1) if space == "grey" else rgb
    assert torch.allclose(back, expected, atol=2e-5)


@pytest.mark.parametrize("space", ["ycbcr", "lab"])
def test_colour_alone_borrows_its_lightness(space: str) -> None:
    rgb = pictures()
    back = from_space(to_space(rgb, space, 2), space, to_space(rgb, space, 1))
    assert torch.allclose(back, rgb, atol=2e-5)
    with pytest.raises(ConfigError, match="lightness"):
        from_space(to_space(rgb, space, 2), space)


def test_gradients_are_finite_at_black_and_white() -> None:
    rgb = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)]).requires_grad_()
    from_space(rgb_to_scaled_lab(rgb), "lab").sum().backward()
    assert rgb.grad is not None
    assert torch.isfinite(rgb.grad).all()
