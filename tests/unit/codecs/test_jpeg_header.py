"""Headers of JPEGs, one after the other: what is remembered of one says nothing of another."""

from __future__ import annotations

import numpy as np
import pytest

from imagemill.codecs.image import encode_jpeg
from imagemill.codecs.jpeg_header import SOS, read_jpeg_header, segments
from imagemill.errors import SampleError
from imagemill.testing.images import photo


def header_end(data: bytes) -> int:
    """Where the entropy-coded data begin."""
    return next(stop for marker, _, stop in segments(data) if marker == SOS)


def test_pictures_of_one_size_and_another() -> None:
    first, second = (encode_jpeg(photo(40, 56, seed), 95) for seed in (1, 2))
    assert first[: header_end(first)] == second[: header_end(second)]
    for data in (first, second, memoryview(second), bytearray(first), np.frombuffer(first, np.uint8).data):
        assert read_jpeg_header(data).sides == (40, 56)
    wide, grey = encode_jpeg(photo(40, 57), 95), encode_jpeg(photo(40, 56)[:, :, :1], 95)
    for _ in range(2):
        assert [read_jpeg_header(data).sides for data in (first, wide)] == [(40, 56), (40, 57)]
        assert [read_jpeg_header(data).mode for data in (first, grey)] == ["RGB", "L"]


def test_a_file_that_ends_within_the_header_just_read() -> None:
    data = encode_jpeg(photo(40, 56), 95)
    for size in (header_end(data) - 1, header_end(data) // 2, 3):
        assert read_jpeg_header(data).sides == (40, 56)
        with pytest.raises(SampleError, match="ends after"):
            read_jpeg_header(data[:size])


def test_what_lies_before_the_scan_decides() -> None:
    data = encode_jpeg(photo(40, 56), 95)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    for _ in range(2):
        assert [read_jpeg_header(file).orientation for file in (data, turned)] == [1, 6]
