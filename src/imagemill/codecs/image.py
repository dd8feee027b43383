"""Images and masks from bytes and to bytes: the one place where files become pixels.

Everything is a pure function, safe to call from several threads, and raises
`SampleError` with a reason code where bytes are not a usable image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill import native
from imagemill.codecs import arrays
from imagemill.codecs.arrays import (
    encode_jpeg,
    encode_mask,
    encode_npy,
    encode_photo_png,
    encode_png,
    encode_webp,
    photo_png_writer,
)
from imagemill.codecs.header import Header, octets
from imagemill.codecs.jpeg import decode_proven as decode_jpeg_proven
from imagemill.codecs.jpeg import decode_stored, verify_jpeg
from imagemill.codecs.jpeg_header import jpeg_profile, read_jpeg_header
from imagemill.codecs.pillow import load_image, open_image, pillow_header, pillow_reject, quiet, verify_image
from imagemill.codecs.policy import MODES, apply_policy, turn
from imagemill.codecs.recoded import as_file, is_recoded, outline_of
from imagemill.core.sample import Array, Buffer
from imagemill.errors import ConfigError, SampleError
from imagemill.native.png import read_png

__all__ = [
    "FILTERS",
    "MODES",
    "Header",
    "decode",
    "decode_mask",
    "decode_pil",
    "decode_proven",
    "encode_jpeg",
    "encode_mask",
    "encode_npy",
    "encode_photo_png",
    "encode_png",
    "encode_webp",
    "photo_png_writer",
    "read_header",
    "verify",
]

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Resampling filters by name; all but nearest widen with the reduction, so none aliases."""


def read_header(data: Buffer) -> Header:
    """What an image file is, without decoding its pixels.

    Raises:
        SampleError: "empty-file", "not-an-image" (the detail says what it looks like),
            "unsupported", "corrupt", "truncated".
    """
    data = octets(data)
    if data[:3] == b"\xff\xd8\xff":
        return read_jpeg_header(data)
    if is_recoded(data):
        return read_jpeg_header(outline_of(data))
    if not len(data):
        raise SampleError("empty-file", "0 bytes")
    if data[:6] == arrays.NPY_MAGIC:
        return arrays.read_npy_header(data)
    with quiet():
        image = open_image(data)
        try:
            return pillow_header(image, data)
        except Exception as error:
            raise pillow_reject(error, image.format or "image") from error


def verify(data: Buffer, header: Header) -> tuple[str, ...]:
    """Decodes a file completely, to prove that it is whole.

    Args:
        data: the whole file.
        header: what `read_header` said of it.

    Returns:
        Notes on harmless irregularities, "jpeg-warning=…" or "later-frames-unchecked"; mostly none.

    Raises:
        SampleError: "truncated", "corrupt", "unsupported", "memory".
    """
    data = as_file(data)
    if header.format == "NPY":
        arrays.read_npy_header(data)
        return ()
    return verify_jpeg(data, header) if header.format == "JPEG" else verify_image(data, header)


def decode(
    data: Buffer,
    *,
    mode: str = "RGB",
    roi: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
    filter: str = "bicubic",
    header: Header | None = None,
) -> npt.NDArray[np.uint8]:
    """Pixels as they are to be seen: upright, sRGB, 8 bits, first frame, transparency over white.

    `imagemill.codecs.policy` has the rules in full. Pixels of plain JPEGs are those of
    `PIL.Image.open(...).convert(mode)`.

    Args:
        data: the whole file.
        mode: one of `MODES`; "L" gives one channel, "RGBA" keeps transparency.
        roi: (top, left, height, width) in upright coordinates, inside the image; None is all.
        size: (height, width) that the region is then resized to.
        filter: name in `FILTERS`, used with `size`.
        header: what `read_header` said of the data, if known.

    Returns:
        uint8, shape (height, width, channels), C order, writable.

    Raises:
        SampleError: the bytes are no whole image.
        ConfigError: an unknown mode or filter, or a region outside the image.
    """
    data = as_file(data)
    header = header or read_header(data)
    _check_mode(mode)
    pixels = _plain_pixels(data, header, mode) if _is_plain(header, mode) else _png_pixels(data, header, mode)
    if pixels is None:
        image = _shown(data, header, mode)
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
    if roi is not None:
        pixels = _cut(pixels, roi)
    if size is not None and size != pixels.shape[:2]:
        return _resized(pixels, size, mode, filter)
    return pixels if pixels.flags.c_contiguous and pixels.flags.writeable else pixels.copy(order="C")


def decode_proven(data: Buffer, header: Header) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Pixels as `decode` gives them and the notes of `verify`, by one decode where that can prove the file whole.

    Returns:
        uint8, C order, shape (height, width, 1) for pictures without colour channels, else (height, width, 3); notes.

    Raises:
        SampleError: what either of them finds.
    """
    data = as_file(data)
    mode = "L" if header.grey else "RGB"
    if not (_is_plain(header, mode) and header.mode == mode):
        notes = verify(data, header)
        return decode(data, mode=mode, header=header), notes
    pixels, notes = decode_jpeg_proven(data, header)
    return np.ascontiguousarray(turn(pixels, header.orientation)), notes


def decode_pil(data: Buffer, mode: str = "RGB", header: Header | None = None) -> Image.Image:
    """The same pixels as `decode`, as a Pillow image of that mode."""
    data = as_file(data)
    header = header or read_header(data)
    _check_mode(mode)
    if _is_plain(header, mode):
        pixels = np.ascontiguousarray(_plain_pixels(data, header, mode))
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _shown(data, header, mode)


def decode_mask(data: Buffer, header: Header | None = None) -> Array:
    """A mask's class ids exactly as stored, turned upright where it has an orientation.

    Args:
        data: the whole file.
        header: what `read_header` said of the data, if known.

    Returns:
        shape (H, W), or (H, W, C) for files of several channels. Palette files give indices,
        not colours; 1-bit files 0 and 1; 16-bit files uint16, 32-bit files int32 or float32;
        `.npy` files their own dtype. A JPEG gives what lossy compression left of it.

    Raises:
        SampleError: the bytes are no whole image; "unsupported" for 64-bit TIFFs and pickled arrays.
    """
    data = as_file(data)
    header = header or read_header(data)
    if header.format == "PNG" and header.bits <= 8 and native.available():
        values = read_png(data, header.sides, 0)
        if not isinstance(values, native.Status):
            return values
    return arrays.decode_mask(data, header)


def _is_plain(header: Header, mode: str) -> bool:
    return header.format == "JPEG" and header.mode in ("L", "RGB") and not header.icc and mode in ("L", "RGB")


def _plain_pixels(data: Buffer, header: Header, mode: str) -> npt.NDArray[np.uint8]:
    pixels = decode_stored(data, header)
    if header.mode != mode:
        pixels = _converted(pixels, mode)
    return pixels if header.orientation == 1 else turn(pixels, header.orientation)


def _png_pixels(data: Buffer, header: Header, mode: str) -> npt.NDArray[np.uint8] | None:
    """Pixels of a PNG that the native core can read, which also proves it; None of others."""
    is_meant = header.format == "PNG" and header.bits == 8 and mode in ("L", "RGB") and header.mode in ("L", "RGB")
    if not is_meant or not native.available():
        return None
    pixels = read_png(data, header.sides, 3 if mode == "RGB" else 1)
    return None if isinstance(pixels, native.Status) else pixels


def _converted(pixels: npt.NDArray[np.uint8], mode: str) -> npt.NDArray[np.uint8]:
    if mode == "RGB":
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def _shown(data: Buffer, header: Header, mode: str) -> Image.Image:
    with quiet(header.pixels):
        try:
            return apply_policy(_stored(data, header), header, mode)
        except Exception as error:
            raise pillow_reject(error, header.format) from error


def _stored(data: Buffer, header: Header) -> Image.Image:
    """Pixels as a Pillow image, before any policy."""
    if header.format == "NPY":
        return arrays.npy_image(data, header)
    if header.format != "JPEG":
        return load_image(data, header)
    pixels = decode_stored(data, header)
    image = Image.frombuffer(header.mode, (header.width, header.height), pixels, "raw", header.mode, 0, 1)
    if header.icc:
        image.info["icc_profile"] = jpeg_profile(data)
    return image


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")


def _cut(pixels: npt.NDArray[np.uint8], roi: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    top, left, height, width = roi
    rows, columns = pixels.shape[:2]
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise ConfigError(
            f"region (top, left, height, width) = {roi} is not inside an image of {rows} rows x {columns}"
        )
    return pixels[top : top + height, left : left + width]


def _resized(pixels: npt.NDArray[np.uint8], size: tuple[int, int], mode: str, filter: str) -> npt.NDArray[np.uint8]:
    if filter not in FILTERS:
        raise ConfigError(f"unknown filter {filter!r}; known: {', '.join(FILTERS)}")
    rows, columns = pixels.shape[:2]
    image = Image.frombuffer(mode, (columns, rows), np.ascontiguousarray(pixels), "raw", mode, 0, 1)
    resized = image.resize((size[1], size[0]), FILTERS[filter])
    return np.array(resized).reshape(*size, -1)
