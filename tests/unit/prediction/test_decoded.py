"""Pictures decoded ahead: no further than allowed, errors where they are used, and one that hangs holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from imagemill.errors import EngineError
from imagemill.prediction.decoded import Ahead


def test_no_more_is_made_than_allowed_and_all_in_order() -> None:
    made: list[int] = []

    def items() -> Iterator[tuple[int, int]]:
        for number in range(30):
            made.append(number)
            yield number, 10

    most = 0
    with Ahead(items(), 25, 10) as ahead:
        for used, number in enumerate(ahead):
            assert number == used
            most = max(most, len(made) - used)
    assert made == list(range(30))
    assert most <= 4  # the one in use, and what makes the weight exceed 25


def test_an_item_heavier_than_allowed_comes_alone() -> None:
    with Ahead(iter([("a", 100), ("b", 100)]), 1, 10) as ahead:
        assert list(ahead) == ["a", "b"]


def test_an_error_is_raised_where_the_items_are_used() -> None:
    def items() -> Iterator[tuple[int, int]]:
        yield 1, 1
        raise EngineError("no more")

    with Ahead(items(), 10, 10) as ahead:
        assert next(ahead) == 1
        with pytest.raises(EngineError, match="no more"):
            next(ahead)


def test_one_that_hangs_is_not_waited_for() -> None:
    release = threading.Event()

    def items() -> Iterator[tuple[int, int]]:
        release.wait(30)
        yield 1, 1

    ahead = Ahead(items(), 10, 0.1)
    with pytest.raises(EngineError, match="the same command again"), ahead as waiting:
        next(waiting)
    assert ahead.hangs
    release.set()


def test_leaving_early_ends_the_thread() -> None:
    ahead = Ahead(((number, 1) for number in range(1000)), 3, 10)
    with ahead as items:
        next(items)
    assert not ahead._thread.is_alive()
