"""Embeddings of the samples of a check: normalised in a mapped file, and the pairs that are alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.near import IntArray
from imagemill.curate.similar import EXACT_UP_TO, FloatArray, normalised, similar_pairs
from imagemill.errors import ConfigError
from imagemill.prepare.looking import VECTOR
from imagemill.prepare.near_links import Pairs

_ROWS_AT_ONCE = 4096


class VectorColumn:
    """Vectors of all rows by key, of length 1; 0 where a sample has none.

    Args:
        name: of the field, for messages.
        parts: rows of a pile that was looked at, with a column `VECTOR`.
        order: rows of `parts` by key.
        path: file for the vectors, so that they need no memory.

    Raises:
        ConfigError: vectors of several lengths.
    """

    def __init__(self, name: str, parts: pa.Table, order: IntArray, path: Path) -> None:
        column = parts[VECTOR]
        dimension = _dimension(name, column)
        self._vectors: FloatArray = np.lib.format.open_memmap(path, "w+", np.float32, (len(order), dimension))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        start = 0
        for chunk in column.chunks:
            for begin in range(0, len(chunk), _ROWS_AT_ONCE):
                values = chunk.slice(begin, _ROWS_AT_ONCE)
                present = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
                found = np.frombuffer(b"".join(values.drop_null().to_pylist()), "<f4").reshape(-1, dimension)
                self._vectors[places[start + begin + present]] = normalised(found)
            start += len(chunk)

    def similar(self, rows: IntArray, cosine: float) -> tuple[Pairs, tuple[str, ...]]:
        """Pairs of these rows (ascending) whose vectors have at least this cosine; and sentences for the user."""
        chosen = self._vectors if len(rows) == len(self._vectors) else self._vectors[rows]
        first, second, exact = similar_pairs(chosen, cosine)
        remarks = [f"{len(first):,} pairs of embeddings with a cosine of {cosine:g} or more"]
        if not exact:
            remarks.append("found by faiss in neighbouring cells: nearly all there are")
        elif len(rows) > EXACT_UP_TO:
            remarks.append("every pair was compared: pip install 'imagemill[faiss]' is faster with so many")
        return (rows[first], rows[second]), tuple(remarks)


def _dimension(name: str, column: pa.ChunkedArray) -> int:
    sizes = pc.unique(pc.binary_length(column.drop_null())).to_pylist()
    if len(sizes) > 1:
        raise ConfigError(f"--embedding {name}: vectors of one length are compared, these have {len(sizes)} lengths")
    return sizes[0] // 4 if sizes else 1
