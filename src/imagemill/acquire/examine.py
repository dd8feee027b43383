"""Whether a body is a good image: its bytes decide, whatever its name or type says.

Ordinary JPEGs in perfect order are proven by the native core's own threads, in time and memory bounded by their size.
Everything else goes to other processes, so that a decoder that hangs or dies costs one reject.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill import native
from imagemill.acquire.contract import Policy
from imagemill.acquire.look import Examination, examine_files, good, verdict_of
from imagemill.acquire.marks import Marks
from imagemill.acquire.provers import Provers
from imagemill.codecs.header import Header
from imagemill.curate.plain import plain_header
from imagemill.errors import SampleError

if TYPE_CHECKING:
    from imagemill.curate.isolated import Isolated

BATCH = 8
"""Bodies that a process is handed at a time: a trip there costs as much as a tenth of a decode."""
BACKLOG = 12
"""Bodies that wait for each process before another one is started."""
PATIENCE_S = 2.0
"""How long after the last process another one is started (shared by those that run): it costs two hundred decodes."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A body that waits for a process.

    Args:
        path: its file.
        content: of a body that is in memory only, its file not written.
        answer: for who waits.
    """

    path: Path
    content: bytes | None
    answer: asyncio.Future[Examination]


class Examiners:
    """Threads and processes that look at bodies; started when there is work for them, ended by `close`.

    For one event loop.

    Args:
        policy: how deep to look, limits of an image, how many threads or processes.
        marks: told what is looked at in this process, should it not survive that.
    """

    def __init__(self, policy: Policy, marks: Marks | None = None) -> None:
        self._full = policy.decode == "full"
        self._look = partial(examine_files, limits=policy.image, full=self._full)
        self._limits = policy.image
        self._loop = asyncio.get_running_loop()
        self._processes = _Pool(self._look_in_processes, policy.examiner_count)
        self._provers = Provers(policy.examiner_count, marks) if native.available() else None
        self._may_read = asyncio.Semaphore(policy.examiner_count)

    async def examine(
        self, path: Path, content: bytes | None = None, number: int = 0, *, alone: bool = False
    ) -> Examination:
        """Looks at one body. If it is good, its file is there afterwards.

        Args:
            path: its file.
            content: of a body that is in memory only, its file not written.
            number: of its request, for the marks.
            alone: in another process, whatever it is.

        Raises:
            EngineError: no process could be started.
            OSError: the file cannot be read or written.
        """
        found = None if alone else await self._look_here(path, content, number)
        if found is not None:
            return found
        body = Body(path, content, self._loop.create_future())
        self._processes.put(body)
        return await body.answer

    async def close(self) -> None:
        """Ends threads and processes; files that still wait are not looked at."""
        if self._provers is not None:
            await self._provers.close()
        self._processes.end()
        await asyncio.to_thread(self._processes.join)

    async def _look_here(self, path: Path, content: bytes | None, number: int) -> Examination | None:
        """What is found in this process, None where another one must look."""
        if content is not None:
            return await self._prove(content, self._header(content), number, path)
        async with self._may_read:  # large ones: a few in memory, and their headers may be long
            read, header = await asyncio.to_thread(self._read, path)
            return await self._prove(read, header, number, None)

    def _read(self, path: Path) -> tuple[bytes, Header | Examination | None]:
        content = path.read_bytes()
        return content, self._header(content)

    def _header(self, content: bytes) -> Header | Examination | None:
        """The header of a file that may be proven here; or what shows there already."""
        try:
            return plain_header(content, self._limits, full=self._full)
        except SampleError as error:
            return Examination(verdict_of(error))

    async def _prove(
        self, content: bytes, header: Header | Examination | None, number: int, path: Path | None
    ) -> Examination | None:
        """Proves a file with this header, and writes it to the path if it is sound."""
        if header is None or isinstance(header, Examination):
            return header
        if self._provers is not None:
            proof = await self._provers.prove(content, number, path, decode=self._full)
            if proof.error:
                raise OSError(proof.error, os.strerror(proof.error), str(path))
            sha256 = proof.sha256.hex() if proof.holds else ""
        else:
            sha256 = "" if self._full else await asyncio.to_thread(_stored, content, path)
        return good(len(content), sha256, header, header.notes()) if sha256 else None

    def _look_in_processes(self, todo: _Pool) -> None:
        from imagemill.curate.isolated import Isolated  # loads what starts processes, which few lists need

        with Isolated(self._look, self._limits) as look:
            while batch := todo.next_batch():
                try:
                    found: list[Examination] | Exception = _looked_at(look, [_on_disk(body) for body in batch])
                except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
                    found = error
                self._tell(batch, found)

    def _tell(self, batch: list[Body], found: list[Examination] | Exception) -> None:
        self._loop.call_soon_threadsafe(_set_answers, [body.answer for body in batch], found)


class _Pool:
    """Threads that share a queue of bodies, each the master of a process.

    Args:
        work: what a thread does, until `next_batch` gives nothing; it is given the pool.
        most: threads at most.
    """

    def __init__(self, work: Callable[[_Pool], None], most: int) -> None:
        self.threads: list[threading.Thread] = []
        self._work = work
        self._most = most
        self._todo: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        self._started = 0.0

    def put(self, body: Body) -> None:
        """Adds a body, and a thread where the others fall behind."""
        self._todo.put(body)
        if self._falls_behind():
            self._started = time.monotonic()
            thread = threading.Thread(target=self._work, args=(self,), name="imagemill-examine", daemon=True)
            self.threads.append(thread)
            thread.start()

    def _falls_behind(self) -> bool:
        """Whether another thread is worth its start."""
        running = len(self.threads)
        if not running:
            return True
        if running == self._most or self._todo.qsize() <= BACKLOG * running:
            return False
        return time.monotonic() - self._started > PATIENCE_S / running

    def next_batch(self) -> list[Body]:
        """At least one body, as soon as there is one; empty at the end."""
        batch: list[Body] = []
        entry = self._todo.get()
        # Shared out: what waits is never all taken by one while another has nothing.
        share = min(BATCH, 1 + self._todo.qsize() // max(1, len(self.threads)))
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

    def end(self) -> None:
        """Has every thread end after what it has in hand."""
        try:
            while self._todo.get_nowait() is not None:
                pass
        except queue.Empty:
            pass
        for _ in self.threads:
            self._todo.put(None)

    def join(self) -> None:
        """Does not wait for a decoder that hangs: its process ends by its limit, or with this one."""
        for thread in self.threads:
            thread.join(2.0)


def _stored(content: bytes, path: Path | None) -> str:
    """The SHA-256 of a file, after it is written, if it is to be."""
    if path is not None:
        path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _on_disk(body: Body) -> Path:
    """The file of a body, written if it is not."""
    if body.content is not None:
        body.path.write_bytes(body.content)
    return body.path


def _looked_at(look: Isolated, paths: list[Path]) -> list[Examination]:
    """What a process says of the files; where it dies or hangs over several, each is tried alone."""
    try:
        found: list[Examination] = look(paths)
        return found
    except SampleError as error:
        if len(paths) == 1:
            return [Examination(verdict_of(error))]
    return [one for path in paths for one in _looked_at(look, [path])]


def _set_answers(waiting: list[asyncio.Future[Examination]], found: list[Examination] | Exception) -> None:
    for place, future in enumerate(waiting):
        if future.done():
            continue
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found[place])
