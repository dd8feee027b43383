"""Which request is sent next: hosts take turns, and none is asked more than it likes.

Every host has a queue of its own, a number of requests at once, a rate and, after it complained,
a pause. A host that answers 429, or 503 with `Retry-After`, is left alone for as long as it says.
Then it is asked one thing at a time, at four fifths of the rate at which it answered in the second
before, or, where that tells nothing, at half the rate; from there the rate grows again. A host that
cannot be reached is asked less and less often. One that goes on like that is given up for this run,
so that ten thousand rows of a dead host cost minutes, not days.

Nothing here waits or sends: time is given to every call, so all of it can be tested without a clock.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

from imagemill.acquire.contract import Limits
from imagemill.acquire.robots import Robots

KEPT_IDLE_HOSTS = 4096
"""Hosts that are remembered (their rules, rates and pauses) while nothing is asked of them."""
TROUBLES_BEFORE_GIVING_UP = 6
"""Pauses in a row, each twice as long as the one before, without a useful answer in between."""
FAILURES_BEFORE_A_PAUSE = 4
"""Requests in a row that get no answer at all."""
_TELLING_ANSWERS = 8
"""So many answers in the second before a complaint tell what rate was too much."""
_KEPT_TIMES = 64
_FIRST_INTERVAL_S = 0.1
_MAX_INTERVAL_S = 30.0

J = TypeVar("J")


@dataclass(slots=True, eq=False)
class Host(Generic[J]):
    """What is known of one host.

    Args:
        name: as `Location.netloc` has it.
        at_once: requests that may be under way; 0 stands for one, until it has answered for the first time.
        interval_s: between the starts of two requests; 0 is none.
        paused_until, next_start: when it may be asked again: after its complaint, at its rate.
        given_up: (reason, detail) once nothing more is asked of it in this run.
        robots: its rules by origin, as far as they were asked for.
        listed: whether the schedule has it among those that are ready or pausing.
        troubles: pauses in a row without an answer in between.
        failures: requests in a row without an answer.
        answered: when it gave its last answers, to know what rate it takes.
    """

    name: str
    at_once: float = 0.0
    interval_s: float = 0.0
    paused_until: float = -math.inf
    next_start: float = -math.inf
    given_up: tuple[str, str] | None = None
    robots: dict[str, Robots] = field(default_factory=dict)
    waiting: deque[J] = field(default_factory=deque)
    under_way: int = 0
    listed: bool = False
    troubles: int = 0
    failures: int = 0
    answered: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_TIMES))

    def opens_at(self) -> float:
        """From when on another request may start."""
        return -math.inf if self.given_up else max(self.paused_until, self.next_start)

    def has_room(self) -> bool:
        return self.given_up is not None or self.under_way < max(1, int(self.at_once))

    def starts(self, now: float) -> None:
        """A request is sent."""
        self.under_way += 1
        # A little late is caught up with, a long rest is not.
        self.next_start = max(self.next_start, now - self.interval_s / 2) + self.interval_s


class Schedule(Generic[J]):
    """The rows that wait, by host.

    Args:
        limits: how much at once, how fast, how patient.
        random_state: of the jitter; a test gives a seeded one.
    """

    def __init__(self, limits: Limits, random_state: random.Random | None = None) -> None:
        self.waiting = 0
        self._limits = limits
        self._random = random_state or random.Random()
        self._hosts: dict[str, Host[J]] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._ready: deque[Host[J]] = deque()
        self._pausing: list[tuple[float, int, Host[J]]] = []
        self._later: list[tuple[float, int, Host[J], J]] = []
        self._ticket = count()

    def host(self, name: str) -> Host[J]:
        """The host of that name."""
        found = self._hosts.get(name)
        if found is None:
            found = self._hosts[name] = Host(name, interval_s=self._host_interval_s)
            self._rest(found)
        return found

    @property
    def _host_interval_s(self) -> float:
        return 1 / self._limits.host_rate if self._limits.host_rate else 0.0

    def add(self, job: J, host: Host[J], *, first: bool = False) -> None:
        """Puts a job into its host's queue; `first` before all others."""
        self.waiting += 1
        (host.waiting.appendleft if first else host.waiting.append)(job)
        self._list(host)

    def add_later(self, job: J, host: Host[J], when: float) -> None:
        """The same, at a time to come."""
        self.waiting += 1
        heapq.heappush(self._later, (when, next(self._ticket), host, job))

    def take(self, now: float) -> tuple[J, Host[J]] | None:
        """A job that may start now; its host takes its turn. The caller says `ended` when it is over."""
        self._wake(now)
        while self._ready:
            host = self._ready.popleft()
            host.listed = False
            if not host.waiting or not host.has_room():
                continue  # listed again when a job comes or ends
            if host.opens_at() > now:
                host.listed = True
                heapq.heappush(self._pausing, (host.opens_at(), next(self._ticket), host))
                continue
            job = host.waiting.popleft()
            self.waiting -= 1
            host.starts(now)
            self._list(host)
            return job, host
        return None

    def next_time(self) -> float | None:
        """When `take` may have something again although nothing ends before; None if time alone brings nothing."""
        times = [queue[0][0] for queue in (self._pausing, self._later) if queue]
        return min(times, default=None)

    def ended(self, host: Host[J]) -> None:
        """A request that `take` gave out is over."""
        host.under_way -= 1
        self._list(host)
        self._rest(host)

    def pausing(self, now: float) -> dict[str, float]:
        """Hosts with rows that wait for the end of a pause, and how many seconds it lasts."""
        hosts = (host for _, _, host in self._pausing if host.given_up is None and host.paused_until > now)
        return {host.name: host.paused_until - now for host in hosts}

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, host, job = heapq.heappop(self._later)
            self.waiting -= 1
            self.add(job, host, first=True)
        while self._pausing and self._pausing[0][0] <= now:
            host = heapq.heappop(self._pausing)[2]
            self._ready.append(host)

    def _list(self, host: Host[J]) -> None:
        if host.waiting and not host.listed and host.has_room():
            host.listed = True
            self._ready.append(host)

    def _rest(self, host: Host[J]) -> None:
        """Keeps the memory of hosts bounded: those asked longest ago are forgotten, unless they may be in use."""
        self._idle[host.name] = None
        self._idle.move_to_end(host.name)
        for _ in range(
            min(2, len(self._idle) - KEPT_IDLE_HOSTS)
        ):  # a few steps each time: the others may all be in use
            name, _ = self._idle.popitem(last=False)
            old = self._hosts[name]
            if old.waiting or old.under_way or old.listed or old is host:
                self._idle[name] = None
            else:
                del self._hosts[name]

    # What hosts say.

    def answered(self, host: Host[J], now: float) -> None:
        """The host did what it was asked, be it with a 404."""
        host.troubles = host.failures = 0
        host.answered.append(now)
        full = float(self._limits.per_host)
        host.at_once = min(full, host.at_once + 1 / host.at_once) if host.at_once else full
        if host.interval_s > self._host_interval_s:
            # 5 % a second at a rate that is known to be near the host's, else 10 % an answer
            growth = 0.05 * host.interval_s if host.interval_s * _TELLING_ANSWERS < 1 else 0.1
            host.interval_s = max(self._host_interval_s, host.interval_s / (1 + growth))

    def refused(self, host: Host[J], now: float, retry_after_s: float | None, reason: str) -> None:
        """The host asked to be left alone: 429, or 503 with `Retry-After`."""
        if now >= host.paused_until:  # the first of several that were under way together
            host.interval_s = min(_MAX_INTERVAL_S, max(self._host_interval_s, self._slower(host, now)))
            host.at_once = 1.0
            self._trouble(host, now, retry_after_s, reason, "it goes on asking for fewer requests")
        elif retry_after_s is not None:
            self._pause(host, now, retry_after_s, reason)

    def _slower(self, host: Host[J], now: float) -> float:
        """An interval at which the host may not complain."""
        answers = sum(when > now - 1 for when in host.answered)
        if answers >= _TELLING_ANSWERS:
            seconds = now - host.answered[0] if answers == _KEPT_TIMES else 1.0
            return 1.25 * seconds / answers
        return max(_FIRST_INTERVAL_S, 2 * host.interval_s)

    def overloaded(self, host: Host[J]) -> None:
        """The host answers with an error that may come from too much work: 500 and above."""
        host.at_once = max(1.0, host.at_once / 2) if host.at_once else 0.0

    def failed(self, host: Host[J], now: float, reason: str) -> None:
        """No answer at all."""
        self.overloaded(host)
        host.failures += 1
        if host.failures >= FAILURES_BEFORE_A_PAUSE and now >= host.paused_until:
            detail = f"{host.failures} requests in a row without an answer"
            self._trouble(host, now, None, reason, detail)

    def backoff_s(self, attempt: int) -> float:
        """Pause after the given attempt, from 1; doubled for each, drawn from ±50 %."""
        pause_s = self._limits.backoff_s * 2.0 ** (attempt - 1)
        return min(self._limits.max_pause_s, pause_s) * self._random.uniform(0.5, 1.5)

    def _trouble(self, host: Host[J], now: float, pause_s: float | None, reason: str, detail: str) -> None:
        host.troubles += 1
        if host.troubles > TROUBLES_BEFORE_GIVING_UP:
            self.give_up(host, reason, detail)
        else:
            self._pause(host, now, self.backoff_s(host.troubles) if pause_s is None else pause_s, reason)

    def _pause(self, host: Host[J], now: float, pause_s: float, reason: str) -> None:
        if pause_s > self._limits.max_pause_s:
            detail = f"it asks for a pause of {pause_s:,.0f} s, more than {self._limits.max_pause_s:,.0f} s"
            self.give_up(host, reason, detail)
        host.paused_until = max(host.paused_until, now + pause_s)

    def give_up(self, host: Host[J], reason: str, detail: str) -> None:
        """Lets every job of the host through at once, to fail."""
        host.given_up = host.given_up or (reason, f"the host was given up for this run: {detail}")
        self._ready.append(host)
        host.listed = True
