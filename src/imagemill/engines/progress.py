"""How a task tells its engine how far it is: `advance(n)`, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable

_report: Callable[[int], None] | None = None


def set_reporter(report: Callable[[int], None] | None) -> None:
    """Called by an engine in its worker before a task: where `advance` goes."""
    global _report
    _report = report


def advance(samples: int) -> None:
    """Tells the engine that so many more samples are done."""
    if _report is not None:
        _report(samples)
