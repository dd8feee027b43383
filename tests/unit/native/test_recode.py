"""JPEGs come back from their recoded form byte for byte, whatever their sampling, tables, scans and restarts are."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from unit.native.batches import jpegs, needs_core, random_box
from unit.native.jpeg_writer import ONE_SCAN, PROGRESSIVE_SCANS, SCANS_APART, Scan, outline, random_jpeg

from imagemill import native
from imagemill.codecs.batch import decode_batch
from imagemill.codecs.image import read_header
from imagemill.codecs.jpeg_scans import frame_of, write_jpeg
from imagemill.codecs.recoded_python import restore_slowly
from imagemill.native.recode import recode, restore
from imagemill.testing.images import exif_block, photo, saved, wide_gamut_profile

pytestmark = needs_core
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def more_jpegs() -> dict[str, bytes]:
    """Sides, tables and segments that `jpegs` has not."""
    made = {
        f"{width}x{height}": saved(photo(height, width), "JPEG", quality=85)
        for width, height in ((1, 1), (8, 8), (16, 17), (700, 33), (1100, 20), (9, 600))
    }
    for quality in (1, 30, 75, 100):
        made[f"quality {quality}"] = saved(photo(97, 121), "JPEG", quality=quality)
    made["optimised"] = saved(photo(97, 121), "JPEG", quality=90, optimize=True)
    made["exif and profile"] = saved(photo(97, 121), "JPEG", exif=exif_block(6), icc_profile=wide_gamut_profile())
    made["flat"] = saved(np.full((64, 64, 3), 200, np.uint8), "JPEG")
    made["black, grey"] = saved(Image.new("L", (40, 24)), "JPEG")
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    made["noise"] = saved(noise, "JPEG", quality=100, subsampling="4:4:4")
    made["progressive noise"] = saved(noise, "JPEG", quality=100, progressive=True)
    made["trailing bytes"] = saved(photo(50, 60), "JPEG") + b"anything at all" * 9
    made["4:4:0"] = simplejpeg.encode_jpeg(photo(50, 61), 80, "RGB", "440")
    made["comment"] = saved(photo(50, 60), "JPEG", comment=b"said " * 40)
    return made


CASES = {**jpegs(), **more_jpegs()}
each_coding = pytest.mark.parametrize("compact", [False, True], ids=["fast", "compact"])


@each_coding
@pytest.mark.parametrize("name", [name for name in CASES if "CMYK" not in name])
def test_the_same_bytes_come_back(name: str, compact: bool) -> None:
    data = CASES[name]
    recoded, why = recode(data, compact=compact)
    assert why == ""
    assert restore(recoded) == data


@pytest.mark.parametrize("name", [name for name in CASES if "CMYK" not in name])
def test_one_coding_becomes_the_other(name: str) -> None:
    fast, compact = (recode(CASES[name], compact=compact)[0] for compact in (False, True))
    assert fast != compact
    assert recode(fast, compact=True) == (compact, "")
    assert recode(compact) == (fast, "")


@each_coding
@pytest.mark.parametrize("amplitude", [1.0, 6.0, 40.0, 400.0, 3000.0])
def test_any_coefficients_come_back(amplitude: float, compact: bool) -> None:
    rng = random.Random(int(amplitude))
    for factors in ([(1, 1)], *([largest, (1, 1), (1, 1)] for largest in ((1, 1), (2, 2), (4, 1), (1, 2)))):
        sides = (rng.randrange(1, 90), rng.randrange(1, 150))
        data = random_jpeg(rng, sides, factors, amplitude=amplitude, restart_interval=rng.randrange(3))
        recoded, why = recode(data, compact=compact)
        assert why == ""
        assert restore(recoded) == data == restore_slowly(recoded, max_pixels=native.MAX_PIXELS)


@each_coding
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("scans", [ONE_SCAN, SCANS_APART, PROGRESSIVE_SCANS], ids=["one", "apart", "progressive"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.9])
def test_any_scans_come_back(scans: list[Scan], density: float, padding: int, compact: bool) -> None:
    """With fill and stray bytes, restart intervals that change, and any run of blocks."""
    rng = np.random.default_rng(0)
    for factors in ([(2, 2), (1, 1), (1, 1)], [(1, 2), (2, 1), (1, 1)], [(1, 1), (1, 1), (3, 1)]):
        between = [b"\xff\xff\xff\xdd\0\4\0" + bytes([rng.integers(0, 4)]) for _ in scans]
        frame = outline((61, 83), factors, scans, between=between, end=b"\xff\0\xff")
        blocks = [np.zeros((part.high, part.wide, 64), np.int16) for part in frame_of(frame).components]
        for part, its in zip(frame_of(frame).components, blocks, strict=True):
            own = its[: part.own_high, : part.own_wide]  # what lies outside is in no scan of one component
            own[:] = rng.integers(-9, 10, own.shape) * (rng.random(own.shape) < density)
        data = write_jpeg(frame, blocks, padding=padding)
        recoded, why = recode(data, compact=compact)
        assert why == ""
        assert restore(recoded) == data == restore_slowly(recoded, max_pixels=native.MAX_PIXELS)


@each_coding
@pytest.mark.parametrize("name", [name for name in CASES if "CMYK" not in name])
def test_pixels_are_those_of_the_jpeg(name: str, compact: bool) -> None:
    """Of any box, at any reduction, whatever is told of profiles."""
    data = CASES[name]
    recoded, _ = recode(data, compact=compact)
    header = read_header(data)
    rng = np.random.default_rng(0)
    boxes = np.array([(0, 0, *header.sides), *(random_box(*header.sides, rng) for _ in range(11))], np.int32)
    for size in ((33, 20), (5, 4), (200, 160)):
        found = [np.empty((len(boxes), *size, 3), np.uint8) for _ in range(2)]
        for item, out in zip((data, recoded), found, strict=True):
            assert decode_batch([item] * len(boxes), boxes, out, layout="NHWC", backend="native") == {}
        assert np.array_equal(*found)


def test_they_are_little_larger() -> None:
    data = saved(photo(400, 500), "JPEG", quality=90)
    assert len(recode(data, compact=True)[0]) < len(recode(data)[0]) < 1.05 * len(data)


def test_coding_that_nobody_would_repeat_is_normalised() -> None:
    """A file whose last bits are filled up otherwise: its coefficients come back, in a JPEG of the same pixels."""
    data = bytearray(saved(photo(60, 60), "JPEG", quality=70, restart_marker_blocks=1))
    fills = [at for at in range(len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    odd = [at for at in fills if data[at - 1] & 3 == 3 and data[at - 1] != 0xFF]
    data[odd[0] - 1] &= 0xFE
    recoded, why = recode(bytes(data))
    assert why == ""
    back = restore(recoded)
    assert back is not None
    assert back != data
    assert np.array_equal(simplejpeg.decode_jpeg(back), simplejpeg.decode_jpeg(bytes(data)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not-jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not-jpeg"),
        (CASES["baseline CMYK"], "cmyk"),
        (CASES["baseline 4:2:0"][:2000], "damaged"),
        (CASES["baseline 4:2:0"][:100], "truncated"),
    ],
)
def test_reasons(data: bytes, reason: str) -> None:
    assert recode(data) == (b"", reason)


def test_large_pictures_are_left() -> None:
    assert recode(CASES["baseline grey"], max_pixels=1000) == (b"", "too-large")
    assert restore(recode(CASES["baseline grey"])[0], max_pixels=1000) is None


@each_coding
def test_any_flipped_byte_is_noticed(compact: bool) -> None:
    recoded = recode(saved(photo(40, 56), "JPEG"), compact=compact)[0]
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(recoded)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        assert restore(bytes(damaged)) is None
        if damaged[:7] == recoded[:7]:  # else it is no recoded JPEG
            assert recode(bytes(damaged), compact=not compact) == (b"", "damaged")
    for size in range(0, len(recoded), 17):
        assert restore(recoded[:size]) is None


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images at {DATA}")
def test_real_images_come_back() -> None:
    files = (
        sorted((DATA / "imagenet_sample").rglob("*.JPEG"))[::12] + sorted((DATA / "before_after").rglob("*.jpg"))[::80]
    )
    sizes = np.zeros(3)
    for path in files:
        data = path.read_bytes()
        made = [recode(data, compact=compact) for compact in (False, True)]
        assert [(why, restore(recoded) == data) for recoded, why in made] == [("", True)] * 2, path
        sizes += len(data), *(len(recoded) for recoded, _ in made)
    assert sizes[1] < 1.04 * sizes[0]
    assert sizes[2] < sizes[0]


def test_without_the_core_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_load", lambda: (None, "it was not built"))
    with pytest.raises(Exception, match="native core"):
        recode(b"")
