"""Partners stay where they are: nothing moves the low resolution against the high one, or frames against each other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagemill.datasets import create_dataset
from imagemill.testing.images import photo
from imagemill.testing.piles import save_photo
from imagemill.transforms.corrupt import NAMES, CorruptionOptions, Corruptor, Step

SPREADS = ("color_shift", "chromatic_aberration", "interlacing")
"""These move channels or rows apart on purpose: to both sides, so the middle stays."""

RANDOM = ("noise", "gaussian_noise", "poisson_noise", "block_noise", "real_esrgan")
"""New numbers in every frame."""


def blob(rows: float, columns: float) -> np.ndarray:
    """A bright spot on grey, float32 (96, 96, 3)."""
    places = np.indices((96, 96), np.float32)
    spot = np.exp(-((places[0] - rows) ** 2 + (places[1] - columns) ** 2) / 128)
    return np.repeat(0.25 + 0.5 * spot[..., None], 3, axis=2).astype(np.float32)


def middle(image: np.ndarray) -> np.ndarray:
    """Where the spot is: what is most like one. (row, column)."""
    likeness = cv2.GaussianBlur(image.mean(axis=2), (0, 0), 8, borderType=cv2.BORDER_REFLECT)
    return np.array(np.unravel_index(np.argmax(likeness), likeness.shape))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    strength=st.floats(0, 1),
    key=st.integers(0, 2**32 - 1),
    place=st.tuples(st.floats(38, 58), st.floats(38, 58)),
)
def test_no_corruption_moves_what_it_shows(name: str, strength: float, key: int, place: tuple[float, float]) -> None:
    image = blob(*place)
    corrupted = Corruptor(CorruptionOptions(fixed_corruptions=(name,))).apply([image], [Step(name, strength, key)])[0]
    assert corrupted.shape == image.shape
    assert np.abs(middle(corrupted) - middle(image)).max() <= (4 if name in (*SPREADS, "real_esrgan") else 2)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from([name for name in NAMES if not name.startswith(RANDOM)]), max_size=3),
    strength=st.floats(0, 1),
    key=st.integers(0, 2**32 - 1),
)
def test_equal_frames_stay_equal(names: list[str], strength: float, key: int) -> None:
    frame = photo(48, 64, 3).astype(np.float32) / 255
    corruptor = Corruptor(CorruptionOptions(fixed_corruptions=tuple(names)))
    first, second, third = corruptor.apply([frame] * 3, [Step(name, strength, key) for name in names])
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same picture under two frame counters, and another."""
    folder = tmp_path_factory.mktemp("partners")
    save_photo(folder / "a_00000001.png", 70, 90, 1)
    (folder / "a_00000002.png").write_bytes((folder / "a_00000001.png").read_bytes())
    save_photo(folder / "b_00000001.png", 90, 64, 2)
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    target=st.one_of(st.none(), st.integers(16, 80)),
    scale=st.sampled_from([1, 2, 4]),
    multiple=st.integers(1, 3),
    square=st.booleans(),
    crop=st.one_of(st.none(), st.integers(20, 64)),
    jitter=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 2**32),
    fixed=st.lists(st.sampled_from(["gaussian_blur", "jpeg-broad", "saturation", "greyscale"]), max_size=2),
)
def test_pairs_of_imagefolder_show_the_same_part(
    folder: Path,
    target: int | None,
    scale: int,
    multiple: int,
    square: bool,
    crop: int | None,
    jitter: float,
    seed: int,
    fixed: list[str],
) -> None:
    dataset = create_dataset(
        {
            "mode": "imagefolder",
            "paths": str(folder),
            "target_size": target,
            "scale": scale,
            "force_multiple": multiple,
            "force_square": square,
            "center_crop_hq_sz": crop,
            "all_image_color_jitter": jitter,
            "seed": seed,
            "fixed_corruptions": fixed,
            "fetch_alt_image": True,
        }
    )
    item = dataset[0]
    hq, lq = item["hq"], item["lq"]
    assert item["has_alt"]
    assert torch.equal(item["alt_hq"], hq)
    assert torch.equal(item["alt_lq"], lq)
    assert [side * scale for side in lq.shape[1:]] == list(hq.shape[1:])
    assert all(side % (multiple * scale) == 0 for side in hq.shape[1:])
    if not fixed:
        assert (torch.nn.functional.avg_pool2d(hq, scale) - lq).abs().max() < 2e-5
    again = dataset[0]
    assert torch.equal(again["hq"], hq)
    assert torch.equal(again["lq"], lq)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["imagefolder", "single_image_extensible", "multi_frame_extensible"]),
    indices=st.lists(st.integers(-3, 2), min_size=1, max_size=20),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 3),
    target=st.one_of(st.none(), st.integers(24, 64)),
    fixed=st.lists(st.sampled_from(["gaussian_blur", "noise", "jpeg-broad"]), max_size=2),
)
def test_items_are_the_same_read_singly_or_together(
    folder: Path, mode: str, indices: list[int], seed: int, epoch: int, target: int | None, fixed: list[str]
) -> None:
    options = {"mode": mode, "paths": str(folder), "target_size": target, "scale": 2, "seed": seed}
    dataset = create_dataset(options | {"fixed_corruptions": fixed})
    dataset.set_epoch(epoch)
    for index, item in zip(indices, dataset.__getitems__(indices), strict=True):
        single = dataset[index]
        assert item.keys() == single.keys()
        for key, value in item.items():
            assert torch.equal(value, single[key]) if isinstance(value, torch.Tensor) else value == single[key]
