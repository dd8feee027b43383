"""A part of an image at two resolutions: the native core's is that of a full decode, and OpenCV's to within a level."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from unit.native.batches import needs_core

from imagemill import native
from imagemill.codecs import image as images
from imagemill.codecs.recoded import recode
from imagemill.core.sample import Encoded
from imagemill.datasets.pairs import cut_to, show_pair
from imagemill.datasets.pictures import as_pixels
from imagemill.errors import ConfigError, SampleError
from imagemill.native.pairs import MOST_SCALE, PairView, PictureBatch
from imagemill.testing.images import nasty_images, photo

KINDS = ("plain", "progressive", "grey", "turned", "profiled", "png", "recoded", "pixels")
LEVEL = 1 / 255


def value_of(kind: str, height: int = 141, width: int = 203) -> Any:
    """An image as a data set stores it."""
    image = Image.fromarray(photo(height, width, 3))
    if kind == "pixels":
        return np.asarray(image)
    file, options = io.BytesIO(), {"quality": 95, "progressive": kind == "progressive"}
    if kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6  # type: ignore[index]
    if kind == "profiled":
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if kind == "png":
        image.save(file, "PNG")
    else:
        (image.convert("L") if kind == "grey" else image).save(file, "JPEG", **options)
    return Encoded(recode(file.getvalue())[0] if kind == "recoded" else file.getvalue())


def pixels_of(value: Any) -> Any:
    return images.decode(value.data, mode="RGB") if isinstance(value, Encoded) else value


def wanted(value: Any, view: PairView) -> tuple[Any, Any]:
    """Both resolutions by OpenCV, float32 (H, W, 3)."""
    top, left, height, width = view.box
    part = pixels_of(value).astype(np.float32)[top : top + height, left : left + width] / 255
    part = np.ascontiguousarray(part[:, ::-1] if view.mirrored else part)
    if part.shape[:2] != view.size:
        part = cv2.resize(part, view.size[::-1], interpolation=cv2.INTER_AREA)
    high = part[: view.kept[0], : view.kept[1]]
    rows, columns = (side // (view.scale or 1) for side in view.kept)
    return high, high.reshape(rows, view.scale or 1, columns, view.scale or 1, 3).mean((1, 3))


VIEWS = {
    "whole": PairView((0, 0, 141, 203), (141, 203), (140, 200), scale=4),
    "part": PairView((3, 5, 98, 98), (98, 98), (98, 98), mirrored=True, scale=2),
    "odd": PairView((3, 5, 96, 99), (96, 99), (96, 99), scale=3),
    "smaller": PairView((3, 5, 120, 120), (64, 64), (64, 64), mirrored=True, scale=4),
    "cut": PairView((0, 0, 141, 141), (70, 70), (60, 60), scale=5),
    "thin": PairView((0, 0, 141, 203), (20, 203), (20, 200), scale=10),
    "no low one": PairView((1, 1, 130, 130), (130, 130), (130, 130)),
    "equal": PairView((1, 1, 130, 131), (130, 131), (130, 131), scale=1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_those_of_opencv(kind: str, view: PairView) -> None:
    if kind == "recoded" and not native.available():
        pytest.skip("the core recodes")
    value = value_of(kind, *((203, 141) if kind == "turned" else (141, 203)))
    pair = show_pair(value, "a", lambda height, width: view)
    high, low = wanted(value, view)
    assert pair.sides == (141, 203)
    assert pair.high.dtype == np.float32
    assert pair.high.shape == high.shape
    # Made smaller by the core they are levels; means of those are within a level, too.
    tolerance = LEVEL if view.size != view.box[2:] else 1e-6
    assert np.abs(pair.high - high).max() <= tolerance
    if not view.scale:
        assert pair.low is None
    else:
        assert pair.low is not None
        assert pair.low.shape == low.shape
        assert np.abs(pair.low - low).max() <= tolerance
        assert not np.shares_memory(pair.low, pair.high)


@pytest.mark.parametrize("kind", ["plain", "png", "pixels"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_without_the_core(kind: str, view: PairView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    value = value_of(kind)
    pair = show_pair(value, "a", lambda height, width: view, room=1)
    high, low = wanted(value, view)
    assert pair.high.shape == (*high.shape[:2], 4)
    assert np.abs(pair.high[..., :3] - high).max() < 1e-5
    assert pair.low is None or np.abs(pair.low[..., :3] - low).max() < 1e-5


def test_what_grows_and_what_is_very_small_are_for_opencv() -> None:
    value = value_of("plain")
    larger = PairView((0, 0, 141, 203), (282, 203), (282, 203))
    assert np.abs(show_pair(value, "a", lambda height, width: larger).high - wanted(value, larger)[0]).max() < 1e-5
    scale = MOST_SCALE + 1
    tiny = PairView((0, 0, 600, 600), (600, 600), (scale, scale), scale=scale)
    found = show_pair(np.full((600, 600, 3), 51, np.uint8), "a", lambda height, width: tiny).low
    assert found is not None
    assert found.ravel() == pytest.approx([0.2] * 3, abs=1e-4)


@needs_core
def test_the_largest_scale_sums_exactly() -> None:
    view = PairView((0, 0, 512, 512), (512, 512), (512, 512), scale=MOST_SCALE)
    found = show_pair(np.full((512, 512, 3), 255, np.uint8), "a", lambda height, width: view).low
    assert found is not None
    assert found.ravel() == pytest.approx([1.0] * 12)


@needs_core
@pytest.mark.parametrize(
    "view",
    [
        PairView((0, 0, 31, 40), (31, 40), (31, 40)),
        PairView((-1, 0, 20, 20), (20, 20), (20, 20)),
        PairView((0, 0, 20, 20), (21, 20), (20, 20)),
        PairView((0, 0, 20, 20), (20, 20), (21, 20)),
        PairView((0, 0, 20, 20), (20, 20), (20, 20), scale=3),
        PairView((0, 0, 20, 20), (20, 20), (0, 20)),
    ],
)
def test_the_core_is_given_no_view_that_it_cannot_show(view: PairView) -> None:
    assert not view.is_within((30, 40))


@needs_core
def test_the_core_takes_no_pixels_of_another_layout() -> None:
    for pixels in (np.zeros((8, 8, 4), np.uint8), np.zeros((8, 16, 3), np.uint8)[:, ::2], np.zeros((8, 8, 3), np.int8)):
        with pytest.raises(ConfigError, match="uint8"):
            PictureBatch([pixels], native.Profiles())


@pytest.mark.parametrize("kind", ["plain", "png"])
def test_damage_is_named(kind: str) -> None:
    data = value_of(kind).data
    for content in (data[: len(data) // 2], b"nothing", b""):
        with pytest.raises(SampleError) as caught:
            show_pair(Encoded(content), "a.jpg", lambda height, width: VIEWS["whole"])
        assert caught.value.key == "a.jpg"


def test_too_small_for_a_multiple() -> None:
    with pytest.raises(SampleError, match="3x3 holds no multiple of the sides"):
        show_pair(np.zeros((3, 3, 3), np.uint8), "a", lambda height, width: PairView((0, 0, 3, 3), (3, 3), (0, 0)))


def test_cut_to() -> None:
    assert cut_to((30, 47), 8) == (24, 40)
    assert cut_to((7, 8), 8) == (0, 8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", ["png-bomb", "jpeg-bomb"])
def test_a_bomb_in_a_folder_is_not_decoded(name: str, mode: str) -> None:
    with pytest.raises(SampleError, match="too-many-pixels"):
        as_pixels(Encoded(nasty_images()[name][0]), "x", mode)
