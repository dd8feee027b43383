"""One look at an image: limits first, then its header, then, if asked, every byte of it."""

from __future__ import annotations

import numpy as np

from imagemill.codecs.image import decode, encode_npy, read_header, verify
from imagemill.core.sample import Array, Buffer, Encoded, Value
from imagemill.curate.limits import Limits, check_bytes, check_pixels
from imagemill.curate.plain import Inspection


def inspect(data: Buffer, limits: Limits, *, full: bool) -> Inspection:
    """Checks one image file.

    Args:
        data: the whole file.
        limits: sizes are checked before anything is decoded.
        full: decode everything; False trusts what the header says.

    Raises:
        SampleError: "too-many-bytes", "too-many-pixels", "memory", or what `read_header` and `verify` find.
    """
    check_bytes(len(data), limits)
    header = read_header(data)
    check_pixels(header, limits)
    notes = header.notes()
    return Inspection(header, notes + verify(data, header) if full else notes)


def rgb_pixels(value: Value, limits: Limits, *, full: bool, fast_dct: bool = False) -> Array:
    """Pixels of an image by the policy for pixels: uint8 (H, W, 3), upright.

    Args:
        full: prove the image whole first.
        fast_dct: plain JPEGs by the fast, less exact DCT, as TensorFlow decodes them: up to three levels off.

    Raises:
        SampleError: as `inspect`, or the image cannot be decoded.
    """
    if not isinstance(value, Encoded):
        return decode(encode_npy(np.asarray(value)), mode="RGB")
    header = inspect(value.data, limits, full=full).header
    if fast_dct and header.format == "JPEG" and header.mode in ("L", "RGB") and header.orientation == 1:
        import simplejpeg

        pixels: Array = simplejpeg.decode_jpeg(value.data, "RGB", fastdct=True)
        return pixels
    return decode(value.data, mode="RGB", header=header)
