"""The transform of hpc_pytorch_loader, put right."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.errors import ConfigError
from imagemill.transforms.resize_and_convert import MODES, ResizeAndConvert


def photo(height: int = 40, width: int = 60) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    array = np.stack([rows * 6, columns * 4, 255 - rows * 3 - columns], axis=2)
    return Image.fromarray(array.astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "YCbCr"])
def test_it_is_convert_then_resize(mode: str) -> None:
    expected = np.asarray(photo().convert(mode).resize((30, 20), Image.Resampling.BICUBIC))
    assert np.array_equal(ResizeAndConvert((20, 30), mode)(photo()), expected.reshape(20, 30, -1))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_writable_uint8_of_the_size(mode: str) -> None:
    channels = {"RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3, "RGBA": 4, "CMYK": 4}.get(mode, 1)
    pixels = ResizeAndConvert((7, 9), mode)(photo())
    assert (pixels.dtype, pixels.shape) == (np.uint8, (7, 9, channels))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("mode", ["L", "I", "F"])
def test_deep_images_are_scaled_not_wrapped(mode: str) -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8))
    pixels = ResizeAndConvert(8, mode)(deep)[:, :, 0]
    assert np.array_equal(pixels.ravel(), np.rint(np.linspace(0, 65535, 64).astype(np.uint16) / 257))
    floats = ResizeAndConvert(8, mode)(Image.fromarray(np.linspace(-2, 5, 64, dtype=np.float32).reshape(8, 8)))
    assert (floats.min(), floats.max()) == (0, 255)
    assert (np.diff(floats.ravel().astype(int)) >= 0).all()


def test_overshoot_does_not_wrap() -> None:
    edge = Image.fromarray(np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 4, axis=0))
    for mode in ("L", "I", "F"):
        row = ResizeAndConvert((16, 16), mode)(edge)[0, :, 0].astype(int)
        assert (np.diff(row) >= 0).all()
        assert (row[0], row[-1]) == (0, 255)


def test_bits_are_0_and_255() -> None:
    assert set(np.unique(ResizeAndConvert(20, "1")(photo()))) == {0, 255}


def test_transparency_lies_over_white_unless_asked_for() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (ResizeAndConvert(8, "RGB")(clear) == 255).all()
    assert (ResizeAndConvert(8, "RGBA")(clear)[:, :, 3] == 0).all()


def test_palettes_are_expanded() -> None:
    assert np.abs(ResizeAndConvert(40)(photo().quantize()).astype(int) - ResizeAndConvert(40)(photo())).mean() < 6


@pytest.mark.parametrize(
    ("colour", "lab"), [((255, 255, 255), (255, 128, 128)), ((0, 0, 0), (0, 128, 128)), ((0, 255, 0), (224, 49, 209))]
)
def test_lab_is_unsigned_with_128_as_neutral(colour: tuple[int, ...], lab: tuple[int, ...]) -> None:
    # sRGB green is L* 87.8, a* -79.3, b* 81.0 under D50.
    found = ResizeAndConvert(4, "LAB")(Image.new("RGB", (8, 8), colour))[2, 2].astype(int)
    assert np.abs(found - lab).max() <= 1


def test_hues_are_not_averaged_over_the_turn() -> None:
    reds = np.zeros((8, 8, 3), np.uint8)
    reds[:, :, 0] = 255
    reds[:, ::2, 1] = 12
    reds[:, 1::2, 2] = 12
    hues = ResizeAndConvert(4, "HSV")(Image.fromarray(reds))[:, :, 0].astype(int)
    assert (np.minimum(hues, 255 - hues) < 8).all(), "between two reds on both sides of 0 lies red, not cyan"


def test_the_input_is_left_alone() -> None:
    image = photo().quantize()
    before = image.tobytes()
    ResizeAndConvert(5)(image)
    assert (image.mode, image.size, image.tobytes()) == ("P", (60, 40), before)


def test_it_pickles_prints_and_compares() -> None:
    transform = imagemill.ResizeAndConvert(size=(2, 3), mode="L")
    assert repr(transform) == "ResizeAndConvert(size=(2, 3), mode='L')"
    assert pickle.loads(pickle.dumps(transform)) == transform == ResizeAndConvert([2, 3], "L")
    assert hash(transform) != hash(ResizeAndConvert(2, "L"))
    assert ResizeAndConvert(4).size == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "above 0"),
        (((1, 2, 3),), "height, width"),
        (((2.5, 3),), "height, width"),
        ((8, "P"), "palette"),
        ((8, "rgb"), "known: 1, L"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResizeAndConvert(*arguments)


def test_only_pillow_images() -> None:
    with pytest.raises(ConfigError, match="put it first"):
        ResizeAndConvert(8)(np.zeros((4, 4, 3), np.uint8))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "side", "mode"), [("memmap", 64, "RGB"), ("memmap_L", 32, "L")])
def test_it_makes_what_the_original_made(name: str, side: int, mode: str, shared_data: Path) -> None:
    golden = shared_data / "golden" / "hpc"
    files = sorted((golden / "input").glob("*/*"), key=lambda path: (path.parent.name, path.name))
    stored = [np.fromfile(golden / name / "images" / f"images_{number}.npy", np.uint8) for number in range(3)]
    expected = np.concatenate(stored).reshape(len(files), side, side, -1)
    transform = ResizeAndConvert(side, mode)
    for file, pixels in zip(files, expected, strict=True):
        with Image.open(file) as image:
            # As torchvision's ImageFolder opens it, which is what the original was given.
            assert np.array_equal(transform(image.convert("RGB")), pixels)
