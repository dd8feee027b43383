"""`imagefolder` with a `labeler`: labels lie where the pixels they mean have gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imagemill as mill
from imagemill.datasets import create_dataloader, create_dataset
from imagemill.errors import ConfigError


def labelled(path: str, label: str, box: tuple[int, int, int, int]) -> dict[str, Any]:
    names = ("patch_top", "patch_left", "patch_height", "patch_width")
    return {"path": path, "label": label, **dict(zip(names, box, strict=True))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, red where "a" is said to be, blue where "b" is, black elsewhere; the last has no labels."""
    boxes = {"one.png": ((4, 10, 20, 12), (30, 40, 8, 16)), "sub/two.png": ((0, 0, 40, 40), (20, 20, 30, 30))}
    for name, (first, second) in boxes.items():
        pixels = np.zeros((60, 80, 3), np.uint8)
        for channel, (top, left, height, width) in ((0, first), (2, second)):
            pixels[top : top + height, left : left + width] = 0
            pixels[top : top + height, left : left + width, channel] = 255
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "images" / "zero.png")
    found = {
        "x": {"label": "a", "index": 3, "labeledImages": [labelled(n, "a", box[0]) for n, box in boxes.items()]},
        "y": {"label": "b", "index": 7, "labeledImages": [labelled("\\one.png", "b", boxes["one.png"][1])]},
    }
    more = {"y": {"label": "b", "index": 7, "labeledImages": [labelled("sub\\two.png", "b", boxes["sub/two.png"][1])]}}
    (tmp_path / "labels.json").write_text(json.dumps(found))
    (tmp_path / "more.json").write_text(json.dumps(more))
    return tmp_path


def options(folder: Path, **changed: Any) -> dict[str, Any]:
    labeler = {"type": "patch_labels", "label_file": [str(folder / "labels.json"), str(folder / "more.json")]}
    return {"mode": "imagefolder", "paths": str(folder / "images"), "labeler": labeler, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"disable_flip": True, "force_square": False},
        {"target_size": 30},
        {"target_size": 60, "force_multiple": 8, "scale": 2},
        {"center_crop_hq_sz": 48, "target_size": 96},
    ],
)
def test_labels_lie_on_what_they_name(changed: dict[str, Any], folder: Path) -> None:
    dataset = create_dataset(options(folder, **changed))
    assert len(dataset) == 2
    flips = set()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index in range(2):
            item = dataset[index]
            hq, labels, mask = item["hq"], item["labels"], item["labels_mask"]
            assert (labels.shape, mask.shape) == ((1, *hq.shape[1:]),) * 2
            assert (labels.dtype, mask.dtype) == (torch.int64, torch.float32)
            assert item["label_strings"] == {3: "a", 7: "b"}
            for number, channel in ((3, 0), (7, 2)):
                seen, told = hq[channel] > 0.5, labels[0] == number
                # The nearest pixel and the mean of several differ on borders alone.
                assert (seen != told).float().mean() < 0.06
                assert (seen & told).float().sum() >= 0.8 * told.float().sum()
            assert torch.equal(mask[0] == 1, labels[0] > 0)
            flips.add((index, tuple(labels[0].nonzero().float().mean(0).tolist())))
    assert len(flips) == (2 if changed.get("disable_flip") else 4)


def test_items_can_be_put_into_batches(folder: Path) -> None:
    chosen = options(folder, target_size=32, phase="train", batch_size=2)
    batch = next(iter(create_dataloader(create_dataset(chosen), chosen)))
    assert batch["labels"].shape == (2, 1, 32, 32)
    assert batch["label_strings"][3] == ["a", "a"]


def test_a_packed_dataset_is_labelled_by_the_paths_it_had(folder: Path) -> None:
    mill.pack(folder / "images", folder / "packed", labels=False, workers=0)
    dataset = create_dataset(options(folder, paths=str(folder / "packed"), disable_flip=True))
    plain = create_dataset(options(folder, disable_flip=True))
    assert len(dataset) == 2
    assert all(torch.equal(dataset[index]["labels"], plain[index]["labels"]) for index in range(2))


def test_what_cannot_work_is_told(folder: Path) -> None:
    (folder / "images" / "one.png").unlink()
    with pytest.raises(ConfigError, match=r"labels of one\.png, which"):
        create_dataset(options(folder))
    (folder / "bad.json").write_text('{"x": {"label": "a"}}')
    for labeler, said in (
        ({"type": "other", "label_file": "x"}, "labeler is"),
        ({"type": "patch_labels"}, "labeler is"),
        ({"type": "patch_labels", "label_file": str(folder / "nowhere")}, "cannot be read"),
        ({"type": "patch_labels", "label_file": str(folder / "bad.json")}, "has no labelled patches"),
    ):
        with pytest.raises(ConfigError, match=said):
            create_dataset(options(folder, labeler=labeler))
