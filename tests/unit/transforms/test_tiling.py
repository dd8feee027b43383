"""Where tiles lie: inside their source, found again by their box, and as the original extractor has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imagemill.codecs.image import encode_jpeg
from imagemill.errors import ConfigError, SampleError
from imagemill.prepare.region_tiles import RegionTiles
from imagemill.testing.images import photo
from imagemill.transforms.tiling import (
    TileOptions,
    TileScale,
    _area,
    box_around,
    cut_reference,
    cut_region,
    cut_tile,
    is_dull,
    is_masked_out,
    plan_regions,
    positions,
)

GOLDEN = Path(__file__).resolve().parents[4] / "shared/data/golden/dlas"

SIDES = st.integers(1, 90)


def tile_options(shape: str, **options: Any) -> TileOptions:
    return TileOptions(whole=shape == "whole", resize_only=shape == "resize_only", **options)


OPTIONS = st.builds(
    tile_options,
    scales=st.lists(
        st.builds(TileScale, st.integers(2, 40), st.integers(1, 40), st.sampled_from([None, 0.5, 1.0, 1.7])),
        min_size=1,
        max_size=3,
    ).map(tuple),
    threshold=st.integers(0, 40),
    halve_above=st.integers(30, 120),
    min_side=st.integers(1, 5),
    vertical_split=st.booleans(),
    shape=st.sampled_from(["square", "whole", "resize_only"]),
)


@settings(max_examples=200, deadline=None)
@given(height=SIDES, width=SIDES, options=OPTIONS)
def test_every_tile_lies_in_its_source_and_its_box_gives_it_again(
    height: int, width: int, options: TileOptions
) -> None:
    pixels = photo(height, width)
    try:
        regions = plan_regions(height, width, options)
    except SampleError as error:
        assert error.reason == "too-small"
        return
    for region in regions:
        whole = cut_region(pixels, region)
        assert whole.shape == (region.height, region.width, 3)
        for tile in region.tiles:
            top, left, high, wide = region.source_box(tile)
            assert 0 <= top <= top + high <= height
            assert 0 <= left <= left + wide <= width
            crop = pixels[top : top + high, left : left + wide]
            for _ in range(region.halvings):
                crop = _area(crop, crop.shape[0] // 2, crop.shape[1] // 2)
            assert np.array_equal(_area(crop, tile.side, tile.side), cut_tile(whole, tile))


@settings(max_examples=100, deadline=None)
@given(height=SIDES, width=SIDES, options=OPTIONS, grey=st.booleans())
def test_tiles_made_together_are_those_made_alone(height: int, width: int, options: TileOptions, grey: bool) -> None:
    pixels = photo(height, width)[:, :, : 1 if grey else 3]
    try:
        regions = plan_regions(height, width, options)
    except SampleError:
        return
    top, left, high, wide = box_around(regions)
    for region in regions:
        whole = cut_region(pixels[top : top + high, left : left + wide], region, (top, left))
        assert np.array_equal(whole, cut_region(pixels, region))
        made = RegionTiles(whole, region, options, 90)
        for number, tile in enumerate(region.tiles):
            alone = cut_tile(whole, tile)
            assert np.array_equal(made.pixels(number), alone)
            assert made.jpeg(number) == encode_jpeg(alone, 90)


@given(length=st.integers(1, 500), crop=st.integers(1, 500), step=st.integers(1, 500), threshold=st.integers(0, 500))
def test_positions_leave_no_more_than_the_threshold(length: int, crop: int, step: int, threshold: int) -> None:
    found = positions(length, crop, step, threshold)
    assert found == sorted(set(found))
    if crop > length:
        assert not found
    else:
        assert found[0] == 0
        assert found[-1] + crop <= length
        assert length - (found[-1] + crop) <= max(threshold, step - 1)


def test_an_unset_factor_makes_tiles_of_one_side() -> None:
    options = TileOptions(scales=(TileScale(256, 128), TileScale(512, 256), TileScale(1024, 512)))
    assert [scale.factor for scale in options.scales] == [1.0, 0.5, 0.25]
    assert {options.tile_side(scale) for scale in options.scales} == {256}


def test_exclusions_concern_their_scale_only() -> None:
    options = TileOptions(scales=(TileScale(64, 64, exclude=("thumb",)), TileScale(128, 128)), min_side=64)
    assert {tile.scale for tile in plan_regions(256, 256, options, "my_thumb.jpg")[0].tiles} == {1}
    assert {tile.scale for tile in plan_regions(256, 256, options, "my.jpg")[0].tiles} == {0, 1}


def test_a_stereo_pair_is_cut_at_the_same_places_of_both_halves() -> None:
    options = TileOptions(scales=(TileScale(64, 32),), vertical_split=True, min_side=64)
    left, right = plan_regions(100, 321, options)
    assert (left.name, right.name) == ("left", "right")
    assert left.tiles == right.tiles
    assert right.left - left.left == 161
    assert right.left + right.width <= 321


def test_resize_only_gives_the_whole_square_once_a_scale() -> None:
    options = TileOptions(resize_only=True)
    tiles = plan_regions(600, 900, options)[0].tiles
    assert [(tile.top, tile.left, tile.crop, tile.side) for tile in tiles] == [(0, 0, 600, 256), (0, 0, 600, 256)]


def test_the_whole_of_an_image_is_cut_to_its_edges() -> None:
    options = TileOptions(scales=(TileScale(64, 48),), threshold=0, min_side=64, whole=True, reference_side=40)
    (region,) = plan_regions(100, 200, options)
    assert region.source_rectangle == (0, 0, 100, 200)
    covered = np.zeros((100, 200), bool)
    for tile in region.tiles:
        covered[tile.top : tile.top + 64, tile.left : tile.left + 64] = True
    assert covered.all()
    assert [tile.left for tile in region.tiles if tile.top == 0] == [0, 48, 96, 136]


def test_the_reference_of_what_is_not_square_has_black_around_it_and_centres_hold() -> None:
    options = TileOptions(scales=(TileScale(20, 20),), min_side=20, whole=True, reference_side=50)
    pixels = np.full((100, 200, 3), 40, np.uint8)
    region = plan_regions(100, 200, options)[0]
    for tile in region.tiles:
        lit = pixels.copy()
        lit[tile.top : tile.top + 20, tile.left : tile.left + 20] = 250
        reference = cut_reference(lit, options)
        assert reference.shape == (50, 50, 3)
        assert not reference[:12].any()
        assert not reference[37:].any()
        shown = np.argwhere(reference[..., 0] > 200)
        assert tuple(shown.mean(axis=0).round().astype(int)) in {tile.center, (tile.center[0] - 1, tile.center[1] - 1)}
        assert tile.size == 5


def test_a_huge_image_is_halved_until_it_fits_and_boxes_stay_exact() -> None:
    region = plan_regions(1201, 2403, TileOptions(scales=(TileScale(64, 64),), halve_above=700, min_side=64))[0]
    assert region.halvings == 2
    assert region.source_box(region.tiles[-1])[2] == 256


@pytest.mark.parametrize(("level", "dull"), [(0, True), (200, False)])
def test_flat_tiles_are_dull(level: int, dull: bool) -> None:
    tile = np.full((32, 32, 3), 40, np.uint8)
    tile[::2] += np.uint8(level)
    assert is_dull(tile, TileOptions(min_deviation=5.0)) is dull
    assert is_dull(tile, TileOptions(min_edges=2.0)) is dull
    assert not is_dull(tile, TileOptions())
    assert is_dull(tile[..., :1], TileOptions(min_deviation=5.0)) is dull


@pytest.mark.parametrize("mask_sides", [(150, 300), (75, 75)])
def test_a_mask_shows_the_source_or_the_square(mask_sides: tuple[int, int]) -> None:
    options = TileOptions(scales=(TileScale(50, 50),), min_side=50)
    region = plan_regions(150, 300, options)[0]
    mask = np.zeros(mask_sides, np.uint8)
    whole = mask_sides[0] != mask_sides[1]
    start = 75 if whole else 0
    mask[: mask_sides[0] // 3, start : start + (50 if whole else 25)] = 255
    kept = [tile[1:3] for tile in region.tiles if not is_masked_out(mask, region, tile, (150, 300))]
    assert kept == [(0, 0)]
    assert kept == [tile[1:3] for tile in region.tiles if not is_masked_out(mask // 255, region, tile, (150, 300))]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TileOptions(scales=()),
        lambda: TileScale(0, 1),
        lambda: TileScale(8, 0),
        lambda: TileScale(8, 8, 0.0),
        lambda: TileOptions(scales=(TileScale(8, 8, 0.01),)),
        lambda: TileOptions(threshold=-1),
        lambda: TileOptions(whole=True, resize_only=True),
    ],
)
def test_options_that_cannot_work_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["chunked_head_defaults", "chunked_readme"])
def test_the_original_extractor_s_counts_centres_and_sizes(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    if not path.exists():
        pytest.skip("no ../shared/data: outputs of the original are not here")
    record = json.loads(path.read_bytes())
    options = TileOptions(
        scales=tuple(
            TileScale(*values)
            for values in zip(
                record["opt"]["crop_sz"], record["opt"]["step"], record["opt"]["resize_final_img"], strict=True
            )
        ),
        threshold=record["opt"]["thres_sz"],
    )
    compared = 0
    for folder, found in record["folders"].items():
        source = next((GOLDEN / "raw").glob(folder.rsplit("_", 2)[0].removesuffix(".jpeg") + ".*"))
        with Image.open(source) as image:
            tiles = plan_regions(image.height, image.width, options)[0].tiles
        assert [[list(tile.center), tile.size] for tile in tiles] == list(found["centers"].values())
        files = {name: shape for name, shape in found["files"].items() if name != "ref.jpg"}
        assert [tile.side for tile in tiles] == [shape[0] for shape in files.values()]
        compared += len(tiles)
    assert compared > 50
