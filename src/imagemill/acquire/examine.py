"""Whether a body is a good image: its bytes decide, in other processes, whatever its name or type says."""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from imagemill.acquire.contract import Policy, Verdict
from imagemill.curate.isolated import Isolated
from imagemill.curate.limits import Limits
from imagemill.errors import SampleError

BATCH = 8
"""Bodies that a process is handed at a time: a trip there costs as much as a tenth of a decode."""
BACKLOG = 12
"""Bodies that wait for each process before another one is started, which costs as much as two hundred decodes."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a body.

    Args:
        verdict: good, or why not.
        size_bytes, sha256: of the file; "" for a file that is no good image.
    """

    verdict: Verdict
    size_bytes: int = 0
    sha256: str = ""


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
        self._loop = asyncio.get_running_loop()

    async def examine(self, path: Path) -> Examination:
        """Looks at one file.

        Raises:
            EngineError: no process could be started.
            OSError: the file cannot be read.
        """
        answer: Answer = self._loop.create_future()
        self._todo.put((path, answer))
        if len(self._threads) < self._count and self._todo.qsize() > BACKLOG * len(self._threads):
            thread = threading.Thread(target=self._serve, name="imagemill-examine", daemon=True)
            self._threads.append(thread)
            thread.start()
        return await answer

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
            return [Examination(_verdict_of(error))]
    return [one for path in paths for one in _looked_at(look, [path])]


def _tell(answers: list[Answer], found: list[Examination] | Exception) -> None:
    for place, answer in enumerate(answers):
        if answer.done():
            continue
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found[place])


def examine_files(paths: list[Path], *, limits: Limits, full: bool) -> list[Examination]:
    """Looks at files, in the process that it is called in."""
    return [examine_file(path, limits=limits, full=full) for path in paths]


def examine_file(path: Path, *, limits: Limits, full: bool) -> Examination:
    """Looks at one file: header and limits, with `full` every byte of it.

    Raises:
        OSError: the file cannot be read: our own disk's fault, no reject.
    """
    from imagemill.curate.inspect import inspect  # decoders are loaded where they work, not where they are waited for

    content = path.read_bytes()
    try:
        found = inspect(content, limits, full=full)
    except SampleError as error:
        return Examination(_verdict_of(error))
    header = found.header
    verdict = Verdict("", "", header.format, header.width, header.height, found.notes)
    return Examination(verdict, len(content), hashlib.sha256(content).hexdigest())


def _verdict_of(error: SampleError) -> Verdict:
    """What is wrong; a page and a drawing, the most common ones, have reasons of their own."""
    if error.reason == "timeout":
        return Verdict("decode-timeout", error.detail)
    if error.reason == "unsupported" and error.detail.startswith("SVG"):
        return Verdict("svg", error.detail)
    if error.reason == "not-an-image" and error.detail.endswith("HTML page"):
        return Verdict("html", error.detail)
    return Verdict(error.reason, error.detail)
