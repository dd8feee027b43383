"""Whether a body is a good image: its bytes decide, in other processes, whatever its name or type says."""

from __future__ import annotations

import asyncio
import queue
import threading
from functools import partial
from pathlib import Path
from typing import TypeAlias

from imagemill.acquire.contract import Policy
from imagemill.acquire.look import Examination, examine_files, verdict_of
from imagemill.curate.isolated import Isolated
from imagemill.errors import SampleError

BATCH = 8
"""Bodies that a process is handed at a time: a trip there costs as much as a tenth of a decode."""
BACKLOG = 12
"""Bodies that wait for each process before another one is started."""
PATIENCE_S = 2.0
"""How long after the last process another one is started (shared by those that run): it costs two hundred decodes."""


Answer: TypeAlias = "asyncio.Future[Examination]"


class Examiners:
    """Processes that look at bodies; started when there is work for them, ended by `close`.

    For one event loop.

    Args:
        policy: how deep to look, limits of an image, how many processes.
    """

    def __init__(self, policy: Policy) -> None:
        self._look = partial(examine_files, limits=policy.image, full=policy.decode == "full")
        self._limits = policy.image
        self._count = policy.examiner_count
        self._todo: queue.SimpleQueue[tuple[Path, Answer] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._started = 0.0
        self._loop = asyncio.get_running_loop()

    async def examine(self, path: Path) -> Examination:
        """Looks at one file.

        Raises:
            EngineError: no process could be started.
            OSError: the file cannot be read.
        """
        answer: Answer = self._loop.create_future()
        self._todo.put((path, answer))
        if self._falls_behind():
            self._started = self._loop.time()
            thread = threading.Thread(target=self._serve, name="imagemill-examine", daemon=True)
            self._threads.append(thread)
            thread.start()
        return await answer

    def _falls_behind(self) -> bool:
        """Whether another process is worth its start."""
        running = len(self._threads)
        if not running:
            return True
        if running == self._count or self._todo.qsize() <= BACKLOG * running:
            return False
        return self._loop.time() - self._started > PATIENCE_S / running

    async def close(self) -> None:
        """Ends the processes; files that still wait are not looked at."""
        try:
            while self._todo.get_nowait() is not None:
                pass
        except queue.Empty:
            pass
        for _ in self._threads:
            self._todo.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        """Does not wait for a decoder that hangs: its process ends by its limit, or with this one."""
        for thread in self._threads:
            thread.join(2.0)

    def _serve(self) -> None:
        with Isolated(self._look, self._limits) as look:
            while batch := self._next_batch():
                try:
                    found: list[Examination] | Exception = _looked_at(look, [path for path, _ in batch])
                except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
                    found = error
                self._loop.call_soon_threadsafe(_tell, [answer for _, answer in batch], found)

    def _next_batch(self) -> list[tuple[Path, Answer]]:
        """At least one file, as soon as there is one; empty at the end."""
        batch: list[tuple[Path, Answer]] = []
        entry = self._todo.get()
        # Shared out: what waits is never all taken by one process while another has nothing.
        share = min(BATCH, 1 + self._todo.qsize() // max(1, len(self._threads)))
        while entry is not None:
            batch.append(entry)
            if len(batch) >= share:
                return batch
            try:
                entry = self._todo.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._todo.put(None)  # the end was meant for a thread that has nothing in hand
        return batch


def _looked_at(look: Isolated, paths: list[Path]) -> list[Examination]:
    """What a process says of the files; where it dies or hangs over several, each is tried alone."""
    try:
        found: list[Examination] = look(paths)
        return found
    except SampleError as error:
        if len(paths) == 1:
            return [Examination(verdict_of(error))]
    return [one for path in paths for one in _looked_at(look, [path])]


def _tell(answers: list[Answer], found: list[Examination] | Exception) -> None:
    for place, answer in enumerate(answers):
        if answer.done():
            continue
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found[place])
