"""What all commands share on the screen: lines, progress, numbers, tables, JSON.

rich draws bars and tables where there is a terminal. It takes as long to import as a short command takes to run, so it
is imported there alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from imagemill.core.imagenet import class_title
from imagemill.errors import REASONS, ConfigError

if TYPE_CHECKING:
    from imagemill.acquire.contract import Traffic
    from imagemill.acquire.tally import Tally
    from imagemill.core.sample import Reject

EXIT_TOO_MANY_REJECTS = 6
SHOWN_CLASSES = 12
SHOWN_KINDS = 12

_MOVES_THE_CURSOR = dict.fromkeys((0x07, 0x08, 0x0B, 0x0C, 0x0D, 0x1B))
"""Control characters that no line has: names of files may hold some that would have a terminal do things."""


def say(text: str) -> None:
    """A line on stdout: what the command was asked for."""
    _print(text, sys.stdout)


def note(text: str) -> None:
    """A line on stderr: what else there is to know."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    print(text.translate(_MOVES_THE_CURSOR), file=stream, flush=True)


def on_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at what is written there; `FORCE_COLOR` says so, too."""
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


class Bar:
    """A progress bar that learns its total late; this one is not seen."""

    def total(self, count: int) -> None:
        """So many there will be."""

    def begin(self, what: str, count: int) -> None:
        """From here on the bar is of something else, of which there will be so many."""

    def advance(self, count: int) -> None:
        """So many more are done."""


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[Bar]:
    """A bar with rate and ETA on stderr, only where that is a terminal."""
    if quiet or not on_terminal(sys.stderr):
        yield Bar()
        return
    from imagemill.cli.screen import live_bar

    with live_bar(what) as bar:
        yield bar


@contextmanager
def fetch_display(*, quiet: bool) -> Iterator[Callable[[Tally, Traffic], None] | None]:
    """How fetching goes on, on stderr, only where that is a terminal: what `fetch` calls when it starts."""
    if quiet or not on_terminal(sys.stderr):
        yield None
        return
    from imagemill.cli.fetch_display import live_display

    with live_display() as display:
        yield display.start


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


def shard_count(count: int) -> str:
    """3 as "3 shards"."""
    return f"{count:,} shard" if count == 1 else f"{count:,} shards"


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
    if on_terminal(sys.stdout):
        from imagemill.cli.screen import print_grid

        print_grid(rows)
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def print_heading(text: str) -> None:
    """A line on stdout that stands out where that is a terminal."""
    if on_terminal(sys.stdout):
        from imagemill.cli.screen import print_bold

        print_bold(text)
        return
    say(text)


def account_rows(counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Files found = kept + rejected + ignored, with each reason in words and what was ignored.

    Args:
        counts: found, kept, rejected, ignored, reasons, ignored_kinds and notes, where there are any.
    """
    rejected, ignored, reasons = counts["rejected"], counts["ignored"], counts["reasons"]
    samples = sum(reasons.values())
    of_samples = "" if samples == rejected else f" ({samples:,} samples)"
    rows = [("found", f"{counts['found']:,} files"), ("kept", f"{counts['kept']:,}")]
    rows.append(("rejected", f"{rejected:,}{of_samples}"))
    rows += [("", f"{count:,} {reason} ({REASONS.get(reason, 'asked for')})") for reason, count in reasons.items()]
    rows.append(("ignored", f"{ignored:,}{': ' + kind_counts(counts['ignored_kinds']) if ignored else ''}"))
    if counts.get("notes"):
        rows.append(("noted", ", ".join(f"{note} {count:,}" for note, count in counts["notes"].items())))
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
        note(f"  rejected {reject.path}: {reject.reason}{': ' + reject.detail if reject.detail else ''}")
    if rejects:
        note(f"  {where}")


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


def finish(result: Any, show: Callable[[Any], None], *, json: bool, allowed: float) -> None:
    """Says what came of a command, and ends it with code 6 where more samples were rejected than allowed.

    Args:
        result: has a `reject_share`.
        show: called with it, unless JSON is wanted.
    """
    if json:
        print_json(result)
    else:
        show(result)
    exit_on_rejects(result.reject_share, allowed)


def exit_on_rejects(share: float, allowed: float) -> None:
    """Ends the command with code 6 where more samples were rejected than allowed."""
    if share > allowed:
        note(f"{share:.1%} of the samples were rejected, more than --max-rejects {allowed:.1%}: exit 6")
        sys.exit(EXIT_TOO_MANY_REJECTS)
