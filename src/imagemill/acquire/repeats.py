"""Which URLs of a list come again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HASH_BYTES = 16
FEW = 1 << 14
"""Rows that are looked through in Python, which takes no longer than importing NumPy."""
_BUCKET_ROWS = 1 << 22


@dataclass(frozen=True)
class Repeats:
    """Rows whose URL came before.

    Args:
        rows: ascending, 0 for the survey's first URL.
        firsts: for each the row of the same URL's first coming.
    """

    rows: array[int]
    firsts: array[int]

    def first_of(self, start: int, stop: int) -> dict[int, int]:
        """{row: first row} for the repeats from start up to stop."""
        low, high = bisect_left(self.rows, start), bisect_left(self.rows, stop)
        return dict(zip(self.rows[low:high], self.firsts[low:high], strict=True))


def find_few_repeats(hashes: memoryview) -> Repeats:
    """What `find_repeats` finds, for `FEW` rows at most.

    Args:
        hashes: bytes, `HASH_BYTES` a row.
    """
    found = Repeats(array("q"), array("q"))
    first: dict[bytes, int] = {}
    for row in range(len(hashes) // HASH_BYTES):
        there = first.setdefault(bytes(hashes[row * HASH_BYTES : (row + 1) * HASH_BYTES]), row)
        if there != row:
            found.rows.append(row)
            found.firsts.append(there)
    return found


def find_repeats(hashes: npt.NDArray[np.uint64]) -> Repeats:
    """Rows whose hash came before, in memory for 4 million rows at a time.

    Args:
        hashes: uint64, shape (rows, 2).
    """
    import numpy as np

    rows, firsts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    buckets = -(-len(hashes) // _BUCKET_ROWS) or 1
    for bucket in range(buckets):
        members = np.flatnonzero(hashes[:, 0] % buckets == bucket) if buckets > 1 else np.arange(len(hashes))
        own = hashes[members]
        order = np.lexsort((own[:, 1], own[:, 0]))
        ordered = own[order]
        again = np.concatenate([[False], (ordered[1:] == ordered[:-1]).all(axis=1)])[: len(own)]
        beginning = np.maximum.accumulate(np.where(again, 0, np.arange(len(own))))
        rows.append(members[order[again]])
        firsts.append(members[order[beginning[again]]])
    all_rows, all_firsts = np.concatenate(rows), np.concatenate(firsts)
    order = np.argsort(all_rows)
    return Repeats(array("q", all_rows[order].tobytes()), array("q", all_firsts[order].tobytes()))
