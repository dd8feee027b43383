"""A decoder in a process of its own, so that one that hangs or crashes costs one reject.

The child is spawned once and asked again and again over a pipe; it is replaced after it
was killed or died. It ends when its pipe closes, so none is left behind by a parent that
was killed itself.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from imagemill.curate.inspect import Limits
from imagemill.errors import SampleError

_START_SECONDS = 120.0


class Isolated:
    """Runs `function(item)` in a child process under limits of time and memory.

    Args:
        function: module level, picklable; its results and exceptions are, too.
        limits: `max_seconds` a call (the start of the child is not counted), and
            `max_memory_bytes` that the child may allocate, where the system can limit it
            (not on Windows and macOS).

    Example::

        with Isolated(inspect_file, Limits(max_seconds=10)) as run:
            inspection = run(path)
    """

    def __init__(self, function: Callable[[Any], Any], limits: Limits) -> None:
        self._function = function
        self._limits = limits
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __call__(self, item: Any) -> Any:
        """`function(item)`.

        Raises:
            SampleError: "timeout", "decoder-died", "memory".
            Exception: whatever the function raised.
        """
        pipe = self._ensure_child()
        try:
            pipe.send(item)
            if not pipe.poll(self._limits.max_seconds):
                self.close()
                raise SampleError("timeout", f"no result after {self._limits.max_seconds:g} s")
            outcome, value = pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise SampleError("decoder-died", self._bury()) from None
        if outcome == "raised":
            raise value
        return value

    def _ensure_child(self) -> Connection[Any, Any]:
        if self._pipe is not None:
            return self._pipe
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._function, self._limits), daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        if not ours.poll(_START_SECONDS):
            self.close()
            raise SampleError("decoder-died", f"the child did not start within {_START_SECONDS:g} s")
        try:
            ours.recv()
        except EOFError:
            raise SampleError("decoder-died", f"at its start: {self._bury()}") from None
        return ours

    def _bury(self) -> str:
        """How the child ended."""
        process = self._process
        if process is not None:
            process.join(5)
        code = process.exitcode if process is not None else None
        self.close()
        if code is None:
            return "the child closed its pipe"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def close(self) -> None:
        """Ends the child; a later call starts a new one."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._pipe = self._process = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(pipe: Connection[Any, Any], function: Callable[[Any], Any], limits: Limits) -> None:
    """The child: items in, outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(limits.max_memory_bytes)
    pipe.send(("ready", None))
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_outcome(function, item))


def _outcome(function: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    try:
        return "returned", function(item)
    except MemoryError as error:
        return "raised", SampleError("memory", str(error) or "out of memory")
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        return "raised", error


def _limit_memory(max_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
