"""Standard data sets from their published files, and any torch data set as it is."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.datasets import create_dataset
from imagemill.datasets.full_image import FullImageDataset, FullImageOptions
from imagemill.errors import ConfigError
from imagemill.testing.piles import class_folders, save_photo

RNG = np.random.default_rng(0)


def write_idx(path: Path, array: np.ndarray, *, packed: bool = False) -> None:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = head + array.tobytes()
    path.with_name(path.name + (".gz" if packed else "")).write_bytes(gzip.compress(content) if packed else content)


def options(**changed: Any) -> dict[str, Any]:
    base = {"mode": "torch_dataset", "image_size": 28, "disable_flip": True, "normalize": False}
    return base | changed


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fmnist", "FashionMNIST/raw"), ("mnist", "")])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files(name: str, folder: str, packed: bool, tmp_path: Path) -> None:
    images, labels = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / folder / f"{prefix}-images-idx3-ubyte", images, packed=packed)
        write_idx(tmp_path / folder / f"{prefix}-labels-idx1-ubyte", labels, packed=packed)
    dataset = create_dataset(options(dataset=name, kwargs={"root": str(tmp_path), "train": False}))
    assert len(dataset) == 5
    item = dataset[3]
    assert item["labels"] == 3
    assert item["coarse_labels"] == -1
    assert item["GT_path"] == f"{name}/test/00000003"
    assert torch.equal(item["hq"], torch.from_numpy(images[3]).float().div(255).expand(3, 28, 28))


def test_binary_cifar(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (4, 3, 32, 32), np.uint8)
    rows = np.concatenate([np.arange(4, dtype=np.uint8)[:, None], pixels.reshape(4, -1)], axis=1)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(rows.tobytes())
    (tmp_path / "cifar-100-binary").mkdir()
    fine = np.concatenate([np.full((4, 1), 9, np.uint8), rows], axis=1)
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(fine.tobytes())
    ten = create_dataset(options(dataset="cifar10", image_size=32, kwargs={"root": str(tmp_path)}))
    assert len(ten) == 20
    assert torch.equal(ten[5]["hq"], torch.from_numpy(pixels[1]).float() / 255)
    hundred = create_dataset(options(dataset="cifar100", image_size=32, kwargs={"root": str(tmp_path), "train": False}))
    assert (hundred[2]["labels"], hundred[2]["coarse_labels"]) == (2, 9)
    part = create_dataset(
        options(dataset="cifar10", image_size=32, kwargs={"root": str(tmp_path)}, offset=2, fixed_len=5)
    )
    assert len(part) == 3
    assert part[0]["labels"] == 2


def test_pickled_cifar_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(ConfigError, match="binary version"):
        create_dataset(options(dataset="cifar10", kwargs={"root": str(tmp_path)}))


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"\0\0\x08\x03" + struct.pack(">3I", 2, 28, 28) + b"x" * 9])
def test_damaged_idx_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ConfigError):
        create_dataset(options(dataset="mnist", kwargs={"root": str(tmp_path)}))


def test_class_folders_are_numbered_by_their_names(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "pile", classes=3, per_class=2, bad=False)
    dataset = create_dataset(options(dataset="imagefolder", kwargs={"root": str(root)}))
    assert [item["labels"] for item in map(dataset.__getitem__, range(6))] == [0, 0, 1, 1, 2, 2]
    assert Path(dataset[0]["GT_path"]).is_file()


class Given(torch.utils.data.Dataset):
    def __init__(self, images: list[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index], index


def test_any_torch_data_set_as_it_is() -> None:
    pixels = RNG.integers(0, 256, (28, 28, 3), np.uint8)
    floats = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    dataset = create_dataset(options(dataset=Given([Image.fromarray(pixels), pixels, floats, pixels[..., 0]])))
    assert torch.equal(dataset[0]["hq"], floats)
    assert torch.equal(dataset[1]["hq"], floats)
    assert torch.equal(dataset[2]["hq"], floats)
    assert torch.equal(dataset[3]["hq"], floats[:1].expand(3, 28, 28))
    assert [dataset[index]["labels"] for index in range(4)] == [0, 1, 2, 3]


def test_the_flip_is_random_and_can_be_switched_off() -> None:
    pixels = RNG.integers(0, 256, (28, 28, 3), np.uint8)
    flipped = create_dataset(options(dataset=Given([pixels] * 64), disable_flip=False))
    straight = create_dataset(options(dataset=Given([pixels] * 64)))
    turned = sum(not torch.equal(flipped[index]["hq"], straight[index]["hq"]) for index in range(64))
    assert 16 < turned < 48


def test_normalised_as_imagenet() -> None:
    grey = np.full((28, 28, 3), 128, np.uint8)
    item = create_dataset(options(dataset=Given([grey]), normalize=True))[0]
    wanted = (torch.tensor(128 / 255) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(item["hq"][:, 0, 0], wanted)


@pytest.mark.parametrize(
    "changed",
    [
        {"dataset": "svhn"},
        {"dataset": "mnist"},
        {"dataset": "mnist", "kwargs": {"root": ".", "odd": 1}},
        {"dataset": Given([np.zeros((4, 4, 3), np.uint8)]), "offset": 1},
        {"dataset": Given([]), "image_size": 0},
    ],
)
def test_options_that_cannot_work_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        create_dataset(options(**changed))


def test_fullimage_says_what_to_use_instead(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png", 64, 80, 1)
    with pytest.warns(DeprecationWarning, match="imagemill tile"):
        dataset = FullImageDataset(FullImageOptions(dataroot_GT=str(tmp_path), target_size=16, min_tile_size=32))
    item = dataset[0]
    mask = item["gt_fullsize_ref"][3]
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    center = (rows.min() + rows.max() + 1) / 2, (columns.min() + columns.max() + 1) / 2
    assert abs(center[0] - item["gt_center"][0]) <= 1
    assert abs(center[1] - item["gt_center"][1]) <= 1


@pytest.mark.filterwarnings("ignore:mode fullimage")
def test_a_low_resolution_that_is_given_is_taken(tmp_path: Path) -> None:
    save_photo(tmp_path / "high" / "a.png", 64, 80, 1)
    save_photo(tmp_path / "low" / "a.png", 32, 40, 1)
    given = {"mode": "fullimage", "dataroot_GT": str(tmp_path / "high"), "dataroot_LQ": str(tmp_path / "low")}
    given |= {"target_size": 16, "scale": 2}
    item = create_dataset(given | {"phase": "val"})[0]
    assert item["LQ_path"].endswith("low/a.png")
    assert item["lq"].shape == (3, 32, 40)
    with pytest.raises(ConfigError, match="dataroot_LQ"):
        create_dataset(given | {"phase": "train"})
