"""A list of URLs that lies at a URL itself: downloaded through the same guard as the images."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from imagemill.acquire.connections import Connections
from imagemill.acquire.contract import REFUSED_ADDRESS, Limits, Policy, Request, Traffic
from imagemill.acquire.failure import Failure
from imagemill.acquire.list_rows import begins_like_url
from imagemill.acquire.transfer import Body, Job, Transfer
from imagemill.acquire.urls import BadUrl, Location, locate, shown
from imagemill.errors import ConfigError, RemoteError

MAX_LIST_BYTES = 1 << 40
TOTAL_S = 6 * 3600.0


def is_list_url(text: str) -> bool:
    """Whether the text is the URL of a list, and no path."""
    return begins_like_url(text)


def list_name(url: str) -> str:
    """A file name for a downloaded list, whose suffix says how it is to be read."""
    name = shown(url).partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".") or "list"


async def download_list(url: str, folder: Path, policy: Policy) -> Path:
    """Downloads a list into a folder, going on where a connection broke; robots.txt is not asked about it.

    Raises:
        ConfigError: no http or https URL, or its address may not be reached.
        RemoteError: it cannot be had.
        OSError: it cannot be written.
    """
    path = folder / list_name(url)
    try:
        location = locate(url)
    except BadUrl as error:
        raise ConfigError(f"{shown(url)}: {error}") from None
    limits = replace(policy.limits, max_body_bytes=MAX_LIST_BYTES, total_s=TOTAL_S)
    asked = replace(policy, limits=limits, respect_robots_tag=False)
    async with Connections(asked) as connections:
        job = Job(Request(0, url), location, Body(path))
        try:
            await _follow(job, Transfer(connections, asked, Traffic()), limits)
        except Failure as failure:
            detail = f": {failure.detail}" if failure.detail else ""
            refused = failure.reason in ("bad-url", REFUSED_ADDRESS, "bad-redirect")
            kind = ConfigError if refused else RemoteError
            raise kind(f"the list at {shown(url)} cannot be had: {failure.reason}{detail}") from None
    if job.body.content is not None:
        path.write_bytes(job.body.content)
    return path


async def _follow(job: Job, transfer: Transfer, limits: Limits) -> None:
    """Asks until the whole body is there, through redirects and failures that may pass by.

    Raises:
        Failure: they did not.
    """
    hops = attempts = 0
    while True:
        try:
            answer = await transfer.attempt(job)
        except Failure as failure:
            attempts += 1
            if not (failure.again or failure.asks_for_pause) or attempts >= limits.attempts:
                raise
            pause_s = failure.retry_after_s or limits.backoff_s * 2 ** (attempts - 1)
            await asyncio.sleep(min(pause_s, limits.max_pause_s))
            continue
        if not isinstance(answer, Location):
            return
        hops += 1
        if hops > limits.max_redirects:
            raise Failure("redirects", f"more than {limits.max_redirects}")
        job.location = answer
