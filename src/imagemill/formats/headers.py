"""Headers that turn the bare bytes of an array into a file that other programs open.

Raw pixels behind a few bytes of Netpbm header are a `.ppm` or `.pgm` file: Pillow, OpenCV, `datasets` and
webdataset show them without knowing their size. Every other array becomes a `.npy` file. The header of a value
depends on its field (and, where the length varies, on the length) only, so it is cut off again without parsing.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np

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


def npy_header(field: Field, value_bytes: int) -> bytes:
    """Header that makes this field's raw bytes a `.npy` file, version 1.0.

    Args:
        field: fixed or ragged.
        value_bytes: length of the value; decides the length of a ragged one.
    """
    shape = field.shape or ()
    count = value_bytes // field.numpy_dtype.itemsize
    return _npy_header(field.numpy_dtype.str, tuple(count if side is None else side for side in shape))


@lru_cache(maxsize=1024)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    out = BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()
