"""Our own decoder of JPEGs gives libjpeg-turbo's pixels, bit by bit, or hands the file back."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from unit.native.batches import jpegs, needs_core
from unit.native.jpeg_writer import random_jpeg

from imagemill.native import Status, read_jpeg
from imagemill.testing.images import photo, saved

pytestmark = needs_core
DATA = Path(__file__).parents[4] / "shared" / "data"
SHRINKS = (1, 2, 4, 8)
Box = tuple[int, int, int, int]


def pixels(data: bytes, box: Box, shrink: int, decoder: str) -> npt.NDArray[np.uint8]:
    status, out = read_jpeg(data, box, shrink=shrink, decoder=decoder)
    assert status is Status.DONE
    return out[..., :3]


def random_box(rng: random.Random, height: int, width: int) -> Box:
    top, left = rng.randrange(height), rng.randrange(width)
    return top, left, rng.randint(1, height - top), rng.randint(1, width - left)


def check(data: bytes, sides: tuple[int, int], rng: random.Random, *, boxes: int = 3, name: object = "") -> None:
    """The whole picture and parts of it at every size."""
    for shrink in SHRINKS:
        height, width = (-(-side // shrink) for side in sides)
        whole = pixels(data, (0, 0, height, width), shrink, "libjpeg")
        assert np.array_equal(pixels(data, (0, 0, height, width), shrink, "own"), whole), (name, shrink)
        for _ in range(boxes):
            top, left, h, w = box = random_box(rng, height, width)
            part = pixels(data, box, shrink, "own")
            assert np.array_equal(part, whole[top : top + h, left : left + w]), (name, shrink, box)


def samplings() -> list[list[tuple[int, int]]]:
    """Factors of three components that libjpeg-turbo takes: each divides the largest, ten blocks in all."""
    usual = [
        [(2, 2), (1, 1), (1, 1)],
        [(2, 1), (1, 1), (1, 1)],
        [(1, 2), (1, 1), (1, 1)],
        [(4, 1), (1, 1), (1, 1)],
        [(1, 4), (1, 1), (1, 1)],
        [(4, 2), (1, 1), (1, 1)],
        [(2, 4), (1, 1), (1, 1)],
        [(1, 1), (2, 2), (1, 2)],
        [(3, 1), (1, 1), (3, 1)],
        [(1, 3), (1, 1), (1, 1)],
        [(4, 1), (2, 1), (1, 1)],
    ]
    factors = [(a, d) for a in (1, 2) for d in (1, 2)]
    return usual + [list(each) for each in itertools.product(factors, repeat=3) if sum(a * d for a, d in each) <= 10]


def test_every_sampling_at_every_size_whole_and_in_parts() -> None:
    rng = random.Random(1)
    for factors in samplings():
        sides = rng.randrange(1, 70), rng.randrange(1, 90)
        interval = rng.choice((0, 0, 1, 3))
        data = random_jpeg(rng, sides, factors, restart_interval=interval, rgb=rng.random() < 0.2)
        check(data, sides, rng, name=(factors, sides))


def test_the_smallest_sides() -> None:
    rng = random.Random(2)
    for factors in ([(2, 2), (1, 1), (1, 1)], [(2, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)], [(1, 1)], [(2, 2)]):
        for sides in itertools.product((1, 2, 3, 4, 5, 6, 17), repeat=2):
            data = random_jpeg(rng, sides, factors)
            check(data, sides, rng, boxes=1, name=(factors, sides))


def test_values_that_overflow() -> None:
    """Where sums wrap around and results saturate is part of what libjpeg-turbo's vector code gives."""
    rng = random.Random(3)
    for amplitude in (60.0, 400.0, 3000.0, 20000.0):
        for factors in ([(2, 2), (1, 1), (1, 1)], [(1, 1)]):
            data = random_jpeg(rng, (40, 72), factors, amplitude=amplitude)
            check(data, (40, 72), rng, boxes=1, name=(factors, amplitude))


def test_photographs_of_every_kind() -> None:
    rng = random.Random(4)
    sequential = {name: data for name, data in jpegs().items() if "progressive" not in name and "CMYK" not in name}
    sequential["optimised"] = saved(photo(141, 203), "JPEG", quality=95, optimize=True)
    sequential["worst quality"] = saved(photo(141, 203), "JPEG", quality=1)
    sequential["best quality"] = saved(photo(141, 203), "JPEG", quality=100, subsampling="4:4:4")
    sequential["restart rows"] = saved(photo(141, 203), "JPEG", quality=80, restart_marker_rows=1)
    for name, data in sequential.items():
        check(data, (141, 203), rng, boxes=12, name=name)
        assert np.array_equal(pixels(data, (0, 0, 141, 203), 1, "own"), simplejpeg.decode_jpeg(data, "RGB")), name


def test_wide_pictures() -> None:
    """More data than one window of the bit reader, and rows of many MCUs."""
    rng = random.Random(5)
    data = saved(photo(90, 3001), "JPEG", quality=98)
    check(data, (90, 3001), rng)


def test_libjpeg_takes_what_is_not_ours() -> None:
    for name, data in jpegs().items():
        status, _ = read_jpeg(data, (3, 4, 50, 60), decoder="own")
        wanted = Status.ELSEWHERE if "progressive" in name or "CMYK" in name else Status.DONE
        assert status is wanted, name
        assert read_jpeg(data, (3, 4, 50, 60))[0] is Status.DONE, name


def test_real_photographs() -> None:
    files = sorted(path for path in DATA.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        pytest.skip("no ../shared/data")
    rng = random.Random(6)
    for path in rng.sample(files, 40):
        data = path.read_bytes()
        if read_jpeg(data, (0, 0, 1, 1), decoder="own")[0] is not Status.ELSEWHERE:
            check(data, simplejpeg.decode_jpeg_header(data)[:2], rng, boxes=1, name=path.name)


def scan_start(data: bytes) -> int:
    """Where the entropy-coded data begin."""
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


def test_damage_is_handed_back_or_is_what_libjpeg_makes_of_it() -> None:
    rng = random.Random(7)
    originals = [random_jpeg(rng, (60, 70), [(2, 2), (1, 1), (1, 1)], restart_interval=n) for n in (0, 2)]
    originals += [saved(photo(60, 70), "JPEG", quality=90, optimize=optimize) for optimize in (False, True)]
    taken = 0
    for _ in range(1500):
        original = rng.choice(originals)
        content = bytearray(original)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(scan_start(original) if rng.random() < 0.8 else 2, len(content) - 2)
            content[place] = rng.choice((0, 0xFF, 0xD9, 0xD1, rng.randrange(256)))
        data = bytes(content)
        status, found = read_jpeg(data, (0, 0, 60, 70), decoder="own")
        if status is Status.DONE:
            taken += 1
            status, wanted = read_jpeg(data, (0, 0, 60, 70), decoder="libjpeg")
            assert status is Status.DONE
            assert np.array_equal(found[..., :3], wanted[..., :3])
    assert 50 < taken < 1450


def test_missing_and_surplus_data() -> None:
    rng = random.Random(8)
    for interval in (0, 2):
        data = random_jpeg(rng, (64, 64), [(1, 1)], restart_interval=interval)
        start = scan_start(data)
        for cut in (1, 2, 5, 30, len(data) - start - 3):
            short = data[: len(data) - 2 - cut] + b"\xff\xd9"
            assert read_jpeg(short, (0, 0, 64, 64), decoder="own")[0] is Status.DOUBTFUL, (interval, cut)
        more = data[:-2] + b"\x12\x34" + data[-2:]
        assert read_jpeg(more, (0, 0, 64, 64), decoder="own")[0] is Status.DONE  # libjpeg does not look there either
    marked = random_jpeg(rng, (64, 64), [(1, 1)], restart_interval=2)
    place = marked.index(b"\xff\xd2")
    for wrong in (b"\xff\xd3", b"\x55\xff\xd2", b"\xff\xd2\xff\xd2"):
        damaged = marked[:place] + wrong + marked[place + 2 :]
        assert read_jpeg(damaged, (0, 0, 64, 64), decoder="own")[0] is Status.DOUBTFUL, wrong
    filled = marked[:place] + b"\xff\xff\xff\xd2" + marked[place + 2 :]
    assert np.array_equal(pixels(filled, (0, 0, 64, 64), 1, "own"), pixels(marked, (0, 0, 64, 64), 1, "libjpeg"))
    stuffed = data.index(b"\xff\x00", scan_start(data))
    doubled = data[:stuffed] + b"\xff" + data[stuffed:]
    assert read_jpeg(doubled, (0, 0, 64, 64), decoder="own")[0] is Status.DOUBTFUL
