"""What is drawn on a terminal, by rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as RichColumn
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

from imagemill.cli.console import Bar


class _RateColumn(RichColumn):
    """Samples a second."""

    def render(self, task: RichTask) -> Text:
        """The rate over the last seconds, empty before there is one."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")


class _LiveBar(Bar):
    """A bar that is seen."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def total(self, count: int) -> None:
        self._progress.update(self._task, total=count)

    def begin(self, what: str, count: int) -> None:
        self._progress.reset(self._task, description=what, total=count)

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)


@contextmanager
def live_bar(what: str) -> Iterator[Bar]:
    """A bar with rate and ETA on stderr; it goes when it ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _LiveBar(progress, what)


def print_grid(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns without a frame on stdout, name and value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    Console(highlight=False).print(table)


def print_bold(text: str) -> None:
    """A line on stdout."""
    Console(highlight=False).print(Text(text, "bold"), soft_wrap=True)
