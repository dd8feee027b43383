"""Files that a source keeps open between reads: few, and every process has its own."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

K = TypeVar("K")


class Closable(Protocol):
    """Something that holds a file open."""

    def close(self) -> None:
        """Lets go of the file."""


T = TypeVar("T", bound=Closable)


class Handles(Generic[K, T]):
    """What was opened last, by key. Arrives empty in another process, by pickle or by fork.

    Args:
        open_function: opens one thing; importable by name, so that this object can be pickled.
        keep: how many stay open.
    """

    def __init__(self, open_function: Callable[[K], T], keep: int = 4) -> None:
        self._open_function = open_function
        self._keep = keep
        self._handles: OrderedDict[K, T] = OrderedDict()
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._handles)

    def __reduce__(self) -> tuple[type[Handles[K, T]], tuple[Callable[[K], T], int]]:
        return type(self), (self._open_function, self._keep)

    def get(self, key: K) -> T:
        """The open thing of that key; whatever `open_function` raises passes through."""
        if os.getpid() != self._pid:
            # A parent's file position is shared with its child: never read through it.
            self.close()
            self._pid = os.getpid()
        handle = self._handles.get(key)
        if handle is None:
            handle = self._open_function(key)
            self._handles[key] = handle
            if len(self._handles) > self._keep:
                self._handles.popitem(last=False)[1].close()
        self._handles.move_to_end(key)
        return handle

    def close(self) -> None:
        """Closes everything."""
        _close_all(self._handles)


def _close_all(handles: OrderedDict[Any, Any]) -> None:
    while handles:
        handles.popitem()[1].close()
