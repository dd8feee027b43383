"""Safe sides against plain arithmetic, levels and memory against torch itself."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagemill
from imagemill.errors import ConfigError
from imagemill.reports.safe_dimensions import (
    CHANNEL_PLANS,
    TABLE_BASES,
    dimensions,
    dimensions_html,
    halvings,
    level_rows,
    levels,
    memory,
    safe_table,
    safe_table_html,
    side_facts,
)
from imagemill.testing.piles import imagemill as run

KIT = CHANNEL_PLANS["color-reverser"]


@pytest.mark.parametrize(("side", "times"), [(960, 6), (640, 7), (384, 7), (256, 8), (1920, 7), (1280, 8), (1, 0)])
def test_the_sides_of_the_kits_own_documents(side: int, times: int) -> None:
    assert halvings(side) == times


@given(st.integers(1, 1_000_000), st.integers(0, 12))
def test_a_side_is_safe_where_division_leaves_nothing(side: int, poolings: int) -> None:
    facts = side_facts(side, poolings)
    assert facts.safe == (side % 2**poolings == 0)
    assert facts.odd * 2**facts.halvings == side
    assert facts.odd % 2 == 1
    assert facts.below <= side <= facts.above
    assert facts.above - facts.below in (0, 2**poolings)
    assert facts.below % 2**poolings == facts.above % 2**poolings == 0


def test_the_mismatch_that_the_kits_readme_shows() -> None:
    """[6, 112, 14, 10] against [6, 112, 15, 10], for pictures 640 wide and 960 high."""
    found = dimensions((960, 640), channels=KIT, batch=6)
    assert found.first_mismatch == 6
    level = found.levels[6]
    assert (level.channels, level.joined, level.floor) == (112, (14, 10), (15, 10))
    assert found.levels[7].ceil == (8, 5)
    assert (found.memory_size, found.memory) == ((1024, 640), memory((1024, 640), KIT, 6))
    assert (found.sides[0].below, found.sides[0].above) == (896, 1024)
    assert dimensions((960, 640), poolings=6).first_mismatch is None


def test_sides_too_small_for_the_plan_leave_nothing() -> None:
    found = dimensions((4, 64), channels=(8, 8, 8, 8))
    assert found.levels[3].floor is None
    assert found.first_mismatch == 3
    assert level_rows(found)[3][2] == "nothing left"


def torch_unet(channels: tuple[int, ...]) -> Any:
    """The plain U-Net that `memory` speaks of."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    def block(before: int, count: int) -> Any:
        layers = []
        for inputs in (before, count):
            layers += [nn.Conv2d(inputs, count, 3, padding=1), nn.BatchNorm2d(count), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(block(i, o) for i, o in zip((3, *channels), channels, strict=False))
            joined = [deeper + count for count, deeper in pairwise(channels)]
            self.up = nn.ModuleList(block(i, o) for i, o in zip(joined, channels, strict=False))
            self.last = nn.Conv2d(channels[0], 3, 1)

        def forward(self, x: Any) -> Any:
            skips = []
            for level, down in enumerate(self.down):
                x = down(x if level == 0 else nn.functional.max_pool2d(x, 2))
                skips.append(x)
            for level in reversed(range(len(self.up))):
                x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
                x = self.up[level](torch.cat([x, skips[level]], 1))
            return self.last(x)

    with torch.device("meta"):
        return UNet()


@pytest.mark.parametrize(
    ("size", "channels", "batch"),
    [((384, 256), KIT, 4), ((64, 96), (8, 16, 24), 3), ((32, 32), (64,), 2), ((256, 256), CHANNEL_PLANS["unet"], 1)],
)
def test_memory_is_what_torch_keeps_for_the_backward_pass(
    size: tuple[int, int], channels: tuple[int, ...], batch: int
) -> None:
    torch = pytest.importorskip("torch")
    model = torch_unet(channels)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(torch.empty(batch, 3, *size, device="meta"))
    assert result.shape == (batch, 3, *size)
    saved = sum(storage.nbytes() for cdata, storage in kept.items() if cdata not in own)
    estimate = memory(size, channels, batch)
    assert estimate.weights == sum(parameter.numel() for parameter in model.parameters())
    assert estimate.saved_bytes == pytest.approx(saved, rel=0.005)
    assert estimate.total_bytes == estimate.saved_bytes + 16 * estimate.weights


@pytest.mark.parametrize("size", [(960, 640), (200, 200), (192, 128), (384, 256), (128, 128)])
def test_a_size_is_called_safe_where_torch_runs_it(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    model = torch_unet(KIT)
    found = dimensions(size, channels=KIT, batch=2)
    picture = torch.empty(2, 3, *size, device="meta")
    if found.first_mismatch is None:
        model(picture)
        return
    level = found.levels[found.first_mismatch]
    assert level.joined is not None
    assert level.floor is not None
    axis = 0 if level.joined[0] != level.floor[0] else 1
    with pytest.raises(
        RuntimeError, match=f"Expected {level.joined[axis]} in dimension {2 + axis} but got {level.floor[axis]}"
    ):
        model(picture)


@given(st.integers(1, 700), st.integers(1, 6))
def test_ceil_and_floor_are_those_of_pooling(side: int, depth: int) -> None:
    found = levels((side, side), (8,) * (depth + 1))
    down, up = side, side
    for level in found:
        assert level.ceil == (up, up)
        assert level.floor == ((down, down) if down else None)
        down, up = down // 2, (up + 1) // 2


def test_the_table_is_the_kits() -> None:
    table = safe_table()
    assert table[1] == [2, 3, 5, 5.25, 5.5, 6.5, 7, 7.5, 8.5, 9, 9.5]
    assert table[2] == [4, 6, 10, 10.5, 11, 13, 14, 15, 17, 18, 19]
    assert table[7] == [128, 192, 320, 336, 352, 416, 448, 480, 544, 576, 608]
    assert table[9] == [512, 768, 1280, 1344, 1408, 1664, 1792, 1920, 2176, 2304, 2432]
    assert (len(table), table[14][0], table[14][-1]) == (15, 16384, 77824)


def test_the_table_as_html_marks_fractions() -> None:
    text = str(safe_table_html())
    fractions = sum(not side.is_integer() for row in safe_table() for side in map(float, row))
    assert text.count('class="odd"') == fractions == 17
    assert len(re.findall("<td", text)) == 15 * len(TABLE_BASES)
    assert "<td>77824 <small>12</small></td>" in text
    assert "<td>960 <small>6</small></td>" in text
    for side, times in re.findall(r"<td>(\d+) <small>(\d+)</small></td>", text):
        assert int(side) % 2 ** int(times) == 0
        assert int(side) % 2 ** (int(times) + 1) != 0


def test_sizes_of_a_pile_as_html() -> None:
    text = str(dimensions_html([((384, 256), 412), ((960, 640), 3)], 7))
    assert "<td>256x384</td><td>412</td><td>8</td><td>7</td><td>safe</td>" in text
    assert "<td>640x960</td><td>3</td><td>7</td><td>6</td><td>next: 640x1024</td>" in text
    assert "256x384 in a U-Net of 16, 32, 48, 64, 80, 96, 112, 128 channels; one tensor of a batch of 16" in text
    assert "<td>7</td><td>128</td><td>2x3</td><td>2x3</td><td></td><td>0.0 MB</td>" in text
    assert "7 poolings are safe: every skip connection fits. Training takes 2.1 GB at least for a batch of 16" in text
    assert "10x14 from below cannot be joined with 10x15" in str(dimensions_html([((960, 640), 3)], 7))


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": "2000000x3"},
        {"size": 8, "poolings": -1},
        {"size": 8, "poolings": 99},
        {"size": 8, "channels": "8,x"},
        {"size": 8, "channels": ()},
        {"size": 8, "channels": "8,0"},
        {"size": 8, "channels": "8,8", "poolings": 2},
        {"size": 8, "model": "vgg"},
        {"size": 8, "model": "unet", "channels": "8"},
        {"size": 8, "batch": 0},
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        imagemill.dims(**options)


def test_memory_of_a_size_that_fails_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not halve 7 times"):
        memory((960, 640), KIT)


def test_on_the_command_line() -> None:
    done = run("dims", "640x960", "--batch", "6", "--table")
    assert done.returncode == 0, done.stderr
    assert "960 = 15 · 2^6: halves 6 times; nearest for 7: 896 and 1024" in done.stdout
    assert "fail at level 6: 10x14 from below cannot be joined with 10x15" in done.stdout
    assert "nearest safe  640x1024 or 640x896" in done.stdout
    assert "for a batch of 6 at 640x1024: " in done.stdout
    assert "fail at level 7: nothing is left there" in run("dims", "107").stdout
    assert re.search(r"^ *256:8 +384:7 +640:7 +672:5 .* 960:6 ", done.stdout, re.MULTILINE)
    record = json.loads(run("dims", "256x384", "--batch", "32", "--json").stdout)
    assert record["size"] == [384, 256]
    assert record["memory"]["weights"] == memory((384, 256), KIT, 32).weights
