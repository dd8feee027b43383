"""Arrays as files: masks with exactly their class ids, `.npy`, and lossless or small image files."""

from __future__ import annotations

import ast
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagemill import native
from imagemill.codecs.header import Header
from imagemill.codecs.jpeg import decode_stored
from imagemill.codecs.pillow import load_image, quiet, verify_image
from imagemill.codecs.policy import scale_to_uint8, turn
from imagemill.core.sample import Array, Buffer
from imagemill.errors import ConfigError, SampleError
from imagemill.native import jpeg_parts
from imagemill.native.png import write_png

NPY_MAGIC = b"\x93NUMPY"
JPEG_SIDE_LIMIT = 65_500
WEBP_SIDE_LIMIT = 16_383
SUBSAMPLINGS = ("444", "422", "420", "440", "411")
_NPY_HEADER_LIMIT = 65_536
_PLAIN_KINDS = "buif"


def read_npy_header(data: Buffer) -> Header:
    """Header of a `.npy` file that holds (H, W) or (H, W, C) numbers.

    Raises:
        SampleError: "unsupported" for other shapes and for objects, "truncated", "corrupt".
    """
    dtype, shape, _, offset = _npy_parts(data)
    if len(shape) not in (2, 3) or 0 in shape:
        raise SampleError("unsupported", f"an array of shape {shape}: images are (H, W) or (H, W, C)")
    needed = offset + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) < needed:
        raise SampleError("truncated", f"the .npy file has {len(data)} bytes, its header announces {needed}")
    channels = f";{shape[2]}" if len(shape) == 3 else ""
    return Header("NPY", shape[1], shape[0], f"{dtype.name}{channels}", 8 * dtype.itemsize)


def _npy_parts(data: Buffer) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """(dtype, shape, whether in Fortran order, where the elements start)."""
    version = bytes(data[6:8])
    width = 2 if version[:1] == b"\x01" else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    offset = 8 + width + size
    if len(data) < offset or size > _NPY_HEADER_LIMIT:
        raise SampleError("truncated", "the .npy file ends inside its header")
    try:
        record = ast.literal_eval(bytes(data[8 + width : offset]).decode("utf-8").strip())
        dtype = np.dtype(record["descr"])
        shape = tuple(int(side) for side in record["shape"])
        fortran = bool(record["fortran_order"])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise SampleError("corrupt", f"the header of the .npy file cannot be read: {error}") from error
    if dtype.kind not in _PLAIN_KINDS or min(shape, default=1) < 0:
        raise SampleError("unsupported", f"a .npy file of {dtype}: numbers only, nothing is unpickled")
    return dtype, shape, fortran, offset


def decode_npy(data: Buffer) -> Array:
    """The array of a `.npy` file that `read_npy_header` accepts; a writable copy."""
    read_npy_header(data)
    dtype, shape, fortran, offset = _npy_parts(data)
    count = int(np.prod(shape))
    values = np.frombuffer(data, dtype, count, offset).reshape(shape, order="F" if fortran else "C")
    return np.array(values, dtype.newbyteorder("="), order="C")


def npy_image(data: Buffer, header: Header) -> Image.Image:
    """A `.npy` file's pixels as an 8-bit image, scaled as the pixel policy says."""
    values = decode_npy(data)
    if header.channels > 4:
        raise SampleError("unsupported", f"an array of {header.channels} channels is no image: 1 to 4 are")
    if values.dtype != np.uint8:
        known = values.dtype.kind == "u" and header.bits <= 16
        values = (
            values * np.uint8(255) if values.dtype == bool else scale_to_uint8(values, header.bits if known else None)
        )
    return Image.fromarray(values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values)


def decode_mask(data: Buffer, header: Header) -> Array:
    """Class ids exactly as stored, upright; see `imagemill.codecs.image.decode_mask`."""
    if header.format == "NPY":
        return decode_npy(data)
    if header.format == "JPEG":
        values: Array = decode_stored(data, header)
    elif header.bits == 16 and header.mode in ("RGB", "RGBA"):
        values = _decode_deep_colour(data, header)
    else:
        with quiet(header.pixels):
            values = _stored_values(load_image(data, header), header)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if header.format == "TIFF" and not (header.bits == 16 and values.ndim == 3):
        return np.array(values)
    return np.array(turn(values, header.orientation), order="C")


def _stored_values(image: Image.Image, header: Header) -> Array:
    if header.bits > 32:
        raise SampleError("unsupported", f"a mask of {header.bits} bits: store it as .npy")
    values = np.asarray(image)
    if image.mode == "1":
        return values.astype(np.uint8)
    if image.mode == "PA":
        return values[:, :, 0]
    if image.mode == "L" and header.bits in (2, 4):  # Pillow spreads 2 and 4 bits over 0..255
        return values // np.uint8(255 // ((1 << header.bits) - 1))
    return values.astype(values.dtype.newbyteorder("="))


def _decode_deep_colour(data: Buffer, header: Header) -> Array:
    """16-bit colour, of which Pillow keeps 8 bits; proven first, since OpenCV fills up what is missing."""
    import cv2  # slow to import, and hardly ever needed

    verify_image(data, header)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise SampleError("corrupt", "the 16-bit colour image cannot be decoded")
    order = cv2.COLOR_BGRA2RGBA if values.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(values, order)


def encode_png(array: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """A PNG of exactly these values.

    Args:
        array: uint8 or uint16, shape (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        ConfigError: another dtype or shape.
    """
    if not fits_png(array):
        raise ConfigError(f"a PNG holds uint8 or uint16 of shape (H, W[, 1|3|4]), not {array.dtype} {array.shape}")
    array = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype == np.uint16 and array.ndim == 3:
        return _encode_deep_colour(array)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, "PNG", compress_level=6)
    return file.getvalue()


def photo_png_writer() -> str:
    """What writes the PNGs of `encode_photo_png`: equal pixels become other bytes where it is another."""
    return "imagemill" if native.available() else "opencv"


def encode_photo_png(array: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of a photograph: a tenth of OpenCV's time at its usual level, and no more bytes; drawings grow much more.

    Without the native core OpenCV does the same less well: runs of equal bytes and Huffman codes, every row told by the
    mean of the left and upper neighbour.

    Args:
        array: uint8, shape (H, W, 1) or (H, W, 3) RGB.
    """
    if native.available():
        return write_png(array)
    import cv2

    ordered = cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.shape[2] == 3 else array
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # before, OpenCV chose a filter a row: a half slower
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]
    return bytes(cv2.imencode(".png", ordered, options)[1])


def _encode_deep_colour(array: Array) -> bytes:
    import cv2

    order = cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return bytes(cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(array), order))[1])


def fits_png(array: Array) -> bool:
    """Whether a PNG can hold these values as they are."""
    deep = array.dtype in (np.uint8, np.uint16) and array.dtype.isnative
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    return deep and shaped and array.size > 0


def encode_npy(array: Array) -> bytes:
    """A `.npy` file of these numbers, in C order."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def encode_mask(array: Array) -> bytes:
    """Class ids as a file that `decode_mask` gives back with the same values, dtype and shape.

    A PNG where one can hold them (uint8 and uint16; (H, W), (H, W, 3) or (H, W, 4)), else a `.npy`.
    """
    single = array.ndim == 3 and array.shape[2] == 1
    return encode_png(array) if fits_png(array) and not single else encode_npy(array)


def encode_jpeg(array: npt.NDArray[np.uint8], quality: int = 90, subsampling: str = "420") -> bytes:
    """A baseline JPEG.

    Args:
        array: uint8, shape (H, W), (H, W, 1) or (H, W, 3) RGB; sides up to 65,500.
        quality: 1 to 100.
        subsampling: of the colours, one of `SUBSAMPLINGS`.

    Raises:
        ConfigError: another dtype, shape, quality or subsampling.
    """
    array = array[:, :, None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise ConfigError(f"a JPEG holds uint8 of shape (H, W[, 1|3]), not {array.dtype} {array.shape}")
    if max(array.shape) > JPEG_SIDE_LIMIT:
        raise ConfigError(f"a JPEG has sides up to {JPEG_SIDE_LIMIT}, not {array.shape[0]}x{array.shape[1]}: use PNG")
    if subsampling not in SUBSAMPLINGS:
        raise ConfigError(f"unknown subsampling {subsampling!r}; known: {', '.join(SUBSAMPLINGS)}")
    if not 1 <= quality <= 100:
        raise ConfigError(f"JPEG quality is 1 to 100, not {quality}")
    if subsampling in jpeg_parts.SUBSAMPLINGS and native.available():
        return jpeg_parts.JpegParts(array, [(0, 0, *array.shape[:2])], quality, subsampling)[0]
    import cv2  # 0.1 s, which workers that encode nothing need not pay

    # The same file, byte by byte; Pillow takes 1.4 times the time, simplejpeg twice for a larger and less exact one.
    pixels = array if array.shape[2] == 1 else cv2.cvtColor(array, cv2.COLOR_RGB2BGR)
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{subsampling}")
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return cv2.imencode(".jpg", pixels, settings)[1].tobytes()


def encode_webp(array: npt.NDArray[np.uint8], quality: int = 90, *, effort: int = 4) -> bytes:
    """A lossy WebP; grey becomes colour, which is all that WebP has.

    Args:
        array: uint8, shape (H, W, 1) or (H, W, 3) RGB; sides up to 16,383.
        quality: 1 to 100.
        effort: 0 to 6; more takes longer and gives fewer bytes.

    Raises:
        ConfigError: a side above the limit.
    """
    if max(array.shape) > WEBP_SIDE_LIMIT:
        raise ConfigError(f"a WebP has sides up to {WEBP_SIDE_LIMIT}, not {array.shape[0]}x{array.shape[1]}: use PNG")
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).convert("RGB").save(
        file, "WEBP", quality=quality, method=effort
    )
    return file.getvalue()
