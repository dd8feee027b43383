"""References kept as pixels: the same items as without, whatever is kept."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unit.datasets.test_pairs import KINDS, value_of

import imagemill as mill
from imagemill.core.sample import Encoded
from imagemill.datasets import create_dataset
from imagemill.datasets.pairs import KeptPair, ViewOf, show_pair, show_pairs
from imagemill.datasets.pictures import File
from imagemill.datasets.reference_cache import ENTRY_BYTES, LATELY, ReferenceCache
from imagemill.errors import ConfigError, SampleError
from imagemill.native.pairs import PairView
from imagemill.testing.images import nasty_images
from imagemill.testing.piles import save_photo
from imagemill.transforms.tiling import TileScale

NASTY = nasty_images()
PHOTO_BYTES = 141 * 203 * 3 + ENTRY_BYTES


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for number in range(5):
        save_photo(folder / "source" / f"im{number:02d}.jpg", 100 + number, 120, number)
    scales = (TileScale(64, 16), TileScale(48, 24))
    mill.tile(folder / "source", folder / "tiles", scales=scales, min_side=64, workers=0)
    mill.pack(folder / "tiles", folder / "packed", references=True, workers=0)
    return folder


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


@pytest.mark.parametrize("place", ["tiles", "packed"])
@pytest.mark.parametrize("mode", ["single_image_extensible", "multi_frame_extensible"])
@pytest.mark.parametrize("size", [32, 64])
def test_items_are_those_without_a_cache(place: str, mode: str, size: int, tiles: Path) -> None:
    options = {"mode": mode, "paths": str(tiles / place), "target_size": size, "scale": 2, "need_ref": True}
    options |= {"num_frames": 2} if mode.startswith("multi") else {}
    plain = create_dataset({**options, "reference_cache_mb": 0})
    cached = create_dataset(options)
    expected = [plain[index] for index in range(len(plain))]
    for _ in range(2):
        found = [
            item
            for start in range(0, len(plain), 7)
            for item in cached.__getitems__(range(len(plain))[start : start + 7])
        ]
        assert all(map(same, found, expected))
        assert all(same(cached[index], item) for index, item in reversed(list(enumerate(expected))))


def whole(height: int, width: int) -> PairView:
    return PairView((0, 0, height, width), (height, width), (height, width))


def third(height: int, width: int) -> PairView:
    size = height // 3 or 1, width // 3 or 1
    return PairView((0, 0, height, width), size, size, scale=1)


def larger(height: int, width: int) -> PairView:
    """The core makes nothing grow: OpenCV's floats are no levels."""
    size = height * 3 // 2, width * 3 // 2
    return PairView((0, 0, height, width), size, size, scale=1)


@pytest.mark.parametrize("view_of", [whole, third, larger])
@pytest.mark.parametrize("name", [*KINDS, *NASTY])
def test_what_was_kept_is_what_was_shown(name: str, view_of: ViewOf) -> None:
    value = value_of(name) if name in KINDS else Encoded(NASTY[name][0])
    try:
        pair = show_pair(value, "x", view_of)
    except SampleError:
        return
    again = show_pairs([KeptPair.of(pair), value], ["x"] * 2, [view_of] * 2, room=1)
    assert {each.sides for each in again} == {pair.sides}
    for each in again:
        assert torch.equal(each.planes[:3], pair.planes)
        assert (each.low_planes is None) == (pair.low_planes is None)
        assert each.low_planes is None or torch.equal(each.low_planes[:3], pair.low_planes)


def test_levels_are_kept_where_they_say_all() -> None:
    exact, floats = (KeptPair.of(show_pair(value_of("pixels"), "x", view_of)) for view_of in (whole, larger))
    assert exact.size_bytes == 141 * 203 * 3
    assert floats.planes.dtype == np.float32


def look_up(cache: ReferenceCache, *values: Any) -> list[Any]:
    count = len(values)
    return cache.look_up(values, ["x"] * count, [whole] * count, [()] * count)


def test_a_reference_is_kept_once_it_is_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(value_of("plain").data)
    cache, file = ReferenceCache(10**6), File(str(tmp_path / "a.jpg"))
    assert look_up(cache, file) == [file]
    kept = look_up(cache, file, file)
    assert kept[0] is kept[1]
    assert kept[0].sides == (141, 203)
    look_up(cache, *(Encoded(bytes([number])) for number in range(LATELY)))
    assert look_up(cache, file)[0] is kept[0]
    assert cache.look_up([file], ["x"], [third], [(47, 67)]) == [file]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    cache, file = ReferenceCache(10**6), File(str(path))
    path.write_bytes(value_of("plain").data)
    look_up(cache, file, file)
    path.write_bytes(value_of("plain", 50, 60).data)
    assert look_up(cache, file, file)[1].sides == (50, 60)
    before = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert look_up(cache, file) == [file]
    path.unlink()
    assert look_up(cache, file) == [file]


def test_no_more_is_kept_than_was_allowed() -> None:
    values = [value_of("plain", 141, 203 - number) for number in range(3)]
    cache = ReferenceCache(2 * PHOTO_BYTES)
    for value in values:
        look_up(cache, value, value)
    assert [isinstance(found, KeptPair) for found in look_up(cache, *values[::-1])] == [True, True, False]
    nothing = ReferenceCache(0)
    assert look_up(nothing, *[values[0]] * 3) == [values[0]] * 3
    with pytest.raises(ConfigError, match="0 or more"):
        create_dataset({"mode": "single_image_extensible", "paths": "x", "reference_cache_mb": -1})


def test_threads_and_copies_have_their_own() -> None:
    value, found = value_of("plain"), []
    cache = ReferenceCache(10**6)
    look_up(cache, value, value)
    thread = threading.Thread(target=lambda: found.extend(look_up(cache, value)))
    thread.start()
    thread.join()
    assert found == [value]
    assert look_up(pickle.loads(pickle.dumps(cache)), value) == [value]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_items(context: str, tiles: Path) -> None:
    if context not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    options = {
        "mode": "single_image_extensible",
        "paths": str(tiles / "tiles"),
        "target_size": 48,
        "need_ref": True,
    }
    plain, cached = create_dataset({**options, "reference_cache_mb": 0}), create_dataset(options)
    cached.__getitems__(range(8))
    loader = torch.utils.data.DataLoader(cached, 4, num_workers=2, multiprocessing_context=context)
    found = torch.cat([batch["gt_fullsize_ref"] for _ in range(2) for batch in loader])
    expected = torch.stack([plain[index]["gt_fullsize_ref"] for index in range(len(plain))])
    assert torch.equal(found, torch.cat([expected, expected]))


def test_what_cannot_be_read_is_told_by_name(tiles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "im"
    folder.mkdir(parents=True)
    for path in (tiles / "tiles" / "im00.jpg").iterdir():
        (folder / path.name).write_bytes(b"nothing" if path.name == "ref.jpg" else path.read_bytes())
    options = {"mode": "single_image_extensible", "paths": str(tmp_path / "set"), "target_size": 48, "need_ref": True}
    dataset = create_dataset(options)
    for _ in range(3):
        with pytest.raises(SampleError, match=r"im.0"):
            dataset[0]
