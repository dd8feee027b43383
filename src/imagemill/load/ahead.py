"""Threads that make batches ahead: a pool whose hand-over costs a tenth of `concurrent.futures`'."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Promise(Generic[Result]):
    """What a call will have given."""

    __slots__ = ("_done", "_error", "_result")

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self._result: Result
        self._error: BaseException | None = None

    def run(self, function: Callable[..., Result], arguments: tuple[Any, ...]) -> None:
        """Calls the function; whoever waits is let go whatever comes of it."""
        try:
            self._result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
        finally:
            self._done.release()

    def result(self) -> Result:
        """What the call gave, once it has; to be asked for once.

        Raises:
            BaseException: what the call raised.
        """
        self._done.acquire()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this frame
        return self._result


class Ahead:
    """A few threads that call functions in the order in which they were given; to be ended by `close`.

    The threads are daemons: who iterates ends them, at the latest `imagemill.load.loader` when the interpreter ends.

    Args:
        threads: how many.
        name: of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[Promise[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Promise[Result]:
        """Has a thread call the function."""
        promise: Promise[Result] = Promise()
        self._calls.put((promise, function, arguments))
        return promise

    def close(self) -> None:
        """Ends the threads; calls that are under way end first, others are never made."""
        with suppress(Empty):
            while True:
                self._calls.get_nowait()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            promise, function, arguments = call
            promise.run(function, arguments)
            del call, promise, function, arguments  # nothing of a batch is held while there is no work
