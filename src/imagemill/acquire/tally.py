"""How a run stands, for whoever shows it while it goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from imagemill.acquire.contract import Outcome

HOSTS_WATCHED = 10_000
_WEIGHT = 0.2
"""Of a host's latest answer in its mean."""


@dataclass
class Tally:
    """Counts of one run.

    Args:
        urls: to be fetched by this run, repeats aside.
        fetched, failed: outcomes so far; an image that was only checked counts as fetched.
        reasons: of the failed ones.
    """

    urls: int = 0
    fetched: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    _hosts: dict[str, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Outcomes so far."""
        return self.fetched + self.failed

    def add(self, outcome: Outcome) -> None:
        """Counts an outcome."""
        if outcome.status == "failed":
            self.failed += 1
            self.reasons[outcome.reason] += 1
        else:
            self.fetched += 1
        if outcome.attempts:
            mean = self._hosts.pop(outcome.host, outcome.seconds)
            self._hosts[outcome.host] = mean + _WEIGHT * (outcome.seconds - mean)
            if len(self._hosts) > HOSTS_WATCHED:
                del self._hosts[next(iter(self._hosts))]

    def slowest(self, count: int) -> list[tuple[str, float]]:
        """Hosts with the longest seconds an image of late, pauses included."""
        # A copy, because another thread asks.
        return sorted(self._hosts.copy().items(), key=lambda pair: -pair[1])[:count]
