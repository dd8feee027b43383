"""Whose turn it is, without a clock and without a network."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from imagemill.acquire.contract import Limits
from imagemill.acquire.politeness import KEPT_IDLE_HOSTS, TROUBLES_BEFORE_GIVING_UP, Host, Schedule


def schedule_of(jobs: dict[str, int], **limits: float) -> Schedule[str]:
    """A schedule with so many jobs a host, all of a host's in a row."""
    schedule: Schedule[str] = Schedule(Limits(**limits), random.Random(0))  # type: ignore[arg-type]
    for name, count in jobs.items():
        for number in range(count):
            schedule.add(f"{name}{number}", schedule.host(name))
    return schedule


def known(schedule: Schedule[str], *names: str) -> None:
    for name in names:
        schedule.answered(schedule.host(name), 0.0)


def test_an_unknown_host_is_asked_one_thing_first() -> None:
    schedule = schedule_of({"a": 5}, per_host=3)
    taken = schedule.take(0.0)
    assert taken is not None
    assert schedule.take(0.0) is None
    schedule.answered(taken[1], 0.0)
    schedule.ended(taken[1])
    assert sum(schedule.take(0.0) is not None for _ in range(5)) == 3


def test_hosts_take_turns() -> None:
    schedule = schedule_of({"a": 1000, "b": 2, "c": 2}, per_host=8)
    known(schedule, "a", "b", "c")
    order = [taken[0] for _ in range(6) if (taken := schedule.take(0.0))]
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_every_job_comes_once() -> None:
    schedule = schedule_of({"a": 50, "b": 3, "c": 20}, per_host=2)
    seen: Counter[str] = Counter()
    while taken := schedule.take(0.0):
        seen[taken[0]] += 1
        schedule.answered(taken[1], 0.0)
        schedule.ended(taken[1])
    assert set(seen.values()) == {1}
    assert (len(seen), schedule.waiting) == (73, 0)


def test_a_rate_spaces_requests() -> None:
    schedule = schedule_of({"a": 3}, host_rate=10.0)
    known(schedule, "a")
    times = []
    now = 0.0
    while schedule.waiting:
        if (taken := schedule.take(now)) is None:
            when = schedule.next_time()
            assert when is not None
            now = when
            continue
        times.append(now)
        schedule.ended(taken[1])
    assert times == pytest.approx([0.0, 0.05, 0.15], abs=0.06)


def refuse(schedule: Schedule[str], host: Host[str], now: float, after_s: float | None = None) -> None:
    schedule.refused(host, now, after_s, "http-429")


def test_a_pause_holds_and_ends() -> None:
    schedule = schedule_of({"a": 3, "b": 1})
    known(schedule, "a", "b")
    refuse(schedule, schedule.host("a"), 0.0, 5.0)
    taken = schedule.take(0.0)
    assert taken is not None
    assert taken[0] == "b0"
    assert schedule.take(4.9) is None
    assert schedule.pausing(1.0) == {"a": 4.0}
    assert schedule.next_time() == 5.0
    assert schedule.take(5.0) is not None


def test_several_refusals_at_once_are_one_complaint() -> None:
    schedule = schedule_of({"a": 1})
    host = schedule.host("a")
    for _ in range(20):
        refuse(schedule, host, 1.0)
    assert host.troubles == 1
    refuse(schedule, host, 1.0, 30.0)
    assert host.paused_until == 31.0


def test_a_refusal_slows_down_to_what_was_answered() -> None:
    schedule = schedule_of({"a": 1}, per_host=8)
    host = schedule.host("a")
    for number in range(40):
        schedule.answered(host, number / 40)
    refuse(schedule, host, 1.0)
    assert host.interval_s == pytest.approx(1.25 / 39, rel=0.1)
    before = host.interval_s
    for number in range(40):
        schedule.answered(host, 2 + number / 40)
    assert before / 1.2 < host.interval_s < before
    refuse(schedule, host, 100.0)  # nothing was answered lately: half the rate
    assert host.interval_s == 0.1


def test_a_host_that_only_refuses_is_given_up_and_its_jobs_come_at_once() -> None:
    schedule = schedule_of({"a": 100}, max_pause_s=1000.0)
    host = schedule.host("a")
    now = 0.0
    pauses = []
    while host.given_up is None:
        refuse(schedule, host, now)
        pauses.append(host.paused_until - now)
        now = host.paused_until
    assert len(pauses) == TROUBLES_BEFORE_GIVING_UP + 1
    assert all(0.5 * 2**place <= pause <= 1.5 * 2**place for place, pause in enumerate(pauses[:-1]))
    assert host.given_up[0] == "http-429"
    assert sum(schedule.take(0.0) is not None for _ in range(100)) == 100


def test_an_answer_makes_good() -> None:
    schedule = schedule_of({"a": 1})
    host = schedule.host("a")
    for now in range(0, 1000, 100):
        refuse(schedule, host, float(now))
        schedule.answered(host, now + 1.0)
    assert host.given_up is None
    assert host.troubles == 0


def test_a_host_without_answers_pauses_and_has_fewer_at_once() -> None:
    schedule = schedule_of({"a": 1}, per_host=8)
    host = schedule.host("a")
    known(schedule, "a")
    for _ in range(3):
        schedule.failed(host, 0.0, "connect")
    assert (host.at_once, host.troubles) == (1.0, 0)
    schedule.failed(host, 0.0, "connect")
    assert host.troubles == 1
    assert host.paused_until > 0.0


def test_a_job_for_later_waits_and_then_comes_first() -> None:
    schedule = schedule_of({"a": 2})
    known(schedule, "a")
    host = schedule.host("a")
    schedule.add_later("retried", host, 10.0)
    assert (schedule.waiting, schedule.next_time()) == (3, 10.0)
    first = schedule.take(0.0)
    assert first is not None
    assert first[0] == "a0"
    second = schedule.take(10.0)
    assert second is not None
    assert second[0] == "retried"


def test_memory_of_hosts_is_bounded_but_not_of_those_with_jobs() -> None:
    schedule = schedule_of({f"busy{number}": 1 for number in range(10)})
    for number in range(KEPT_IDLE_HOSTS + 500):
        schedule.host(f"idle{number}")
    assert len(schedule._hosts) <= KEPT_IDLE_HOSTS + 10
    assert sum(schedule.take(0.0) is not None for _ in range(20)) == 10


def test_many_hosts_cost_no_more_each_than_a_few() -> None:
    begin = time.process_time()
    schedule = schedule_of({f"host{number}": 1 for number in range(4 * KEPT_IDLE_HOSTS)})
    taken = 0
    while one := schedule.take(0.0):
        schedule.ended(one[1])
        taken += 1
    assert taken == 4 * KEPT_IDLE_HOSTS
    assert time.process_time() - begin < 10  # looking at all of them for each takes minutes


def test_backoff_doubles_within_half_of_itself() -> None:
    schedule = schedule_of({}, backoff_s=2.0, max_pause_s=10.0)
    for attempt, base in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (9, 10.0)):
        pauses = [schedule.backoff_s(attempt) for _ in range(200)]
        assert min(pauses) >= 0.5 * base
        assert max(pauses) <= 1.5 * base
        assert max(pauses) - min(pauses) > 0.8 * base
