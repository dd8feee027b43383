"""Every corruption does something sensible, the same for the same numbers, and stays in range."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import j1

from imagemill.core.schema import Field
from imagemill.errors import ConfigError
from imagemill.testing.images import photo
from imagemill.transforms.corrupt import NAMES, Corrupt, CorruptionOptions, Corruptor, Step, corruption_options
from imagemill.transforms.corruptions import CORRUPTIONS, line_kernel, through_codec
from imagemill.transforms.real_esrgan import Order, RealEsrgan, bessel_j1, draw_kernel, sinc_kernel
from imagemill.transforms.rng import SampleRng

GOLDEN = Path(__file__).resolve().parents[4] / "shared/data/golden/dlas/samples"
ALWAYS_CHANGE = {"greyscale", "color_quantization", "lq_resampling4x", "webp", "noise-5", "poisson_noise"}
"""And every "jpeg", and "real_esrgan", which has no strength."""


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return photo(96, 131).astype(np.float32) / 255


def corrupted(image: np.ndarray, name: str, strength: float, key: int = 5) -> np.ndarray:
    corruptor = Corruptor(CorruptionOptions(fixed_corruptions=(name,)))
    return corruptor.apply([image], [Step(name, strength, key)])[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_shape_range_and_determinism(image: np.ndarray, name: str, strength: float) -> None:
    before = image.copy()
    first, second = corrupted(image, name, strength), corrupted(image, name, strength)
    assert np.array_equal(first, second)
    assert (first.shape, first.dtype) == (image.shape, np.float32)
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(image, before)
    assert not np.shares_memory(first, image)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_full_strength_changes_the_image_without_losing_it(image: np.ndarray, name: str) -> None:
    change = np.abs(corrupted(image, name, 1.0) - image).mean() * 255
    assert 0.3 < change < 80


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {*ALWAYS_CHANGE, "real_esrgan"} and "jpeg" not in name]
)
def test_no_strength_is_no_change(image: np.ndarray, name: str) -> None:
    assert np.abs(corrupted(image, name, 0.0) - image).max() < 2e-3


@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur", "jpeg", "webp", "gaussian_noise", "poisson_noise"])
def test_more_strength_is_more_change(image: np.ndarray, name: str) -> None:
    changes = [np.abs(corrupted(image, name, strength) - image).mean() for strength in (0.1, 0.5, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] < changes[2]


@pytest.mark.parametrize("sides", [(1, 1), (1, 9), (9, 1), (7, 8), (3, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_tiny_images(sides: tuple[int, int], name: str) -> None:
    assert corrupted(np.full((*sides, 3), 0.5, np.float32), name, 1.0).shape == (*sides, 3)


def test_noise_does_not_brighten() -> None:
    grey = np.full((256, 256, 3), 0.5, np.float32)
    for name in ("noise", "noise-5", "gaussian_noise", "poisson_noise"):
        assert abs(corrupted(grey, name, 1.0).mean() - 0.5) < 1e-3


def test_brighter_than_white_is_clipped_before_jpeg_not_wrapped() -> None:
    assert through_codec(np.full((8, 8, 3), 1.02, np.float32), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90).min() > 0.98


def test_jpeg_is_not_skipped_beside_noise(image: np.ndarray) -> None:
    corruptor = Corruptor(CorruptionOptions(fixed_corruptions=("noise-5", "jpeg")))
    steps = [Step("noise-5", 0.5, 1), Step("jpeg", 0.9, 2)]
    assert np.abs(corruptor.apply([image], steps)[0] - corruptor.apply([image], steps[:1])[0]).mean() > 2 / 255


def test_random_ones_come_first_and_the_count_holds() -> None:
    options = CorruptionOptions(("jpeg", "noise"), ("gaussian_blur", "greyscale"), num_corrupts_per_image=3)
    corruptor = Corruptor(options)
    seen = set()
    for index in range(40):
        steps = corruptor.draw(SampleRng(0, 0, index))
        assert [step.name for step in steps[3:]] == ["jpeg", "noise"]
        seen |= {step.name for step in steps[:3]}
        assert np.array_equal(corruptor.entropy(steps), np.float32([steps[3].strength, steps[4].strength]))
    assert seen == {"gaussian_blur", "greyscale"}


def test_strengths_lean_to_weak_ones_by_the_cosine() -> None:
    def strengths(*, cosine_bias: bool) -> np.ndarray:
        corruptor = Corruptor(CorruptionOptions(("noise",), cosine_bias=cosine_bias))
        return np.sort([corruptor.draw(SampleRng(0, 0, index))[0].strength for index in range(4000)])

    even, biased = strengths(cosine_bias=False), strengths(cosine_bias=True)
    assert abs(even.mean() - 0.5) < 0.02
    assert abs(biased.mean() - (1 - 2 / np.pi)) < 0.02
    assert np.allclose(biased, 1 - np.cos(even * np.pi / 2))


def test_a_seed_of_its_own_gives_another_draw() -> None:
    draws = [
        Corruptor(CorruptionOptions(("noise",), random_seed=seed)).draw(SampleRng(0, 0, 1)) for seed in (0, 0, 1, -1)
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_frames_of_a_window_are_corrupted_alike(image: np.ndarray) -> None:
    options = CorruptionOptions(("motion_blur", "lq_resampling4x", "color_jitter", "jpeg"))
    corruptor = Corruptor(options)
    steps = corruptor.draw(SampleRng(1, 2, 3))
    frames = corruptor.apply([image, image, image], steps)
    assert [frame.shape for frame in frames] == [image.shape] * 3
    assert np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[0], frames[2])


def test_noise_is_new_in_every_frame(image: np.ndarray) -> None:
    corruptor = Corruptor(CorruptionOptions(("gaussian_noise",)))
    first, second = corruptor.apply([image, image], [Step("gaussian_noise", 1.0, 3)])
    assert np.abs(first - second).mean() > 5 / 255


def test_resampled_images_grow_back_after_all_others() -> None:
    grey = np.full((96, 132, 3), 0.5, np.float32)
    corruptor = Corruptor(CorruptionOptions(("lq_resampling4x", "noise-5")))
    result = corruptor.apply([grey], [Step("lq_resampling4x", 0, 1), Step("noise-5", 0, 2)])[0]
    # Noise of single pixels leaves neighbours unlike; noise that was enlarged four times does not.
    sharp = np.abs(np.diff(corrupted(grey, "noise-5", 0), axis=1)).mean()
    assert 0 < np.abs(np.diff(result, axis=1)).mean() < sharp / 2


def test_motion_blur_runs_along_a_line() -> None:
    kernel = line_kernel(7.0, 0.0)
    assert kernel.shape == (7, 7)
    assert np.isclose(kernel.sum(), 1)
    assert np.isclose(kernel[3].sum(), 1)
    assert np.allclose(line_kernel(7.0, np.pi / 2), kernel.T, atol=1e-6)
    assert np.array_equal(line_kernel(1.0, 1.0), np.ones((1, 1), np.float32))
    assert np.allclose(line_kernel(5.5, 0.7), line_kernel(5.5, 0.7)[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"fixed_corruptions": ["gausian_blur"]},
        {"num_corrupts_per_image": 1},
        {"num_corrupts_per_image": -1, "random_corruptions": ["noise"]},
        {"corruption_blur_scale": -1.0},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        corruption_options(options)


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gaussian_blur'"):
        CorruptionOptions(("gausian_blur",))


def test_as_a_transform_it_takes_the_fields_named(image: np.ndarray) -> None:
    pixels = (image * 255).astype(np.uint8)
    transform = Corrupt(["greyscale"], fields=["before"])
    params = transform.draw((96, 131), SampleRng(0))
    before = transform.apply(pixels, Field("before", "image", "uint8", (None, None, 3), "image"), params)
    after = transform.apply(pixels, Field("after", "image", "uint8", (None, None, 3), "image"), params)
    assert np.ptp(before, axis=2).max() == 0
    assert after is pixels
    grey = Corrupt(["gaussian_noise"]).pixels(pixels[..., :1], [Step("gaussian_noise", 1.0, 0)])
    assert grey.shape == (96, 131, 1)


def test_bessel_function_agrees_with_scipy() -> None:
    x = np.linspace(0, 60, 1000)
    assert np.abs(bessel_j1(x) - j1(x)).max() < 1e-10


def test_kernels_of_the_second_order_sum_to_one() -> None:
    for index in range(60):
        kernel = draw_kernel(Order(), 21, SampleRng(index))
        assert np.isclose(kernel.sum(), 1, atol=1e-5)
        assert kernel.min() >= 0
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    assert np.isclose(sinc_kernel(2.0, 21).sum(), 1, atol=1e-5)
    assert sinc_kernel(1.0, 21).min() < 0


def test_the_second_order_pipeline_varies_with_its_numbers(image: np.ndarray) -> None:
    results = [RealEsrgan().corrupt(image, SampleRng(index)) for index in range(8)]
    assert all(result.shape == image.shape for result in results)
    assert len({result.tobytes() for result in results}) == 8


def golden(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(what the original made, what it made it from): the uncorrupted item lies beside, as `none`."""
    paths = [GOLDEN / f"corr_{which}_3.npz" for which in (name, "none")]
    if not all(path.exists() for path in paths):
        pytest.skip("no ../shared/data: outputs of the original are not here")
    return tuple(np.load(path)["lq"].transpose(1, 2, 0) for path in paths)  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "tolerance"), [("greyscale", 1e-6), ("saturation", 0.2), ("gaussian_blur", 1.0)])
def test_the_original_s_values_for_some_strength(name: str, tolerance: float) -> None:
    wanted, clean = golden(name)
    strengths = np.linspace(0, 1, 201)
    errors = [np.abs(CORRUPTIONS[name](clean, s, SampleRng(0)).clip(0, 1) - wanted).mean() * 255 for s in strengths]
    assert min(errors) <= tolerance


@pytest.mark.parametrize("name", ["color_quantization", "jpeg-normal"])
def test_the_original_s_levels_for_some_strength(name: str) -> None:
    wanted, clean = golden(name)
    errors = [
        np.abs(CORRUPTIONS[name](clean, strength, SampleRng(0)) - wanted).mean() * 255
        for strength in np.linspace(0, 1, 71)
    ]
    # The original cut levels off where we round them: half a level everywhere.
    assert min(errors) <= 1.2
