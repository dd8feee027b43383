"""Estimates of space on disk, compared with what packing really takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imagemill
from imagemill import native
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.reports.space import estimate
from imagemill.testing.images import photo, saved
from imagemill.testing.piles import save_photo

needs_core = pytest.mark.skipif(not native.available(), reason=f"no core: {native.why_not()}")
SCHEMA = Schema((Field("image", "image"), Field("label", "label", "int64", (), "raw", class_names=("a", "b", "c"))))


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "pile"
    for number in range(60):
        save_photo(folder / f"class_{number % 3}" / f"{number}.jpg", 200 + number, 300, number)
    return folder


def data_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "data").iterdir())


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        ("original", {}),
        pytest.param("recoded", {"pixels": "recoded"}, marks=needs_core),
        pytest.param("recoded-compact", {"pixels": "recoded-compact"}, marks=needs_core),
        ("resized 256", {"pixels": "resized", "size": 256}),
        ("raw 224x224", {"pixels": "raw", "size": 224, "fit": "cover"}),
    ],
)
def test_estimates_are_close_to_what_pack_writes(
    pile: Path, tmp_path: Path, pixels: str, options: dict[str, object]
) -> None:
    space = imagemill.report(pile, workers=0).facts.space
    assert space is not None
    sizes = {row.format: row.size_bytes for row in space.rows}
    assert all(row.exact == () for row in space.rows)
    for name in ("arrow", "tar", "hdf5", "tfrecord-gzip"):
        imagemill.pack(pile, tmp_path / name, format=name, workers=0, **options)
        assert sizes[name][pixels] == pytest.approx(data_bytes(tmp_path / name), rel=0.03), name


def test_of_a_dataset_its_own_bytes_are_exact(pile: Path, tmp_path: Path) -> None:
    imagemill.pack(pile, tmp_path / "raw", format="memmap", pixels="raw", size="32x24", workers=0)
    space = imagemill.report(tmp_path / "raw", quick=True).facts.space
    assert space is not None
    assert space.pixels == ("raw 32x24", "resized 256", "raw 224x224")
    own = next(row for row in space.rows if row.exact)
    assert (own.format, own.exact) == ("memmap", ("raw 32x24",))
    assert own.size_bytes["raw 32x24"] == data_bytes(tmp_path / "raw")
    arrow = next(row for row in space.rows if row.format == "arrow")
    assert arrow.size_bytes["raw 32x24"] == pytest.approx(own.size_bytes["raw 32x24"], rel=0.05)


@needs_core
def test_of_recoded_pixels_the_other_kind_is_estimated(pile: Path, tmp_path: Path) -> None:
    imagemill.pack(pile, tmp_path / "compact", pixels="recoded-compact", workers=0)
    space = imagemill.report(tmp_path / "compact", quick=True).facts.space
    assert space is not None
    assert space.pixels == ("recoded-compact", "original", "recoded", "resized 256", "raw 224x224")
    arrow = next(row for row in space.rows if row.format == "arrow")
    assert arrow.size_bytes["recoded-compact"] < arrow.size_bytes["recoded"]


def test_one_row_is_enough_and_none_is_not() -> None:
    row = Row("a", {"image": saved(photo(30, 40), "JPEG"), "label": bytes(8)})
    space = estimate(SCHEMA, [row], 1000, None, None)
    assert space is not None
    assert all(size > 0 for found in space.rows for size in found.size_bytes.values())
    assert estimate(SCHEMA, [], 0, None, None) is None
    numbers = Schema((Field("vector", "vector", "float32", (3,), "raw"),))
    assert estimate(numbers, [Row("a", {"vector": np.zeros(3, np.float32).tobytes()})], 1, None, None) is None


def test_pixels_that_cannot_be_had_are_left_out() -> None:
    space = estimate(SCHEMA, [Row("a", {"image": b"\xff\xd8\xff no", "label": bytes(8)})], 10, None, None)
    assert space is not None
    assert space.pixels == ("original",)
