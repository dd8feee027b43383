"""Which samples a report shows: evenly over classes, always the same ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imagemill.load.order import permute
from imagemill.reports.counted import codes_of


def drawn_evenly(table: pa.Table, count: int) -> npt.NDArray[np.int64]:
    """Rows to show: each class has one before any has two, and so on; where there are no classes, each split has
    one and the rest are drawn from all.

    Args:
        table: columns `label` and `split`.
        count: rows at most.

    Returns:
        int64 rows, ascending; a pure function of the columns.
    """
    total = table.num_rows
    if not 0 < count < total:
        return np.arange(total if count else 0, dtype=np.int64)
    chance = permute(np.arange(total, dtype=np.int64), total, seed=0, epoch=0)
    labels, names = codes_of(table["label"])
    groups = labels if names else codes_of(table["split"])[0]
    order = np.lexsort((chance, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[0]] - 1))
    turn = np.empty(total, np.int64)
    turn[order] = np.arange(total) - np.repeat(starts, np.diff(starts, append=total))
    turns = turn if names else np.minimum(turn, 1)
    return np.sort(np.lexsort((chance, turns))[:count]).astype(np.int64)
