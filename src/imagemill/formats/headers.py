"""What makes image files of raw pixels, and the suffix that a file with given bytes should have.

Raw pixels behind a few bytes of Netpbm header are a `.ppm` or `.pgm` file: Pillow, OpenCV, `datasets` and
webdataset show them without being told their size. The header follows from the field, so it is cut off again
without being parsed.
"""

from __future__ import annotations

from imagemill.core.sample import Buffer
from imagemill.core.schema import Field


def netpbm_header(field: Field) -> bytes:
    """Header that makes raw pixels a PPM (three channels) or PGM (one channel) image, else b"".

    Args:
        field: any; only uint8 images and masks of shape (H, W), (H, W, 1) or (H, W, 3) fit the format.
    """
    shape = field.shape
    if not field.is_file or field.storage != "fixed" or field.dtype != "uint8" or shape is None:
        return b""
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3)):
        return b""
    magic = "P6" if shape[2:] == (3,) else "P5"
    return f"{magic}\n{shape[1]} {shape[0]}\n255\n".encode("ascii")


_SUFFIXES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89RJPG", "rjpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"\x93NUMPY", "npy"),
    (b"P6", "ppm"),
    (b"P5", "pgm"),
    (b"P4", "pbm"),
    (b"P3", "ppm"),
    (b"P2", "pgm"),
    (b"P1", "pbm"),
    (b"\x00\x00\x00\x0cjP  ", "jp2"),
    (b"\xff\x4f\xff\x51", "j2k"),
    (b"8BPS", "psd"),
    (b"DDS ", "dds"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"icns", "icns"),
)


def file_suffix(value: Buffer) -> str:
    """Suffix, without a dot, that a file with these bytes should have; "bin" where nothing is known of them."""
    head = bytes(memoryview(value)[:12])
    for magic, suffix in _SUFFIXES:
        if head.startswith(magic):
            return suffix
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    if head[4:] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return "bin"
