"""Batches of items: equal to those that torch makes, and of memory that nobody else has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, default_collate
from unit.native.batches import needs_core

from imagemill.datasets import create_dataloader, create_dataset
from imagemill.datasets.batches import collate, empty_items, joined
from imagemill.testing.piles import save_photo

COUNT = 20
OPTIONS = {"target_size": 32, "scale": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batches")
    for number in range(COUNT):
        save_photo(folder / f"{number:02d}{('.jpg', '.png')[number % 2]}", 40 + number % 3, 44, number)
    return folder


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert one.keys() == other.keys()
    return all(
        torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
        for key, value in one.items()
    )


@pytest.mark.parametrize("mode", ["imagefolder", "single_image_extensible"])
def test_batches_are_those_of_torch(mode: str, folder: Path) -> None:
    dataset = create_dataset({"mode": mode, "paths": str(folder), **OPTIONS})
    ours = list(create_dataloader(dataset, {"batch_size": 6, "use_shuffle": False}))
    theirs = list(DataLoader(dataset, 6, drop_last=True))
    assert len(ours) == len(theirs) == COUNT // 6
    assert all(map(equal, ours, theirs))


@needs_core
def test_what_is_made_together_is_not_copied(folder: Path) -> None:
    dataset = create_dataset({"mode": "imagefolder", "paths": str(folder), **OPTIONS})
    items = dataset.__getitems__(range(5))
    batch = collate(items)
    for key in ("hq", "lq"):
        assert batch[key].data_ptr() == items[0][key].data_ptr()
    assert equal(batch, default_collate(items))
    batch["hq"].zero_()
    assert not any(item["hq"].any() for item in items)
    for order in (items[::-1], items[1:] + items[:1]):
        assert equal(collate(order), default_collate(order))
        assert collate(order)["hq"].data_ptr() != order[0]["hq"].data_ptr()


def test_memory_is_not_used_again_while_an_item_is_in_anybodys_hands(folder: Path) -> None:
    dataset = create_dataset({"mode": "imagefolder", "paths": str(folder), **OPTIONS})
    first = dataset.__getitems__(range(4))[3]
    kept = first["hq"].clone()
    for start in range(0, COUNT - 4, 4):
        collate(dataset.__getitems__(range(start, start + 4)))
    assert torch.equal(first["hq"], kept)


def test_only_what_lies_side_by_side_is_joined_without_a_copy() -> None:
    memory = torch.arange(24.0)
    behind = list(memory.view(4, 2, 3).unbind())
    assert joined(behind).data_ptr() == memory.data_ptr()
    apart = [memory[:6], memory[12:18]]
    shared = torch.ones(1).expand(5)
    strided = list(memory.view(4, 6)[:, ::2].unbind())
    beyond = [memory[12:], torch.zeros(12)]
    for tensors in (apart, [shared] * 3, strided, beyond, [memory[:6], memory[6:12].double()], [memory[:1]] * 2):
        assert torch.equal(joined(tensors), torch.stack([tensor.to(tensors[0].dtype) for tensor in tensors]))
    assert joined([shared] * 3).data_ptr() == shared.data_ptr()
    with pytest.raises(RuntimeError, match="equal size"):
        joined([memory[:6], memory[6:8]])


def test_empty_items_lie_side_by_side() -> None:
    for count in (1, 3):
        for tensors, shape in zip(empty_items(count, (3, 4, 5), (3, 2)), ((3, 4, 5), (3, 2)), strict=True):
            assert [tensor.shape for tensor in tensors] == [shape] * count
            assert joined(tensors).is_contiguous()
            assert joined(tensors).data_ptr() == tensors[0].data_ptr()
