"""Batches of packed samples by the native core: found in the maps, checked, drawn, decoded, in one call without the
interpreter lock.

What goes in are addresses: of the columns of open shards, of the batch's memory, of a few tables. Whoever calls keeps
all of it alive, and says nothing of rows that are not there; nothing of that is looked at again.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.native import MAX_PIXELS, SHRINK_GAP, Profiles, address, library

ADDRESSES = 5
"""Of a column: values, starts (int64), lengths (int64), digests (uint64; 0 for none), checked (bool, written)."""
FILL_CHANNELS = 4


class Step(IntEnum):
    """Kinds of transforms; the numbers are those of the core."""

    RANDOM_RESIZED_CROP = 0
    RESIZE = 1
    RESIZE_SHORT = 2
    FIT = 3
    CENTER_CROP = 4
    RANDOM_CROP = 5
    FLIP_COLUMNS = 6
    FLIP_ROWS = 7
    ROTATE_90 = 8
    COLOR_JITTER = 9
    GRAYSCALE = 10
    RANDOM_ERASING = 11
    CUTOUT = 12


STEP = np.dtype(
    [
        ("step", "i4"),
        ("filter", "i4"),
        ("size", "i4", 2),
        ("numbers", "i4", 4),
        ("reals", "f8", 8),
        ("fill", "u1", FILL_CHANNELS),
        ("mask_fill", "i4"),
    ],
    align=True,
)
"""`imagemill::Operation` of the core, where the meaning of its numbers stands."""


class FieldKind(IntEnum):
    """How values come into a batch; the numbers are those of the core."""

    IMAGE = 0
    PIXELS = 1
    BYTES = 2
    PLACE = 3
    MASK = 4
    MASK_PIXELS = 5


FIELD = np.dtype(
    [
        ("kind", "i4"),
        ("channels", "i4"),
        ("channels_last", "i4"),
        ("element_bytes", "i4"),
        ("sides", "i4", 2),
        ("raw_sides", "i4", 2),
        ("size_bytes", "i8"),
        ("out", "u8"),
    ],
    align=True,
)
"""`imagemill::FieldPlan` of the core."""

VERIFY = {"never": 0, "first": 1, "always": 2}


class _Samples(ctypes.Structure):
    """`imagemill::Samples` of the core."""

    _fields_: ClassVar = [
        ("count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("rows", "shards", "names")),
        ("epoch_state", ctypes.c_uint64),
        *((name, ctypes.c_void_p) for name in ("columns", "fields", "steps")),
        *((name, ctypes.c_int32) for name in ("field_count", "geometry_count", "change_count")),
        *((name, ctypes.c_int32) for name in ("verify", "profile_count")),
        ("profiles", ctypes.c_void_p),
        ("shrink_gap", ctypes.c_double),
        ("max_pixels", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("statuses", "states")),
    ]


class Request(NamedTuple):
    """Samples of a batch.

    Args:
        rows: int64, shape (N,), within their shards.
        shards: int32, shape (N,), numbers of shards in `columns`.
        names: int64, shape (N,): what tells a sample's random stream from others of the epoch.
        epoch_state: state of that stream before the name.
        columns: uint64, shape (shards * fields, `ADDRESSES`), the fields of a shard together.
        fields: of `FIELD`, shape (fields,), with places for N values each at `out`.
        geometry: of `STEP`, what is drawn for every sample.
        changes: of `STEP`, what is done to the pixels of its images then, which have 1 or 3 channels if anything is.
        verify: "never", "first" or "always".
        profiles: what is known of ICC profiles.
    """

    rows: npt.NDArray[np.int64]
    shards: npt.NDArray[np.int32]
    names: npt.NDArray[np.int64]
    epoch_state: int
    columns: npt.NDArray[np.uint64]
    fields: npt.NDArray[Any]
    geometry: npt.NDArray[Any]
    changes: npt.NDArray[Any]
    verify: str
    profiles: Profiles


class Team:
    """Threads of the core that several batches share; to be ended by `close`, or with its last reference.

    Of no use in a process forked off later.

    Args:
        threads: how many.

    Raises:
        ConfigError: the core is not available.
        MemoryError: nothing could be begun.
    """

    def __init__(self, threads: int) -> None:
        self._library = library()
        self._pid = os.getpid()
        self._team = self._library.imagemill_team_start(threads)
        if not self._team:
            raise MemoryError("the native core had no memory to begin with")

    def load(self, request: Request, states: npt.NDArray[np.uint64] | None = None) -> npt.NDArray[np.int32]:
        """Brings samples into their places; may be called by several threads at once.

        Args:
            states: uint64, shape (N,), written: of the samples' random streams when all is drawn.

        Returns:
            `imagemill.native.Status` of each sample, int32, shape (N,). What lies in the places of a sample that is
            not DONE means nothing.

        Raises:
            MemoryError: nothing could be begun.
        """
        count = len(request.rows)
        statuses = np.empty(count, np.int32)
        steps = np.concatenate([request.geometry, request.changes])
        samples = _Samples(
            *(count, address(request.rows), address(request.shards), address(request.names), request.epoch_state),
            *(address(request.columns), address(request.fields), address(steps), len(request.fields)),
            *(len(request.geometry), len(request.changes), VERIFY[request.verify], len(request.profiles)),
            *(address(request.profiles.table), SHRINK_GAP, MAX_PIXELS, address(statuses)),
            0 if states is None else address(states),
        )
        if self._library.imagemill_load_samples(self._team, ctypes.byref(samples)) != 0:
            raise MemoryError("the native core had no memory to begin with")
        return statuses

    def close(self) -> None:
        """Ends the threads; no batch may be under way."""
        team, self._team = self._team, None
        if team and os.getpid() == self._pid:  # in a process forked off its threads do not exist, and never end
            self._library.imagemill_team_end(team)

    def __del__(self) -> None:
        if getattr(self, "_team", None):
            self.close()


def drawn(
    steps: npt.NDArray[Any], sides: tuple[int, int], epoch_state: int, name: int
) -> tuple[list[float], list[int]] | None:
    """What the core draws for one sample, for tests.

    Returns:
        The box (top, left, height, width); and the limit (top, left, bottom, right), the size before the turn, the
        turn's three parts and the filter's number. None where nothing can be drawn.
    """
    box, numbers = np.zeros(4, np.float64), np.zeros(10, np.int32)
    code = library().imagemill_draw(
        *(address(steps), len(steps), *sides, epoch_state, name, address(box), address(numbers))
    )
    return None if code else (box.tolist(), numbers.tolist())


def change(kind: int, amount: float, pixels: npt.NDArray[np.uint8]) -> None:
    """One of ColorJitter's changes by the core, in the place of the pixels.

    Args:
        kind: 0 brightness, 1 contrast, 2 saturation, 3 hue, 4 grey (by no amount).
        pixels: uint8 (H, W, C) in C order, C of 1 or 3.

    Raises:
        ConfigError: the core is not available.
    """
    library().imagemill_change(kind, amount, address(pixels), *pixels.shape)


def texts_at(places: npt.NDArray[np.int64]) -> list[str]:
    """The UTF-8 texts at these (address, length), int64, shape (N, 2).

    Raises:
        UnicodeDecodeError: one is no UTF-8.
    """
    joined = np.empty(int(places[:, 1].sum()) + len(places), np.uint8)
    library().imagemill_join(address(places), len(places), address(joined))
    texts = joined.tobytes().decode().split("\0")[: len(places)]
    if joined.size - np.count_nonzero(joined) == len(places):
        return texts
    return [bytes_at(start, length).decode() for start, length in places.tolist()]  # some text has zeros of its own


def bytes_at(start: int, length: int) -> bytes:
    """A copy of the bytes at an address."""
    return ctypes.string_at(start, length)
