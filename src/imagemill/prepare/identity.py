"""What tells the samples of a listing apart: a hash of every key and group, and a fingerprint of the whole.

Everything that is planned works on these hashes, 16 bytes a sample, and never looks at the
text again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imagemill.prepare.plan import HashArray, hash_strings
from imagemill.sources.base import GROUP_HASH


class Hashes(NamedTuple):
    """Hashes of a listing's samples.

    Args:
        keys: uint64, shape (rows,), xxh3-64 of each key.
        groups: uint64, shape (rows,), of each group; of the key where a sample has none.
    """

    keys: HashArray
    groups: HashArray


def listing_hashes(path: Path, rows: int) -> Hashes:
    """Hashes of the first rows of the listing in a file, in its order.

    The file is read batch by batch, not through a memory map: the pages of its text would
    stay in this process's memory, half a gigabyte for ten million samples.

    Args:
        path: what a `ListingBuilder` wrote.
        rows: how many; at most those it has.
    """
    hashes = Hashes(np.empty(rows, np.uint64), np.empty(rows, np.uint64))
    start, number = 0, 0
    with pa.OSFile(str(path)) as file:
        names = pa.ipc.open_file(file).schema.names
        wanted = [place for place, name in enumerate(names) if name in ("key", "group", GROUP_HASH)]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
        while start < rows:
            part = _batch_hashes(reader.get_batch(number).slice(0, rows - start))
            stop = start + len(part.keys)
            hashes.keys[start:stop], hashes.groups[start:stop] = part
            start, number = stop, number + 1
    return hashes


def _batch_hashes(batch: pa.RecordBatch) -> Hashes:
    keys = hash_strings(batch["key"])
    if GROUP_HASH in batch.schema.names:
        return Hashes(keys, batch[GROUP_HASH].to_numpy())
    return Hashes(keys, hash_strings(batch["group"], keys))


def fingerprint(hashes: Hashes, sizes: npt.NDArray[np.int64]) -> str:
    """xxh3-128 over the samples' keys, groups and sizes, in order.

    Args:
        sizes: int64, shape (rows,), bytes of each sample.
    """
    digest = xxhash.xxh3_128()
    for column in (*hashes, sizes):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def repeated(hashes: HashArray) -> npt.NDArray[np.int64]:
    """Rows whose hash another row has too, sorted by hash; mostly none.

    Args:
        hashes: uint64, shape (rows,).
    """
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.empty(0, np.int64)
    rows = np.flatnonzero(np.isin(hashes, twice))
    return rows[np.argsort(hashes[rows], kind="stable")]
