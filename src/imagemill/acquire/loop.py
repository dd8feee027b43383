"""The event loop that downloads run on, and how it ends when somebody stops it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on uvloop where it is installed, which it is not on Windows.

    A signal that has a handler cancels the coroutine, and is handled after that: an exception raised anywhere
    within the loop would leave its connections as they are.
    """
    handlers = _handlers()
    caught: list[int] = []
    try:
        return _runner()(_stoppable(work, handlers, caught))
    except asyncio.CancelledError:
        if not caught:
            raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    handlers[caught[0]](caught[0], None)
    raise KeyboardInterrupt


def _runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def _handlers() -> dict[int, Callable[[int, Any], Any]]:
    """Handlers of this process that stop a command; only the main thread may change them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {number: handler for number, handler in found.items() if callable(handler)}


async def _stoppable(
    work: Coroutine[Any, Any, T], handlers: dict[int, Callable[[int, Any], Any]], caught: list[int]
) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def stop(number: int) -> None:
        caught.append(number)
        task.cancel()

    for number in handlers:
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:
            break  # Windows: the handler raises within the loop, which then ends less tidily
    return await task
