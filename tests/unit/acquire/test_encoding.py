"""Compressed bodies come out as they went in, piece by piece, however they arrive."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from imagemill.acquire.encoding import PIECE_BYTES, BadEncoding, Decoder

PLAIN = random.Random(0).randbytes(300_000) + bytes(3 * PIECE_BYTES) + b"end"
WAYS = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "two members": ("gzip", gzip.compress(PLAIN[:7]) + gzip.compress(PLAIN[7:])),
    "padded": ("gzip", gzip.compress(PLAIN) + bytes(100)),
    "deflate": ("deflate", zlib.compress(PLAIN)),
    "raw deflate": ("deflate", zlib.compress(PLAIN, wbits=-15)),
    "not compressed at all": ("gzip", PLAIN),
}


@pytest.mark.parametrize("chunk_bytes", [1000, 65536, 10_000_000])
@pytest.mark.parametrize("way", WAYS)
def test_what_comes_out(way: str, chunk_bytes: int) -> None:
    encoding, content = WAYS[way]
    decoder = Decoder(encoding)
    pieces = [
        piece
        for start in range(0, len(content), chunk_bytes)
        for piece in decoder.feed(content[start : start + chunk_bytes])
    ]
    assert b"".join(pieces) == PLAIN
    assert decoder.is_whole()


def test_the_first_bytes_one_by_one() -> None:
    decoder = Decoder("gzip")
    content = gzip.compress(b"picture")
    assert b"".join(piece for byte in content for piece in decoder.feed(bytes([byte]))) == b"picture"


def test_a_bomb_can_be_left_alone_after_any_piece() -> None:
    pieces = Decoder("gzip").feed(gzip.compress(bytes(100 * PIECE_BYTES)))
    assert len(next(pieces)) == PIECE_BYTES


def test_what_is_cut_is_not_whole() -> None:
    decoder = Decoder("gzip")
    list(decoder.feed(gzip.compress(PLAIN)[:-9]))
    assert not decoder.is_whole()


def test_damage_is_told() -> None:
    content = bytearray(zlib.compress(PLAIN))
    content[2000] ^= 1
    with pytest.raises(BadEncoding, match="damaged"):
        list(Decoder("deflate").feed(bytes(content)))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 1000])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(BadEncoding) as caught:
        Decoder(encoding)
    assert len(str(caught.value)) < 120
