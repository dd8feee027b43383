"""Which of several pictures that show the same is worth keeping."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagemill.curate.flags import Thresholds
from imagemill.curate.near import IntArray

_LOSSLESS = ("PNG", "BMP", "DIB", "TIFF", "PPM", "TGA", "QOI", "PCX", "SGI", "NPY", "ARRAY")
_FEW_COLOURS = ("P", "PA", "1")


def ranks(table: pa.Table, field: str) -> IntArray:
    """Place of each row where the best come first.

    Most pixels, then pictures in colour, then files without loss, files with loss and files of few colours (a palette
    of a photograph often takes more bytes and shows less), then most bytes, then by row.

    What was enlarged passes for better than its original: pixels alone do not tell.

    Args:
        table: columns of a table of checks, ordered by key.
        field: an image field.

    Returns:
        int64, shape (rows,), each number once.
    """
    pixels = pc.multiply(table[f"height.{field}"].cast(pa.int64()), table[f"width.{field}"].cast(pa.int64()))
    grey = pc.less_equal(table[f"chroma.{field}"], Thresholds.grey).fill_null(False)
    few = pc.is_in(table[f"mode.{field}"], pa.array(_FEW_COLOURS)).to_numpy()
    lossless = pc.is_in(table[f"format.{field}"], pa.array(_LOSSLESS)).to_numpy()
    losses = np.where(few, 2, np.where(lossless, 0, 1))
    sizes = table["size"].fill_null(0).to_numpy()
    order = np.lexsort((-sizes, losses, grey.to_numpy(), -pixels.fill_null(-1).to_numpy()))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places
