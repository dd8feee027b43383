"""Batches of encoded images to pixels of one size: by the native core, and by Python where it has to be.

Both ways give the same picture: cut, resized with Pillow's weights, turned and flipped. The native core hands back
what is no JPEG in perfect order; such images go through `imagemill.codecs.image`, which alone decides what is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from imagemill import native
from imagemill.codecs.colour_map import known_profiles, learn_profiles
from imagemill.codecs.image import decode, read_header
from imagemill.core.sample import Buffer
from imagemill.errors import ConfigError, SampleError
from imagemill.native import MAX_PIXELS, check_batch

__all__ = ["BACKENDS", "FLIP_LEFT_RIGHT", "FLIP_UPSIDE_DOWN", "Backend", "decode_batch"]

Backend: TypeAlias = Literal["auto", "native", "python"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
FLIP_LEFT_RIGHT, FLIP_UPSIDE_DOWN = 1, 2
"""Bits of `flips`."""


def decode_batch(
    data: Sequence[Buffer],
    boxes: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
    *,
    flips: npt.NDArray[np.uint8] | None = None,
    orientations: npt.NDArray[np.uint8] | None = None,
    filter: str = "bilinear",
    layout: str = "NCHW",
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    backend: Backend = "auto",
) -> dict[int, SampleError]:
    """Cuts, resizes, turns and flips a batch of images into `out`.

    Pixels are upright, sRGB, 8 bits, as `imagemill.codecs.image.decode` has them, resized as Pillow resizes the
    cut-out box; both ways stay within 2/255 of it on average. The native core does not look at the parts of a
    baseline JPEG that lie below the box, except for its end; damage there is found by Python only.

    Args:
        data: N encoded images, whole files of any readable format.
        boxes: int32, shape (N, 4): top, left, height, width in upright coordinates, inside the image.
        out: uint8, C order, writable; shape (N, C, height, width) or (N, height, width, C), C 3 (RGB) or 1 (grey).
        flips: uint8, shape (N,): `FLIP_LEFT_RIGHT` and `FLIP_UPSIDE_DOWN`, after the resize; None flips nothing.
        orientations: uint8, shape (N,): EXIF orientation 1 to 8 of each, where known, else 0; None is all 0.
            Saves nothing but a look into the file, and must be what the file says.
        filter: "box", "bilinear" or "bicubic"; all widen with the reduction, so none aliases.
        layout: "NCHW" or "NHWC".
        threads: working threads, the calling one included.
        max_pixels: images of more are an error.
        backend: "native" insists on the core, "python" does without, "auto" takes what is there.

    Returns:
        The images that could not be used, by their position; their part of `out` is all zero. Errors are without a
        key: `SampleError.of` adds it. A box outside the image is "bad-value".

    Raises:
        ConfigError: arrays of other shapes or types, an unknown filter, layout or backend, or no native core.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    check_batch(len(data), boxes, out, flips, orientations, filter, layout, threads)
    one = partial(_decode_one, data, boxes, out, flips, orientations, filter, layout, max_pixels)
    if backend == "python" or (backend == "auto" and not native.available()):
        return _decode_all(one, range(len(data)), threads)
    decode_natively = partial(
        native.decode_batch,
        *(data, boxes, out),
        turns=None if flips is None else (flips & (FLIP_LEFT_RIGHT | FLIP_UPSIDE_DOWN)).astype(np.uint8),
        orientations=orientations,
        filter=filter,
        layout=layout,
        threads=threads,
        max_pixels=max_pixels,
    )
    outcome = decode_natively(profiles=known_profiles())
    if learn_profiles(outcome, data):
        outcome = decode_natively(profiles=known_profiles())
    left = np.flatnonzero(outcome.statuses).tolist()
    return _decode_all(one, left, threads) if left else {}


def _decode_all(one: partial[SampleError | None], positions: Sequence[int], threads: int) -> dict[int, SampleError]:
    if threads == 1 or len(positions) < 2:
        results = [one(position) for position in positions]
    else:
        with ThreadPoolExecutor(min(threads, len(positions)), "imagemill-decode") as pool:
            results = list(pool.map(one, positions))
    return {position: error for position, error in zip(positions, results, strict=True) if error is not None}


def _decode_one(
    data: Sequence[Buffer],
    boxes: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
    flips: npt.NDArray[np.uint8] | None,
    orientations: npt.NDArray[np.uint8] | None,
    filter: str,
    layout: str,
    max_pixels: int,
    position: int,
) -> SampleError | None:
    """Fills one picture of `out`; the error where the image cannot be used."""
    picture = out[position] if layout == "NHWC" else out[position].transpose(1, 2, 0)
    orientation = 0 if orientations is None else int(orientations[position])
    try:
        pixels = _cut(data[position], boxes[position], picture.shape, orientation, filter, max_pixels)
    except SampleError as error:
        picture[:] = 0
        return error
    flip = 0 if flips is None else int(flips[position])
    rows = slice(None, None, -1) if flip & FLIP_UPSIDE_DOWN else slice(None)
    columns = slice(None, None, -1) if flip & FLIP_LEFT_RIGHT else slice(None)
    picture[:] = pixels[rows, columns]
    return None


def _cut(
    data: Buffer, box: npt.NDArray[np.int32], shape: tuple[int, ...], orientation: int, filter: str, max_pixels: int
) -> npt.NDArray[np.uint8]:
    """The box of one image at the wanted size, (height, width, channels)."""
    header = read_header(data)
    if header.pixels > max_pixels:
        raise SampleError(
            "too-many-pixels", f"{header.width}x{header.height} is {header.pixels:,}, at most {max_pixels:,}"
        )
    if 1 <= orientation <= 8 and orientation != header.orientation:
        header = replace(header, orientation=orientation)
    top, left, height, width = (int(number) for number in box)
    rows, columns = header.sides
    if min(top, left) < 0 or min(height, width) < 1 or top + height > rows or left + width > columns:
        raise SampleError(
            "bad-value",
            f"the box (top, left, height, width) = {(top, left, height, width)} is not inside {rows} rows x {columns}",
        )
    mode = "RGB" if shape[2] == 3 else "L"
    return decode(
        data, mode=mode, roi=(top, left, height, width), size=(shape[0], shape[1]), filter=filter, header=header
    )
