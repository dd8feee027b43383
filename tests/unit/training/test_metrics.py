"""Metrics against other people's, losses against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imagemill.training.losses import cross_entropy, dice, psnr_loss, ssim_loss
from imagemill.training.metrics import Confusion, colour_difference, colourfulness, image_metrics, psnr, ssim


def pair(side: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    first = rng.random((2, 3, side, side), np.float32)
    second = np.clip(first + rng.normal(0, 0.1, first.shape), 0, 1).astype(np.float32)
    return torch.from_numpy(first), torch.from_numpy(second)


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    first, second = pair()
    for number in range(2):
        a, b = (each[number].permute(1, 2, 0).double().numpy() for each in (first, second))
        assert psnr(first, second)[number].item() == pytest.approx(
            peak_signal_noise_ratio(a, b, data_range=1), abs=1e-4
        )
        _, full = structural_similarity(
            a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        assert ssim(first, second)[number].item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-4)


def test_ciede2000_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.uniform((0, -90, -90), (100, 90, 90), (40, 50, 3)) for _ in range(2))
    b[0] = a[0]
    a[1, :, 1:] = 0
    tensors = (torch.from_numpy(each).permute(2, 0, 1)[None] for each in (a, b))
    assert np.abs(colour_difference(*tensors)[0].numpy() - deltaE_ciede2000(a, b)).max() < 1e-9


def test_pictures_are_measured_one_by_one() -> None:
    first, second = pair()
    second[1] = first[1]
    found = image_metrics(first, second, scale=2)
    assert found["psnr"][1].item() == pytest.approx(100)
    assert found["psnr"][0] < 25
    assert found["ssim-y"][1].item() == pytest.approx(1)
    assert found["ciede2000"][1].item() == 0


def test_grey_is_not_colourful() -> None:
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert colourfulness(grey).item() == 0
    assert colourfulness(pair()[0])[0] > 40


def test_small_pictures_have_an_ssim() -> None:
    assert ssim(torch.rand(1, 3, 4, 7), torch.rand(1, 3, 4, 7)).isfinite().all()
    picture = torch.rand(1, 3, 16, 16, requires_grad=True)
    ssim_loss(picture, torch.rand(1, 3, 16, 16)).backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()


def test_miou_by_hand() -> None:
    confusion = Confusion(4, ignored=3)
    confusion.add(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 3]]))
    assert confusion.summary() == {"miou": pytest.approx(0.5), "accuracy": pytest.approx(2 / 3)}


def test_mask_losses_pass_over_what_is_no_class() -> None:
    truth = torch.tensor([[[0, 1], [1, 9]]])
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 1, 1, 1] = 50.0
    assert cross_entropy(logits, truth, 9).item() == pytest.approx(np.log(2), abs=1e-6)
    right = torch.nn.functional.one_hot(truth.clamp(max=1), 2).movedim(-1, 1).float() * 100
    assert dice(right, truth, 9).item() == pytest.approx(0, abs=1e-6)
    assert dice(-right, truth, 9).item() > 0.5


def test_mask_losses_of_a_batch_are_the_mean_of_its_images() -> None:
    torch.manual_seed(0)
    truth = torch.randint(0, 3, (4, 6, 6))
    truth[0, :3] = 2
    logits = torch.randn(4, 3, 6, 6)
    for loss in (cross_entropy, dice):
        each = [loss(logits[n : n + 1], truth[n : n + 1], 2).item() for n in range(4)]
        assert loss(logits, truth, 2).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_the_psnr_loss_counts_pictures_alike_and_ends_at_50_db() -> None:
    target = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    output = target + torch.tensor([0.1, 0.01, 0.0]).view(3, 1, 1, 1)
    decibels = psnr_loss(output, target).item() * -10 / math.log(10)
    assert decibels == pytest.approx((20 - 10 * math.log10(1e-4 + 1e-5) + 50) / 3, abs=0.01)
