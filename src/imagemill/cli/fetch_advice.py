"""What to do about what `fetch` could not get: advice that fits the reasons, and none where nothing helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from imagemill.acquire.contract import PERMANENT, REFUSED_ADDRESS

OPTIONS = {
    REFUSED_ADDRESS: "--allow HOST:PORT",
    "robots": "--ignore-robots",
    "x-robots-tag": "--ignore-x-robots",
    "too-many-bytes": "--max-bytes",
    "too-many-pixels": "--max-pixels",
    "headers-too-large": "--max-header-bytes",
    "redirects": "--max-redirects",
    "memory": "--max-memory",
    "decode-timeout": "--max-seconds",
}
"""Reasons that depend on an option: without another value of it the next run finds the same."""

WORDS = {
    REFUSED_ADDRESS: ", if that server is yours",
    "robots": ", if its owner agrees",
    "x-robots-tag": ", if its owner agrees",
}
SHOWN_SERVERS = 3


def advice(reasons: Mapping[str, int], failing_hosts: Iterable[tuple[str, str, int]]) -> Iterator[str]:
    """Lines that say what to do next, if anything failed.

    Args:
        reasons: reason code → how many; bad lines are not asked for again whatever is said.
        failing_hosts: (host, reason, URLs), the most frequent first.
    """
    failed = dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))
    failed.pop("bad-line", None)
    passing = [reason for reason in failed if reason not in PERMANENT and reason not in OPTIONS]
    final = [reason for reason in failed if reason in PERMANENT and reason not in OPTIONS]
    if passing:
        every = len(passing) == len(failed)
        how = "--retry-failed" if every else " ".join(f"--retry {reason}" for reason in passing)
        yield f"{sum(failed[reason] for reason in passing):,} may pass by: the same command with {how}"
    for reason in failed:
        if reason in OPTIONS:
            option = _allow(failing_hosts) if reason == REFUSED_ADDRESS else OPTIONS[reason]
            yield f"{failed[reason]:,} {reason}: the same command with {option} --retry {reason}{WORDS.get(reason, '')}"
    if final:
        count = sum(failed[reason] for reason in final)
        yield f"{count:,} would fail again ({', '.join(final)}): there is nothing to be done here"


def _allow(failing_hosts: Iterable[tuple[str, str, int]]) -> str:
    """The options that open the servers that were refused; the port is the scheme's own where none is told."""
    servers = [host for host, reason, _ in failing_hosts if reason == REFUSED_ADDRESS and host]
    if not servers or len(servers) > SHOWN_SERVERS:
        return OPTIONS[REFUSED_ADDRESS]
    return " ".join(f"--allow {server if _has_port(server) else f'{server}:PORT'}" for server in servers)


def _has_port(server: str) -> bool:
    return server.rpartition(":")[2].isdecimal() and not server.endswith("]")
