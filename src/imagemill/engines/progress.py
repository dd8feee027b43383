"""How a task tells its engine how far it is: `advance(n)`, wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_report: Callable[[int], None] | None = None


def set_reporter(report: Callable[[int], None] | None) -> None:
    """Called by an engine in its worker before a task: where `advance` goes."""
    global _report
    _report = report


def advance(samples: int) -> None:
    """Tells the engine that so many more samples are done."""
    if _report is not None:
        _report(samples)


class Reporter:
    """Adds up what a task reports and sends it on, at most once an interval: a message costs far more than a sample.

    Args:
        send: called with the number of samples since the last call.
        interval_s: seconds between two messages at least.
    """

    def __init__(self, send: Callable[[int], Any], interval_s: float) -> None:
        self._send = send
        self._interval_s = interval_s
        self._pending = 0
        self._sent_at = time.monotonic()

    def __call__(self, samples: int) -> None:
        """So many more samples are done."""
        self._pending += samples
        if time.monotonic() - self._sent_at > self._interval_s:
            self.flush()

    def flush(self) -> Any:
        """Sends what is pending; returns what `send` does."""
        sent, self._pending = self._pending, 0
        self._sent_at = time.monotonic()
        return self._send(sent)
