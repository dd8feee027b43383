"""Recoded JPEGs: the same coefficients, coded anew for decoding speed; the JPEG comes back byte for byte.

The format is described in `docs/format-recoded-jpeg.md`. The native core recodes and decodes; without it JPEGs come
back by Python (`imagemill.codecs.recoded_python`), slowly, so that data are never locked in.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import xxhash

from imagemill import native
from imagemill.codecs.header import octets
from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError, SampleError
from imagemill.native import MAX_PIXELS
from imagemill.native import recode as core

__all__ = [
    "MAGIC",
    "SUFFIX",
    "About",
    "about",
    "as_file",
    "is_recoded",
    "outline_of",
    "recode",
    "require_core",
    "restore",
]

MAGIC = b"\x89RJPG\r\n"
VERSION = 2
SUFFIX = "rjpg"
"""Of a recoded JPEG in a file of its own, without a dot."""
HEADER = struct.Struct("<7sBQQIIIIIHBB")
TRAILER_BYTES = 8
PADS_WITH_ZEROS, NORMALISED, COMPACT = 1, 2, 4
_ALL_FLAGS = PADS_WITH_ZEROS | NORMALISED | COMPACT
_MOST_OUTLINE_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class About:
    """The header of a recoded JPEG.

    Args:
        digest: xxh3-64 of the JPEG that comes back.
        original_digest: xxh3-64 of the file that was recoded.
        size_bytes: of the JPEG that comes back.
        original_size_bytes: of the file that was recoded.
        outline_bytes: of the JPEG without its entropy-coded data.
        outline_stored, table_stored, lengths_stored: bytes of these parts in the file.
        tile_columns: MCUs of a row that are coded together.
        flags: `PADS_WITH_ZEROS`, `NORMALISED`, `COMPACT`.
    """

    digest: int
    original_digest: int
    size_bytes: int
    original_size_bytes: int
    outline_bytes: int
    outline_stored: int
    table_stored: int
    lengths_stored: int
    tile_columns: int
    flags: int

    @property
    def is_exact(self) -> bool:
        """Whether the original itself comes back, byte for byte; else a JPEG of the same coefficients."""
        return not self.flags & NORMALISED

    @property
    def is_compact(self) -> bool:
        """Whether tokens have two codes, for fewer bytes."""
        return bool(self.flags & COMPACT)


def is_recoded(data: Buffer) -> bool:
    """Whether these bytes are a recoded JPEG, of any version."""
    return bytes(memoryview(data)[: len(MAGIC)]) == MAGIC


def about(data: Buffer) -> About:
    """The header of a recoded JPEG.

    Raises:
        SampleError: "corrupt", "unsupported" (a version that this imagemill does not know).
    """
    data = octets(data)
    if len(data) < HEADER.size + TRAILER_BYTES or not is_recoded(data):
        raise SampleError("corrupt", f"a recoded JPEG that ends after {len(data)} bytes")
    numbers = HEADER.unpack_from(data)
    version, tile_columns, flags = numbers[1], numbers[-2] + 1, numbers[-1]
    if version != VERSION:
        what_to_do = "a newer one is needed" if version > VERSION else "pack the originals again"
        raise SampleError(
            "unsupported", f"a recoded JPEG of version {version}; this imagemill reads {VERSION}: {what_to_do}"
        )
    found = About(*[*numbers[2:-2], tile_columns, flags])
    stored = found.outline_stored + found.table_stored + found.lengths_stored
    room = len(data) - HEADER.size - TRAILER_BYTES
    if stored > room or found.outline_bytes > _MOST_OUTLINE_BYTES or flags > _ALL_FLAGS:
        raise SampleError("corrupt", "a recoded JPEG whose parts do not fit into it")
    return found


def outline_of(data: Buffer) -> bytes:
    """The JPEG of a recoded one without its entropy-coded data: all segments, of EXIF, profiles and tables.

    Raises:
        SampleError: "corrupt", "unsupported".
    """
    data, header = octets(data), about(data)
    packed = bytes(data[HEADER.size : HEADER.size + header.outline_stored])
    out, position = bytearray(STANDARD_TABLES), 0
    size = len(STANDARD_TABLES) + header.outline_bytes
    try:
        while len(out) < size:
            count, position = read_varint(packed, position)
            out += packed[position : position + count]
            position += count
            if len(out) < size:
                length, position = read_varint(packed, position)
                back, position = read_varint(packed, position)
                if not 1 <= back <= len(out) or length > size - len(out):
                    raise IndexError
                repeats = -(-length // back)
                out += (bytes(out[len(out) - back :]) * repeats)[:length]
    except IndexError:
        raise SampleError("corrupt", "a recoded JPEG with a damaged outline") from None
    if len(out) != size or position != len(packed):
        raise SampleError("corrupt", "a recoded JPEG with a damaged outline")
    return bytes(out[len(STANDARD_TABLES) :])


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(number, position behind it): seven bits a byte, the lowest first, the highest bit set on all but the last.

    Raises:
        IndexError: the data end first, or the number is longer than 32 bits.
    """
    number = shift = 0
    while shift < 32:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise IndexError


def require_core(purpose: str) -> None:
    """Says what to do where JPEGs are to be recoded and the native core is not there.

    Raises:
        ConfigError: it is not.
    """
    if not native.available():
        raise ConfigError(
            f"{purpose} needs the native core, which is not available: {native.why_not()}. Install a C++ compiler and "
            "libjpeg-turbo (Debian: g++ libjpeg62-turbo-dev), then imagemill again; or leave the pixels original"
        )


def recode(data: Buffer, *, compact: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[bytes, str]:
    """The recoded form of an image file, or why it has none.

    Args:
        data: the whole file; one that is recoded that way stays as it is.
        compact: fewer bytes, for photographs no more than the JPEG's; decoding takes longer.
        max_pixels: larger pictures are not recoded.

    Returns:
        (bytes, "") or (b"", reason), a short code such as "not-jpeg" or "cmyk": `native.recode` lists them.

    Raises:
        ConfigError: the native core is not available.
        SampleError: "corrupt" or "unsupported", of a recoded JPEG.
    """
    data = octets(data)
    was_recoded = is_recoded(data)
    if was_recoded and about(data).is_compact == compact:
        return bytes(data), ""
    require_core("recoding JPEGs")
    made, why_not = core.recode(data, compact=compact, max_pixels=max_pixels)
    if was_recoded and why_not:
        raise SampleError("corrupt", "a recoded JPEG that is damaged")
    return made, why_not


def restore(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The JPEG of a recoded one, byte for byte (see `About.is_exact`), its digest checked.

    Raises:
        SampleError: "corrupt", "unsupported", "too-many-pixels".
    """
    data = octets(data)
    header = about(data)
    if native.available():
        jpeg = core.restore(data, max_pixels=max_pixels)
    else:
        from imagemill.codecs.recoded_python import restore_slowly

        jpeg = restore_slowly(data, max_pixels=max_pixels)
    if jpeg is None or xxhash.xxh3_64_intdigest(jpeg) != header.digest:
        raise SampleError("corrupt", "a recoded JPEG that is damaged")
    return jpeg


def as_file(data: Buffer) -> Buffer:
    """An image file as any decoder knows it: recoded JPEGs as JPEGs, others as they are.

    Raises:
        SampleError: as `restore`.
    """
    data = octets(data)
    return restore(data) if is_recoded(data) else data


def _segment(kind: int, counts: tuple[int, ...], symbols: bytes) -> bytes:
    return struct.pack(">HHB16B", 0xFFC4, 19 + len(symbols), kind, *counts) + symbols


_LUMA_AC = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_CHROMA_AC = bytes.fromhex(
    "0001020311040521310612415107617113223281081442"
    "91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8"
    "a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
STANDARD_TABLES = b"".join(
    (
        _segment(0x00, (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0), bytes(range(12))),
        _segment(0x10, (0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D), _LUMA_AC),
        _segment(0x01, (0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0), bytes(range(12))),
        _segment(0x11, (0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77), _CHROMA_AC),
    )
)
"""The tables of ITU-T T.81, K.3.3, as DHT segments: what an outline may copy from without having it."""

ZIGZAG = np.array(
    sorted(range(64), key=lambda at: (at // 8 + at % 8, (at // 8 if (at // 8 + at % 8) % 2 else at % 8))), np.int64
)
"""Row by row, where the coefficient at each place in zigzag order stands."""
