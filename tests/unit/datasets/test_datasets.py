"""Training data sets on images made here: any source, any worker, the same items."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import imagemill as mill
from imagemill.datasets import DATASETS, create_dataloader, create_dataset
from imagemill.datasets.chunk_index import ChunkIndex
from imagemill.datasets.image_folder import next_frame
from imagemill.datasets.multiscale import native_depth, patch_paths
from imagemill.datasets.pictures import FolderPictures, as_floats, read_pixels
from imagemill.errors import ConfigError
from imagemill.testing.piles import save_photo, tree
from imagemill.transforms.tiling import TileScale

CORRUPTIONS = {"fixed_corruptions": ["jpeg-broad", "gaussian_noise"], "random_corruptions": ["motion_blur", "noise"]}
CORRUPTIONS |= {"num_corrupts_per_image": 1}  # type: ignore[dict-item]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 4 and 2 frames."""
    folder = tmp_path_factory.mktemp("frames") / "frames"
    for clip, count in (("a", 4), ("b", 2)):
        for number in range(count):
            save_photo(folder / f"clip_{clip}_{number + 1:012d}.png", 96, 96, number)
    return folder


def cut(frames: Path, out: Path, **options: Any) -> Path:
    scales = [TileScale(48, 24), TileScale(96, 96, 0.5)]
    mill.tile(frames, out, scales=scales, min_side=48, threshold=8, workers=0, **options)
    return out


@pytest.fixture(scope="module")
def tiles(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut(frames, tmp_path_factory.mktemp("tiles") / "tiles")


def options_for(mode: str, frames: Path, tiles: Path) -> dict[str, Any]:
    tiled = {"paths": str(tiles), "target_size": 32, "scale": 2, "need_ref": True, "strict": True, **CORRUPTIONS}
    return {
        "single_image_extensible": {"mode": mode, **tiled},
        "multi_frame_extensible": {"mode": mode, **tiled, "num_frames": 2},
        "imagefolder": {"mode": mode, "paths": [str(frames)], "target_size": 32, "scale": 2, **CORRUPTIONS}
        | {"all_image_color_jitter": 0.5},
        "multiscale": {"mode": mode, "paths": [str(frames)], "num_scales": 2, "hq_tile_size": 16, "scale": 2}
        | CORRUPTIONS,
        "stylegan2": {"mode": mode, "path": str(frames), "target_size": 24, "aug_prob": 0.7},
        "torch_dataset": {"mode": mode, "dataset": "imagefolder", "kwargs": {"root": str(frames.parent)}}
        | {"image_size": 24, "random_crop": True, "normalize": False},
        "fullimage": {"mode": mode, "dataroot_GT": [str(frames)], "target_size": 32, "min_tile_size": 48, "scale": 2}
        | {"use_flip": True, "use_rot": True, "use_blurring": True, "use_compression_artifacts": True, "lq_noise": 5},
        "combined": {
            "mode": mode,
            "scale": 2,
            "default": {"mode": "single_image_extensible", "paths": str(tiles)},
            "other": {"mode": "stylegan2", "path": str(frames), "target_size": 24},
        },
    }[mode]


MODES = list(DATASETS)
pytestmark = pytest.mark.filterwarnings("ignore:mode fullimage")


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first.keys() == second.keys()
    return all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def made(mode: str, frames: Path, tiles: Path) -> Any:
    options = options_for(mode, frames, tiles)
    if mode == "combined":
        options["other"].pop("scale", None)
        del options["scale"]
    return create_dataset(options)


@pytest.mark.parametrize("mode", MODES)
def test_an_item_is_a_function_of_seed_epoch_and_index(mode: str, frames: Path, tiles: Path) -> None:
    before = tree(frames), tree(tiles)
    first, second = made(mode, frames, tiles), made(mode, frames, tiles)
    second[1]
    assert same(first[0], second[0])
    assert same(first[-1], second[len(second) - 1])
    if mode != "combined":
        second.set_epoch(1)
        assert not same(first[0], second[0])
    with pytest.raises(IndexError):
        first[len(first)]
    assert (tree(frames), tree(tiles)) == before
    assert same(pickle.loads(pickle.dumps(first))[2], first[2])


@pytest.mark.parametrize("mode", MODES)
def test_values_lie_in_range_and_are_of_one_type(mode: str, frames: Path, tiles: Path) -> None:
    dataset = made(mode, frames, tiles)
    for index in range(min(len(dataset), 6)):
        for value in dataset[index].values():
            if isinstance(value, torch.Tensor) and value.dtype != torch.int64 and value.numel():
                assert value.dtype == torch.float32
                assert value.min() >= 0
                assert value.max() <= 1


def test_workers_change_nothing(frames: Path, tiles: Path) -> None:
    options = options_for("single_image_extensible", frames, tiles) | {"batch_size": 4, "use_shuffle": False}
    dataset = create_dataset(options)
    alone = list(create_dataloader(dataset, options))
    many = list(create_dataloader(dataset, options | {"n_workers": 2}))
    assert len(alone) == len(many) == len(dataset) // 4
    assert all(torch.equal(a["lq"], b["lq"]) and a["GT_path"] == b["GT_path"] for a, b in zip(alone, many, strict=True))
    assert len(create_dataloader(dataset, options | {"phase": "val", "batch_size": 1})) == len(dataset)
    with pytest.raises(ConfigError, match="do not divide"):
        create_dataloader(dataset, options, world_size=3)


@pytest.mark.parametrize("mode", ["single_image_extensible", "multi_frame_extensible"])
def test_packed_tiles_give_the_same_items(mode: str, frames: Path, tiles: Path, tmp_path: Path) -> None:
    packed = cut(frames, tmp_path / "packed", format="arrow", reference=True, lossless=False)
    options = options_for(mode, frames, tiles)
    folders, dataset = create_dataset(options), create_dataset(options | {"paths": str(packed)})
    assert len(folders) == len(dataset)
    for index in range(0, len(folders), 7):
        first, second = folders[index], dataset[index]
        assert all(torch.equal(first[key], second[key]) for key in first if isinstance(first[key], torch.Tensor))


@pytest.mark.parametrize("mode", ["imagefolder", "multiscale", "stylegan2"])
def test_packed_images_give_the_same_items(mode: str, frames: Path, tiles: Path, tmp_path: Path) -> None:
    mill.pack(frames, tmp_path / "packed", workers=0)
    options = options_for(mode, frames, tiles)
    name = "path" if mode == "stylegan2" else "paths"
    folders, dataset = create_dataset(options), create_dataset(options | {name: str(tmp_path / "packed")})
    for first, second in zip(map(folders.__getitem__, range(6)), map(dataset.__getitem__, range(6)), strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first if isinstance(first[key], torch.Tensor))


def test_windows_stay_in_their_clip(frames: Path, tiles: Path) -> None:
    dataset = create_dataset(options_for("multi_frame_extensible", frames, tiles) | {"num_frames": 3})
    assert dataset.short_clips == ("clip_b_",)  # type: ignore[attr-defined]
    for index in range(len(dataset)):
        window = [dataset.tiles.name(chunk)[1] for chunk, _ in dataset.window(index)]  # type: ignore[attr-defined]
        assert len({name[:7] for name in window}) == 1
        assert window == sorted(set(window))


def test_weights_repeat_without_moving_items(frames: Path, tiles: Path) -> None:
    options = options_for("single_image_extensible", frames, tiles)
    once, twice = create_dataset(options), create_dataset(options | {"weights": [2]})
    assert len(twice) == 2 * len(once)
    assert twice[len(once)]["GT_path"] == once[0]["GT_path"]
    with pytest.raises(ConfigError, match="weights"):
        create_dataset(options | {"weights": [1, 1]})


def test_without_a_reference_it_is_zero_and_float32(frames: Path, tiles: Path) -> None:
    item = create_dataset(options_for("single_image_extensible", frames, tiles) | {"need_ref": False})[0]
    assert item["gt_fullsize_ref"].dtype == torch.float32
    assert not item["gt_fullsize_ref"].any()


@pytest.mark.parametrize(
    ("mode", "changed", "told"),
    [
        ("imagefolder", {"taget_size": 8}, "did you mean 'target_size'"),
        ("imagefolder", {"normalize": "imagnet"}, "none of"),
        ("imagefolder", {"fetch_alt_image": True, "fetch_alt_tiled_image": True}, "exclude"),
        ("single_image_extensible", {"scale": 0}, "scale"),
        ("single_image_extensible", {"target_size": 8, "scale": 4, "force_multiple": 8}, "target_size"),
        ("multi_frame_extensible", {"clip_pattern": "("}, "regular expression"),
        ("multi_frame_extensible", {"clip_pattern": "a"}, "group"),
        ("multiscale", {"hq_tile_size": 15}, "divide"),
        ("multiscale", {"num_scales": 0}, "num_scales"),
        ("stylegan2", {"aug_prob": 2}, "aug_prob"),
        ("combined", {"odd": 3}, "odd"),
    ],
)
def test_options_that_cannot_work_say_why(
    mode: str, changed: dict[str, Any], told: str, frames: Path, tiles: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        create_dataset(options_for(mode, frames, tiles) | changed)


def test_an_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="single_image_extensible"):
        create_dataset({"mode": "nosuch"})
    with pytest.raises(ConfigError, match="name no mode"):
        create_dataset({})


def test_native_scales_go_as_deep_as_the_image(frames: Path, tiles: Path, tmp_path: Path) -> None:
    save_photo(tmp_path / "one" / "a.png", 70, 64, 1)
    options = {"mode": "multiscale", "paths": [str(tmp_path / "one")], "hq_tile_size": 16, "augment": False}
    item = create_dataset(options | {"num_scales": "native"})[0]
    assert item["hq"].shape == (21, 3, 16, 16)
    assert native_depth(64, 16) == 3
    assert native_depth(15, 16) == 1
    fine = item["hq"][[way[0][0] for way in patch_paths(3)]]
    pixels = as_floats(read_pixels(FolderPictures(str(tmp_path / "one")), 0))
    assert torch.equal(fine[0], torch.from_numpy(pixels[3:19, 0:16].transpose(2, 0, 1).copy()))


def test_the_next_frame_is_found_by_its_counter(tmp_path: Path) -> None:
    assert next_frame("x/00000009.jpg") == "x/00000010.jpg"
    assert next_frame("00000001/a00000099.png") == "00000001/a00000100.png"
    assert next_frame("x/photo.jpg") is None
    for number in (1, 2):
        save_photo(tmp_path / "alt" / f"{number:08d}.jpg", 20, 20, number)
    options = {"mode": "imagefolder", "paths": [str(tmp_path / "alt")], "disable_flip": True, "fetch_alt_image": True}
    first, last = map(create_dataset(options).__getitem__, (0, 1))
    assert (first["has_alt"], last["has_alt"]) == (True, False)
    assert torch.equal(first["alt_hq"], last["hq"])
    assert torch.equal(last["alt_hq"], last["hq"])
    tiled = create_dataset(options | {"fetch_alt_image": False, "fetch_alt_tiled_image": True})[0]
    assert tiled["has_alt"]
    assert torch.equal(tiled["alt_hq"], last["hq"])


def test_an_index_sees_what_is_added_removed_changed_and_copied(frames: Path, tmp_path: Path) -> None:
    tiles = cut(frames, tmp_path / "tiles")
    before = tree(tiles)
    first = ChunkIndex(tiles)
    again = ChunkIndex(tiles)
    assert len(first) == len(again) == len(list(tiles.glob("*/0*.jpg")))
    assert tree(tiles) == before, "nothing is written into the set"
    cached = list((tmp_path / "cache" / "chunks").iterdir())
    assert len(cached) == 1
    folder = min(path for path in tiles.iterdir() if path.is_dir())
    gone = min(folder.glob("0*.jpg"))
    gone.unlink()
    assert len(ChunkIndex(tiles)) == len(first) - 1
    shutil.rmtree(sorted(path for path in tiles.iterdir() if path.is_dir())[1])
    assert ChunkIndex(tiles).folders == first.folders - 1
    shutil.copytree(folder, tiles / "added")
    assert ChunkIndex(tiles).folders == first.folders
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiles, moved)
    copied = ChunkIndex(moved)
    assert len(copied) == len(ChunkIndex(tiles))
    assert copied.tile(0, 0).path.startswith(str(moved))
    cached[0].write_bytes(b"damaged")
    assert len(ChunkIndex(tiles)) == len(copied)


def test_changed_centres_are_seen_and_hostile_ones_refused(frames: Path, tmp_path: Path) -> None:
    tiles = cut(frames, tmp_path / "tiles")
    whole = ChunkIndex(tiles)
    folder = min(path for path in tiles.iterdir() if path.is_dir())
    hostile = tmp_path / "hostile.pt"
    torch.save({1: Hostile()}, hostile)
    shutil.copy(hostile, folder / "centers.pt")
    index = ChunkIndex(tiles)
    assert index.folders == whole.folders - 1
    assert [reject.reason for reject in index.rejects] == ["unsupported"]
    with pytest.warns(UserWarning, match=f"folders left out: 1, the first {folder.name}: unsupported: "):
        create_dataset({"mode": "single_image_extensible", "paths": str(tiles)})
    assert not (tmp_path / "pwned").exists()


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("pwned",)


def test_a_broken_tile_names_itself(frames: Path, tmp_path: Path) -> None:
    tiles = cut(frames, tmp_path / "tiles")
    path = min(tiles.glob("*/0*.jpg"))
    path.write_bytes(path.read_bytes()[:100])
    dataset = create_dataset({"mode": "single_image_extensible", "paths": str(tiles)})
    with pytest.raises(ValueError, match=path.name):
        dataset[0]
