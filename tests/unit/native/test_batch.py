"""Batches of images: both ways give Pillow's picture, turned and flipped exactly, and name what they cannot use."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from unit.native.batches import BACKENDS, cases, error_of, jpegs, needs_core, one, random_box, resized, run

from imagemill import native
from imagemill.codecs import colour_map
from imagemill.codecs.batch import FLIP_LEFT_RIGHT, FLIP_UPSIDE_DOWN, decode_batch
from imagemill.codecs.image import decode, read_header
from imagemill.codecs.policy import turn
from imagemill.errors import ConfigError, SampleError
from imagemill.native import Status
from imagemill.testing.images import exif_block, grey_profile, nasty_images, photo, saved, stored, wide_gamut_profile

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def test_a_cut_at_its_own_size_is_the_same_rectangle_of_the_full_decode(backend: str) -> None:
    for name, data, rng in cases(12, 1):
        box = top, left, height, width = random_box(141, 203, rng)
        wanted = decode(data)[top : top + height, left : left + width]
        assert np.array_equal(one(data, box, (height, width), backend), wanted), (name, box)


@pytest.mark.parametrize("filter", ["box", "bilinear", "bicubic"])
def test_resized_as_pillow_does(backend: str, filter: str) -> None:
    for name, data, rng in cases(6, 2):
        box = random_box(141, 203, rng)
        size = int(rng.integers(1, 130)), int(rng.integers(1, 130))
        found = one(data, box, size, backend, filter=filter)
        assert error_of(found, resized(data, box, size, filter)) < 2, (name, box, size)


def test_large_cuts_are_shrunk_within_the_tolerance(backend: str) -> None:
    rng = np.random.default_rng(3)
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        data = saved(photo(640, 700, 4), "JPEG", quality=92, subsampling=sampling)
        for side in (24, 50, 120):
            box = int(rng.integers(0, 33)), int(rng.integers(0, 91)), 607, 609
            assert error_of(one(data, box, (side, side + 3), backend), resized(data, box, (side, side + 3))) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_exact(backend: str, orientation: int) -> None:
    """Turning the stored picture's own cut gives the same bytes: only the resize of 90° turns swaps its axes."""
    upright = photo(96, 144, 5)
    lying = saved(stored(upright, orientation), "JPEG", quality=95, subsampling="4:4:4", exif=exif_block(orientation))
    plain = saved(stored(upright, orientation), "JPEG", quality=95, subsampling="4:4:4")
    box = 11, 30, 50, 71
    assert np.array_equal(one(lying, box, (50, 71), backend), decode(lying)[11:61, 30:101])
    assert np.array_equal(one(plain, box, (50, 71), backend, orientations=orientation), decode(lying)[11:61, 30:101])
    small = one(lying, box, (30, 41), backend)
    assert error_of(small, resized(lying, box, (30, 41))) < 0.6
    whole = one(plain, (0, 0, *decode(plain).shape[:2]), decode(plain).shape[:2], backend)
    assert np.array_equal(one(lying, (0, 0, 96, 144), (96, 144), backend), turn(whole, orientation))


@pytest.mark.parametrize("size", [(37, 53), (2, 3)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_flips_are_exact(backend: str, orientation: int, size: tuple[int, int]) -> None:
    data = saved(photo(100, 160, 6), "JPEG", quality=90)
    box = 10, 20, 60, 70
    plain = one(data, box, size, backend, orientations=orientation)
    for flips, wanted in (
        (FLIP_LEFT_RIGHT, plain[:, ::-1]),
        (FLIP_UPSIDE_DOWN, plain[::-1]),
        (FLIP_LEFT_RIGHT | FLIP_UPSIDE_DOWN, plain[::-1, ::-1]),
    ):
        assert np.array_equal(one(data, box, size, backend, orientations=orientation, flips=flips), wanted)


@pytest.mark.parametrize("channels", [1, 3])
def test_both_layouts_hold_the_same_picture(backend: str, channels: int) -> None:
    data = list(jpegs().values())
    boxes = np.tile(np.array([[3, 5, 120, 180]], np.int32), (len(data), 1))
    flips = np.arange(len(data), dtype=np.uint8) % 4
    last = np.empty((len(data), 61, 47, channels), np.uint8)
    first = np.empty((len(data), channels, 61, 47), np.uint8)
    assert decode_batch(data, boxes, last, flips=flips, layout="NHWC", backend=backend) == {}
    assert decode_batch(data, boxes, first, flips=flips, layout="NCHW", backend=backend) == {}
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)


def test_grey_is_the_luma_of_the_colours(backend: str) -> None:
    for name, data in jpegs().items():
        found = one(data, (0, 0, 141, 203), (141, 203), backend, channels=1)
        wanted = decode(data, mode="L")
        assert np.abs(found.astype(int) - wanted).max() <= 1, name


def test_threads_change_nothing(backend: str) -> None:
    data = list(jpegs().values()) * 3
    boxes = [(i, 2 * i, 60 + i, 70 + i) for i in range(len(data))]
    alone, _ = run(data, boxes, (32, 33), backend, threads=1)
    for threads in (2, 5, 200):
        assert np.array_equal(run(data, boxes, (32, 33), backend, threads=threads)[0], alone)


def test_other_formats_and_profiles_come_out_as_the_codecs_show_them(backend: str) -> None:
    """Every file of the corpus, all of its rows: usable ones as `decode` has them, others for the same reason."""
    for name, (data, _) in nasty_images().items():
        height, width = sides_of(data)
        if height * width > 1_000_000:
            continue
        try:
            full = decode(data)
        except SampleError as error:
            out, errors = run([data], [(0, 0, height, width)], (4, 4), backend)
            assert errors[0].reason == error.reason, name
            assert not out.any(), name
        else:
            off = np.abs(one(data, (0, 0, height, width), (height, width), backend) - full.astype(int))
            assert off.max() <= ("icc" in name), name  # the core's colours may be a level off Pillow's engine


def sides_of(data: bytes) -> tuple[int, int]:
    """(height, width) that a header announces, 1 x 1 where it cannot be read."""
    try:
        return read_header(data).sides
    except SampleError:
        return 1, 1


def test_colour_profiles_are_applied(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core's colours may be a level off those of Pillow's colour engine."""
    monkeypatch.setattr(colour_map, "_known", native.Profiles())
    data = saved(photo(80, 90, 7), "JPEG", quality=95, icc_profile=wide_gamut_profile())
    wanted = decode(data).astype(int)
    found = one(data, (0, 0, 80, 90), (80, 90), backend)
    assert np.abs(found - wanted).max() <= 1
    assert np.array_equal(one(data, (0, 0, 80, 90), (80, 90), backend), found), "nor does it matter that it is known"
    assert (wanted != np.asarray(Image.open(io.BytesIO(data)))).mean() > 0.5
    assert error_of(one(data, (5, 7, 60, 70), (30, 35), backend), resized(data, (5, 7, 60, 70), (30, 35))) < 1


def test_bad_images_are_named_and_the_others_are_there(backend: str) -> None:
    good = saved(photo(90, 120, 8), "JPEG", quality=90)
    scan = good.index(b"\xff\xda") + 40
    damaged = good[:scan] + b"\xff\xd9" + good[scan + 2 :]
    data = [good, good[:-500], damaged, b"", b"no image", good, saved(photo(90, 120, 8), "PNG")]
    out, errors = run(data, [(0, 0, 90, 120)] * len(data), (45, 60), backend, threads=2)
    assert {position: error.reason for position, error in errors.items()} == {
        1: "truncated",
        2: "corrupt",
        3: "empty-file",
        4: "not-an-image",
    }
    assert not out[[1, 2, 3, 4]].any()
    assert np.array_equal(out[0], out[5])
    assert error_of(out[0], resized(good, (0, 0, 90, 120), (45, 60))) < 2
    assert out[6].any()


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 91, 5), (0, 0, 5, 121), (86, 0, 5, 5), (0, 0, 0, 5), (2**31 - 1, 0, 2**31 - 1, 1)]
)
def test_a_box_outside_the_image_is_an_error_of_that_image(backend: str, box: tuple[int, int, int, int]) -> None:
    good = saved(photo(90, 120, 8), "JPEG")
    out, errors = run([good, good], [box, (0, 0, 90, 120)], (8, 8), backend)
    assert list(errors) == [0]
    assert errors[0].reason == "bad-value"
    assert "90 rows x 120" in errors[0].detail
    assert not out[0].any()
    assert out[1].any()


def test_too_many_pixels(backend: str) -> None:
    good = saved(photo(90, 120, 8), "JPEG")
    _, errors = run([good], [(0, 0, 9, 9)], (8, 8), backend, max_pixels=90 * 120 - 1)
    assert errors[0].reason == "too-many-pixels"
    assert run([good], [(0, 0, 9, 9)], (8, 8), backend, max_pixels=90 * 120)[1] == {}


def test_any_buffer_will_do(backend: str) -> None:
    data = saved(photo(40, 50, 9), "JPEG")
    signed = memoryview(np.frombuffer(data, np.int8))
    out, errors = run([data, memoryview(data), signed], [(0, 0, 40, 50)] * 3, (20, 25), backend)  # type: ignore[list-item]
    assert errors == {}
    assert np.array_equal(out[0], out[1])
    assert np.array_equal(out[0], out[2])


def test_an_empty_batch(backend: str) -> None:
    assert decode_batch([], np.empty((0, 4), np.int32), np.empty((0, 3, 4, 4), np.uint8), backend=backend) == {}


def test_arguments_that_do_not_fit_are_refused(backend: str) -> None:
    data = [saved(photo(40, 50, 9), "JPEG")]
    boxes = np.array([[0, 0, 40, 50]], np.int32)
    out = np.zeros((1, 3, 8, 8), np.uint8)
    frozen = out.copy()
    frozen.flags.writeable = False
    wrong = [
        {"boxes": boxes.astype(np.int64)},
        {"boxes": boxes[:, :3]},
        {"boxes": np.tile(boxes, (2, 1))},
        {"out": out.astype(np.int8)},
        {"out": out[0]},
        {"out": out[:, :, ::2]},
        {"out": np.zeros((1, 2, 8, 8), np.uint8)},
        {"out": np.zeros((2, 3, 8, 8), np.uint8)},
        {"out": np.zeros((1, 3, 0, 8), np.uint8)},
        {"out": frozen},
        {"layout": "NHWC"},
        {"layout": "CHW"},
        {"filter": "lanczos"},
        {"flips": np.zeros(2, np.uint8)},
        {"orientations": np.zeros(1, np.int64)},
        {"threads": 0},
        {"threads": 5000},
    ]
    for change in wrong:
        with pytest.raises(ConfigError):
            decode_batch(**{"data": data, "boxes": boxes, "out": out, "backend": backend, **change})  # type: ignore[arg-type]
    assert not out.any()


@needs_core
def test_a_known_profile_is_no_detour(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles are looked at once; those that are no three curves and a matrix stay with Pillow."""
    monkeypatch.setattr(colour_map, "_known", native.Profiles())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = [saved(photo(40, 50, 9), "JPEG", icc_profile=profile) for profile in (srgb, wide_gamut_profile(), lab)]
    boxes = np.array([[0, 0, 40, 50]] * 3, np.int32)
    out = np.empty((3, 3, 40, 50), np.uint8)
    before = native.decode_batch(data, boxes, out)
    assert before.statuses.tolist() == [Status.PROFILE] * 3
    assert decode_batch(data, boxes, out, backend="native") == {}
    after = native.decode_batch(data, boxes, out, profiles=colour_map.known_profiles())
    assert after.statuses.tolist() == [Status.DONE, Status.DONE, Status.PROFILE]
    assert np.array_equal(out[0].transpose(1, 2, 0), decode(data[0]))
    grey = saved(Image.fromarray(photo(40, 50, 9)).convert("L"), "JPEG", icc_profile=wide_gamut_profile())
    outcome = native.decode_batch([grey], boxes[:1], out[:1], profiles=colour_map.known_profiles())
    assert outcome.statuses.tolist() == [Status.PROFILE], "a profile of colours in a grey picture"


@needs_core
def test_a_profile_of_greys_is_no_detour(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour_map, "_known", native.Profiles())
    colours = Image.fromarray(photo(40, 50, 9))
    grey, misfit = (saved(each, "JPEG", icc_profile=grey_profile()) for each in (colours.convert("L"), colours))
    boxes = np.array([[0, 0, 40, 50]] * 2, np.int32)
    out = np.empty((2, 3, 40, 50), np.uint8)
    assert decode_batch([grey, misfit], boxes, out, backend="native") == {}
    assert np.abs(out.transpose(0, 2, 3, 1).astype(int) - [decode(each) for each in (grey, misfit)]).max() <= 1
    found = native.decode_batch([grey, misfit], boxes, out, profiles=colour_map.known_profiles())
    assert found.statuses.tolist() == [Status.DONE, Status.PROFILE], "a profile of greys in a picture of colours"
