"""CIELAB against scikit-image's, in float64, over all of sRGB."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from imagemill.transforms.lab import BLOCK_PIXELS, lab_to_rgb, rgb_to_lab, scale_lab, unscale_lab


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """Every sixth level of each channel, with the darkest ones: uint8 (n, 1, 3)."""
    levels = np.unique([*range(12), *range(12, 256, 6), 255]).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 1, 3)


def test_bytes_agree_with_scikit_image(colours: np.ndarray) -> None:
    assert len(colours) > BLOCK_PIXELS
    assert np.abs(rgb_to_lab(colours) - rgb2lab(colours)).max() < 1e-3


def test_floats_agree_with_scikit_image(colours: np.ndarray) -> None:
    floats = (colours / 255).astype(np.float32)
    assert np.abs(rgb_to_lab(floats) - rgb2lab(floats.astype(np.float64))).max() < 1e-3


def test_every_byte_comes_back(colours: np.ndarray) -> None:
    assert np.array_equal(np.rint(lab_to_rgb(rgb_to_lab(colours)) * 255).astype(np.uint8), colours)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_colours_outside_srgb_are_clipped_like_scikit_image_does() -> None:
    lab = np.random.default_rng(0).uniform([0, -90, -110], [100, 98, 95], (200, 300, 3)).astype(np.float32)
    assert np.abs(lab_to_rgb(lab) - lab2rgb(lab.astype(np.float64))).max() < 1e-4


def test_scaled_as_the_colour_pipeline_stores_it() -> None:
    lab = np.array([[0, 127, -127], [100, 0, 63.5], [50, -12.7, 12.7]], np.float32)
    scaled = scale_lab(lab)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled, [[-1, 1, -1], [1, 0, 0.5], [0, -0.1, 0.1]], atol=1e-6)
    assert np.allclose(unscale_lab(scaled), lab, atol=1e-4)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (5, 7, 3), (2, 5, 7, 3)])
def test_any_leading_axes(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert rgb_to_lab(pixels).shape == shape


def test_views_are_read_and_left_alone() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (3, 8, 9), dtype=np.uint8).transpose(1, 2, 0)
    before = pixels.copy()
    assert np.array_equal(rgb_to_lab(pixels), rgb_to_lab(np.ascontiguousarray(pixels)))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.int16), np.zeros((), np.uint8)])
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="is wanted, got"):
        rgb_to_lab(pixels)
