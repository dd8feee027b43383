"""Where a command begins and ends: signals and errors become one line on stderr and an exit code."""

from __future__ import annotations

import gc
import signal
import sys
from importlib import import_module
from threading import Thread
from types import FrameType
from typing import NoReturn

GARBAGE_AFTER = 5_000
"""Objects more than before, after which those that hold each other are looked for; Python's own number is 700."""

BESIDE = {"fetch": "aiohttp"}
"""Verb → module that is imported by a thread of its own: it reads the system's certificates, and Python does not wait
for that."""


class Stopped(SystemExit):
    """SIGINT (Ctrl-C, exit 130) or SIGTERM (exit 143): the command ends in order, workers stopped, locks dropped."""


def main() -> None:
    """Runs a command; whatever goes wrong on purpose is one line on stderr and an exit code.

    0 done, 1 failed, 2 usage, 3 output in use, 4 no space, 5 damage found, 6 more rejects than
    allowed, 130 interrupted, 143 terminated.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        _run()
    except Stopped:
        sys.stderr.write("interrupted: what was finished is kept; the same command goes on\n")
        raise


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(128 + number)


def _run() -> None:
    # Imported here, because importing takes long enough for an impatient Ctrl-C. What is imported stays, so nothing is
    # gained by looking for garbage in it, then and later, nor often in what a verb imports when it begins: that would
    # take a tenth of a short command.
    gc.disable()
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in BESIDE:
        Thread(target=import_module, args=(BESIDE[verb],)).start()
    from imagemill.cli.app import application
    from imagemill.cli.console import note
    from imagemill.errors import ImagemillError

    try:
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        gc.enable()
        application()
    except (ImagemillError, OSError) as error:
        note(f"error: {error}")
        sys.exit(getattr(error, "exit_code", 1))
    finally:
        # Nor by looking for it, several times, while the interpreter ends: the system takes everything back.
        gc.freeze()
