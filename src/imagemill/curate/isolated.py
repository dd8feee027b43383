"""A decoder in a process of its own, so that one that hangs or crashes costs one reject.

The child is spawned once and asked again and again over a pipe; it is replaced after it
was killed or died. It ends with its parent, even where that is killed and the child hangs
in the middle of a call, so none is left behind.
"""

from __future__ import annotations

import copyreg
import faulthandler
import io
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from imagemill.curate.limits import Limits
from imagemill.errors import EngineError, SampleError

START_LIMIT_S = 120.0
"""How long a child may take to start and to import the function."""
_LAST_RESORT_S = 10.0
"""How long after its limit a call that nobody killed ends its own process."""
_spawn = multiprocessing.get_context("spawn")


class Isolated:
    """Runs `function(item)` in a child process under limits of time and memory.

    One call at a time; not for use from several threads at once.

    Args:
        function: importable by name, picklable; so are its items, results and exceptions
            (a memoryview arrives as bytes).
        limits: `max_seconds` a call (the start of the child is not counted), and
            `max_memory_bytes` that the child may allocate during its calls, where the
            system can limit it (Linux).

    Example::

        with Isolated(inspect_file, Limits(max_seconds=10)) as run:
            inspection = run(path)
    """

    def __init__(self, function: Callable[[Any], Any], limits: Limits) -> None:
        self._function = function
        self._limits = limits
        self._child: _Child | None = None

    def __call__(self, item: Any) -> Any:
        """`function(item)`.

        Raises:
            SampleError: "timeout", "decoder-died" (the detail has the signal or exit code), "memory".
            EngineError: no child could be started.
            Exception: whatever the function raised.
        """
        request = _pickled(item)
        child = self._ready_child()
        try:
            outcome, value = child.ask(request, self._limits.max_seconds)
        except BaseException:
            self.close()  # an answer that is still on its way must not be taken for the next call's
            raise
        if outcome == "returned":
            return value
        if isinstance(value, MemoryError):
            self.close()
            raise SampleError("memory", str(value) or f"more than {self._limits.max_memory_bytes:,} bytes")
        raise value

    def _ready_child(self) -> _Child:
        if self._child is not None and not self._child.process.is_alive():
            self.close()
        if self._child is None:
            self._child = _Child(self._function, self._limits)
        return self._child

    def close(self) -> None:
        """Ends the child; a later call starts a new one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Child:
    """One child process, and the two pipes to it: one to talk, one that only says who is alive."""

    def __init__(self, function: Callable[[Any], Any], limits: Limits) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._lifeline, tether = _spawn.Pipe()
        self.process: SpawnProcess = _spawn.Process(target=_serve, args=(theirs, tether, function, limits), daemon=True)
        try:
            self.process.start()
        finally:
            theirs.close()
            tether.close()
        try:
            started = self.pipe.poll(START_LIMIT_S) and self.pipe.recv() == "ready"
        except (EOFError, OSError):
            started = False
        if not started:
            how = self.end()
            raise EngineError(f"a process to decode in could not be started: {how}")

    def ask(self, request: bytes, limit_s: float) -> tuple[str, Any]:
        """("returned", result) or ("raised", exception)."""
        try:
            self.pipe.send_bytes(request)
            if not self.pipe.poll(limit_s):
                self.process.kill()
                raise SampleError("timeout", f"no result after {limit_s:g} s")
            outcome: tuple[str, Any] = self.pipe.recv()
            return outcome
        except (EOFError, OSError):
            raise SampleError("decoder-died", self.end()) from None

    def end(self) -> str:
        """Kills the child if need be, and says how it ended."""
        self.pipe.close()
        self._lifeline.close()
        self.process.join(1)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return _exit_text(self.process.exitcode or 0)


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _pickled(item: Any) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = copyreg.dispatch_table | {memoryview: lambda view: (bytes, (bytes(view),))}
    pickler.dump(item)
    return file.getvalue()


def _serve(pipe: Connection, tether: Connection, function: Callable[[Any], Any], limits: Limits) -> None:
    """The child: items in, outcomes out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_die_with_parent, args=(tether,), daemon=True).start()
    limit_memory(limits.max_memory_bytes)
    try:
        pipe.send("ready")
        with open(os.devnull, "w") as sink:
            while True:
                item = pickle.loads(pipe.recv_bytes())
                # Ends this process even where a decoder holds the interpreter and the parent was killed.
                faulthandler.dump_traceback_later(limits.max_seconds + _LAST_RESORT_S, exit=True, file=sink)
                answer = _answer(function, item)
                faulthandler.cancel_dump_traceback_later()
                pipe.send_bytes(answer)
    except (EOFError, OSError):
        return


def _die_with_parent(tether: Connection) -> None:
    """Nothing is ever sent here: the pipe ends when the parent does."""
    try:
        tether.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _answer(function: Callable[[Any], Any], item: Any) -> bytes:
    try:
        outcome: tuple[str, Any] = ("returned", function(item))
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        outcome = ("raised", error)
    try:
        answer = _pickled(outcome)
        pickle.loads(answer)
    except Exception as error:  # noqa: BLE001 - a foreign class may fail to travel in any way
        kind = type(outcome[1]).__name__
        answer = _pickled(("raised", EngineError(f"{kind} cannot travel between processes: {error}; {outcome[1]}")))
    return answer


def limit_memory(max_bytes: int) -> None:
    """Lets this process allocate no more than that beyond what it has now; does nothing where it cannot be limited."""
    try:
        import resource

        with open("/proc/self/status") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
        current = int(fields["VmData"].split()[0]) * 1024
    except (ImportError, OSError, KeyError, ValueError):
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = current + max_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
