"""Decoded references: the tiles of one image share one, and decoding it costs as much as decoding a tile."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

import xxhash

from imagemill.core.sample import Encoded
from imagemill.datasets.pairs import KeptPair, ViewOf, show_pair
from imagemill.datasets.pictures import File

LATELY = 64
"""A reference is kept once it is asked for again among so many others. So tiles in order find theirs from the second
on; a random order over many images costs nothing: what is kept then comes slowly, and stays."""
ENTRY_BYTES = 512
"""What an entry takes beside its planes."""

Key: TypeAlias = tuple[Any, ...]


class ReferenceCache:
    """The references that were shown last; an item is the same whether its reference was here or not.

    Every thread has its own, so there is no lock that a forked worker could find taken; a pickled one is empty.

    Args:
        limit_bytes: that a thread keeps; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[type[ReferenceCache], tuple[int]]:
        return ReferenceCache, (self._limit_bytes,)

    def look_up(
        self, values: Sequence[Any], names: Sequence[str], views_of: Sequence[ViewOf], shapes: Sequence[Key]
    ) -> list[Any]:
        """For each reference what `show_pairs` is to show under its view: what was kept of it, or itself.

        Args:
            values: files, encoded bytes or pixels.
            names: for messages.
            views_of: what is to be seen of each.
            shapes: equal ones have equal views of the same reference.

        Raises:
            SampleError: one cannot be read or decoded, or is too small for what is to be seen of it.
        """
        if not self._limit_bytes or not values:
            return list(values)
        if not hasattr(self._of_thread, "kept"):
            self._of_thread.kept = _Kept(self._limit_bytes)
        kept: _Kept = self._of_thread.kept
        return [kept.get(*each) for each in zip(values, names, views_of, shapes, strict=True)]


class _Kept:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._pairs: OrderedDict[Key, KeptPair] = OrderedDict()
        self._asked: OrderedDict[Key, None] = OrderedDict()

    def get(self, value: Any, name: str, view_of: ViewOf, shape: Key) -> Any:
        """What was kept of a reference, or itself."""
        identity = _identity(value)
        if identity is None:
            return value
        key = *identity, *shape
        found = self._pairs.get(key)
        if found is not None:
            self._pairs.move_to_end(key)
            return found
        if not self._was_asked(key):
            return value
        found = KeptPair.of(show_pair(value, name, view_of))
        self._keep(key, found)
        return found

    def _was_asked(self, key: Key) -> bool:
        if key in self._asked:
            del self._asked[key]
            return True
        self._asked[key] = None
        if len(self._asked) > LATELY:
            self._asked.popitem(last=False)
        return False

    def _keep(self, key: Key, pair: KeptPair) -> None:
        """Takes a pair in, for which those used longest ago make room."""
        self._size_bytes += ENTRY_BYTES + pair.size_bytes
        self._pairs[key] = pair
        while self._size_bytes > self._limit_bytes:
            self._size_bytes -= ENTRY_BYTES + self._pairs.popitem(last=False)[1].size_bytes


def _identity(value: Any) -> Key | None:
    """What differs for different contents: of a file its path and stamp, so that a changed one is read anew."""
    if isinstance(value, Encoded):
        return (xxhash.xxh3_128_digest(value.data),)
    if not isinstance(value, File):
        return None
    try:
        found = os.stat(value.path)
    except OSError:
        return None  # whoever reads it says what is wrong
    return value.path, found.st_ino, found.st_mtime_ns, found.st_size
