"""One attempt: a request is sent, and what comes is written to a file, within its limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from aiohttp import ClientResponse

from imagemill.acquire.connections import Connections
from imagemill.acquire.contract import KEPT_HEADERS, Limits, Partial, Policy, Request, Traffic
from imagemill.acquire.encoding import BadEncoding, Decoder
from imagemill.acquire.failure import Failure, http_date, status_failure
from imagemill.acquire.partials import KEPT_BYTES, remove_note, write_note
from imagemill.acquire.robots import MAX_ROBOTS_BYTES, Robots, forbidden_by_tag, parse_robots
from imagemill.acquire.urls import BadUrl, Location

Answer: TypeAlias = Location | Literal["whole", "unchanged"]
"""A redirect's target; or the body is in the file; or it is the one that is known."""

ROBOTS_REDIRECTS = 5
SPARED_BYTES = 1 << 16
"""Bodies of errors up to this size are read, so that their connection can be used again."""
HELD_TOGETHER_BYTES = 1 << 24
"""Bodies that are held in memory, all that are in flight together."""
_REDIRECTS = (301, 302, 303, 307, 308)
_RANGE = re.compile(r"bytes\s+(\d+)-\d+/(\d+|\*)", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class Body:
    """A body on its way.

    Args:
        path: the file of a body, or of the beginning that came of one; no file of a body that is held in memory.
        size_bytes: of what came of it.
        etag, last_modified: validators that are good for asking for the rest; "" for none.
        framed: the server said where the body ends, so that it is known to be whole.
        key: of the request, for a note; "" where nothing is left to another run.
        noted: whether a note says what is in the file.
        inherited: it begins with what an earlier run got.
        content: of a body that came whole and is held in memory.
    """

    path: Path
    size_bytes: int = 0
    etag: str = ""
    last_modified: str = ""
    framed: bool = True
    key: str = ""
    noted: bool = False
    inherited: bool = False
    content: bytes | None = None

    def restart(self) -> None:
        self.size_bytes, self.etag, self.last_modified, self.inherited, self.content = 0, "", "", False, None

    def note(self) -> None:
        """Has another run go on with it, should this one end before it is whole."""
        if self.key and (self.etag or self.last_modified):
            write_note(self.path, self.key, self.etag, self.last_modified)
            self.noted = True

    def forget_note(self) -> None:
        """It is whole, or of no use."""
        if self.noted:
            remove_note(self.path)
            self.noted = False

    def remove(self) -> None:
        """Nobody wants it."""
        self.forget_note()
        self.path.unlink(missing_ok=True)

    def partial(self) -> Partial | None:
        """What a later run may go on from."""
        usable = self.size_bytes and (self.etag or self.last_modified)
        return Partial(self.path, self.etag, self.last_modified) if usable else None


@dataclass(slots=True, eq=False)
class Job:
    """A request under way.

    Args:
        location: where it is to be asked for now, after redirects.
        visited: where it was asked for before.
        attempts: how often it was asked for, redirects not counted.
        refusals: how often its host asked for a pause instead.
        seconds: under way so far.
        http_status, headers: of the last answer; headers in lower case, all of them.
    """

    request: Request
    location: Location
    body: Body
    visited: tuple[str, ...] = ()
    attempts: int = 0
    refusals: int = 0
    seconds: float = 0.0
    http_status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def kept_headers(self) -> dict[str, str]:
        return {name: self.headers[name] for name in KEPT_HEADERS if name in self.headers}


class Transfer:
    """Asks for images and for robots.txt.

    Args:
        connections: open ones.
        policy: what is obeyed, what it may cost.
        traffic: bytes are counted in it.
    """

    def __init__(self, connections: Connections, policy: Policy, traffic: Traffic) -> None:
        self._connections = connections
        self._policy = policy
        self._limits: Limits = policy.limits
        self._traffic = traffic
        self._held_bytes = min(KEPT_BYTES, HELD_TOGETHER_BYTES // policy.limits.in_flight)

    async def attempt(self, job: Job) -> Answer:
        """Asks once.

        Raises:
            Failure: no image; what came of the body stays in the file if the rest can be asked for.
            OSError: the file cannot be written.
        """
        job.http_status, job.headers = 0, {}
        try:
            async with asyncio.timeout(self._limits.total_s):
                async with self._connections.get(job.location, self._headers(job)) as response:
                    return await self._take(job, response)
        except TimeoutError:
            raise self._too_long(began=job.http_status != 0) from None

    def _too_long(self, *, began: bool) -> Failure:
        return Failure("timeout", f"not done within {self._limits.total_s:g} s", began=began)

    def _headers(self, job: Job) -> dict[str, str]:
        body, request = job.body, job.request
        if body.partial():
            return {"Range": f"bytes={body.size_bytes}-", "If-Range": body.etag or body.last_modified}
        asked = {"If-None-Match": request.etag, "If-Modified-Since": request.last_modified}
        return {name: value for name, value in asked.items() if value}

    async def _take(self, job: Job, response: ClientResponse) -> Answer:
        job.http_status = status = response.status
        job.headers = headers = self._checked_headers(response)
        if status in _REDIRECTS and "location" in headers:
            await _spare(response)
            return _redirected(job.location, headers["location"])
        if status == 304 and (job.request.etag or job.request.last_modified):
            return "unchanged"
        if status not in (200, 203, 206):
            await _spare(response)
            if status == 416:
                job.body.restart()
                raise Failure("incomplete", "the rest cannot be asked for (HTTP 416)")
            raise status_failure(status, headers)
        if self._policy.respect_robots_tag and "x-robots-tag" in headers:
            values = response.headers.getall("X-Robots-Tag")
            if found := forbidden_by_tag(values, self._policy.user_agent):
                raise Failure("x-robots-tag", f"X-Robots-Tag: {found}")
        await self._store(job.body, response, headers)
        return "whole"

    def _checked_headers(self, response: ClientResponse) -> dict[str, str]:
        size_bytes = sum(len(name) + len(value) + 4 for name, value in response.raw_headers)
        if size_bytes > self._limits.max_header_bytes:
            limit = self._limits.max_header_bytes
            raise Failure("headers-too-large", f"{size_bytes:,} bytes of headers, the limit is {limit:,}")
        return {name.lower(): value for name, value in response.headers.items()}

    async def _store(self, body: Body, response: ClientResponse, headers: Mapping[str, str]) -> None:
        """The body into memory if it is a small one, else into its file; from where it stopped if that is what came."""
        announced = response.content_length
        total = _continued_to(body, headers) if response.status == 206 else announced
        if response.status != 206:
            body.restart()
            body.forget_note()
        if total is not None and total > self._limits.max_body_bytes:
            raise self._too_large(total)
        encoding = headers.get("content-encoding", "").strip().lower()
        try:
            decoder = Decoder(encoding) if encoding not in ("", "identity", "none") else None
        except BadEncoding as error:
            raise Failure("bad-encoding", str(error), again=False) from None
        body.framed = announced is not None or "chunked" in headers.get("transfer-encoding", "").lower()
        if not body.size_bytes and decoder is None:
            body.etag, body.last_modified = _validators(headers)
            if total is not None and total >= KEPT_BYTES:
                body.note()
        if total is not None and total < self._held_bytes and not body.size_bytes and decoder is None:
            await self._hold(body, response, total)
        else:
            with open(body.path, "r+b" if body.size_bytes else "wb", buffering=0) as file:
                if body.size_bytes:
                    file.seek(body.size_bytes)
                    file.truncate()
                await self._pour(body, response, decoder, partial(_write_all, file))
        if total is not None and decoder is None and body.size_bytes != total:
            raise Failure("incomplete", f"{body.size_bytes:,} of {total:,} bytes")

    async def _hold(self, body: Body, response: ClientResponse, total: int) -> None:
        """What comes of a body that ends too early goes into its file."""
        pieces: list[bytes] = []
        try:
            await self._pour(body, response, None, pieces.append)
        finally:
            if body.size_bytes == total:
                body.content = b"".join(pieces)
            else:
                body.path.write_bytes(b"".join(pieces))
            pieces.clear()  # what failed may live on in the failure's traceback until garbage is looked for

    async def _pour(
        self, body: Body, response: ClientResponse, decoder: Decoder | None, put: Callable[[bytes], None]
    ) -> None:
        pace = _Pace(self._limits)
        content = response.content
        while chunk := await content.readany():
            self._traffic.received_bytes += len(chunk)
            pace.check(len(chunk))
            try:
                for piece in decoder.feed(chunk) if decoder else (chunk,):
                    body.size_bytes += len(piece)
                    if body.size_bytes > self._limits.max_body_bytes:
                        raise self._too_large(body.size_bytes)
                    put(piece)
            except BadEncoding as error:
                raise Failure("bad-encoding", str(error)) from None
        if decoder and body.size_bytes and not decoder.is_whole():
            raise Failure("incomplete", "the compressed body ended too early")

    def _too_large(self, size_bytes: int) -> Failure:
        return Failure("too-many-bytes", f"{size_bytes:,} bytes or more, the limit is {self._limits.max_body_bytes:,}")

    async def robots(self, location: Location) -> Robots:
        """The rules of an origin (RFC 9309): none where it answers with a status from 400 to 499.

        Raises:
            Failure: it cannot be read, so nothing is allowed for now.
        """
        there = Location(location.scheme, location.host, location.port, "/robots.txt", location.userinfo)
        try:
            async with asyncio.timeout(self._limits.total_s):
                for _ in range(ROBOTS_REDIRECTS + 1):
                    found = await self._robots_at(there)
                    if isinstance(found, Robots):
                        return found
                    there = found
        except TimeoutError:
            raise self._too_long(began=False) from None
        return Robots()  # too many redirects: as if there were none

    async def _robots_at(self, there: Location) -> Robots | Location:
        async with self._connections.get(there, {}) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status in _REDIRECTS and "location" in headers:
                await _spare(response)
                try:
                    return there.join(headers["location"])
                except BadUrl:
                    return Robots()
            if response.status == 429 or response.status >= 500:
                await _spare(response)
                failure = status_failure(response.status, headers)
                raise Failure(
                    "robots-unreachable",
                    f"robots.txt: HTTP {response.status}",
                    asks_for_pause=failure.asks_for_pause,
                    retry_after_s=failure.retry_after_s,
                )
            if not 200 <= response.status < 300:
                await _spare(response)
                return Robots()
            return parse_robots(await _text(response, headers), self._policy.user_agent)


def _write_all(file: BinaryIO, content: bytes) -> None:
    """An unbuffered file may take a part only: what is left of a disk that is getting full."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


class _Pace:
    """Notices a body that trickles: every `silence_s` the bytes since the last look are counted."""

    def __init__(self, limits: Limits) -> None:
        self._every_s = limits.silence_s
        self._least = limits.min_rate_bytes_s
        self._clock = asyncio.get_running_loop().time
        self._since = self._clock()
        self._bytes = 0

    def check(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        seconds = self._clock() - self._since
        if seconds < self._every_s:
            return
        if self._bytes < self._least * seconds:
            rate = self._bytes / seconds
            raise Failure("too-slow", f"{rate:,.0f} bytes/s over {seconds:.0f} s, the least is {self._least:,.0f}")
        self._since, self._bytes = self._clock(), 0


async def _text(response: ClientResponse, headers: Mapping[str, str]) -> bytes:
    """The beginning of robots.txt, decoded."""
    encoding = headers.get("content-encoding", "").strip().lower()
    text = bytearray()
    try:
        decoder = Decoder(encoding) if encoding not in ("", "identity", "none") else None
        while len(text) < MAX_ROBOTS_BYTES and (chunk := await response.content.readany()):
            for piece in decoder.feed(chunk) if decoder else (chunk,):
                text += piece
                if len(text) >= MAX_ROBOTS_BYTES:
                    break
    except BadEncoding as error:
        raise Failure("robots-unreachable", f"robots.txt: {error}") from None
    return bytes(text)


async def _spare(response: ClientResponse) -> None:
    """Reads a small body that nobody wants; the connection of a larger one is closed."""
    length = response.content_length
    if length is not None and length <= SPARED_BYTES:
        await response.content.read(length)


def _redirected(location: Location, reference: str) -> Location:
    try:
        return location.join(reference)
    except BadUrl as error:
        raise Failure("bad-redirect", f"a redirect to somewhere else: {error}") from None


def _continued_to(body: Body, headers: Mapping[str, str]) -> int | None:
    """Total size that `Content-Range` announces; a range that was not asked for starts the body anew next time."""
    match = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None or int(match[1]) != body.size_bytes or not body.size_bytes or "content-encoding" in headers:
        body.restart()
        raise Failure("incomplete", "another part of the body than was asked for (HTTP 206)")
    return None if match[2] == "*" else int(match[2])


def _validators(headers: Mapping[str, str]) -> tuple[str, str]:
    """ETag and Last-Modified as far as they are strong (RFC 9110, 8.8): good for putting two parts together."""
    etag = headers.get("etag", "").strip()
    if not (etag.startswith('"') and etag.endswith('"') and len(etag) > 2):
        etag = ""
    modified = headers.get("last-modified", "").strip()
    changed, now = http_date(modified), http_date(headers.get("date", ""))
    if changed is None or now is None or now - changed < timedelta(seconds=60):
        modified = ""
    return etag, modified
