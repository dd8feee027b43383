"""Requests in, outcomes out: the schedule, the transfers and the examiners at work together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from imagemill.acquire.address_guard import Lookup, system_lookup
from imagemill.acquire.connections import Connections
from imagemill.acquire.contract import Limits, Outcome, Policy, Request, Status, Traffic, Verdict
from imagemill.acquire.examine import Examiners
from imagemill.acquire.failure import Failure
from imagemill.acquire.marks import MARKS, Marks
from imagemill.acquire.partials import remove_note
from imagemill.acquire.pile import Pile
from imagemill.acquire.politeness import Host, Schedule
from imagemill.acquire.robots import Robots
from imagemill.acquire.transfer import Body, Job, Transfer
from imagemill.acquire.urls import BadUrl, Location, locate, shown

READ_AT_ONCE = 256
"""Rows that are read before anything else gets its turn."""
MORE_REFUSALS = 2
"""How many more refusals than attempts a request survives: most of them are meant for the whole host."""
MAX_CRAWL_DELAY_S = 30.0
_MAY_GO_ON = ("incomplete", "timeout", "too-slow", "connect")
"""Failures after which a later run may ask for the rest only."""


async def download(
    requests: Iterable[Request],
    pile: Pile,
    policy: Policy,
    traffic: Traffic | None = None,
    *,
    lookup: Lookup = system_lookup,
) -> AsyncIterator[list[Outcome]]:
    """Fetches every request and yields one outcome for each, in the order in which they end: all that are ready.

    Args:
        requests: read as places in the window come free, so it may be endless, and may block for moments.
        pile: gets the images. Its folder for what arrives is there already, and the downloader's alone.
        policy: how to behave.
        traffic: kept up to date, for whoever shows progress.
        lookup: where names are looked up; a test gives its own.

    Yields:
        Outcomes. Closing the generator ends what is under way and removes its files, but for images that are in
        the pile.

    Raises:
        ConfigError: `policy.allow` or a proxy of the environment cannot be understood.
        EngineError: no process to examine images in could be started.
        OSError: a body cannot be written.
    """
    traffic = traffic or Traffic()
    async with Connections(policy, lookup) as connections:
        run = _Run(requests, pile, policy, traffic, Transfer(connections, policy, traffic))
        worker = asyncio.create_task(run.work())
        try:
            goes_on = True
            while goes_on:
                ready = [await run.outcomes.get(), *run.ready()]
                goes_on = ready[-1] is not None
                run.wake.set()
                if outcomes := [outcome for outcome in ready if outcome is not None]:
                    yield outcomes
            await worker
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            run.remove_files()


class _Run:
    """One download: dispatches jobs as their hosts' turns come."""

    def __init__(
        self, requests: Iterable[Request], pile: Pile, policy: Policy, traffic: Traffic, transfer: Transfer
    ) -> None:
        self.outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self.wake = asyncio.Event()
        self._requests: Iterator[Request] | None = iter(requests)
        self._pile = pile
        self._folder = pile.arriving
        self._policy = policy
        self._limits: Limits = policy.limits
        self._traffic = traffic
        self._transfer = transfer
        self._marks = Marks(self._folder / MARKS, policy.examiner_count)
        self._examiners = Examiners(policy, self._marks)
        self._schedule: Schedule[Job] = Schedule(policy.limits)
        self._clock = asyncio.get_running_loop().time
        self._under_way: set[asyncio.Task[None]] = set()
        self._reading_rules: dict[str, asyncio.Future[Robots]] = {}
        self._bodies: set[Body] = set()

    async def work(self) -> None:
        """Until every request has its outcome; `None` in the queue is the end, also of a failure."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while self._requests is not None or self._schedule.waiting or self._under_way:
                    self.wake.clear()
                    self._read_ahead()
                    self._start_due(tasks)
                    self._note_traffic()
                    await self._something_happens()
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        finally:
            await self._examiners.close()
            self._marks.close()
            self.outcomes.put_nowait(None)

    def remove_files(self) -> None:
        """Files of what did not come to its end, unless another run can go on there."""
        for body in self._bodies:
            if not (body.noted and body.partial()):
                body.remove()

    def ready(self) -> Iterator[Outcome | None]:
        """Outcomes that wait to be taken."""
        while not self.outcomes.empty():
            yield self.outcomes.get_nowait()

    def _read_ahead(self) -> None:
        for _ in range(min(READ_AT_ONCE, self._limits.window - self._schedule.waiting)):
            request = next(self._requests, None) if self._requests is not None else None
            if request is None:
                self._requests = None
                return
            try:
                location = locate(request.url)
            except BadUrl as error:
                outcome = Outcome(request.number, "failed", "bad-url", str(error), final_url=shown(request.url))
                self.outcomes.put_nowait(outcome)
                continue
            job = Job(request, location, self._body(request))
            self._schedule.add(job, self._schedule.host(location.netloc))

    def _body(self, request: Request) -> Body:
        """Where the body goes, with what an earlier run got of it."""
        path = self._folder / f"{request.number}.part"
        partial = request.partial
        if partial is None:
            return Body(path, key=request.key)
        try:
            partial.path.replace(path)
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            return Body(path, key=request.key)
        remove_note(partial.path)
        body = Body(path, size_bytes, partial.etag, partial.last_modified, key=request.key, inherited=True)
        body.note()
        return body

    def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        # What is being examined, or was not taken yet, counts too: a kill loses no more than was in flight.
        while len(self._under_way) + self.outcomes.qsize() < self._limits.in_flight:
            due = self._schedule.take(self._clock())
            if due is None:
                return
            self._traffic.in_flight += 1
            task = tasks.create_task(self._serve(*due))
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        # The loop is woken only now: woken by the task itself it would still find it under way, and sleep for good.
        self._under_way.discard(task)
        self.wake.set()

    def _note_traffic(self) -> None:
        self._traffic.waiting = self._schedule.waiting
        self._traffic.pausing = self._schedule.pausing(self._clock())

    async def _something_happens(self) -> None:
        """Something ends, an outcome is taken, or a host's time comes; nothing to wait for is no reason to wait."""
        if self._requests is None and not self._schedule.waiting and not self._under_way:
            return
        if self._requests is not None and self._schedule.waiting < self._limits.window:
            await asyncio.sleep(0)
            return
        when = self._schedule.next_time()
        if when is None:
            await self.wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, when - self._clock())):
                await self.wake.wait()

    async def _serve(self, job: Job, host: Host[Job]) -> None:
        """One turn of a job; afterwards it has ended, or waits again."""
        began = self._clock()
        try:
            whole = await self._fetched(job, host)
        finally:
            job.seconds += self._clock() - began
            self._traffic.in_flight -= 1
            self._schedule.ended(host)
            self.wake.set()
        if whole:
            await self._examine(job, host)

    async def _fetched(self, job: Job, host: Host[Job]) -> bool:
        """Whether a whole body lies in the job's file."""
        try:
            if host.given_up:
                raise Failure(*host.given_up, again=False)
            job.attempts += 1
            await self._check_rules(job, host)
            self._bodies.add(job.body)
            answer = await self._transfer.attempt(job)
        except Failure as failure:
            self._failed(job, host, failure)
            return False
        self._schedule.answered(host, self._clock())
        if isinstance(answer, Location):
            self._move(job, host, answer)
        elif answer == "unchanged":
            job.body.remove()
            self._tell(job, "unchanged")
        return answer == "whole"

    async def _check_rules(self, job: Job, host: Host[Job]) -> None:
        """Raises `Failure` where robots.txt does not allow the job, or cannot be read."""
        if not self._policy.respect_robots:
            return
        rules = host.robots.get(job.location.origin) or await self._rules(job.location, host)
        if not rules.allows(job.location.target):
            raise Failure("robots", "disallowed by robots.txt")

    async def _rules(self, location: Location, host: Host[Job]) -> Robots:
        """Read once an origin, also where several jobs ask at the same time."""
        origin = location.origin
        reading = self._reading_rules.get(origin)
        if reading is None:
            reading = self._reading_rules[origin] = asyncio.ensure_future(self._transfer.robots(location))
            reading.add_done_callback(lambda _: self._reading_rules.pop(origin, None))
        rules = await reading
        if origin not in host.robots:
            host.robots[origin] = rules
            host.interval_s = max(host.interval_s, min(rules.delay_s, MAX_CRAWL_DELAY_S))
            self._schedule.answered(host, self._clock())
        return rules

    def _failed(self, job: Job, host: Host[Job], failure: Failure) -> None:
        now = self._clock()
        if failure.asks_for_pause and not host.given_up:
            job.attempts, job.refusals = job.attempts - 1, job.refusals + 1
            self._schedule.refused(host, now, failure.retry_after_s, failure.reason)
            if job.refusals <= self._limits.attempts + MORE_REFUSALS:
                self._schedule.add(job, host, first=True)
                return
        elif failure.unanswered:
            self._schedule.failed(host, now, failure.reason)
        elif failure.reason == "http-5xx":
            self._schedule.overloaded(host)
        elif not host.given_up:
            self._schedule.answered(host, self._clock())
        if failure.again and job.attempts < self._limits.attempts:
            self._schedule.add_later(job, host, now + self._schedule.backoff_s(max(1, job.attempts)))
            return
        self._fail(job, failure.reason, failure.detail)

    def _move(self, job: Job, host: Host[Job], target: Location) -> None:
        """Follows a redirect: the job queues at the host that it leads to, whose rules are then its rules."""
        job.visited = (*job.visited, job.location.url)
        job.location = target
        job.attempts -= 1
        hops = len(job.visited)
        if hops > self._limits.max_redirects or target.url in job.visited:
            what = "a loop" if target.url in job.visited else f"more than {self._limits.max_redirects}"
            self._fail(job, "redirects", f"{what}, after {hops} redirects")
            return
        self._schedule.add(job, self._schedule.host(target.netloc), first=True)

    async def _examine(self, job: Job, host: Host[Job]) -> None:
        if not job.body.size_bytes:
            self._fail(job, "empty-file", "0 bytes")
            return
        self._traffic.examining += 1
        try:
            found = await self._examiners.examine(
                job.body.path, job.body.content, job.request.number, alone=job.request.suspect
            )
        finally:
            self._traffic.examining -= 1
        verdict = found.verdict
        if verdict.reason == "truncated" and not job.body.framed:
            job.body.restart()
            self._failed(job, host, Failure("incomplete", f"{verdict.detail}; the server did not say where it ends"))
        elif verdict.reason and job.body.inherited:
            # After a power cut the beginning on the disk may not be what was received.
            job.body.restart()
            self._failed(job, host, Failure("incomplete", f"{verdict.detail}; it began with what an earlier run got"))
        elif verdict.reason:
            self._fail(job, verdict.reason, verdict.detail, verdict)
        else:
            path = self._pile.keep(job.body.path, found)
            job.body.forget_note()
            size_bytes, sha256 = found.size_bytes, found.sha256
            self._tell(job, "fetched", verdict=verdict, path=path, size_bytes=size_bytes, sha256=sha256)

    def _fail(self, job: Job, reason: str, detail: str, verdict: Verdict | None = None) -> None:
        """Hands over that a job failed; its file goes, unless a later run can go on with it."""
        partial = job.body.partial() if reason in _MAY_GO_ON else None
        if partial is None:
            job.body.remove()
        job.body.forget_note()
        self._tell(job, "failed", reason, detail, verdict=verdict, partial=partial)

    def _tell(self, job: Job, status: Status, reason: str = "", detail: str = "", **found: Any) -> None:
        """Hands over how a job ended, with all that it knows."""
        self._bodies.discard(job.body)
        self.outcomes.put_nowait(
            Outcome(
                job.request.number,
                status,
                reason,
                detail,
                host=job.location.netloc,
                http_status=job.http_status,
                final_url=job.location.shown,
                headers=job.kept_headers(),
                seconds=job.seconds,
                attempts=job.attempts + job.refusals,
                **found,
            )
        )


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that a group of tasks ended with."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
