"""A packed dataset in torch's DataLoader, in every kind of worker, as the training loops of old use it."""

from __future__ import annotations

import multiprocessing
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.errors import DigestError
from imagemill.formats import FORMATS
from imagemill.testing.images import photo
from imagemill.testing.piles import class_folders, masked, pairs

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")

# Python 3.12 and later warn of any fork while threads run, and other tests leave threads of libraries.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

CONTEXTS = [name for name in ("fork", "spawn", "forkserver") if name in multiprocessing.get_all_start_methods()]
SIDE = 32


def to_tensor(image: Image.Image) -> Any:
    """What torchvision's Resize and ToTensor do, without torchvision."""
    resized = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized.transpose(2, 0, 1).copy()).float() / 255


def mask_to_tensor(mask: Image.Image) -> Any:
    return torch.from_numpy(np.array(mask, np.int64))


def seen_in_worker(image: Image.Image) -> Any:
    """Which worker made the sample, -1 outside of one."""
    worker = data.get_worker_info()
    return -1 if worker is None else worker.id


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("pile"), classes=3, per_class=8, bad=False)


@pytest.fixture(scope="module")
def packed(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Packs the pile, once a format, in shards of 7."""
    folder = tmp_path_factory.mktemp("packed")

    def pack(format: str) -> Path:
        if not (folder / format).exists():
            imagemill.pack(pile, folder / format, format=format, shard_size=7, workers=0)
        return folder / format

    return pack


def expected_batches(pile: Path) -> list[tuple[Any, int]]:
    """The pile, read by hand in the order of its sorted paths."""
    paths = sorted(path for path in pile.rglob("*.*") if path.is_file())
    names = sorted({path.parent.name for path in paths})
    return [(to_tensor(Image.open(path)), names.index(path.parent.name)) for path in paths]


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_old_loop_runs_unchanged(packed: Callable[[str], Path], pile: Path, format: str) -> None:
    dataset = imagemill.open(packed(format), transform=to_tensor)
    loader = data.DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context=CONTEXTS[0])
    images, labels = zip(*((images, labels) for images, labels in loader), strict=True)
    expected = expected_batches(pile)
    assert torch.equal(torch.cat(images), torch.stack([image for image, _ in expected]))
    assert torch.cat(labels).tolist() == [label for _, label in expected]


@pytest.mark.parametrize(("context", "format"), list(zip(CONTEXTS[1:], ("arrow", "hdf5"), strict=False)))
def test_workers_that_do_not_inherit(packed: Callable[[str], Path], context: str, format: str) -> None:
    # Such workers import what they are sent by name, and test modules have no name that they could import.
    dataset = imagemill.open(packed(format), transform=operator.methodcaller("resize", (SIDE, SIDE)))
    expected = [(image.tobytes(), label) for image, label in dataset]
    _ = dataset.keys
    loader = data.DataLoader(dataset, 5, num_workers=2, multiprocessing_context=context, collate_fn=list)
    assert [(image.tobytes(), label) for batch in loader for image, label in batch] == expected


def test_forked_workers_after_the_parent_has_read(packed: Callable[[str], Path], pile: Path) -> None:
    dataset = imagemill.open(packed("hdf5"), transform=to_tensor)
    first = [image for image, _ in dataset]
    loader = data.DataLoader(dataset, batch_size=4, num_workers=2, persistent_workers=True)
    for _ in range(2):
        images = torch.cat([images for images, _ in loader])
        assert torch.equal(images, torch.stack(first))
    assert torch.equal(dataset[0][0], first[0])


def test_every_worker_does_its_share(packed: Callable[[str], Path]) -> None:
    dataset = imagemill.open(packed("arrow"), transform=seen_in_worker)
    loader = data.DataLoader(dataset, batch_size=4, num_workers=2)
    assert {worker for workers, _ in loader for worker in workers.tolist()} == {0, 1}


def test_a_shuffled_epoch_with_a_sampler(packed: Callable[[str], Path]) -> None:
    dataset = imagemill.open(packed("arrow"), transform=to_tensor)
    expected = list(imagemill.Loader(packed("arrow"), batch_size=5, size=SIDE, seed=3))
    sampler = imagemill.Sampler(dataset, batch_size=5, seed=3)
    labels = [labels for _, labels in data.DataLoader(dataset, batch_size=5, sampler=sampler, num_workers=2)]
    assert [part.tolist() for part in labels] == [batch["label"].tolist() for batch in expected]


def test_subsets_and_random_split(packed: Callable[[str], Path]) -> None:
    dataset = imagemill.open(packed("arrow"), transform=to_tensor)
    train, val = data.random_split(dataset, [20, 4], torch.Generator().manual_seed(0))
    labels = [label for part in (train, val) for _, batch in data.DataLoader(part, 4) for label in batch.tolist()]
    assert sorted(labels) == [0] * 8 + [1] * 8 + [2] * 8
    weighted = data.WeightedRandomSampler([float(target == 1) for target in dataset.targets], 10)
    assert {int(label) for _, labels in data.DataLoader(dataset, 5, sampler=weighted) for label in labels} == {1}


def test_pairs_of_batches(tmp_path: Path) -> None:
    imagemill.pack(pairs(tmp_path / "pile"), tmp_path / "out", workers=0)
    dataset = imagemill.open(tmp_path / "out", transform=to_tensor)
    before, after = next(iter(data.DataLoader(dataset, batch_size=6)))
    assert before.shape == after.shape == (6, 3, SIDE, SIDE)
    assert torch.equal(before[:, 0], before[:, 1])
    assert not torch.equal(after[:, 0], after[:, 1])


def test_masks_keep_their_ids(tmp_path: Path) -> None:
    imagemill.pack(masked(tmp_path / "pile"), tmp_path / "out", workers=0)
    dataset = imagemill.open(tmp_path / "out", transform=to_tensor, target_transform=mask_to_tensor)
    _, masks = next(iter(data.DataLoader(dataset, batch_size=6, num_workers=1)))
    stored = sorted((tmp_path / "pile" / "masks").iterdir())
    assert torch.equal(masks, torch.stack([mask_to_tensor(Image.open(path)) for path in stored]))


def test_raw_pixels_in_plain_numpy_order(tmp_path: Path, pile: Path) -> None:
    imagemill.pack(pile, tmp_path / "out", pixels="raw", size=(20, 28), workers=0)
    batch = next(iter(imagemill.Loader(tmp_path / "out", batch_size=24, shuffle=False)))
    pictures = [np.asarray(image) for image, _ in imagemill.open(tmp_path / "out")]
    assert batch["image"].shape == (24, 3, 20, 28)
    assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), np.stack(pictures))


def test_damage_names_the_sample_across_processes(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "pile").mkdir(exist_ok=True)
        Image.fromarray(photo(24, 24, number)).save(tmp_path / "pile" / f"{number}.png")
    imagemill.pack(tmp_path / "pile", tmp_path / "out", workers=0)
    content = (tmp_path / "pile" / "4.png").read_bytes()
    shard = next((tmp_path / "out" / "data").iterdir())
    stored = bytearray(shard.read_bytes())
    stored[stored.index(content) + 100] ^= 4
    shard.write_bytes(stored)
    dataset = imagemill.open(tmp_path / "out", transform=to_tensor)
    with pytest.raises((DigestError, RuntimeError), match=r"sample '4(\.png)?', field 'image'"):
        list(data.DataLoader(dataset, batch_size=3, num_workers=2))


def test_camvid_masks_and_plates(shared_data: Path, tmp_path: Path) -> None:
    imagemill.pack(shared_data / "camvid", tmp_path / "camvid", workers=0, limit=6, decode="headers")
    for batch in imagemill.Loader(tmp_path / "camvid", batch_size=6, shuffle=False):
        assert batch["image"].shape == (6, 3, 360, 480)
        assert batch["mask"].shape == (6, 360, 480)
        assert int(batch["mask"].max()) <= 11
    imagemill.pack(shared_data / "before_after" / "val", tmp_path / "plates", workers=0, limit=6, decode="headers")
    batch = next(iter(imagemill.Loader(tmp_path / "plates", batch_size=6)))
    assert batch["before"].shape == batch["after"].shape == (6, 3, 384, 256)
