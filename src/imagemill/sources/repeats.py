"""Names that come twice, found among millions in eight bytes each."""

from __future__ import annotations

from array import array

import numpy as np
import xxhash


class Repeats:
    """Tells a name's first use from later ones, once all names have been noted.

    Names are noted by hash; only the few whose hash comes twice are then kept and compared whole,
    so the answer is exact.
    """

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._repeated: frozenset[int] | None = None
        self._claimed: set[str] = set()

    def note(self, name: str) -> None:
        """Remembers that a name comes; before any `claim`."""
        self._hashes.append(name_hash(name))

    def claim(self, name: str) -> bool:
        """Whether this is the first claim of a noted name."""
        if self._repeated is None:
            values, counts = np.unique(np.frombuffer(self._hashes, np.uint64), return_counts=True)
            self._repeated = frozenset(values[counts > 1].tolist())
        if not self._repeated or name_hash(name) not in self._repeated:
            return True
        if name in self._claimed:
            return False
        self._claimed.add(name)
        return True

    def noted(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """Sorted hashes (`name_hash`) of all names noted."""
        return np.sort(np.frombuffer(self._hashes, np.uint64))


def name_hash(name: str) -> int:
    """xxh3-64 of the UTF-8 bytes of a name."""
    return xxhash.xxh3_64_intdigest(name.encode())
