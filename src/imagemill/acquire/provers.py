"""The native core's threads at work for an event loop: bodies go in, proofs come out, and no thread of Python waits."""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from pathlib import Path

from imagemill.acquire.marks import Marks
from imagemill.native.proofs import Proof, ProofQueue

_RINGS = 64


class Provers:
    """Threads of the core that prove, hash and write bodies; for one event loop.

    Args:
        threads: at most.
        marks: told what is looked at, should this process not survive that.

    Raises:
        ConfigError: there is no core.
    """

    def __init__(self, threads: int, marks: Marks | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._queue = ProofQueue(threads, self._rung.fileno(), marks.address if marks else 0)
        self._tickets = count()
        self._answers: dict[int, asyncio.Future[Proof]] = {}
        self._loop.add_reader(self._bell, self._hear)

    async def prove(self, content: bytes, number: int, path: Path | None, *, decode: bool) -> Proof:
        """Proves one body.

        Args:
            content: the whole of it.
            number: of its request, for the marks.
            path: where it is written to if it holds; None is nowhere.
            decode: decode all codes of what must be a JPEG; without, everything holds.
        """
        ticket = next(self._tickets)
        answer: asyncio.Future[Proof] = self._loop.create_future()
        self._answers[ticket] = answer
        self._queue.put(content, ticket, number + 1, path, decode=decode)
        return await answer

    def _hear(self) -> None:
        self._bell.recv(_RINGS)
        for proof in self._queue.take():
            answer = self._answers.pop(proof.ticket)
            if not answer.done():
                answer.set_result(proof)

    async def close(self) -> None:
        """Ends the threads; bodies that still wait are forgotten."""
        self._loop.remove_reader(self._bell)
        await asyncio.to_thread(self._queue.end)
        self._bell.close()
        self._rung.close()
