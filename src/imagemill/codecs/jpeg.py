"""JPEG: pixels and proof by libjpeg-turbo (`simplejpeg`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

from imagemill import native
from imagemill.codecs.header import Header
from imagemill.codecs.jpeg_header import APP0, APP14, END, EOI, FRAMES, HEAD, PROGRESSIVE_FRAMES, SOI, SOS, segments
from imagemill.codecs.pillow import load_image, quiet
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

_COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_COM = 0xFE
_DECORATION = frozenset((*range(0xE0, 0xF0), _COM))


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

    An inverse transform cannot fail, so the native core makes no pixels. Without it, and for what it
    has anything to remark of, the transform runs at 1/8 size and in grey, which leaves the reading of
    every code as it is (damage is found at the same places as by a full decode) and saves half
    the time. JPEG has no checksum: a flipped bit that leaves a valid code is not seen.

    Returns:
        Notes on harmless irregularities: "jpeg-warning=extraneous-bytes" (padding before the
        end, or a damaged scan that happened to come out even), "jpeg-warning=missing-eoi",
        "jpeg-warning=missing-scans" (a progressive file cut on purpose),
        "jpeg-warning=trailing-bytes", "jpeg-warning=header".

    Raises:
        SampleError: "truncated", "corrupt" or "unsupported".
    """
    if native.prove_jpeg(data):
        return ()
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
        if marker == APP0 and payload.startswith(b"JFIF\0"):
            payload = _JFIF
        elif marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= 12 and payload[11] > 2:
            payload = payload[:11] + (b"\2" if header.mode == "CMYK" else b"\1")
        elif marker in _DECORATION and marker != APP14:
            continue
        pieces += [HEAD.pack(0xFF, marker, len(payload) + 2), payload]
    pieces.append(bytes(data[stop:]))
    return b"".join(pieces)


_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"


def scans_complete(data: Buffer) -> bool:
    """Whether the scans of a JPEG bring every coefficient of every component at full precision."""
    missing: set[tuple[int, int]] = set()
    progressive = False
    for marker, payload in _all_segments(data):
        if marker in FRAMES and not missing:
            progressive = marker in PROGRESSIVE_FRAMES
            missing = {(component, index) for component in payload[6::3] for index in range(64 if progressive else 1)}
        elif marker == SOS and payload:
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
        if position + 4 > len(data) or data[position + 1] == END:
            return
        _, marker, length = HEAD.unpack_from(data, position)
        yield marker, bytes(data[position + 4 : position + 2 + length])
        position += 2 + length


_SCAN_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
