"""Images to vectors: each image as the model wants it, batch by batch on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.errors import SampleError
from imagemill.networks.embedders import Embedder, Preprocessing
from imagemill.transforms.geometry import fit_size, resize
from imagemill.transforms.lab_fields import contain

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (H, W, 3), RGB, upright."""

Vector: TypeAlias = npt.NDArray[np.float32]

_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32) * np.float32(255.5 / 255)
"""ITU-R BT.601 as TensorFlow has it, which rounds by adding half a level to the 255 and cutting off."""


def preprocessed(pixels: Pixels, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """What a model takes of an image: float32 (3, H, W)."""
    if preprocessing.fit == "contain":
        fitted, _ = contain(pixels, preprocessing.size)
    else:
        fitted = centre_crop(pixels, preprocessing)
    if preprocessing.grey:
        luma = np.minimum(fitted.astype(np.float32) @ _LUMA, 255).astype(np.uint8)
        fitted = np.repeat(luma[..., None], 3, axis=2)
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    scaled = (fitted.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def centre_crop(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """The centre of an image whose shorter side is that of the crop over its share."""
    height, width = preprocessing.size
    short = int(min(height, width) / preprocessing.crop_share)
    place = fit_size(pixels.shape[0], pixels.shape[1], (short, short), "short")
    scaled = resize(pixels, place.scaled, filter=preprocessing.filter)
    scaled_height, scaled_width = scaled.shape[:2]
    if scaled_height < height or scaled_width < width:
        return resize(pixels, preprocessing.size, fit="cover", filter=preprocessing.filter)
    top, left = round((scaled_height - height) / 2), round((scaled_width - width) / 2)
    return scaled[top : top + height, left : left + width]


def embed_all(
    embedder: Embedder, images: Sequence[Callable[[], Pixels]], batch_size: int, threads: int
) -> list[Vector | SampleError]:
    """Vectors of many images, or why there is none.

    Images are put into batches in their order, those that cannot be read left out; each batch is decoded, preprocessed
    and run by one thread on one core, so that a vector depends on the images of its batch and on nothing else.

    Args:
        images: each gives its pixels when called, or raises SampleError; called from several threads.
        threads: how many batches are worked on at once.
    """
    parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    with (
        embedder.one_core_each(),
        ThreadPoolExecutor(max(1, min(threads, len(parts))), initializer=embedder.begin_thread) as pool,
    ):
        return [vector for found in pool.map(lambda part: _embed(embedder, part), parts) for vector in found]


def _embed(embedder: Embedder, images: Sequence[Callable[[], Pixels]]) -> list[Vector | SampleError]:
    found: list[Vector | SampleError | None] = []
    inputs = []
    for image in images:
        try:
            inputs.append(preprocessed(image(), embedder.preprocessing))
            found.append(None)
        except SampleError as error:
            found.append(error)
    vectors = iter(embedder(np.stack(inputs)) if inputs else ())
    return [next(vectors) if entry is None else entry for entry in found]
