"""What is said of a picture as a whole: the right numbers, on one scale, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from imagemill.errors import ConfigError
from imagemill.networks.picture_statistics import TONES, PictureStatistics


def pictures(channels: int = 1) -> Tensor:
    """Each brighter and smoother than the one before."""
    noise = torch.rand(12, channels, 40, 56, generator=torch.Generator().manual_seed(1))
    strength = torch.linspace(0.9, 0.1, 12).view(-1, 1, 1, 1)
    return noise * strength + (1 - strength)


def test_calibrated_numbers_have_mean_0_and_deviation_1() -> None:
    statistics = PictureStatistics(2)
    before = pictures(2)
    statistics.calibrate(lambda: before.split(5))
    numbers = statistics(before)
    assert numbers.shape == (12, statistics.size)
    torch.testing.assert_close(numbers.mean(0), torch.zeros(statistics.size), atol=1e-3, rtol=0)
    varying = statistics.spread > 0.02
    assert varying.float().mean() > 0.5
    assert (numbers.std(0, correction=0)[varying] > 0.9).all()


def test_shares_of_tones_are_those_of_the_picture() -> None:
    statistics = PictureStatistics(1)
    picture = torch.full((1, 1, 20, 20), 8 / TONES)
    picture[..., 15:] = 1.0
    near, below = statistics.measure(picture)[0, : 2 * (TONES + 1)].split(TONES + 1)
    wanted = torch.zeros(TONES + 1)
    wanted[8], wanted[TONES] = 0.75, 0.25
    torch.testing.assert_close(near.square(), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(below, wanted.cumsum(0), atol=1e-5, rtol=0)


def test_sharper_pictures_have_larger_gradients() -> None:
    numbers = PictureStatistics(1).measure(pictures())
    finest = numbers[:, 2 * (TONES + 1)]
    assert (finest.diff() < 0).all()


def test_lightness_below_zero_is_measured_by_its_own_span() -> None:
    statistics, shifted = PictureStatistics(1), PictureStatistics(1)
    before = pictures()
    statistics.calibrate(lambda: [before])
    shifted.calibrate(lambda: [2 * before - 1])
    assert shifted.span.tolist() == [[-1, 1]]
    torch.testing.assert_close(shifted(2 * before - 1), statistics(before), atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (57, 101)])
def test_any_size_has_finite_numbers(size: tuple[int, int]) -> None:
    assert PictureStatistics(3)(torch.rand(2, 3, *size)).isfinite().all()


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match="training split is empty"):
        PictureStatistics(1).calibrate(list)
