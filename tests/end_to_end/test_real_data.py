"""Real photographs, pairs and masks through every format and back; skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.formats.store import Store
from imagemill.testing.piles import tree

FORMATS = ["arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord"]
PILES = {"imagenet_sample": 250, "before_after": 946, "camvid": 120}


def without_split(paths: dict[str, str]) -> dict[str, str]:
    """Paths without the split folder in front, so that trees compare whichever folder gave the split."""
    return {path.partition("/")[2] if path.startswith(("train/", "val/")) else path: d for path, d in paths.items()}


@pytest.fixture(scope="module", params=PILES)
def packed(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """One real pile in all six formats; the first is decoded in full."""
    source = shared_data / request.param
    before = tree(source)
    folder = tmp_path_factory.mktemp(request.param)
    for name in FORMATS:
        decode = "full" if name == "arrow" else "headers"
        result = imagemill.pack(source, folder / name, format=name, workers=0, decode=decode, shard_size=100)
        assert (result.kept, result.rejected) == (PILES[request.param], 0)
    assert tree(source) == before
    return source, folder


def test_verify_is_clean_and_export_gives_the_originals(packed, tmp_path: Path) -> None:
    source, folder = packed
    originals = without_split(tree(source))
    for name in FORMATS:
        assert imagemill.verify(folder / name).damages == ()
        imagemill.export(folder / name, tmp_path / name)
        assert without_split(tree(tmp_path / name, without=("metadata.jsonl",))) == originals


def test_all_formats_hold_equal_bytes_and_labels(packed) -> None:
    _, folder = packed
    stores = [Store(folder / name) for name in FORMATS]
    for split in stores[0].splits:
        for rows in zip(*(store.rows(split) for store in stores), strict=True):
            first = rows[0]
            for row in rows[1:]:
                assert (row.key, row.digests, row.origins) == (first.key, first.digests, first.origins)


def test_all_formats_open_to_equal_pixels(packed) -> None:
    _, folder = packed
    split = Store(folder / "arrow").splits[0]
    opened = [imagemill.open(folder / name, split, returns="dict") for name in FORMATS]
    for index in range(0, len(opened[0]), len(opened[0]) // 10):
        first = opened[0][index]
        for other in opened[1:]:
            sample = other[index]
            assert sample.keys() == first.keys()
            assert all(np.array_equal(np.asarray(sample[name]), np.asarray(first[name])) for name in first)


@pytest.mark.parametrize("pixels", ["original", "raw", "resized"])
def test_camvid_masks_come_back_with_exactly_the_class_ids(pixels: str, shared_data: Path, tmp_path: Path) -> None:
    """At the stored size every id at every pixel; at a smaller one no id that was not there."""
    source = shared_data / "camvid"
    size = {"original": None, "raw": "480x360", "resized": "240x180"}[pixels]
    imagemill.pack(source, tmp_path / "out", pixels=pixels, size=size, workers=0)
    masks = {path.name: np.asarray(Image.open(path)) for path in (source / "masks").iterdir()}
    dataset = imagemill.open(tmp_path / "out", "train", returns="dict")
    assert len(dataset) == 60
    for row, sample in zip(Store(tmp_path / "out").rows("train"), dataset, strict=True):
        truth = masks[Path(row.origins["mask"]).name]
        mask = np.asarray(sample["mask"])
        if pixels == "resized":
            assert set(np.unique(mask)) <= set(np.unique(truth))
        else:
            assert np.array_equal(mask, truth)
