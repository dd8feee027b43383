"""Colour, erasing and batches against independent arithmetic."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.transforms import (
    ColorJitter,
    CutMix,
    Cutout,
    Grayscale,
    HorizontalFlip,
    MixUp,
    Normalize,
    Pipeline,
    RandomErasing,
    RandomGrayscale,
    Resize,
    SampleRng,
)

torch = pytest.importorskip("torch")

IMAGE = Field("image", "image")
MASK = Field("mask", "mask")
SCHEMA = Schema((IMAGE, Field("label", "label", "int64", (), "raw"), MASK))


def noise(height: int = 6, width: int = 7, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


def grey_of(picture: np.ndarray) -> np.ndarray:
    return picture.astype(float) @ [0.2989, 0.587, 0.114]


def turned_hue(pixel: np.ndarray, part: float) -> list[float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
    return [255 * channel for channel in colorsys.hsv_to_rgb((hue + part) % 1, saturation, value)]


FORMULAS = {
    "brightness": lambda picture, factor: factor * picture.astype(float),
    "contrast": lambda picture, factor: factor * picture + (1 - factor) * grey_of(picture).mean(),
    "saturation": lambda picture, factor: factor * picture + (1 - factor) * grey_of(picture)[:, :, None],
    "hue": lambda picture, part: np.apply_along_axis(turned_hue, 2, picture, part),
}


@pytest.mark.parametrize(
    ("name", "amount"),
    [(name, amount) for name in ("brightness", "contrast", "saturation") for amount in (0.0, 0.4, 1.0, 1.7)]
    + [("hue", part) for part in (-0.5, -0.1, 0.0, 0.3)],
)
def test_colour_formulas(name: str, amount: float) -> None:
    picture = noise()
    expected = np.clip(np.round(FORMULAS[name](picture, amount)), 0, 255)
    shown = ColorJitter().apply(picture.copy(), IMAGE, [(name, amount)])
    assert shown.dtype == np.uint8
    assert np.abs(shown - expected).max() <= 1


def test_jitter_draws_factors_in_their_ranges_and_in_any_order() -> None:
    each = ColorJitter(0.4, (0.5, 0.7), 2.0, 0.1)
    draws = [each.draw((5, 5), SampleRng(number)) for number in range(400)]
    amounts = {name: np.array([dict(draw)[name] for draw in draws]) for name in each.ranges}
    bounds = {"brightness": (0.6, 1.4), "contrast": (0.5, 0.7), "saturation": (0.0, 3.0), "hue": (-0.1, 0.1)}
    for name, (low, high) in bounds.items():
        assert low <= amounts[name].min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < amounts[name].max() <= high
    assert len({tuple(name for name, _ in draw) for draw in draws}) == 24
    assert ColorJitter().draw((5, 5), SampleRng(0)) == []


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_alpha_stays_and_grey_images_have_no_colour(channels: int) -> None:
    picture = noise(channels=channels)
    shown = ColorJitter().apply(picture.copy(), IMAGE, [("brightness", 0.5), ("saturation", 0.1), ("hue", 0.2)])
    if channels > 1:
        assert np.array_equal(shown[:, :, -1], picture[:, :, -1])
    if channels < 4:
        assert np.abs(shown[:, :, 0] - picture[:, :, 0] / 2).max() <= 0.5


def test_grey() -> None:
    picture = noise()
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    assert np.array_equal(Grayscale().apply(picture, IMAGE, True)[:, :, 0], grey)
    assert np.array_equal(Grayscale(3).apply(picture, IMAGE, True), np.dstack([grey] * 3))
    each = RandomGrayscale(0.3)
    drawn = [each.draw((5, 5), SampleRng(number)) for number in range(500)]
    assert 100 < sum(draw is True for draw in drawn) < 200
    assert each.apply(picture, IMAGE, None) is picture
    assert np.array_equal(each.apply(picture, IMAGE, True), np.dstack([grey] * 3))


def test_erasing() -> None:
    each = RandomErasing(value=(1, 2, 3))
    drawn = [each.draw((100, 80), SampleRng(number)) for number in range(600)]
    boxes = np.array([draw[0] for draw in drawn if draw is not None])
    assert 240 < len(boxes) < 360
    share = boxes[:, 2] * boxes[:, 3] / 8000
    assert 0.018 < share.min() < 0.05
    assert 0.28 < share.max() < 0.34
    picture = noise(100, 80)
    top, left, height, width = boxes[0]
    shown = each.apply(picture.copy(), IMAGE, (tuple(boxes[0]), 5))
    changed = (shown != picture).any(axis=2)
    outside = np.ones((100, 80), bool)
    outside[top : top + height, left : left + width] = False
    assert not changed[outside].any()
    assert (shown[~outside] == [1, 2, 3]).all()
    noisy = RandomErasing(value="random")
    assert len(np.unique(noisy.apply(np.zeros((100, 80, 3), np.uint8), IMAGE, ((0, 0, 90, 70), 5)))) == 256


def test_cutout_is_cut_at_the_border() -> None:
    each = Cutout(4, value=9)
    boxes = [each.draw((10, 12), SampleRng(number)) for number in range(800)]
    assert {box[:2] for box in boxes} == {(max(y - 2, 0), max(x - 2, 0)) for y in range(10) for x in range(12)}
    assert all(0 < box[2] <= 4 and 0 < box[3] <= 4 and box[0] + box[2] <= 10 and box[1] + box[3] <= 12 for box in boxes)
    shown = each.apply(np.zeros((10, 12, 3), np.uint8), IMAGE, (8, 0, 2, 3))
    assert shown.sum() == 2 * 3 * 3 * 9


def test_masks_keep_their_ids() -> None:
    ids = np.arange(6).reshape(2, 3)
    for each in (ColorJitter(0.5, 0.5, 0.5, 0.5), Grayscale(), RandomErasing(p=1), Cutout(2)):
        assert each.apply(ids, MASK, each.draw((2, 3), SampleRng(0))) is ids


def batch_of(count: int = 4) -> dict[str, Any]:
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 8, 10) * 10
    return {"image": images, "label": torch.arange(count) % 3, "mask": torch.ones(count, 8, 10), "key": ["a"] * count}


def test_normalize() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8))
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    shown = Normalize(mean, std).apply({"image": images}, Schema((IMAGE,)), SampleRng(0))["image"]
    expected = (images.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert shown.dtype == torch.float32
    assert torch.allclose(shown.double(), expected, atol=1e-5)
    floats = images.float() / 255
    again = Normalize(mean, std).apply({"image": floats}, Schema((IMAGE,)), SampleRng(0))["image"]
    assert torch.allclose(again, shown, atol=1e-5)
    assert floats.max() <= 1
    with pytest.raises(ConfigError, match="channels"):
        Normalize((0.1, 0.2), (1, 1)).apply({"image": images}, Schema((IMAGE,)), SampleRng(0))


def test_mixup() -> None:
    batch = batch_of()
    mixed = MixUp(3).apply(batch, SCHEMA, SampleRng(4))
    share = float(mixed["image"][1].max()) / 10
    assert 0 < share < 1
    expected = share * batch["image"].float() + (1 - share) * batch["image"].roll(1, 0).float()
    assert torch.allclose(mixed["image"], expected, atol=1e-4)
    labels = torch.nn.functional.one_hot(batch["label"], 3).float()
    assert torch.allclose(mixed["label"], share * labels + (1 - share) * labels.roll(1, 0), atol=1e-6)
    assert mixed["mask"] is batch["mask"]
    assert batch["image"].dtype == torch.uint8
    with pytest.raises(ConfigError, match="3 classes"):
        MixUp(3).apply({**batch, "label": torch.tensor([0, 1, 2, 3])}, SCHEMA, SampleRng(4))
    with pytest.raises(ConfigError, match="no 'labels'"):
        MixUp(3, label="labels").apply(batch, SCHEMA, SampleRng(4))


def test_mixup_draws_from_its_distribution() -> None:
    shares = [float(MixUp(3, 0.2).apply(batch_of(), SCHEMA, SampleRng(n))["image"][1].max()) / 10 for n in range(300)]
    assert np.mean([share < 0.1 or share > 0.9 for share in shares]) > 0.55
    assert abs(np.mean(shares) - 0.5) < 0.12


def test_cutmix() -> None:
    batch = batch_of()
    for number in range(20):
        mixed = CutMix(3).apply(batch, SCHEMA, SampleRng(number))
        other = mixed["image"] != batch["image"]
        share = 1 - float(other[1, 0].float().mean())
        assert torch.equal(other[1], other[2])
        rows, columns = other[1, 0].any(1), other[1, 0].any(0)
        assert torch.equal(other[1, 0], rows[:, None] & columns[None])
        assert torch.equal(torch.where(other, batch["image"].roll(1, 0), batch["image"]), mixed["image"])
        labels = torch.nn.functional.one_hot(batch["label"], 3).float()
        assert torch.allclose(mixed["label"], share * labels + (1 - share) * labels.roll(1, 0), atol=1e-6)
    assert mixed["image"].dtype == torch.uint8
    calm = CutMix(3, p=0.0).apply(batch, SCHEMA, SampleRng(0))
    assert torch.equal(calm["image"], batch["image"])
    assert torch.equal(calm["label"].argmax(1), batch["label"])


def test_a_pipeline_wants_geometry_first_and_samples_only() -> None:
    with pytest.raises(ConfigError, match="HorizontalFlip comes after ColorJitter"):
        Pipeline([Resize(8), ColorJitter(0.1), HorizontalFlip()])
    with pytest.raises(ConfigError, match="batch_transforms="):
        Pipeline([Normalize()])
    with pytest.raises(ConfigError, match="neither"):
        Pipeline([3])  # type: ignore[list-item]
    pipeline = Pipeline([lambda values: {"image": values["image"]}])
    with pytest.raises(ConfigError, match="must return a dict of image, label"):
        pipeline.finish({"image": noise(), "label": 1}, SCHEMA, (None,))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ColorJitter(brightness=-1), "brightness"),
        (lambda: ColorJitter(contrast=(0.9, 0.1)), "contrast"),
        (lambda: ColorJitter(hue=0.6), "hue"),
        (lambda: Grayscale(2), "1 or 3"),
        (lambda: Cutout(0), "1 pixel"),
        (lambda: RandomErasing(value=256), "0 to 255"),
        (lambda: Normalize(std=0), "std"),
        (lambda: MixUp(0), "num_classes"),
        (lambda: CutMix(3, alpha=0), "alpha"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
