"""Functions for a child process, importable by it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from imagemill.curate.inspect import Inspection, Limits, inspect


def run_task(task: tuple[str, Any]) -> Any:
    """Does what it is told; runs in the child."""
    return _TASKS[task[0]](task[1])


def _crash(_: Any) -> None:
    ctypes.string_at(0)


def _unpicklable(_: Any) -> Any:
    return lambda: None


def _raise(error: Exception) -> None:
    raise error


def _allocate(size_bytes: int) -> int:
    return int(np.ones(size_bytes, np.uint8)[-1])


def _hold_interpreter(seconds: int) -> None:
    ctypes.PyDLL(None).sleep(seconds)


_TASKS: dict[str, Callable[[Any], Any]] = {
    "echo": lambda value: value,
    "type": lambda value: type(value).__name__,
    "pid": lambda _: os.getpid(),
    "sleep": time.sleep,
    "crash": _crash,
    "exit": os._exit,
    "raise": _raise,
    "allocate": _allocate,
    "unpicklable": _unpicklable,
    "hold": _hold_interpreter,
}


def inspect_here(data: bytes) -> Inspection:
    """A full inspection; runs in the child."""
    return inspect(data, Limits(max_pixels=10**9), full=True)
