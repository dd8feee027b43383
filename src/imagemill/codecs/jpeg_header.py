"""The header of a JPEG by a marker parser of our own, which loads no decoder.

Pillow takes 60 µs to open a JPEG, which is more than it costs to store one; this parser
reads the few segments that decide how pixels are shown. Segments are described in
ITU-T T.81 annex B, EXIF in JEITA CP-3451, profiles in ICC.1 annex B.4, `Adobe` in T.872.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from imagemill.codecs.header import Header, exif_orientation
from imagemill.codecs.profile import plainly_srgb
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"

PROGRESSIVE_FRAMES = frozenset((0xC2, 0xCA))
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READABLE_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
SOS, APP0, APP14, END = 0xDA, 0xE0, 0xEE, 0xD9
_APP1, _APP2 = 0xE1, 0xE2
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
HEAD = struct.Struct(">BBH")
"""Of a segment: 0xFF, marker, length from the length on."""
_FRAME = struct.Struct(">BHHB")


def segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of each segment's payload, up to and with the first start of scan.

    Raises:
        SampleError: "truncated" where the data end first, "corrupt" where no marker follows.
    """
    position = 2
    size = len(data)
    while position + 4 <= size:
        prefix, marker, length = HEAD.unpack_from(data, position)
        if prefix != 0xFF or marker == 0:
            position = _next_marker(data, position)
        elif marker == 0xFF:
            position += 1
        elif marker in _NO_LENGTH:
            position += 2
        elif marker == END or length < 2:
            raise SampleError("corrupt", f"JPEG marker 0x{marker:02x} where a scan should start")
        else:
            stop = position + 2 + length
            if stop > size:
                break
            yield marker, position + 4, stop
            if marker == SOS:
                return
            position = stop
    raise SampleError("truncated", f"the JPEG ends after {size} bytes, before its first scan")


def _next_marker(data: Buffer, position: int) -> int:
    """Where the next 0xFF of a marker stands: decoders pass over stray bytes between segments."""
    found = _MARKER.search(data, position)
    return found.start() if found else len(data)


_MARKER = re.compile(rb"\xff[^\x00\xff]")


_MOST_REMEMBERED = 4096
_latest: tuple[bytes, Header] | None = None
"""All that decides a header, and the header: the pictures of one encoder and size have the same."""


def read_jpeg_header(data: Buffer) -> Header:
    """The header of a JPEG, up to its first scan.

    Raises:
        SampleError: "truncated" where the file ends before its first scan, "corrupt" where
            segments make no sense, "unsupported" for 12-bit, hierarchical and two-channel files.
    """
    global _latest
    latest = _latest
    if latest is not None and data[: len(latest[0])] == latest[0]:
        return latest[1]
    header, stop = _read_segments(data)
    if stop <= _MOST_REMEMBERED:
        _latest = bytes(data[:stop]), header
    return header


def _read_segments(data: Buffer) -> tuple[Header, int]:
    """The header, and where the last segment ends that has a say in it: that of the first scan."""
    frame = (0, 0, 0)
    orientation, end = 1, 0
    profile: list[bytes] = []
    for marker, start, end in segments(data):
        if marker == _APP1:
            if orientation == 1 and data[start : start + 6] == b"Exif\0\0":
                orientation = exif_orientation(data[start + 6 : end])
        elif marker == _APP2:
            if data[start : start + 12] == b"ICC_PROFILE\0":
                profile.append(bytes(data[start + 12 : end]))
        elif marker in FRAMES and not frame[0]:
            frame = (marker, start, end)
    marker, start, stop = frame
    height, width, mode = _read_frame(marker, data[start:stop])
    icc = bool(profile) and not plainly_srgb(_join(profile))
    header = Header("JPEG", width, height, mode, 8, orientation, icc, progressive=marker in PROGRESSIVE_FRAMES)
    return header, end


def _read_frame(marker: int, payload: Buffer) -> tuple[int, int, str]:
    if not marker:
        raise SampleError("corrupt", "a JPEG without a frame header")
    if marker not in _READABLE_FRAMES:
        raise SampleError("unsupported", f"JPEG process 0x{marker:02x} (hierarchical or lossless)")
    if len(payload) < _FRAME.size:
        raise SampleError("corrupt", "a JPEG frame header that is too short")
    precision, height, width, components = _FRAME.unpack_from(payload)
    if precision != 8 or components not in _MODES:
        raise SampleError("unsupported", f"a JPEG of {components} components with {precision} bits")
    if height == 0 and width:
        raise SampleError("unsupported", "a JPEG that says its height after its pixels (DNL)")
    if width == 0:
        raise SampleError("corrupt", "a JPEG of width 0")
    return height, width, _MODES[components]


def jpeg_profile(data: Buffer) -> bytes:
    """The ICC profile of a JPEG, b"" where there is none or one of its pieces is missing."""
    return _join(
        [
            bytes(data[start + 12 : stop])
            for marker, start, stop in segments(data)
            if marker == _APP2 and data[start : start + 12] == b"ICC_PROFILE\0"
        ]
    )


def _join(pieces: list[bytes]) -> bytes:
    """A profile from the pieces that APP2 segments carry: number, count, bytes."""
    pieces = sorted(piece for piece in pieces if len(piece) > 2)
    if not pieces or pieces[0][1] != len(pieces):
        return b""
    return b"".join(piece[2:] for piece in pieces)
