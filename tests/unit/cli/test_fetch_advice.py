"""What `fetch` says at its end about what it could not get."""

from __future__ import annotations

import pytest

from imagemill.acquire.contract import PERMANENT, REASONS
from imagemill.cli.fetch import command
from imagemill.cli.fetch_advice import OPTIONS, advice
from imagemill.cli.parameters import command_of


@pytest.mark.parametrize(
    ("reasons", "hosts", "lines"),
    [
        ({}, [], []),
        ({"bad-line": 3}, [], []),
        ({"http-5xx": 2, "timeout": 1, "bad-line": 1}, [], ["3 may pass by: the same command with --retry-failed"]),
        (
            {"not-found": 1200, "gone": 2},
            [],
            ["1,202 would fail again (not-found, gone): there is nothing to be done here"],
        ),
        (
            {"not-found": 5, "http-429": 2, "dns": 1},
            [],
            [
                "3 may pass by: the same command with --retry http-429 --retry dns",
                "5 would fail again (not-found): there is nothing to be done here",
            ],
        ),
        (
            {"refused-address": 7},
            [("localhost:8000", "refused-address", 6), ("a.org", "html", 2), ("nas", "refused-address", 1)],
            [
                "7 refused-address: the same command with --allow localhost:8000 --allow nas:PORT "
                "--retry refused-address, if that server is yours"
            ],
        ),
        (
            {"refused-address": 9, "too-many-bytes": 1},
            [(f"10.0.0.{number}", "refused-address", 1) for number in range(9)],
            [
                "9 refused-address: the same command with --allow HOST:PORT --retry refused-address, "
                "if that server is yours",
                "1 too-many-bytes: the same command with --max-bytes --retry too-many-bytes",
            ],
        ),
        (
            {"refused-address": 2},
            [("[::1]", "refused-address", 1), ("[::1]:8000", "refused-address", 1)],
            [
                "2 refused-address: the same command with --allow [::1]:PORT --allow [::1]:8000 "
                "--retry refused-address, if that server is yours"
            ],
        ),
    ],
)
def test_advice_fits_the_reasons(reasons: dict[str, int], hosts: list[tuple[str, str, int]], lines: list[str]) -> None:
    assert list(advice(reasons, hosts)) == lines


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_advice_and_what_is_permanent_is_not_retried_alone(reason: str) -> None:
    (line,) = advice({reason: 1}, [])
    assert ("may pass by" in line) == (reason not in PERMANENT | OPTIONS.keys())


def test_options_are_those_of_the_command() -> None:
    there = {name for each in command_of("fetch", command).params for name in each.opts}
    assert {option.split()[0] for option in OPTIONS.values()} <= there
    assert OPTIONS.keys() <= REASONS.keys()
