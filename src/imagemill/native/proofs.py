"""Files that are proven by threads of the native core as they arrive, none of which ever waits for the interpreter."""

from __future__ import annotations

import ctypes
import os
import weakref
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from imagemill.native import library

_PROOF = Struct("=qii32s")
"""`imagemill::Proof` of the core."""
_TAKEN = 64
"""Proofs that are taken at a time."""


def sha256(content: bytes) -> bytes:
    """The core's own SHA-256; for tests.

    Raises:
        ConfigError: the core is not available.
    """
    digest = ctypes.create_string_buffer(32)
    library().imagemill_sha256(content, len(content), digest)
    return digest.raw


class Proof(NamedTuple):
    """What was found of one file.

    Args:
        ticket: as it was given.
        holds: every code of the JPEG is there, and nothing is to be remarked of it; False says nothing of the file.
        error: number of the system's error where the file could not be written, else 0.
        sha256: of a file that holds.
    """

    ticket: int
    holds: bool
    error: int
    sha256: bytes


class ProofQueue:
    """Threads that prove files, hash them and write them; for one thread of Python at a time.

    Args:
        threads: at most; they start when there is work for them.
        bell: descriptor to which a byte is written when there is something to be taken where there was nothing. It
            becomes non-blocking: where nobody listens and it is full, there is enough to be heard.
        marks: address of an int64 for each thread, which it sets while it looks at a file; 0 for none.

    Raises:
        ConfigError: the core is not available.
        MemoryError: there is not enough.
    """

    def __init__(self, threads: int, bell: int, marks: int = 0) -> None:
        self._core = library()
        os.set_blocking(bell, False)
        self._queue = self._core.imagemill_proofs_start(threads, bell, marks or None)
        if not self._queue:
            raise MemoryError("no memory for threads that prove files")
        self._contents: dict[int, bytes] = {}
        self._taken = ctypes.create_string_buffer(_PROOF.size * _TAKEN)
        self.end = weakref.finalize(self, self._core.imagemill_proofs_end, self._queue)
        """Forgets what was not begun and waits for the rest, the interpreter lock released; nothing is called then."""

    def put(self, content: bytes, ticket: int, mark: int, path: Path | None, *, decode: bool) -> None:
        """Adds a file.

        Args:
            content: the whole file.
            ticket: given back with the proof; of no other file that was not taken yet.
            mark: what the thread sets its place to meanwhile.
            path: where it is written to if it holds, anew; None is nowhere.
            decode: decode all codes of what must be a JPEG; without, every file holds.

        Raises:
            MemoryError: there is not enough, or no thread can be started.
        """
        name = b"" if path is None else os.fsencode(path)
        self._contents[ticket] = content  # the core's threads read it
        if not self._core.imagemill_proofs_put(self._queue, content, len(content), ticket, mark, decode, name):
            raise MemoryError("no memory, or no thread, to prove files")

    def take(self) -> list[Proof]:
        """All proofs that are ready."""
        found: list[Proof] = []
        while count := self._core.imagemill_proofs_take(self._queue, self._taken, _TAKEN):
            entries = _PROOF.iter_unpack(memoryview(self._taken)[: count * _PROOF.size])
            found += [Proof(ticket, bool(holds), error, sha256) for ticket, holds, error, sha256 in entries]
        for proof in found:
            del self._contents[proof.ticket]
        return found
