"""Pixels do not depend on which colour profiles a process has met before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill import native
from imagemill.codecs import colour_map
from imagemill.codecs.batch import decode_batch
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved, wide_gamut_profile
from imagemill.transforms import ColorJitter, RandomResizedCrop

torch = pytest.importorskip("torch")

IMAGES = [saved(photo(90, 120, number), "JPEG", icc_profile=wide_gamut_profile()) for number in range(6)]


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour_map, "_known", native.Profiles())


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("transforms", [[RandomResizedCrop(40)], [RandomResizedCrop(40), ColorJitter(0.3)]])
def test_the_first_epoch_is_like_any_other(tmp_path: Path, transforms: list[object]) -> None:
    rows = [Row(str(number), {"image": image}) for number, image in enumerate(IMAGES)]
    path = write_dataset(tmp_path / "dataset", Schema((Field("image", "image"),)), {"train": rows})

    def pixels() -> list[torch.Tensor]:
        return [batch["image"].clone() for batch in imagemill.Loader(path, batch_size=3, transforms=transforms)]

    first, second = pixels(), pixels()
    assert all(torch.equal(*each) for each in zip(first, second, strict=True))


@pytest.mark.usefixtures("nothing_known")
def test_the_first_batch_is_like_any_other() -> None:
    first, second = (np.empty((6, 3, 40, 40), np.uint8) for _ in range(2))
    boxes = np.array([(5, 9, 70, 80)] * 6, np.int32)
    assert not decode_batch(IMAGES, boxes, first)
    assert not decode_batch(IMAGES, boxes, second)
    assert np.array_equal(first, second)
