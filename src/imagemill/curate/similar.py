"""Pairs of vectors that point nearly the same way: near-duplicates by embedding.

Every pair is compared, in blocks of rows; where there are many rows and faiss is installed (`imagemill[faiss]`), only
those whose vectors lie in neighbouring cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from imagemill.curate.near import IntArray

FloatArray = npt.NDArray[np.float32]

COSINE = 0.95
"""Cosine from which vectors are taken to be of the same picture. It depends on the model: look at what is found."""

EXACT_UP_TO = 50_000
"""Vectors up to which every pair is compared even where faiss is installed: a minute of one core for 1001 numbers."""

_BLOCK_BYTES = 64 << 20
_TRAINED_ON = 64
"""Vectors a cell that cells are found by."""
_CELLS_LOOKED_AT = 32


def normalised(vectors: npt.NDArray[Any]) -> FloatArray:
    """Vectors of length 1; those of no length, or that are not finite, become 0 and resemble nothing.

    Args:
        vectors: any float dtype, shape (N, D).
    """
    found = np.asarray(vectors, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("nd,nd->n", found, found, dtype=np.float64))
        usable = np.isfinite(length) & (length > 0)
        unit = found / np.where(usable, length, 1)[:, None]
    return np.asarray(np.where(usable[:, None], unit, 0), np.float32)


def similar_pairs(vectors: FloatArray, cosine: float) -> tuple[IntArray, IntArray, bool]:
    """Pairs of vectors whose cosine is at least this.

    Args:
        vectors: of length 1, or 0; shape (N, D), perhaps mapped from a file.
        cosine: above 0.

    Returns:
        (first, second, whether every pair was compared): int64, first < second, ascending, each pair once.
    """
    faiss = _faiss() if len(vectors) > EXACT_UP_TO else None
    found = list(_compared(vectors, cosine) if faiss is None else _by_cells(faiss, vectors, cosine))
    pairs = np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)
    order = np.lexsort((pairs[1], pairs[0]))
    return pairs[0, order], pairs[1, order], faiss is None


def _compared(vectors: FloatArray, cosine: float) -> Iterator[IntArray]:
    """Every pair, a block of rows at a time."""
    rows = max(1, _BLOCK_BYTES // (4 * max(1, len(vectors))))
    for start in range(0, len(vectors), rows):
        scores = vectors[start : start + rows] @ vectors[start:].T
        first, second = np.nonzero(scores >= cosine)
        later = second > first
        yield np.stack([first[later], second[later]]).astype(np.int64) + start


def _by_cells(faiss: Any, vectors: FloatArray, cosine: float) -> Iterator[IntArray]:
    """Pairs of neighbouring cells of an inverted file; nearly all there are."""
    cells = round(4 * len(vectors) ** 0.5)
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    step = max(1, len(vectors) // (cells * _TRAINED_ON))
    index.train(np.ascontiguousarray(vectors[::step]))
    block = 65_536
    for start in range(0, len(vectors), block):
        index.add(np.ascontiguousarray(vectors[start : start + block]))
    index.nprobe = min(_CELLS_LOOKED_AT, cells)
    # faiss takes what is above the radius.
    radius = float(np.nextafter(np.float32(cosine), np.float32(0)))
    for start in range(0, len(vectors), block):
        bounds, _, second = index.range_search(np.ascontiguousarray(vectors[start : start + block]), radius)
        first = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds).astype(np.int64)) + start
        later = second > first
        yield np.stack([first[later], second[later]]).astype(np.int64)


def _faiss() -> Any | None:
    try:
        import faiss
    except ImportError:
        return None
    return faiss
