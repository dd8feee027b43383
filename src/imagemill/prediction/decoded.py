"""Samples decoded ahead of the network: what it is to be shown, and what it should make of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np

from imagemill.codecs import image as images
from imagemill.core.sample import Array, Encoded, Sample, Value
from imagemill.curate.inspect import inspect
from imagemill.curate.limits import Limits
from imagemill.errors import EngineError, SampleError
from imagemill.prediction.picture import Picture, read_picture
from imagemill.prediction.plan import Roles

Item = TypeVar("Item")

PIXELS_AHEAD = 2**24
"""Pixels that are decoded and not yet predicted, at most, unless a single picture has more."""


@dataclass(frozen=True)
class Decoded:
    """A sample as a model meets it.

    Args:
        picture: that is shown.
        wanted: pixels (H, W, 3) of what should come of it, or class ids (H, W); None where nobody knows.
        shown: where the picture came from.
        vector: float32 (n,), where the model takes one.
    """

    picture: Picture
    wanted: Array | None
    shown: str
    vector: Array | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        height, width = self.picture.pixels.shape[:2]
        return height, width


@dataclass(frozen=True)
class SampleDecoder:
    """Decodes samples for a model; picklable, stateless.

    Args:
        roles: which fields are what.
        segments: whether `wanted` is a mask.
        limits: what one picture may cost.
    """

    roles: Roles
    segments: bool
    limits: Limits

    def __call__(self, sample: Sample) -> Decoded:
        """The sample, decoded.

        Raises:
            SampleError: one of its pictures is bad; names key and origin.
        """
        shown = sample.origins.get(self.roles.shown) or sample.key
        picture = self._guarded(sample, self.roles.shown, self._picture)
        wanted = None
        if self.roles.wanted is not None and self.roles.wanted in sample.values:
            wanted = self._guarded(sample, self.roles.wanted, self._mask if self.segments else self._pixels)
        vector = None if self.roles.vector is None else np.asarray(sample.values[self.roles.vector], np.float32)
        return Decoded(picture, wanted, shown, vector)

    def _guarded(self, sample: Sample, name: str, read: Callable[[Value], Item]) -> Item:
        try:
            return read(sample.values[name])
        except SampleError as error:
            raise error.of(sample.key, sample.origins.get(name, sample.key)) from None

    def _picture(self, value: Value) -> Picture:
        if isinstance(value, Encoded):
            return read_picture(value.data, inspect(value.data, self.limits, full=False).header)
        array = np.asarray(value)
        if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)):
            raise SampleError("unsupported", f"an array of {array.dtype} {array.shape} is no picture for a model")
        pixels = np.broadcast_to(array.reshape(*array.shape[:2], -1), (*array.shape[:2], 3))
        return Picture(np.ascontiguousarray(pixels), grey=array.shape[2:] != (3,))

    def _pixels(self, value: Value) -> Array:
        return self._picture(value).pixels

    def _mask(self, value: Value) -> Array:
        if not isinstance(value, Encoded):
            ids = np.asarray(value)
        else:
            ids = images.decode_mask(value.data, inspect(value.data, self.limits, full=False).header)
        ids = ids[:, :, 0] if ids.ndim == 3 and ids.shape[2] == 1 else ids
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise SampleError("unsupported", f"a mask of {ids.dtype} {ids.shape}: one class id a pixel is wanted")
        return ids


class Ahead(Generic[Item]):
    """Items of an iterator, made by a thread while the one before is being used.

    Args:
        items: used in that thread only.
        weight_of: of an item; the thread waits while items in use and waiting weigh more than `allowed` together.
        allowed: an item is made anyway where there is no other.
        patience_s: how long an item may take.
    """

    def __init__(self, items: Iterator[tuple[Item, int]], allowed: int, patience_s: float) -> None:
        self._items = items
        self._allowed = allowed
        self._patience_s = patience_s
        self.hangs = False
        self._changed = threading.Condition()
        self._ready: deque[tuple[Item, int]] = deque()
        self._weight = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._make, name="imagemill-ahead", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._taken()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if not self.hangs:
            self._thread.join()

    def _make(self) -> None:
        try:
            while self._may_go_on():
                item = next(self._items, None)
                if item is None:
                    break
                with self._changed:
                    self._ready.append(item)
                    self._weight += item[1]
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  raised where the items are used
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _may_go_on(self) -> bool:
        with self._changed:
            while self._weight > self._allowed and not self._stopped:
                self._changed.wait()
            return not self._stopped

    def _taken(self) -> Iterator[Item]:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._ready or self._ended, self._patience_s):
                    self.hangs = True
                    raise EngineError(
                        f"a picture was being decoded for {self._patience_s:g} s: the same command again decodes "
                        "it in a process of its own, and rejects it if it hangs there, too"
                    )
                if not self._ready:
                    break
                item, weight = self._ready.popleft()
            yield item
            with self._changed:
                self._weight -= weight
                self._changed.notify_all()
        if self._error is not None:
            raise self._error
