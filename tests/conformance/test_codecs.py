"""Every case of the corpus: the verdict that a full inspection gives, and what the pixels look like."""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from imagemill.codecs.image import MODES, decode, decode_mask, decode_pil, read_header, verify
from imagemill.curate.inspect import Limits, inspect
from imagemill.errors import REASONS, SampleError
from imagemill.testing.images import HEIGHT, WIDTH, blocks, nasty_images, photo

CORPUS = nasty_images()
GOOD = [name for name, (_, expected) in CORPUS.items() if expected == "ok"]
BAD = [name for name, (_, expected) in CORPUS.items() if expected != "ok"]
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "HSV": 3}


def test_the_corpus_is_what_it_claims_to_be() -> None:
    assert len(GOOD) > 120
    assert len(BAD) > 50
    assert {expected for _, expected in CORPUS.values()} - {"ok"} <= set(REASONS)
    again = nasty_images.__wrapped__()
    assert list(again) == list(CORPUS)
    assert [name for name in CORPUS if again[name] != CORPUS[name] and name != "avif-animated"] == []


@pytest.mark.parametrize("name", GOOD)
def test_a_good_image_passes_and_decodes(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = CORPUS[name][0]
    header = inspect(data, Limits(), full=True).header
    pixels = decode(data)
    assert pixels.shape == (*header.sides, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.array_equal(np.asarray(decode_pil(data)), pixels)
    signed = memoryview(data).cast("b")  # as Arrow shows bytes
    for view in (memoryview(data), signed):
        assert np.array_equal(decode(view), pixels)
        assert read_header(view) == header
        assert verify(view, header) == verify(data, header)
        assert decode_mask(view).shape[:2] == header.sides
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_gets_its_reason(name: str) -> None:
    data, expected = CORPUS[name]
    for view in (data, memoryview(data).cast("b")):
        with pytest.raises(SampleError) as caught:
            inspect(view, Limits(), full=True)
        assert caught.value.reason == expected
        assert caught.value.detail


@pytest.mark.parametrize("name", [name for name in BAD if not re.search("bomb|lying|later", name)])
def test_decoding_a_bad_image_is_a_reject_too(name: str) -> None:
    for function in (decode, decode_mask):
        if function is decode_mask and name.startswith("npy"):
            continue
        with pytest.raises(SampleError):
            function(CORPUS[name][0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["jpeg-420", "jpeg-grey", "jpeg-cmyk", "jpeg-icc-wide", "png-alpha", "png-16-bit", "npy-grey"]
)
def test_every_mode_of_every_kind(name: str, mode: str) -> None:
    data = CORPUS[name][0]
    sides = read_header(data).sides
    pixels = decode(data, mode=mode)
    assert pixels.shape == (*sides, _CHANNELS[mode])
    image = decode_pil(data, mode)
    assert image.mode == mode
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    part = decode(data, mode=mode, roi=(3, 5, 20, 30))
    assert np.array_equal(part, pixels[3:23, 5:35])
    assert decode(data, mode=mode, roi=(3, 5, 20, 30), size=(7, 11), filter="box").shape == (7, 11, _CHANNELS[mode])


@pytest.mark.parametrize("name", [name for name in GOOD if re.search(r"orientation-\d$", name)])
def test_every_orientation_is_seen_upright(name: str) -> None:
    data = CORPUS[name][0]
    upright = blocks() if name.startswith("jpeg") else photo(HEIGHT, WIDTH, 4)
    pixels = decode(data).astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels - upright).max() <= (2 if name.startswith("jpeg") else 0)
    assert np.array_equal(decode_mask(data), pixels)
    assert read_header(data).sides == (HEIGHT, WIDTH)
    assert read_header(data).orientation == int(name[-1])
    region = decode(data, roi=(1, 2, 30, 50))
    assert np.array_equal(region, pixels[1:31, 2:52])


def test_an_orientation_behind_the_pixels_counts_and_a_senseless_one_does_not() -> None:
    assert np.array_equal(decode(CORPUS["png-orientation-late"][0]), photo(HEIGHT, WIDTH, 4))
    assert read_header(CORPUS["jpeg-orientation-99"][0]).orientation == 1


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("jpeg-420", ()),
        ("jpeg-progressive", ()),
        ("jpeg-grey", ("grey",)),
        ("jpeg-cmyk", ("cmyk",)),
        ("jpeg-orientation-6", ("orientation=6",)),
        ("jpeg-icc-wide", ("icc",)),
        ("jpeg-icc-srgb", ()),
        ("jpeg-cmyk-icc-rgb", ("icc", "cmyk")),
        ("jpeg-mpo", ()),
        ("png-1-bit", ("bits=1", "grey")),
        ("png-16-bit", ("bits=16", "grey")),
        ("png-16-bit-rgb", ("bits=16",)),
        ("png-palette-4-bit", ("palette",)),
        ("png-palette-alpha", ("alpha", "palette")),
        ("png-alpha-icc-wide", ("icc", "alpha")),
        ("gif-animated", ("palette", "frames=3")),
        ("png-animated", ("frames=3",)),
        ("tiff-pages", ("frames=3",)),
        ("tiff-float", ("bits=32", "grey")),
    ],
)
def test_notes_say_what_the_policy_does(name: str, notes: tuple[str, ...]) -> None:
    assert read_header(CORPUS[name][0]).notes() == notes


def test_a_reject_says_what_the_bytes_look_like() -> None:
    details = {}
    for name in ("html", "pdf", "zip", "text", "json", "zeros", "video", "git-lfs", "eps", "heic", "svg"):
        with pytest.raises(SampleError) as caught:
            read_header(CORPUS[name][0])
        details[name] = caught.value.detail
    words = ("HTML", "PDF", "zip", "text", "JSON", "zero", "video", "lfs", "EPS", "HEIF", "SVG")
    assert all(word in detail for word, detail in zip(words, details.values(), strict=True)), details


def test_a_format_that_runs_an_interpreter_is_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin  # registers itself

    def run(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    with pytest.raises(SampleError, match="EPS"):
        decode(CORPUS["eps"][0])


def test_settings_of_pillow_are_as_before_and_only_held_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 77)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(SampleError, match="truncated"):
        decode(CORPUS["bmp-truncated"][0])
    decode(CORPUS["bmp"][0])
    assert Image.MAX_IMAGE_PIXELS == 77
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_threads_do_not_disturb_each_other() -> None:
    names = [name for name in GOOD if re.match("jpeg-4|jpeg-icc|png-|tiff-|gif-", name)]
    expected = {name: decode(CORPUS[name][0]) for name in names}
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda name: (name, decode(CORPUS[name][0])), names * 6))
    assert all(np.array_equal(pixels, expected[name]) for name, pixels in results)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
