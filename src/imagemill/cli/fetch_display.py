"""What `fetch` shows while it runs, where somebody looks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagemill.acquire.contract import Traffic
from imagemill.acquire.tally import Tally
from imagemill.cli.console import human_bytes, human_seconds

RATE_OVER_S = 20.0
SHOWN_HOSTS = 3
SHOWN_REASONS = 6


class FetchDisplay:
    """Bar, rate, bytes, time left, failures by reason, and the hosts that take longest."""

    def __init__(self) -> None:
        self._tally: Tally | None = None
        self._traffic = Traffic()
        self._seen: deque[tuple[float, int, int]] = deque()

    def start(self, tally: Tally, traffic: Traffic) -> None:
        """From now on these are shown."""
        self._tally, self._traffic = tally, traffic
        self._seen.append((time.monotonic(), 0, 0))

    def render(self) -> RenderableType:
        """How it stands now."""
        tally = self._tally
        if tally is None:
            return Text("fetch: reading the list …")
        rate, bytes_a_second = self._rates(tally)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text("fetch"),
            ProgressBar(total=max(tally.urls, 1), completed=tally.done, width=30),
            Text(f"{tally.done:,}/{tally.urls:,}"),
            Text(f"{rate:,.1f}/s", "cyan"),
            Text(f"{human_bytes(bytes_a_second)}/s", "cyan"),
            Text(f"{human_bytes(self._traffic.received_bytes)}"),
            Text(f"{human_seconds((tally.urls - tally.done) / rate)} left" if rate else "", "cyan"),
        )
        return Group(grid, *(Text(line, overflow="ellipsis", no_wrap=True) for line in self._lines(tally)))

    def _rates(self, tally: Tally) -> tuple[float, float]:
        """Outcomes and bytes a second of late."""
        now = time.monotonic()
        self._seen.append((now, tally.done, self._traffic.received_bytes))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        since, done, received = self._seen[0]
        seconds = max(now - since, 1e-9)
        return (tally.done - done) / seconds, (self._traffic.received_bytes - received) / seconds

    def _lines(self, tally: Tally) -> Iterator[str]:
        traffic = self._traffic
        yield (
            f"  {tally.fetched:,} kept, {tally.failed:,} failed; {traffic.in_flight} in flight, "
            f"{traffic.examining} being examined, {traffic.waiting:,} waiting"
        )
        # Copies, because the run goes on in another thread meanwhile.
        reasons = tally.reasons.copy().most_common(SHOWN_REASONS)
        if reasons:
            yield "  failed: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        slowest = tally.slowest(SHOWN_HOSTS)
        if slowest:
            yield "  slowest: " + ", ".join(f"{host} {human_seconds(seconds)}" for host, seconds in slowest)
        pausing = sorted(traffic.pausing.copy().items(), key=lambda pair: -pair[1])
        if pausing:
            shown = ", ".join(f"{host} for {human_seconds(seconds)}" for host, seconds in pausing[:SHOWN_HOSTS])
            more = len(pausing) - SHOWN_HOSTS
            yield f"  asked to be left alone: {shown}" + (f", and {more} more" if more > 0 else "")


@contextmanager
def live_display() -> Iterator[FetchDisplay]:
    """The display, on stderr; it goes when it ends."""
    display = FetchDisplay()
    with Live(console=Console(stderr=True), get_renderable=display.render, refresh_per_second=4, transient=True):
        yield display
