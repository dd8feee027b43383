"""One look at one picture: proven whole, measured, digested, by one decode; or remembered from an earlier look.

Pixels are measured before a colour profile is applied: that takes several times as long as decoding them, and moves
neither hashes nor flags.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import xxhash

from imagemill.codecs.header import Header, octets
from imagemill.codecs.image import decode_proven, read_header, verify
from imagemill.core.sample import Array, Buffer
from imagemill.curate.cache import PictureCache, Remembered
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits, check_bytes, check_pixels
from imagemill.curate.quality import Measures, measure, measure_jpeg
from imagemill.errors import SampleError


@dataclass(frozen=True, slots=True)
class Picture:
    """What a look at an image or mask found.

    Args:
        header: its header; format "ARRAY" for pixels that came without a file.
        notes: what the pixel policy does to it, then harmless irregularities.
        content: xxh3-128 of its bytes, big-endian.
        measures: of images whose pixels were looked at.
        fresh: whether it was decoded just now, so that this is worth remembering.
        known: whether an earlier look was remembered.
    """

    header: Header
    notes: tuple[str, ...]
    content: bytes
    measures: Measures | None = None
    fresh: bool = False
    known: bool = False


def look_at_file(
    data: Buffer, limits: Limits, *, full: bool, measured: bool, cache: PictureCache | None = None
) -> Picture:
    """Looks at the bytes of an image file.

    Args:
        data: the whole file.
        limits: sizes are checked before anything is decoded.
        full: decode everything; False trusts what the header says.
        measured: whether its pixels are measured, too (masks: no).
        cache: what earlier looks found of the same bytes.

    Raises:
        SampleError: "too-many-bytes", "too-many-pixels", or what the decoder finds.
    """
    check_bytes(len(data), limits)
    content = content_digest(data)
    if not full:
        inspection = inspect(data, limits, full=False)
        return Picture(inspection.header, inspection.notes, content)
    known = cache.get(content, measured) if cache is not None else None
    if isinstance(known, Remembered):
        check_pixels(known.header, limits)
        return Picture(known.header, known.notes, content, known.measures, known=True)
    header = read_header(data)
    check_pixels(header, limits)
    if known is not None:
        raise known
    try:
        return _decoded(data, header, content, measured=measured)
    except SampleError as error:
        if cache is not None:
            cache.add_reject(content, measured, error)
        raise


def _decoded(data: Buffer, header: Header, content: bytes, *, measured: bool) -> Picture:
    if not measured:
        return Picture(header, header.notes() + verify(data, header), content, fresh=True)
    if header.format == "JPEG" and header.orientation == 1 and header.mode in ("L", "RGB"):
        measures = measure_jpeg(data, (header.height, header.width))
        if measures is not None:
            return Picture(header, header.notes(), content, measures, fresh=True)
    pixels, notes = decode_proven(data, replace(header, icc=False))
    return Picture(header, header.notes() + notes, content, measure(pixels), fresh=True)


def look_at_array(array: Array, limits: Limits, *, measured: bool) -> Picture:
    """Looks at pixels that came without a file.

    Args:
        array: shape (H, W) or (H, W, C), any type; uint8 with 1 or 3 channels where it is to be measured.
        limits: of pixels.

    Raises:
        SampleError: "too-many-pixels".
    """
    channels = f";{array.shape[2]}" if array.ndim == 3 else ""
    header = Header("ARRAY", array.shape[1], array.shape[0], f"{array.dtype.name}{channels}", 8 * array.dtype.itemsize)
    check_pixels(header, limits)
    content = content_digest(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return Picture(header, (), content, measure(array) if measured else None)


def content_digest(data: Buffer) -> bytes:
    """xxh3-128 of bytes, big-endian."""
    return xxhash.xxh3_128_digest(octets(data))


def remembered(picture: Picture) -> Remembered:
    """What is kept of a look for the next one at the same bytes."""
    return Remembered(picture.header, picture.notes, picture.measures)
