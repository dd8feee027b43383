"""What the original's data set classes returned for an item, and where they were wrong, what is right."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagemill.datasets import create_dataset
from imagemill.datasets.multi_frame import LAST_TWELVE, MultiFrameDataset
from imagemill.datasets.multiscale import patch_paths

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "data" / "golden" / "dlas"


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    path = GOLDEN / "samples.json"
    if not path.exists():
        pytest.skip("no ../shared/data: outputs of the original are not here")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def options_of(record: dict[str, Any]) -> dict[str, Any]:
    """The option dict, its values as Python had them, its paths where they are here."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                return str(GOLDEN.parents[1] / value) if value.startswith("golden/") else value
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list) else value

    return {name: plain(value) for name, value in record["opt"].items()}


def item_of(records: dict[str, Any], name: str, index: int, **changed: Any) -> dict[str, Any]:
    dataset = create_dataset({**options_of(records[name]), **changed})
    assert len(dataset) == records[name]["len"]
    return dataset[index]


def check_like(found: dict[str, Any], told: dict[str, Any]) -> None:
    """Keys, shapes and ranges are the original's; everything is float32."""
    assert set(found) == set(told)
    for key, (kind, *facts) in told.items():
        if not kind.startswith("torch."):
            continue
        value = found[key]
        assert list(value.shape) == facts[0], key
        assert value.dtype == (torch.int64 if kind == "torch.int64" else torch.float32), key


CHUNKED = ["single_noref", "single_ref_meta", "single_ref_nometa", "single_ref_meta_t128", "single_eval"]
CHUNKED += ["single_eval_t250", "single_nonconform", "multiframe"]
IMAGES = ["imgfolder", "imgfolder_noflip_n1", "imgfolder_imnorm", "imgfolder_corrupt", "imgfolder_cbdf"]
IMAGES += ["imgfolder_skiplq", "imgfolder_alt", "imgfolder_fixedparam", "multiscale", "stylegan2_noaug"]
COMBINED = ["combined"]
FULL = ["fullimage_train", "fullimage_test"]


@pytest.mark.filterwarnings("ignore:mode fullimage")
@pytest.mark.parametrize("name", [*CHUNKED, *IMAGES, *COMBINED, *FULL])
def test_keys_shapes_and_dtypes(name: str, records: dict[str, Any]) -> None:
    check_like(item_of(records, name, 0), records[name]["0"])


@pytest.mark.parametrize("name", [name for name in CHUNKED if name != "multiframe"])
@pytest.mark.parametrize("index", [0, 3])
def test_values_of_single_images(name: str, index: int, records: dict[str, Any]) -> None:
    found, told = item_of(records, name, index), records[name][str(index)]
    for key in ("lq", "hq", "gt_fullsize_ref", "lq_fullsize_ref"):
        low, high, mean = told[key][2:]
        assert found[key].min().item() == pytest.approx(low, abs=2 / 255), key
        assert found[key].max().item() == pytest.approx(high, abs=2 / 255), key
        assert found[key].mean().item() == pytest.approx(mean, abs=0.5 / 255), key
    for key in ("lq_center", "gt_center"):
        assert [found[key].min().item(), found[key].max().item()] == told[key][2:4]
    assert found["GT_path"].endswith(told["GT_path"][1].removeprefix("golden/"))


@pytest.mark.parametrize(
    ("name", "record", "index"),
    [
        ("single_noref_0", "single_noref", 0),
        ("single_ref_meta_t128_0", "single_ref_meta_t128", 0),
        ("single_ref_meta_t128_3", "single_ref_meta_t128", 3),
        ("multiframe_5", "multiframe", 5),
        ("imgfolder_noflip_n1_0", "imgfolder_noflip_n1", 0),
    ],
)
def test_every_value_of_stored_items(name: str, record: str, index: int, records: dict[str, Any]) -> None:
    found, stored = item_of(records, record, index), np.load(GOLDEN / "samples" / f"{name}.npz")
    for key in stored.files:
        ours, theirs = found[key].numpy(), stored[key]
        assert ours.shape == theirs.shape, key
        if key.endswith("center"):
            assert np.array_equal(ours, theirs), key
        elif ours.size:
            assert np.abs(ours - theirs).mean() <= 1 / 255, key


def test_the_centred_square_of_stylegan2(records: dict[str, Any]) -> None:
    dataset = create_dataset(options_of(records["stylegan2_noaug"]))
    stored = np.load(GOLDEN / "samples" / "stylegan2_noaug_0.npz")
    # The original lists files in the system's order; here they are sorted.
    path = records["stylegan2_noaug"]["0"]["GT_path"][1]
    item = next(
        item for item in (dataset[index] for index in range(len(dataset))) if item["GT_path"].endswith(Path(path).name)
    )
    assert np.abs(item["hq"].numpy() - stored["hq"]).mean() <= 1 / 255
    assert item["lq"] is item["hq"]


@pytest.mark.filterwarnings("ignore:mode fullimage")
def test_a_full_image_in_a_test_phase(records: dict[str, Any]) -> None:
    found, told = item_of(records, "fullimage_test", 0), records["fullimage_test"]["0"]
    for key in ("lq", "hq", "gt_fullsize_ref", "lq_fullsize_ref"):
        assert found[key].mean().item() == pytest.approx(told[key][4], abs=0.5 / 255), key
        # The original let its bicubic filter overshoot; here values end at 1.
        assert found[key].max().item() <= 1
    assert found["gt_center"].tolist() == [344, 448]
    assert found["lq_center"].tolist() == [172, 224]


@pytest.mark.parametrize("depth", ["2", "3", "4"])
def test_the_tree_of_patches(depth: str) -> None:
    path = GOLDEN / "multiscale_tree.json"
    if not path.exists():
        pytest.skip("no ../shared/data: outputs of the original are not here")
    told = json.loads(path.read_bytes())[depth]
    assert [[list(step) for step in way] for way in patch_paths(int(depth))] == told


@pytest.mark.parametrize("name", ["multiframe_windows_2clips_n3", "multiframe_windows_1clip_n3"])
def test_windows_hold_the_frame_asked_for(name: str, records: dict[str, Any]) -> None:
    told = dict(records[name])
    dataset = create_dataset({**options_of(records["multiframe"]), "clip_pattern": LAST_TWELVE})
    assert isinstance(dataset, MultiFrameDataset)
    for index in range(len(dataset)):
        place = int(torch.searchsorted(dataset._ends, index, right=True))
        asked = dataset.tiles.name(dataset._windows[place][0])[1]
        window = [dataset.tiles.name(chunk)[1] for chunk, _ in dataset.window(index)]
        assert asked in window
        assert len({frame[:-12] for frame in window}) == 1
        assert window == sorted(window)
        if asked in told and asked in told[asked]:
            assert len(window) == len(told[asked])


@pytest.mark.parametrize(("index", "normalized"), [(0, 0.428), (1, 0.46)])
def test_another_image_is_normalised_once(index: int, normalized: float, records: dict[str, Any]) -> None:
    found = item_of(records, "imgfolder_alt", index, normalize="imagenet")
    plain = item_of(records, "imgfolder_alt", index)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for key in ("hq", "alt_hq", "lq", "alt_lq"):
        wanted = (plain[key] - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        assert torch.allclose(found[key], wanted, atol=1e-6), key
    assert found["alt_hq"] is not found["hq"]
    assert plain["hq"].mean().item() == pytest.approx(normalized, abs=0.01)


def test_sizes_that_are_no_multiple_are_cut(records: dict[str, Any]) -> None:
    item = create_dataset(options_of(records["single_crop_conform"]))[0]
    assert item["hq"].shape == (3, 128, 128)
    assert item["lq"].shape == (3, 32, 32)
    assert item["gt_fullsize_ref"].shape == (4, 128, 128)


def test_a_clip_that_is_too_short_is_said(records: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no clip has 10 frames"):
        create_dataset(options_of(records["multiframe_toolong"]))
