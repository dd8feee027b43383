"""What all commands share on the screen: consoles, progress, numbers, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as RichColumn
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

from imagemill.core.imagenet import class_title
from imagemill.core.sample import Reject
from imagemill.errors import REASONS, ConfigError

EXIT_TOO_MANY_REJECTS = 6
SHOWN_CLASSES = 12
SHOWN_KINDS = 12

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


class RateColumn(RichColumn):
    """Samples a second."""

    def render(self, task: RichTask) -> Text:
        """The rate over the last seconds, empty before there is one."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")


class Bar:
    """A progress bar that learns its total late."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def total(self, count: int) -> None:
        """So many there will be."""
        self._progress.update(self._task, total=count)

    def begin(self, what: str, count: int) -> None:
        """From here on the bar is of something else, of which there will be so many."""
        self._progress.reset(self._task, description=what, total=count)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, count)


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[Bar]:
    """A bar with rate and ETA on stderr, only where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=quiet or not stderr.is_terminal) as progress:
        yield Bar(progress, what)


def print_json(value: Any) -> None:
    """One JSON document on stdout: for programs, nothing else is printed there."""
    record = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    sys.stdout.write(json.dumps(record, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value)


def human_bytes(count: float) -> str:
    """Bytes with a decimal unit: 27.9 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """0.8 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns without a frame, name and value; a line a row where no terminal is to be filled."""
    if not stdout.is_terminal:
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            stdout.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    stdout.print(table)


def account_rows(
    found: int,
    kept: int,
    rejected: int,
    ignored: int,
    reasons: Mapping[str, int],
    ignored_kinds: Mapping[str, int],
    notes: Mapping[str, int],
) -> list[tuple[str, str]]:
    """Files found = kept + rejected + ignored, with each reason in words and what was ignored."""
    samples = sum(reasons.values())
    of_samples = "" if samples == rejected else f" ({samples:,} samples)"
    rows = [("found", f"{found:,} files"), ("kept", f"{kept:,}"), ("rejected", f"{rejected:,}{of_samples}")]
    rows += [("", f"{count:,} {reason} ({REASONS.get(reason, 'asked for')})") for reason, count in reasons.items()]
    rows.append(("ignored", f"{ignored:,}{': ' + kind_counts(ignored_kinds) if ignored else ''}"))
    if notes:
        rows.append(("noted", ", ".join(f"{note} {count:,}" for note, count in notes.items())))
    return rows


def kind_counts(kinds: Mapping[str, int]) -> str:
    """The most frequent kinds with their counts, and how many files the others are."""
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {kind}" for kind, count in ordered[:SHOWN_KINDS] if count]
    more = sum(count for _, count in ordered[SHOWN_KINDS:])
    return ", ".join(shown) + (f", … and {more:,} more" if more else "")


def class_rows(classes: Mapping[str, int]) -> str:
    """The first classes with their counts, and how many more there are; ids of ImageNet with their names."""
    shown = [f"{class_title(name)} {count:,}" for name, count in list(classes.items())[:SHOWN_CLASSES]]
    more = len(classes) - len(shown)
    return ", ".join(shown) + (f", … and {more} more" if more > 0 else "")


def print_rejects(rejects: Sequence[Reject], where: str) -> None:
    """The first few rejects, each with its reason, and where all of them are."""
    for reject in rejects[:10]:
        line = f"  rejected {reject.path}: {reject.reason}{': ' + reject.detail if reject.detail else ''}"
        stderr.print(line, markup=False, soft_wrap=True)
    if len(rejects) > 10 or rejects:
        stderr.print(f"  {where}", markup=False, soft_wrap=True)


def parse_max_rejects(text: str) -> float:
    """A share as a person writes it: "1%", "0.01", "100%".

    Raises:
        ConfigError: no share between 0 and 1.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"--max-rejects {text!r}: a share between 0 and 1, as 1% or 0.01")
    return share


def exit_on_rejects(share: float, allowed: float) -> None:
    """Ends the command with code 6 where more samples were rejected than allowed."""
    if share > allowed:
        stderr.print(f"{share:.1%} of the samples were rejected, more than --max-rejects {allowed:.1%}: exit 6")
        raise typer.Exit(EXIT_TOO_MANY_REJECTS)
