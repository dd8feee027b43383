"""Tasks for engine tests, importable by a worker process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from imagemill.engines import progress


def double(number: int) -> int:
    progress.advance(1)
    return 2 * number


def fail(number: int) -> int:
    raise LookupError(f"no {number}")


def die_once(task: tuple[str, int]) -> int:
    """Kills its process the first time each task is run."""
    folder, number = task
    marker = Path(folder) / str(number)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def write_pid_and_wait(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)
