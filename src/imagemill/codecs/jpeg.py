"""JPEG: the header by a marker parser of our own, pixels and proof by libjpeg-turbo (`simplejpeg`).

Pillow takes 60 µs to open a JPEG, which is more than it costs to store one; this parser
reads the few segments that decide how pixels are shown. Segments are described in
ITU-T T.81 annex B, EXIF in JEITA CP-3451, profiles in ICC.1 annex B.4, `Adobe` in T.872.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

from imagemill.codecs.header import Header, exif_orientation
from imagemill.codecs.pillow import load_image, quiet
from imagemill.codecs.profile import plainly_srgb
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"

_PROGRESSIVE_FRAMES = frozenset((0xC2, 0xCA))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READABLE_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SOS, _APP0, _APP1, _APP2, _APP14, _COM, _MARKER_EOI = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xD9
_DECORATION = frozenset((*range(0xE0, 0xF0), _COM))
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_HEAD = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")


def segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of each segment's payload, up to and with the first start of scan.

    Raises:
        SampleError: "truncated" where the data end first, "corrupt" where no marker follows.
    """
    position = 2
    size = len(data)
    while position + 4 <= size:
        prefix, marker, length = _HEAD.unpack_from(data, position)
        if prefix != 0xFF or marker == 0:
            position = _next_marker(data, position)
        elif marker == 0xFF:
            position += 1
        elif marker in _NO_LENGTH:
            position += 2
        elif marker == _MARKER_EOI or length < 2:
            raise SampleError("corrupt", f"JPEG marker 0x{marker:02x} where a scan should start")
        else:
            stop = position + 2 + length
            if stop > size:
                break
            yield marker, position + 4, stop
            if marker == _SOS:
                return
            position = stop
    raise SampleError("truncated", f"the JPEG ends after {size} bytes, before its first scan")


def _next_marker(data: Buffer, position: int) -> int:
    """Where the next 0xFF of a marker stands: decoders pass over stray bytes between segments."""
    found = _MARKER.search(data, position)
    return found.start() if found else len(data)


_MARKER = re.compile(rb"\xff[^\x00\xff]")


def read_jpeg_header(data: Buffer) -> Header:
    """The header of a JPEG, up to its first scan.

    Raises:
        SampleError: "truncated" where the file ends before its first scan, "corrupt" where
            segments make no sense, "unsupported" for 12-bit, hierarchical and two-channel files.
    """
    frame = (0, 0, 0)
    orientation = 1
    profile: list[bytes] = []
    for marker, start, stop in segments(data):
        if marker == _APP1:
            if orientation == 1 and data[start : start + 6] == b"Exif\0\0":
                orientation = exif_orientation(data[start + 6 : stop])
        elif marker == _APP2:
            if data[start : start + 12] == b"ICC_PROFILE\0":
                profile.append(bytes(data[start + 12 : stop]))
        elif marker in _FRAMES and not frame[0]:
            frame = (marker, start, stop)
    marker, start, stop = frame
    height, width, mode = _read_frame(marker, data[start:stop])
    icc = bool(profile) and not plainly_srgb(_join(profile))
    return Header("JPEG", width, height, mode, 8, orientation, icc, progressive=marker in _PROGRESSIVE_FRAMES)


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


def decode_stored(data: Buffer, header: Header) -> npt.NDArray[np.uint8]:
    """Pixels of a JPEG as stored: neither turned nor colour-managed.

    The same pixels as Pillow's: slow integer IDCT, smooth chroma upsampling, and the inks
    of CMYK files taken as inverted, whether they say so or not.

    Returns:
        uint8, shape (height, width, channels); 1 channel of a grey file, RGB of three, CMYK of four.

    Raises:
        SampleError: "corrupt", "truncated" or "unsupported"; harmless irregularities pass.
    """
    colour_space = _COLOUR_SPACES[header.mode]
    pixels, complaint = _attempt(data, colour_space)
    if pixels is None:
        if _is_unusual(complaint):
            return _decode_with_pillow(data, header)
        _judge(data, header, complaint)
        pixels, complaint = _attempt(_rebuilt(data, header), colour_space, strict=False)
    if pixels is None:
        raise SampleError("corrupt", complaint)
    return np.bitwise_not(pixels) if header.mode == "CMYK" else pixels


def decode_reduced(data: Buffer, header: Header, mode: str, factor: int) -> npt.NDArray[np.uint8] | None:
    """Pixels of a JPEG at 1/factor of its sides, as stored: the inverse cosine transform makes that many less.

    Args:
        mode: "RGB" or "L".
        factor: 2, 4 or 8.

    Returns:
        uint8, shape (ceil(height / factor), ceil(width / factor), channels); None where the decoder complains or
        has no such size: the full decode knows which complaints are harmless, and names the others.
    """
    height, width = -(-header.height // factor), -(-header.width // factor)
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "GRAY" if mode == "L" else "RGB", min_height=height, min_width=width
        )
    except (ValueError, MemoryError):
        return None
    return pixels if pixels.shape[:2] == (height, width) else None


def verify_jpeg(data: Buffer, header: Header) -> tuple[str, ...]:
    """Proves that a JPEG is whole by decoding all its entropy-coded data.

    The inverse transform runs at 1/8 size and in grey, which leaves the reading of every
    code as it is (damage is found at the same places as by a full decode) and saves half
    the time. JPEG has no checksum: a flipped bit that leaves a valid code is not seen.

    Returns:
        Notes on harmless irregularities: "jpeg-warning=extraneous-bytes" (padding before the
        end, or a damaged scan that happened to come out even), "jpeg-warning=missing-eoi",
        "jpeg-warning=missing-scans" (a progressive file cut on purpose),
        "jpeg-warning=trailing-bytes", "jpeg-warning=header".

    Raises:
        SampleError: "truncated", "corrupt" or "unsupported".
    """
    complaint = _prove(data, header)
    if _is_unusual(complaint):
        _decode_with_pillow(data, header)
        return ()
    return _with_closing_notes(data, header, _judge(data, header, complaint) if complaint else ())


def decode_proven(data: Buffer, header: Header) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Pixels as `decode_stored` gives them and the notes of `verify_jpeg`, mostly by one decode.

    Raises:
        SampleError: what either of them finds.
    """
    pixels, complaint = _attempt(data, _COLOUR_SPACES[header.mode])
    if pixels is None or complaint:
        notes = verify_jpeg(data, header)
        return decode_stored(data, header), notes
    return np.bitwise_not(pixels) if header.mode == "CMYK" else pixels, _with_closing_notes(data, header, ())


def _with_closing_notes(data: Buffer, header: Header, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Notes and what is to be said of scans that are not there and of bytes behind the end."""
    if header.progressive and "jpeg-warning=missing-eoi" not in notes and not scans_complete(data):
        notes += ("jpeg-warning=missing-scans",)
    if not notes and data[-2:] != EOI:
        notes = ("jpeg-warning=trailing-bytes",)
    return notes


def _prove(data: Buffer, header: Header) -> str:
    """Decodes as cheaply as all codes can be read; the decoder's first complaint, "" if there is none."""
    return _attempt(data, "CMYK" if header.mode == "CMYK" else "GRAY", min_height=1, min_width=1)[1]


def _attempt(data: Buffer, colour_space: str, **options: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """Pixels by libjpeg-turbo, or None and its complaint."""
    try:
        return simplejpeg.decode_jpeg(data, colour_space, **options), ""
    except MemoryError as error:
        raise SampleError("memory", f"JPEG: {error}") from error
    except ValueError as error:
        complaint = str(error)
    if "memory" in complaint.lower():
        raise SampleError("memory", f"JPEG: {complaint}")
    return None, complaint


def _is_unusual(complaint: str) -> bool:
    """Whether TurboJPEG's interface has no word for this JPEG's subsampling; libjpeg itself may well read it."""
    return "subsampling" in complaint


def _decode_with_pillow(data: Buffer, header: Header) -> npt.NDArray[np.uint8]:
    with quiet(header.pixels):
        return np.array(load_image(data, header)).reshape(header.height, header.width, -1)


def _judge(data: Buffer, header: Header, message: str, *, rebuilt: bool = False) -> tuple[str, ...]:
    """Notes where the decoder's first complaint is harmless and nothing follows it; else a reject.

    libjpeg reports only its first complaint, so a harmless one is taken out of the way
    (end marker added, header rebuilt) and the file decoded again.
    """
    if "before marker 0xd9" in message:
        return ("jpeg-warning=extraneous-bytes",)
    if message.startswith("Premature end of JPEG file"):
        if _complete_but_for_eoi(data, header):
            return ("jpeg-warning=missing-eoi",)
        raise SampleError("truncated", f"the JPEG ends after {len(data)} bytes, before its pixels do")
    if not rebuilt and _HEADER_COMPLAINT.search(message):
        clean = _rebuilt(data, header)
        message = _prove(clean, header)
        return ("jpeg-warning=header", *(_judge(clean, header, message, rebuilt=True) if message else ()))
    raise SampleError("corrupt" if _has_end(data) else "truncated", message)


def _has_end(data: Buffer) -> bool:
    """Whether an end mark follows the start of the first scan."""
    first_scan = max((stop for _, _, stop in segments(data)), default=0)
    return bytes(data).find(EOI, first_scan) >= 0


_HEADER_COMPLAINT = re.compile(r"JFIF|Adobe|ICC|extraneous bytes before marker")


def _complete_but_for_eoi(data: Buffer, header: Header) -> bool:
    whole = bytes(data) + EOI
    complaint = _prove(whole, header)
    return (not complaint or "before marker 0xd9" in complaint) and scans_complete(whole)


def _rebuilt(data: Buffer, header: Header) -> bytes:
    """The same JPEG with only those segments before its first scan that decide its pixels, and no stray bytes."""
    pieces = [SOI]
    stop = 2
    for marker, start, stop in segments(data):
        payload = bytes(data[start:stop])
        if marker == _APP0 and payload.startswith(b"JFIF\0"):
            payload = _JFIF
        elif marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12 and payload[11] > 2:
            payload = payload[:11] + (b"\2" if header.mode == "CMYK" else b"\1")
        elif marker in _DECORATION and marker != _APP14:
            continue
        pieces += [_HEAD.pack(0xFF, marker, len(payload) + 2), payload]
    pieces.append(bytes(data[stop:]))
    return b"".join(pieces)


_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"


def scans_complete(data: Buffer) -> bool:
    """Whether the scans of a JPEG bring every coefficient of every component at full precision."""
    missing: set[tuple[int, int]] = set()
    progressive = False
    for marker, payload in _all_segments(data):
        if marker in _FRAMES and not missing:
            progressive = marker in _PROGRESSIVE_FRAMES
            missing = {(component, index) for component in payload[6::3] for index in range(64 if progressive else 1)}
        elif marker == _SOS and payload:
            missing -= _brought(payload, progressive)
    return not missing


def _brought(scan: bytes, progressive: bool) -> set[tuple[int, int]]:
    """(component, coefficient) pairs that are complete after a scan with this header."""
    count = scan[0]
    components, parameters = scan[1 : 1 + 2 * count : 2], scan[1 + 2 * count : 4 + 2 * count]
    if not progressive:
        return {(component, 0) for component in components}
    if len(parameters) < 3 or parameters[2] & 15:  # the low bits are still to come
        return set()
    return {(component, index) for component in components for index in range(parameters[0], parameters[1] + 1)}


def _all_segments(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of every segment up to the end marker, between all scans."""
    position = 2
    while (found := _SCAN_MARKER.search(data, position)) is not None:
        position = found.start()
        if position + 4 > len(data) or data[position + 1] == _MARKER_EOI:
            return
        _, marker, length = _HEAD.unpack_from(data, position)
        yield marker, bytes(data[position + 4 : position + 2 + length])
        position += 2 + length


_SCAN_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
