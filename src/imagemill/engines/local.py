"""Processes of this machine. A worker that dies is replaced and its task run again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from imagemill.config import cpu_count
from imagemill.engines import progress
from imagemill.errors import EngineError

REPORT_INTERVAL_S = 0.1
"""A worker tells how far it is at most this often: a message costs about 20 µs."""

_spawn = multiprocessing.get_context("spawn")


class LocalEngine:
    """Runs tasks in processes started anew (spawn: no locks or threads are inherited).

    Args:
        workers: processes; None is one a core, 0 runs the tasks in the calling process.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = cpu_count() if workers is None else workers

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        attempts: int = 3,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Any]:
        """See `Engine.run`."""
        if self.workers == 0:
            return _run_here(function, tasks, on_progress)
        return _Crew(function, tasks, min(self.workers, len(tasks)), attempts, on_progress).run()


def _run_here(
    function: Callable[[Any], Any], tasks: Sequence[Any], on_progress: Callable[[int], None] | None
) -> Iterator[Any]:
    progress.set_reporter(on_progress)
    try:
        for task in tasks:
            yield function(task)
    finally:
        progress.set_reporter(None)


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    lifeline: Connection
    task: int | None = None
    ready: bool = False


@dataclass
class _Crew:
    """The driver's side: hands out tasks, collects results, replaces the dead."""

    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    size: int
    attempts: int
    on_progress: Callable[[int], None] | None
    _workers: list[_Worker] = field(default_factory=list)
    _deaths: dict[int, int] = field(default_factory=dict)

    def run(self) -> Iterator[Any]:
        self._waiting = deque(range(len(self.tasks)))
        try:
            self._workers = [self._hire() for _ in range(self.size)]
            while self._waiting or any(worker.task is not None for worker in self._workers):
                yield from self._step()
        finally:
            self._dismiss()

    def _hire(self) -> _Worker:
        ours, theirs = _spawn.Pipe()
        lifeline, tether = _spawn.Pipe()
        process = _spawn.Process(target=_work, args=(theirs, tether, self.function), daemon=False)
        process.start()
        theirs.close()
        tether.close()
        return _Worker(process, ours, lifeline)

    def _step(self) -> Iterator[Any]:
        for worker in self._workers:
            if worker.ready and worker.task is None and self._waiting:
                worker.task = self._waiting.popleft()
                self._send(worker)
        signals: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
        for source in wait(list(signals)):
            yield from self._receive(signals[source])

    def _send(self, worker: _Worker) -> None:
        try:
            worker.connection.send(self.tasks[worker.task or 0])
        except BrokenPipeError:
            # It died while idle: its end of the pipe reads as closed, and `_receive` replaces it.
            return

    def _receive(self, worker: _Worker) -> Iterator[Any]:
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if kind == "ready":
            worker.ready = True
        elif kind == "progress":
            if self.on_progress is not None:
                self.on_progress(value)
        elif kind == "error":
            raise value
        else:
            worker.task = None
            yield value

    def _replace(self, worker: _Worker) -> None:
        worker.process.join()
        exit_code = worker.process.exitcode
        if not worker.ready:
            raise EngineError(
                f"a worker process ended before it began (exit code {exit_code}). In a script, call imagemill "
                'below `if __name__ == "__main__":`, or pass workers=0'
            )
        if worker.task is not None:
            deaths = self._deaths[worker.task] = self._deaths.get(worker.task, 0) + 1
            if deaths >= self.attempts:
                raise EngineError(
                    f"task {self.tasks[worker.task]} lost its worker {deaths} times (last exit code {exit_code}): "
                    "out of memory? Try fewer --workers"
                )
            self._waiting.appendleft(worker.task)
        _close(worker)
        self._workers[self._workers.index(worker)] = self._hire()

    def _dismiss(self) -> None:
        for worker in self._workers:
            if worker.task is not None or not worker.ready:
                worker.process.kill()
            _close(worker)
        for worker in self._workers:
            worker.process.join()


def _close(worker: _Worker) -> None:
    worker.connection.close()
    worker.lifeline.close()


_disposable = False


def is_disposable() -> bool:
    """Whether this process is an engine's worker, which may be ended and replaced."""
    return _disposable


def mark_disposable() -> None:
    """Called by an engine in its worker."""
    global _disposable
    _disposable = True


def _work(connection: Connection, tether: Connection, function: Callable[[Any], Any]) -> None:
    """The worker's side: a task in, a result out, until the driver closes the pipe."""
    mark_disposable()
    # Ctrl-C reaches the whole process group; the driver decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_driver, args=(tether,), daemon=True).start()
    reporter = progress.Reporter(lambda samples: connection.send(("progress", samples)), REPORT_INTERVAL_S)
    progress.set_reporter(reporter)
    try:
        connection.send(("ready", None))
        while True:
            task = connection.recv()
            try:
                result = function(task)
            except Exception as error:  # noqa: BLE001 - whatever a task raises belongs to the driver
                connection.send(("error", _sendable(error)))
                continue
            reporter.flush()
            connection.send(("done", result))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _sendable(error: Exception) -> Exception:
    """The exception itself, or its text where it cannot travel between processes."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign exception may fail to pickle in any way
        return EngineError(f"a task failed: {type(error).__name__}: {error}")
    return error


def _die_with_driver(tether: Connection) -> None:
    """Nothing is ever sent here: the pipe ends when the driver does, even by SIGKILL."""
    try:
        tether.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
