"""JPEG: our header parser against Pillow's, pixels against Pillow's, and what the proof finds."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from imagemill.codecs.image import decode, decode_pil, read_header, verify
from imagemill.codecs.jpeg import scans_complete
from imagemill.errors import SampleError
from imagemill.testing.images import nasty_images, photo, saved

JPEGS = {
    name: data for name, (data, expected) in nasty_images().items() if expected == "ok" and data[:3] == b"\xff\xd8\xff"
}


def outcome(data: bytes) -> str:
    """Notes of the proof, or its reject's reason."""
    try:
        return " ".join(verify(data, read_header(data)))
    except SampleError as error:
        return error.reason


def scan_start(data: bytes) -> int:
    return data.index(b"\xff\xda") + 14


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", sorted(JPEGS))
def test_the_header_says_what_pillow_says(name: str) -> None:
    header = read_header(JPEGS[name])
    with Image.open(io.BytesIO(JPEGS[name])) as image:
        assert (header.width, header.height, header.mode) == (*image.size, image.mode)
        assert header.progressive == bool(image.info.get("progressive"))
        exif = image.getexif().get(0x0112, 1)
    assert header.orientation == (exif if 1 <= exif <= 8 else 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", [name for name in sorted(JPEGS) if "icc" not in name and "missing-eoi" not in name])
def test_pixels_are_pillows(name: str) -> None:
    with Image.open(io.BytesIO(JPEGS[name])) as image:
        upright = ImageOps.exif_transpose(image)
        for mode in ("RGB", "L"):
            assert np.array_equal(np.asarray(decode_pil(JPEGS[name], mode)), np.asarray(upright.convert(mode)))


def test_photographs_decode_as_pillow_does_and_are_whole(shared_data: Path) -> None:
    paths = sorted((shared_data / "imagenet_sample").rglob("*.JPEG"))[::5]
    assert len(paths) == 50
    for path in paths:
        data = path.read_bytes()
        header = read_header(data)
        assert verify(data, header) == ()
        if not header.icc:
            with Image.open(path) as image:
                assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_anywhere_is_truncated(progressive: bool) -> None:
    data = saved(photo(40, 60), "JPEG", progressive=progressive, optimize=True)
    for length in range(4, len(data) - 2, 7):
        assert outcome(data[:length]) == "truncated", length
        with pytest.raises(SampleError, match="truncated"):
            decode(data[:length])


def test_a_progressive_file_cut_between_scans_is_truncated_even_with_an_end_mark() -> None:
    data = saved(photo(40, 60), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) > 5
    table = data.rindex(b"\xff\xc4", 0, scans[4])
    assert outcome(data[:table]) == "truncated"
    assert outcome(data[:table] + b"\xff\xd9") == "jpeg-warning=missing-scans"
    assert scans_complete(data)
    assert not scans_complete(data[:table] + b"\xff\xd9")


@pytest.mark.parametrize("name", ["jpeg-420", "jpeg-progressive", "jpeg-grey", "jpeg-cmyk", "jpeg-restarts"])
def test_a_missing_end_mark_alone_is_a_note(name: str) -> None:
    whole = JPEGS[name]
    assert outcome(whole[:-2]) == "jpeg-warning=missing-eoi"
    assert outcome(whole[:-1]) == "jpeg-warning=missing-eoi"
    assert np.array_equal(decode(whole[:-2]), decode(whole))


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("jpeg-trailing-bytes", "jpeg-warning=trailing-bytes"),
        ("jpeg-padded-end", "jpeg-warning=extraneous-bytes"),
        ("jpeg-stray-bytes", "jpeg-warning=header"),
        ("jpeg-second-image", ""),
        ("jpeg-mpo", ""),
    ],
)
def test_harmless_irregularities_are_notes_and_cost_no_pixel(name: str, note: str) -> None:
    assert outcome(JPEGS[name]) == note
    assert np.array_equal(decode(JPEGS[name]), decode(JPEGS["jpeg-420"]))


def test_a_complaint_about_the_header_hides_no_damage() -> None:
    data = JPEGS["jpeg-stray-bytes"]
    assert outcome(data[: len(data) * 2 // 3]) == "truncated"
    middle = (scan_start(data) + len(data)) // 2
    assert outcome(data[:middle] + b"\xff\xd9" + data[middle:]) == "corrupt"
    version = data.index(b"JFIF\0") + 5
    assert outcome(data[:version] + b"\x09" + data[version + 1 :]) == "jpeg-warning=header"


@pytest.mark.parametrize("progressive", [False, True])
def test_the_cheap_proof_finds_exactly_what_a_full_decode_finds(progressive: bool) -> None:
    rng = random.Random(0)
    data = saved(photo(96, 128), "JPEG", progressive=progressive)
    verdicts = {"": 0, "damaged": 0}
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(scan_start(data), len(data) - 2)] ^= 1 << rng.randrange(8)
        cheap, full = complaint(bytes(damaged), "GRAY", min_height=1, min_width=1), complaint(bytes(damaged), "RGB")
        assert cheap == full
        verdicts["damaged" if full else ""] += 1
    assert verdicts["damaged"] > 20


def complaint(data: bytes, colour_space: str, **options: int) -> str:
    try:
        simplejpeg.decode_jpeg(data, colour_space, **options)
    except ValueError as error:
        return str(error)
    return ""


def test_damage_that_leaves_no_valid_code_is_corrupt() -> None:
    data = saved(photo(96, 128), "JPEG")
    rng = random.Random(1)
    for _ in range(60):
        damaged = bytearray(data)
        start = rng.randrange(scan_start(data), len(data) - 300)
        damaged[start : start + 200] = b"\xff\x00" * 100
        assert outcome(bytes(damaged)) in ("corrupt", "jpeg-warning=extraneous-bytes")
        marker = rng.randrange(scan_start(data), len(data) - 300)
        assert outcome(data[:marker] + b"\xff\xd9" + data[marker:]) == "corrupt"


def test_a_subsampling_that_turbojpeg_has_no_word_for_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("tjDecompressHeader3(): Could not determine subsampling level of JPEG image")

    expected = {name: decode(JPEGS[name]) for name in ("jpeg-420", "jpeg-grey", "jpeg-cmyk")}
    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    for name, pixels in expected.items():
        assert outcome(JPEGS[name]) == ""
        assert np.array_equal(decode(JPEGS[name]), pixels)
    assert outcome(JPEGS["jpeg-420"][:-100]) == "truncated"


def test_segments_that_lie_about_their_length_do_not_escape() -> None:
    data = JPEGS["jpeg-420"]
    for start in (m.start() for m in re.finditer(rb"\xff[\xc0\xc4\xdb\xe0]", data[:700])):
        for length in (b"\0\0", b"\0\1", b"\0\2", b"\xff\xff"):
            lying = data[: start + 2] + length + data[start + 4 :]
            assert outcome(lying) in ("corrupt", "truncated", "unsupported", "jpeg-warning=header")
