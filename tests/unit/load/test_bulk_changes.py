"""Colours, erasing and transforms of one's own on what the core has made: to the bit what Python does by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imagemill
from imagemill import native
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.native.samples import change
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved
from imagemill.transforms import (
    ColorJitter,
    Cutout,
    Grayscale,
    HorizontalFlip,
    PixelTransform,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomRotate90,
)
from imagemill.transforms import colour as colours
from imagemill.transforms.colour import CHANGES, IN_PYTHON
from imagemill.transforms.program import changes_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native core: {native.why_not()}")

TOTAL = 20


class _NoCore:
    """Stands where a module looks for the core."""

    @staticmethod
    def available() -> bool:
        return False


@pytest.fixture(scope="module", params=[1, 3])
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Partners, a label and a mask: photographs, so that there are even surfaces and grey pixels, too."""
    channels = request.param
    schema = Schema(
        (
            Field("mask", "mask", "int32", (40, 48), "raw"),
            Field("before", "image", "uint8", (40, 48, channels), "raw"),
            Field("after", "image", "uint8", (40, 48, channels), "raw"),
            Field("label", "label", "int64", (), "raw"),
            Field("caption", "text", "uint8", None, "utf8"),
        )
    )
    rows = []
    for number in range(TOTAL):
        picture = photo(40, 48, number)[:, :, :channels]
        values = {"before": picture.tobytes(), "after": (255 - picture).tobytes()}
        ids = np.arange(40 * 48, dtype=np.int32) * number
        values |= {"mask": ids.tobytes(), "label": np.int64(number).tobytes(), "caption": f"{number}".encode()}
        rows.append(Row(str(number), values))
    return write_dataset(tmp_path_factory.mktemp("raw") / "d", schema, {"train": rows}, pixels="raw")


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        if torch.is_tensor(value):
            assert value.dtype == other[name].dtype
            assert value.shape == other[name].shape
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name]


def epochs(path: Path, transforms: list[Any], **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    loader = imagemill.Loader(path, batch_size=6, transforms=transforms, seed=3, **options)
    return loader, [batch for _ in range(2) for batch in loader]


def alone(path: Path, transforms: list[Any], **options: Any) -> list[dict[str, Any]]:
    """Sample by sample."""
    loader = imagemill.Loader(path, batch_size=6, transforms=transforms, seed=3, **options)
    loader._feed = replace(loader._feed, bulk=None)
    return [batch for _ in range(2) for batch in loader]


JITTER = ColorJitter(0.8, (0.2, 3.0), 0.9, 0.5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "transforms",
    [
        [JITTER],
        [RandomCrop(32), ColorJitter(0.4, saturation=(1.4, 2.5)), RandomGrayscale(0.3), ColorJitter(hue=0.2)],
        [HorizontalFlip(), RandomErasing(0.8, value="random"), Cutout(11, 90, p=0.7), JITTER],
        [RandomRotate90(0.0), RandomCrop((30, 34), padding=4), RandomErasing(1.0, (0.3, 0.9), (0.9, 1.2), 7)],
    ],
)
def test_pixels_are_those_of_the_classes(
    raw: Path, transforms: list[Any], channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partners share what is drawn; neither has another byte than NumPy's definition gives."""
    loader, made = epochs(raw, transforms, channels_last=channels_last)
    assert loader._feed.bulk is not None
    assert loader._feed.bulk.finishes
    monkeypatch.setattr(colours, "native", _NoCore)
    for one, other in zip(made, alone(raw, transforms, channels_last=channels_last), strict=True):
        assert_equal(one, other)
    assert any((batch["before"].int() + batch["after"].int() != 255).any() for batch in made), "nothing was changed"


class Shifted(PixelTransform):
    """Draws a row to begin with."""

    def draw(self, sides: Any, rng: Any) -> int:
        return int(rng.integer(0, sides[0]))

    def pixels(self, pixels: Any, params: int) -> Any:
        return np.roll(pixels, params, axis=0)


class Smaller:
    """A callable that gives pictures of another size, without a third of the columns, and changes what it was given."""

    def __call__(self, values: dict[str, Any]) -> dict[str, Any]:
        values["before"] //= 2
        cut = {name: values[name][:, :32] for name in ("before", "after", "mask")}
        assert isinstance(values["label"], int)
        return {**values, **cut, "label": values["label"] + 100, "caption": values["caption"] + "!"}


@pytest.mark.parametrize(
    "transforms",
    [
        [Shifted()],
        [RandomCrop((36, 40)), JITTER, Shifted(), ColorJitter(0.5), Smaller()],
        [Smaller(), RandomErasing(1.0, value="random"), Grayscale(1)],
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_what_only_python_can_do_follows(raw: Path, transforms: list[Any], threads: int) -> None:
    """After what the core can do of it, from the same streams."""
    loader, made = epochs(raw, transforms, threads=threads)
    assert loader._feed.bulk is not None
    assert not loader._feed.bulk.finishes
    for one, other in zip(made, alone(raw, transforms), strict=True):
        assert_equal(one, other)


def test_what_a_transform_keeps_stays_as_it_is(raw: Path) -> None:
    """Its arrays lie in memory that batches use again, but not while it holds them."""
    kept: list[tuple[Any, Any]] = []

    def keep(values: dict[str, Any]) -> dict[str, Any]:
        kept.append((values["before"], values["before"].copy()))
        return values

    loader, _ = epochs(raw, [RandomCrop(32), keep], threads=1)
    assert loader._feed.bulk is not None
    assert len(kept) == 2 * TOTAL
    assert all(np.array_equal(view, copy) for view, copy in kept)


def test_bad_images_beside_transforms_of_ones_own(tmp_path: Path) -> None:
    files = [saved(photo(40, 50, number), "JPEG") for number in range(8)]
    files[2], files[5] = files[2][:200], saved(photo(40, 50, 5), "WEBP", lossless=True)
    rows = [Row(str(number), {"image": file}) for number, file in enumerate(files)]
    path = write_dataset(tmp_path / "d", Schema((Field("image", "image"),)), {"train": rows})
    loader, made = epochs(path, [RandomCrop(32), Shifted()], on_error="skip")
    assert loader._feed.bulk is not None
    assert loader.skipped == 2
    slow = alone(path, [RandomCrop(32), Shifted()], on_error="skip")
    for one, other in zip(made, slow, strict=True):
        assert one["key"] == other["key"]
        assert (one["image"].int() - other["image"].int()).abs().float().mean() < 1
    with pytest.raises(ConfigError, match="must return a dict"):
        epochs(path, [RandomCrop(32), lambda values: None], on_error="skip")


def test_changes_are_numpys_to_the_bit() -> None:
    """All levels against each other, among them greys, black and white, and a length that no register divides."""
    levels = np.array([0, 1, 2, 63, 64, 127, 128, 200, 254, 255], np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    some = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    for pixels in (np.concatenate([every, every[:, :61]], axis=1), some, some[:, :, :1].copy()):
        for kind, name in enumerate(CHANGES):
            for amount in (-0.5, -0.1, 0.5) if name == "hue" else (0.0, 0.3, 1.0, 1.7, 40.0):
                mine = pixels.copy()
                change(kind, amount, mine)
                assert np.array_equal(mine, IN_PYTHON[name](pixels, amount)), (name, amount)


def test_what_the_core_changes() -> None:
    class Mine(ColorJitter):
        """One of one's own."""

    assert len(changes_of([JITTER, Grayscale(3), RandomErasing(value=(1, 2, 3)), Mine(0.1), JITTER], {3})) == 3
    assert len(changes_of([JITTER], {1, 3})) == 1
    assert len(changes_of([JITTER], {4})) == 0
    assert len(changes_of([Grayscale(1)], {3})) == 0
    assert len(changes_of([Cutout(3, (1, 2, 3))], {1, 3})) == 0
