"""What an engine is: it runs a function over tasks somewhere, and hands back results as they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


class Engine(Protocol):
    """Runs idempotent tasks. A worker that dies is replaced and its task run again.

    An engine knows nothing about images. Which tasks exist, and what they write, is the
    caller's business, so the bytes of a dataset do not depend on the engine.
    """

    def run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        attempts: int = 3,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Any]:
        """Runs `function(task)` for each task.

        Args:
            function: importable by name (module level), picklable.
            tasks: picklable; running one twice does no harm.
            attempts: how often one task may lose its worker before that is an error.
            on_progress: called now and then with how many samples were done since the last
                call; the function reports them with `engines.progress.advance`.

        Yields:
            What the function returned, in the order in which tasks finish.

        Raises:
            EngineError: a task lost its worker `attempts` times, or workers die at birth.
            Exception: the first one that a task raised, as it was raised.
        """
        ...
