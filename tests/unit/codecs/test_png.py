"""PNG: the proof that every row is there, where Pillow would fill up with black."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagemill.codecs.image import decode, read_header, verify
from imagemill.errors import SampleError
from imagemill.testing.images import interlaced_png, nasty_images, photo, png_chunk, png_file, saved, small_png

GREY = photo(13, 21)[:, :, 0]
WHOLE = [name for name, (data, expected) in nasty_images().items() if data[1:4] == b"PNG" and expected == "ok"]


def outcome(data: bytes) -> str:
    try:
        return " ".join(verify(data, read_header(data)))
    except SampleError as error:
        return error.reason


def rows_of(pixels: np.ndarray, filter_byte: int = 0) -> bytes:
    return b"".join(bytes((filter_byte,)) + row.tobytes() for row in pixels)


def test_pillow_alone_would_not_notice() -> None:
    short = png_file(21, 13, 8, 0, rows_of(GREY[:5]))
    with Image.open(io.BytesIO(short)) as image:
        image.load()
    assert outcome(short) == "truncated"


@pytest.mark.parametrize(
    "name", [name for name, (data, ok) in nasty_images().items() if data[1:4] == b"PNG" and ok == "ok"]
)
def test_every_kind_of_png_is_whole(name: str) -> None:
    assert outcome(nasty_images()[name][0]) == ""


def test_every_interlaced_size_down_to_one_pixel() -> None:
    for height in (1, 2, 3, 5, 9, 13):
        for width in (1, 2, 4, 5, 8, 21):
            data = interlaced_png(GREY[:height, :width])
            assert outcome(data) == ""
            assert np.array_equal(decode(data, mode="L")[:, :, 0], GREY[:height, :width])
            assert outcome(png_file(width, height, 8, 0, zlib.decompress(idat(data))[:-1], 1)) == "truncated"


def idat(data: bytes) -> bytes:
    start = data.index(b"IDAT")
    return data[start + 4 : start + 4 + struct.unpack(">I", data[start - 4 : start])[0]]


def test_a_cut_anywhere_is_truncated_but_for_the_end_mark() -> None:
    data = saved(photo(20, 30), "PNG")
    for length in range(40, len(data) - 16, 11):
        assert outcome(data[:length]) == "truncated", length
    for length in range(len(data) - 12, len(data)):
        assert outcome(data[:length]) == "png-warning=missing-iend"
        assert np.array_equal(decode(data[:length]), photo(20, 30))


def test_a_flipped_bit_anywhere_is_found() -> None:
    data = saved(photo(20, 30), "PNG")
    for position in range(8, len(data) - 12, 5):
        damaged = bytearray(data)
        damaged[position] ^= 4
        assert outcome(bytes(damaged)), position


def test_a_stream_with_the_wrong_checksum_is_corrupt() -> None:
    data = png_file(21, 13, 8, 0, rows_of(GREY))
    stream = idat(data)
    wrong = stream[:-1] + bytes((stream[-1] ^ 1,))
    assert outcome(data.replace(png_chunk(b"IDAT", stream), png_chunk(b"IDAT", wrong))) == "corrupt"


def test_more_rows_than_there_should_be_are_a_note() -> None:
    data = png_file(21, 13, 8, 0, rows_of(GREY) + bytes(5))
    assert outcome(data) == "png-warning=extra-data"
    assert np.array_equal(decode(data, mode="L")[:, :, 0], GREY)


def test_an_unknown_filter_and_a_missing_palette_are_corrupt() -> None:
    assert outcome(png_file(21, 13, 8, 0, rows_of(GREY[:12]) + rows_of(GREY[12:], 5))) == "corrupt"
    assert outcome(png_file(21, 13, 8, 3, rows_of(GREY))) == "corrupt"


def test_pixels_split_over_many_chunks() -> None:
    data = small_png(GREY // 16, 4)
    stream = idat(data)
    many = b"".join(png_chunk(b"IDAT", stream[start : start + 3]) for start in range(0, len(stream), 3))
    split = data.replace(png_chunk(b"IDAT", stream), many)
    assert outcome(split) == ""
    assert np.array_equal(decode(split), decode(data))
