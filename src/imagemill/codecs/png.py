"""PNG: its chunks, and the proof that every row of a file is there.

Pillow fills rows that a file does not bring with black and says nothing, so wholeness is
proven here: every chunk's checksum, the end of the compressed stream and its checksum,
the number of bytes it gives, and each row's filter (PNG specification, third edition, 5, 9 and 10).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from imagemill.codecs.header import Header
from imagemill.core.sample import Buffer
from imagemill.errors import SampleError

_SIGNATURE_SIZE = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: first row, first column, row step, column step of each pass."""
_LAST_FILTER = 4


def png_chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, stop) of each chunk's payload, as far as they are complete."""
    position = _SIGNATURE_SIZE
    while position + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        stop = position + 8 + size
        if stop + 4 > len(data):
            return
        yield name, position + 8, stop
        position = stop + 4


def png_size(data: Buffer) -> int:
    """Bytes up to the end of the end mark, or of the first chunk that is cut."""
    stop = _SIGNATURE_SIZE
    for name, _, payload_stop in png_chunks(data):
        stop = payload_stop + 4
        if name == b"IEND":
            return stop
    size = int.from_bytes(data[stop : stop + 4], "big") if stop + 4 <= len(data) else 0
    return stop + 12 + size


def png_depth(data: Buffer) -> tuple[int, int]:
    """(bits per channel, colour type) from the header chunk."""
    for name, start, stop in png_chunks(data):
        if name == b"IHDR" and stop - start >= 13:
            return data[start + 8], data[start + 9]
    raise SampleError("truncated", "PNG: no header chunk")


def png_exif(data: Buffer) -> bytes:
    """The EXIF block of a PNG, which may stand behind the pixels; b"" where there is none."""
    for name, start, stop in png_chunks(data):
        if name == b"eXIf":
            return bytes(data[start:stop])
    return b""


def verify_png(data: Buffer, header: Header) -> tuple[str, ...]:
    """Proves that the (first) image of a PNG is whole.

    Returns:
        "png-warning=extra-data" where the stream gives more than the image takes,
        "png-warning=missing-iend" where only the end mark is missing; mostly nothing.

    Raises:
        SampleError: "truncated" or "corrupt".
    """
    bits, colour_type = png_depth(data)
    ended, has_palette, stream = False, False, []
    for name, start, stop in png_chunks(data):
        if zlib.crc32(data[start - 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            raise SampleError("corrupt", f"PNG: checksum of the {name.decode('latin-1')} chunk")
        if name == b"IDAT":
            stream.append(data[start:stop])
        elif name == b"PLTE":
            has_palette = True
        elif name == b"IEND":
            ended = True
            break
    if colour_type == 3 and not has_palette:
        raise SampleError("corrupt", "PNG: a palette image without a palette")
    rows = _rows(header, bits * _CHANNELS[colour_type])
    expected = sum(count * stride for count, stride in rows)
    pixels, extra = _inflate(b"".join(stream), expected, ended)
    _check_filters(pixels, rows)
    notes = (extra, "png-warning=extra-data"), (not ended, "png-warning=missing-iend")
    return tuple(note for holds, note in notes if holds)


def _rows(header: Header, pixel_bits: int) -> list[tuple[int, int]]:
    """(number of rows, bytes a row with its filter) of each pass."""
    passes = _PASSES if header.progressive else ((0, 0, 1, 1),)
    rows = []
    for top, left, down, right in passes:
        height, width = -(-(header.height - top) // down), -(-(header.width - left) // right)
        if height > 0 and width > 0:
            rows.append((height, 1 + (width * pixel_bits + 7) // 8))
    return rows


def _inflate(stream: bytes, expected: int, ended: bool) -> tuple[bytes, bool]:
    """The stream's first `expected` bytes, and whether it has more."""
    decompressor = zlib.decompressobj()
    try:
        pixels = decompressor.decompress(stream, expected + 1)
        if len(pixels) == expected and not decompressor.eof:
            pixels += decompressor.decompress(decompressor.unconsumed_tail, 1)
    except MemoryError as error:
        raise SampleError("memory", f"PNG: {expected:,} bytes of pixels") from error
    except zlib.error as error:
        raise SampleError("corrupt", f"PNG: {error}") from error
    if len(pixels) < expected or (len(pixels) == expected and not decompressor.eof):
        what = f"PNG: {len(pixels):,} of {expected:,} bytes of pixels"
        raise SampleError("corrupt" if ended and not decompressor.eof else "truncated", what)
    return pixels, len(pixels) > expected


def _check_filters(pixels: bytes, rows: list[tuple[int, int]]) -> None:
    position = 0
    for count, stride in rows:
        filters = pixels[position : position + count * stride : stride]
        if max(filters) > _LAST_FILTER:
            raise SampleError("corrupt", f"PNG: row filter {max(filters)}, the last one is {_LAST_FILTER}")
        position += count * stride
