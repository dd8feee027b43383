"""Ray: a task a shard, on a cluster of many machines, or on one that is started here and ends with the run.

Ray moves tasks and runs those of a dead worker again; imagemill's workers need imagemill installed and OUT and the
source under the same paths on every machine.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from imagemill.config import cpu_count
from imagemill.engines import progress
from imagemill.engines.local import mark_disposable
from imagemill.errors import EngineError, MissingExtra

REPORT_INTERVAL_S = 0.5
"""A worker tells how far it is, and the driver asks, at most this often: each is a call to an actor."""

CANCEL_TIMEOUT_S = 10.0
"""How long workers of abandoned tasks may take to end."""

CONNECT_TIMEOUT_S = 10.0

OBJECT_STORE_BYTES = 128 * 2**20
"""Shared memory of a cluster started here: tasks and results are a few hundred bytes each."""


class RayEngine:
    """Runs tasks on Ray, at most one a CPU.

    Args:
        workers: tasks at the same time; None is one a core here, and on a cluster as many as it has room for.
        address: "local" starts a cluster of this machine alone, reached through the loopback interface only and with
            a token of its own, and ends it afterwards; any other is an address that `ray.init` takes, and that cluster
            is left running. None is the environment's RAY_ADDRESS, else "local". A cluster that the calling program
            has already joined is used as it is.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        self.workers = workers
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        if self.address == "local":
            _keep_to_itself()
        self._ray = _import_ray()

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        attempts: int = 3,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Any]:
        """See `Engine.run`; an unreachable cluster is an EngineError too."""
        if not tasks:
            return
        with self._cluster():
            yield from self._run(function, tasks, attempts, on_progress)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        ray = self._ray
        if ray.is_initialized():
            yield
            return
        try:
            self._start()
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise EngineError(f"no Ray cluster at {self.address!r}: {error}") from error
        try:
            yield
        finally:
            # Leaves a cluster that was there before running, and ends the one that `_start` began.
            ray.shutdown()

    def _start(self) -> None:
        _check_reachable(self.address)
        quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
        if self.address != "local":
            self._ray.init(address=self.address, **quiet)
            return
        self._ray.init(
            address="local",
            num_cpus=max(1, cpu_count() if self.workers is None else self.workers),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )

    def _run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        attempts: int,
        on_progress: Callable[[int], None] | None,
    ) -> Iterator[Any]:
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=attempts - 1, retry_exceptions=False)(_work)
        tally: Any = ray.remote(num_cpus=0)(_Tally).remote() if on_progress else None
        waiting = iter(tasks)
        running: dict[Any, Any] = {}
        room = self.workers or len(tasks)
        try:
            while True:
                for _, task in zip(range(room - len(running)), waiting, strict=False):
                    running[remote.remote(function, task, tally)] = task
                if not running:
                    break
                done, _ = ray.wait(list(running), timeout=REPORT_INTERVAL_S)
                for reference in done:
                    yield self._result(reference, running.pop(reference), attempts)
                if on_progress:
                    on_progress(ray.get(tally.take.remote()))
        finally:
            self._cancel(list(running))

    def _result(self, reference: Any, task: Any, attempts: int) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            raise error.cause from None
        except exceptions.WorkerCrashedError:
            raise EngineError(
                f"task {task} lost its worker {attempts} times: out of memory? Try fewer --workers"
            ) from None
        except exceptions.RayError as error:
            raise EngineError(f"task {task}: Ray could not run it: {error}") from error

    def _cancel(self, references: Sequence[Any]) -> None:
        """Ends workers whose results nobody waits for, so that none goes on writing after the run."""
        for reference in references:
            self._ray.cancel(reference, force=True)
        if references:
            self._ray.wait(list(references), num_returns=len(references), timeout=CANCEL_TIMEOUT_S)


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray") from None
    module: ModuleType = ray
    return module


def _keep_to_itself() -> None:
    """A cluster started here tells nobody of itself, and serves nobody who lacks its token.

    Ray reads this when it is first imported. Where the program has done that, Ray's own default holds: a token too,
    kept in the user's home.
    """
    if "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _check_reachable(address: str) -> None:
    """Fails at once where nobody listens; Ray itself goes on trying for minutes.

    Raises:
        OSError: no connection.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()


class _Tally:
    """An actor that adds up what the workers report until the driver asks."""

    def __init__(self) -> None:
        self._pending = 0

    def add(self, samples: int) -> None:
        self._pending += samples

    def take(self) -> int:
        taken, self._pending = self._pending, 0
        return taken


def _work(function: Callable[[Any], Any], task: Any, tally: Any) -> Any:
    """The worker's side of one task."""
    mark_disposable()
    if tally is None:
        progress.set_reporter(None)
        return function(task)
    reporter = progress.Reporter(tally.add.remote, REPORT_INTERVAL_S)
    progress.set_reporter(reporter)
    result = function(task)
    _import_ray().get(reporter.flush())
    return result
