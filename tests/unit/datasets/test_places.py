"""Tiles and frames are found wherever they lie: chunked folders, plain folders of images, packed datasets of either."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imagemill as mill
from imagemill.datasets import create_dataset
from imagemill.datasets.multi_frame import MultiFrameDataset
from imagemill.errors import ConfigError
from imagemill.testing.piles import save_photo
from imagemill.transforms.tiling import TileScale

PAIR = {"target_size": 32, "scale": 2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two clips of three frames and one of a single frame."""
    for clip, count in (("a", 3), ("b", 3), ("lonely", 1)):
        for number in range(count):
            save_photo(tmp_path / "frames" / f"{clip}_{number + 1:04d}.png", 48, 48, number)
    return tmp_path / "frames"


def names(dataset: Any) -> list[str]:
    return [Path(dataset[index]["GT_path"]).name for index in range(len(dataset))]


def test_images_of_one_folder_are_tiles(frames: Path) -> None:
    dataset = create_dataset({"mode": "single_image_extensible", "paths": str(frames), **PAIR})
    assert names(dataset) == sorted(path.name for path in frames.iterdir())
    assert (
        len(create_dataset({"mode": "single_image_extensible", "paths": str(frames), "ignore_first": 2, **PAIR})) == 5
    )
    save_photo(frames / "c_0001.png", 48, 48, 9)
    assert len(create_dataset({"mode": "single_image_extensible", "paths": str(frames), **PAIR})) == 8


def test_images_beside_folders_of_tiles_are_none(frames: Path, tmp_path: Path) -> None:
    tiles = tmp_path / "tiles"
    mill.tile(frames, tiles, scales=[TileScale(48, 48)], min_side=48, workers=0)
    count = len(create_dataset({"mode": "single_image_extensible", "paths": str(tiles), **PAIR}))
    save_photo(tiles / "overview.png", 48, 48, 1)
    assert len(create_dataset({"mode": "single_image_extensible", "paths": str(tiles), **PAIR})) == count == 7


@pytest.mark.parametrize("kind", ["folder", "folders", "packed"])
def test_windows_of_frames_that_are_images(kind: str, frames: Path, tmp_path: Path) -> None:
    if kind == "folders":  # a folder a clip
        for path in sorted(frames.iterdir()):
            clip, number = path.stem.split("_")
            (frames / clip).mkdir(exist_ok=True)
            shutil.move(path, frames / clip / f"{number}.png")
    if kind == "packed":
        mill.pack(frames, tmp_path / "packed", workers=0)
    place = tmp_path / "packed" if kind == "packed" else frames
    dataset = create_dataset({"mode": "multi_frame_extensible", "paths": str(place), "num_frames": 2, **PAIR})
    assert isinstance(dataset, MultiFrameDataset)
    assert len(dataset) == 6
    assert len(dataset.short_clips) == 1
    single = create_dataset({"mode": "single_image_extensible", "paths": str(place), **PAIR})
    every = [single[index]["hq"] for index in range(7)]
    for index, window in enumerate([(0, 1), (1, 2), (1, 2), (3, 4), (4, 5), (4, 5)]):
        assert torch.equal(dataset[index]["hq"], torch.stack([every[frame] for frame in window]))


def test_a_reference_that_a_packed_set_has_not(frames: Path, tmp_path: Path) -> None:
    mill.tile(frames, tmp_path / "packed", scales=[TileScale(48, 48)], min_side=48, format="arrow", workers=0)
    options = {"mode": "single_image_extensible", "paths": str(tmp_path / "packed"), **PAIR}
    assert not create_dataset(options)[0]["gt_fullsize_ref"].any()
    with pytest.raises(ConfigError, match="need_ref: .*packed has no references; `tile --reference` or `pack --refer"):
        create_dataset({**options, "need_ref": True})


def test_batches_of_references_that_are_not_there(frames: Path) -> None:
    dataset = create_dataset({"mode": "single_image_extensible", "paths": str(frames), **PAIR})
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1)))
    assert batch["gt_fullsize_ref"].shape == (4, 4, 32, 32)
    assert batch["gt_fullsize_ref"].is_contiguous()
    assert not batch["gt_fullsize_ref"].any()


def test_opacity_is_a_fourth_channel_if_wanted(tmp_path: Path) -> None:
    pixels = np.full((40, 40, 4), 90, np.uint8)
    pixels[:, :20, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    save_photo(tmp_path / "b.jpg", 40, 40, 1)
    options = {"mode": "stylegan2", "path": str(tmp_path), "target_size": 40}
    clear, opaque = (create_dataset({**options, "transparent": True})[index]["hq"] for index in range(2))
    assert clear.shape == opaque.shape == (4, 40, 40)
    assert opaque[3].min() == 1
    assert clear[3, :, :20].max() == 0
    assert torch.allclose(clear[3, :, 20:], torch.tensor(90 / 255))
    assert create_dataset(options)[0]["hq"][:, :, :20].min() == 1
