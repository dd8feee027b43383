"""Pairs of hashes that differ in few bits, by the native core; `imagemill.curate.near` says which pairs are sought."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from imagemill.native import address, library

_ROOM = 1 << 16
"""Pairs that there is room for at first."""


class _Search(ctypes.Structure):
    """`imagemill::NearSearch` of the core."""

    _fields_: ClassVar = [
        ("query_count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("queries", "values", "query_first", "query_second")),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("pictures", "starts", "first", "second")),
        ("mask_count", ctypes.c_int32),
        ("radius", ctypes.c_int32),
        ("masks", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
        ("found", ctypes.c_void_p),
    ]


def find_near(
    values: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    order: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int32],
    upright: npt.NDArray[np.uint64],
    masks: npt.NDArray[np.int32],
    radius: int,
    most: int,
) -> npt.NDArray[np.int64]:
    """Codes first * N + second of near pairs among N pictures, first < second; a pair may come several times.

    The interpreter lock is released.

    Args:
        values: of a band of each picture as it is looked up, shape (N,).
        hashes: of the same, shape (2, N).
        order: pictures by the value of the band as they are found, shape (N,).
        starts: where each value begins in `order`, and its end; one more than there are values.
        upright: hashes as they are found, shape (2, N).
        masks: bits that are changed in a value before it is looked up; each below the number of values.
        radius: bits in which hashes may differ.
        most: of more codes than that, one more than that is given.
    """
    queries = np.argsort(values, kind="stable").astype(np.int32)
    sought, kept = hashes.take(queries, axis=1), upright.take(order, axis=1)
    room = _ROOM
    while True:
        found = np.empty(room, np.int64)
        arrays: list[npt.NDArray[Any]] = [queries, values[queries], sought[0], sought[1]]
        others: list[npt.NDArray[Any]] = [order, starts, kept[0], kept[1]]
        search = _Search(
            *(len(queries), *map(address, arrays), len(order), *map(address, others)),
            *(len(masks), radius, address(masks), room, address(found)),
        )
        count = library().imagemill_find_near(ctypes.byref(search))
        if count <= room or room > most:
            return found[:count]
        room = min(count, most + 1)
