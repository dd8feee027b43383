"""Which bodies are looked at just now: should a decoder end this process, the file tells the next run.

The native core's threads write their marks themselves: a store to mapped memory, no call of the system.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from pathlib import Path

MARKS = "looked-at"
"""File name."""
_MARK = struct.Struct("=q")


class Marks:
    """Marks of a run's threads.

    Args:
        path: the file; begun anew.
        count: threads.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        path.write_bytes(bytes(_MARK.size * count))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @property
    def address(self) -> int:
        """Of an int64 for each thread: the number of the request whose body it looks at and one more, or 0."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def close(self) -> None:
        """Removes the file: this process survived."""
        self._map.close()
        self._path.unlink(missing_ok=True)


def left_marks(path: Path) -> frozenset[int]:
    """Requests whose bodies were being looked at when an earlier run ended; none where there is no file."""
    try:
        content = path.read_bytes()
    except OSError:
        return frozenset()
    whole = content[: len(content) // _MARK.size * _MARK.size]
    return frozenset(number - 1 for (number,) in _MARK.iter_unpack(whole) if number > 0)
