"""What `bench` measures: rates, parts of a sample, the disk, for every format and kind of field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.formats import FORMATS
from imagemill.load.costs import sample_costs
from imagemill.load.measure import disk_rate, loader_rate, transforms_of
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved
from imagemill.testing.piles import masked, pairs
from imagemill.transforms import Pipeline

pytest.importorskip("torch")

SIDES = (32, 32)
LABEL = Field("label", "label", "int64", (), "raw")


def jpegs(folder: Path, format: str, *, height: int = 300, width: int = 400, count: int = 12) -> Path:
    rows = []
    for number in range(count):
        image = saved(photo(height, width, number), "JPEG", quality=95)
        rows.append(Row(str(number), {"image": image, "label": np.int64(number).tobytes()}))
    return write_dataset(folder, Schema((Field("image", "image"), LABEL)), {"train": rows}, format=format)


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format(tmp_path: Path, format: str) -> None:
    dataset = imagemill.open(jpegs(tmp_path / "d", format), verify="never")
    transforms = transforms_of("rrc", SIDES)
    disk = disk_rate(dataset)
    assert disk.warm_samples_per_s > 0
    assert (disk.cold_samples_per_s is None) == bool(disk.note)
    rate = loader_rate(dataset, transforms, 4, 1, 0.01)
    assert rate.threads == 1
    assert min(rate.samples_per_s, rate.samples_per_cpu_s) > 0
    costs = sample_costs(dataset, Pipeline(transforms), samples=4)
    rows = dataset.rows(range(12))
    assert costs.bytes == pytest.approx(np.mean([len(row.values["image"]) + 8 for row in rows]), rel=0.1)
    assert costs.decode > 0
    assert costs.digest > 0
    assert costs.copy == costs.masks == 0


def test_smaller_stored_images_decode_faster(tmp_path: Path) -> None:
    dataset = imagemill.open(jpegs(tmp_path / "d", "arrow", height=900, width=1200, count=4))
    large = sample_costs(dataset, Pipeline(transforms_of("resize", (224, 224))))
    assert large.resized is not None
    # Five times the pixels; a busy machine does not turn that round.
    assert large.resized < large.decode + large.resize


def test_raw_pixels_are_copied_and_not_decoded(tmp_path: Path) -> None:
    schema = Schema((Field("image", "image", "uint8", (40, 48, 3), "raw"), LABEL))
    rows = [Row(str(n), {"image": photo(40, 48, n).tobytes(), "label": bytes(8)}) for n in range(9)]
    dataset = imagemill.open(write_dataset(tmp_path / "d", schema, {"train": rows}, format="memmap", pixels="raw"))
    as_stored = sample_costs(dataset, Pipeline())
    assert as_stored.copy > 0
    assert as_stored.decode == as_stored.resize == 0
    assert as_stored.resized is None
    assert sample_costs(dataset, Pipeline(transforms_of("rrc", SIDES))).resize > 0


def test_masks_and_partners(tmp_path: Path) -> None:
    imagemill.pack(masked(tmp_path / "masked"), tmp_path / "masks", workers=0)
    costs = sample_costs(imagemill.open(tmp_path / "masks"), Pipeline(transforms_of("rrc", SIDES)))
    assert costs.masks > 0
    assert costs.decode > 0
    imagemill.pack(pairs(tmp_path / "pairs"), tmp_path / "partners", workers=0)
    dataset = imagemill.open(tmp_path / "partners")
    assert sample_costs(dataset, Pipeline(transforms_of("rrc", SIDES))).decode > 0
    assert loader_rate(dataset, transforms_of("rrc", SIDES), 4, 2, 0.01).threads == 2


def test_damaged_images_are_left_to_the_loop(tmp_path: Path) -> None:
    rows = [Row(str(n), {"image": b"no image" if n else saved(photo(40, 48), "JPEG")}) for n in range(3)]
    dataset = imagemill.open(write_dataset(tmp_path / "d", Schema((Field("image", "image"),)), {"train": rows}))
    assert sample_costs(dataset, Pipeline(transforms_of("rrc", SIDES))).bytes > 0


def test_unknown_transforms() -> None:
    with pytest.raises(ConfigError, match="rrc, resize, none"):
        transforms_of("crop", SIDES)
