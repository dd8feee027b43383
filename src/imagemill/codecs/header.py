"""What the header of an image file says, and how its notes and sides follow from it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from imagemill.core.sample import Buffer

EXIF_ORIENTATION_TAG = 0x0112

_CHANNELS = {
    "1": 1,
    "L": 1,
    "P": 1,
    "I": 1,
    "F": 1,
    "LA": 2,
    "La": 2,
    "PA": 2,
    "CMYK": 4,
    "RGBA": 4,
    "RGBa": 4,
    "RGBX": 4,
}
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True, slots=True)
class Header:
    """An image file's header, read without decoding pixels.

    Args:
        format: "JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", …, or "NPY".
        width: pixels a row, as stored (before orientation).
        height: rows, as stored (before orientation).
        mode: Pillow's name of the stored pixels, "RGB", "L", "P", "CMYK", "I;16", …; of an
            array its dtype, followed by ";" and the number of channels where it has such an axis.
        bits: bits per channel.
        orientation: EXIF orientation 1–8; 1 is upright.
        icc: whether there is a colour profile that is not plainly sRGB.
        frames: pictures in the file; 1 is a still.
        alpha: whether some pixels may be transparent.
        palette: whether pixels are indices into a palette.
        progressive: whether a JPEG is progressive, or a PNG interlaced.
    """

    format: str
    width: int
    height: int
    mode: str
    bits: int = 8
    orientation: int = 1
    icc: bool = False
    frames: int = 1
    alpha: bool = False
    palette: bool = False
    progressive: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) as seen upright."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.width * self.height

    @property
    def channels(self) -> int:
        """Channels as stored; a palette index is one."""
        if self.format == "NPY":
            return int(self.mode.partition(";")[2] or 1)
        return 1 if self.mode.startswith("I;") else _CHANNELS.get(self.mode, 3)

    @property
    def decoded_bytes(self) -> int:
        """What the pixels of one frame take at least once they are decoded, as stored: no decoder needs less."""
        return self.pixels * self.channels * -(-self.bits // 8)

    @property
    def grey(self) -> bool:
        """Whether the stored pixels have no colour."""
        if self.format == "NPY":
            return self.channels < 3
        return self.mode in _GREY_MODES or self.mode.startswith("I;")

    def notes(self) -> tuple[str, ...]:
        """What the pixel policy does to this image, in a fixed order.

        Of "orientation=N", "icc", "cmyk", "bits=N", "alpha", "palette", "frames=N" and "grey",
        those that hold; none for an ordinary upright 8-bit sRGB still.
        """
        listed = (
            (self.orientation != 1, f"orientation={self.orientation}"),
            (self.icc, "icc"),
            (self.mode == "CMYK", "cmyk"),
            (self.bits > 8 or (self.bits == 1 and not self.palette), f"bits={self.bits}"),
            (self.alpha, "alpha"),
            (self.palette, "palette"),
            (self.frames > 1, f"frames={self.frames}"),
            (self.grey, "grey"),
        )
        return tuple(note for holds, note in listed if holds)


def exif_orientation(tiff: bytes | memoryview) -> int:
    """Orientation 1–8 in an EXIF block (without its `Exif\\0\\0` prefix); 1 where it says nothing usable."""
    order = _BYTE_ORDERS.get(bytes(tiff[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        entries = tiff[start + 2 : start + 2 + 12 * count]
        for tag, _, _, value in struct.iter_unpack(order + "HHIH2x", entries[: len(entries) // 12 * 12]):
            if tag == EXIF_ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def octets(data: Buffer) -> Buffer:
    """The same bytes, as values 0 to 255: a memoryview may show them as signed, as those of Arrow do."""
    if isinstance(data, memoryview) and (data.format != "B" or data.ndim != 1):
        return data.cast("B")
    return data
