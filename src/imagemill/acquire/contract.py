"""What the downloader is asked and what it answers: all that its two sides know of each other.

One `Request` in, exactly one `Outcome` out. Whoever asks gives numbers and URLs; the downloader
decides when each is fetched, tries again what may pass by, has every body examined on another
core, and puts good images into the pile.

URLs as given may hold passwords and tokens. Nothing in an `Outcome` does: `final_url` and
`detail` went through `acquire.urls.shown`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from imagemill import __version__
from imagemill.curate.limits import Limits as ImageLimits

Status = Literal["fetched", "unchanged", "failed"]

REFUSED_ADDRESS = "refused-address"
"""Reason code of a server that may not be asked, unless it is allowed by name."""

REASONS = {
    "bad-url": "no http or https URL with a host",
    "dns": "the host's name has no address",
    REFUSED_ADDRESS: "the host is no public address (--allow HOST:PORT opens one)",
    "connect": "no connection, or it was cut before an answer came",
    "tls": "the certificate or the encryption is not accepted",
    "proxy": "the proxy refused or failed",
    "timeout": "nothing arrived for too long, or the whole took longer than --timeout",
    "too-slow": "fewer bytes a second than --min-rate",
    "incomplete": "the body ended too early, again and again",
    "bad-response": "no valid HTTP",
    "headers-too-large": "more bytes of headers than allowed",
    "bad-encoding": "the body's compression is unknown or damaged",
    "too-many-bytes": "more bytes than --max-bytes, as announced or as decoded",
    "redirects": "more redirects than allowed, or a loop",
    "bad-redirect": "a redirect to nowhere, or to what is no http or https URL",
    "robots": "the host's robots.txt does not allow it",
    "robots-unreachable": "the host's robots.txt could not be read, which counts as a no (RFC 9309)",
    "x-robots-tag": "the host says noai, noimageai or noindex",
    "not-found": "HTTP 404",
    "gone": "HTTP 410",
    "forbidden": "HTTP 401, 402, 403 or 451",
    "http-429": "HTTP 429, too many requests, again and again",
    "http-4xx": "another status from 400 to 499",
    "http-5xx": "a status from 500 to 599, again and again",
    "http-other": "a status that brings no image, such as 204",
    "html": "a page of HTML, whatever it was announced as",
    "svg": "a vector graphic",
    "empty-file": "no bytes",
    "not-an-image": "no decoder knows these bytes as an image",
    "unsupported": "an image format or variant that no installed decoder reads",
    "truncated": "the body came whole, but the image in it ends before its pixels do",
    "corrupt": "the decoder found damaged data",
    "too-many-pixels": "more pixels than --max-pixels",
    "memory": "decoding needed more memory than --max-memory",
    "decode-timeout": "decoding took longer than --max-seconds",
    "decoder-died": "the decoder crashed its process",
}
"""Reason codes of failed requests, each with what it means."""

PERMANENT = frozenset(
    {
        "bad-url",
        REFUSED_ADDRESS,
        "headers-too-large",
        "too-many-bytes",
        "redirects",
        "bad-redirect",
        "robots",
        "x-robots-tag",
        "not-found",
        "gone",
        "forbidden",
        "http-4xx",
        "http-other",
        "html",
        "svg",
        "empty-file",
        "not-an-image",
        "unsupported",
        "truncated",
        "corrupt",
        "too-many-pixels",
    }
)
"""Reasons that another attempt would only find again: tried once, and left alone by later runs unless asked for."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of a body that an earlier attempt got.

    Args:
        path: the bytes as they came; the downloader goes on in it, or starts it anew.
        etag: the strong ETag of the answer it began with, or "".
        last_modified: its Last-Modified, or "". One of both is needed for the rest to be asked for.
    """

    path: Path
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One URL to fetch.

    Args:
        number: its row in the list, from 0; given back in the outcome.
        url: as given, secrets included.
        etag: asks for the body only if it differs from the one with this ETag (If-None-Match).
        last_modified: the same by date (If-Modified-Since).
        partial: what an earlier run left of it.
        key: letters and digits by which another run will know it; "" leaves nothing to another run.
        suspect: an earlier run ended while it looked at the body: another process is to look at it.
    """

    number: int
    url: str
    etag: str = ""
    last_modified: str = ""
    partial: Partial | None = None
    key: str = ""
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at a whole body found.

    Args:
        reason: "" for a good image, else a key of `REASONS`.
        detail: what exactly was found.
        format: "JPEG", "PNG", … by its bytes, whatever the server said; "" where unknown.
        width, height: pixels as stored; 0 where unknown.
        notes: what is irregular about a good image, as `curate.inspect` says it.
    """

    reason: str = ""
    detail: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    Args:
        number: of the request.
        status: "fetched": a good image lies at `path`; "unchanged": the server says it is the one
            with the given ETag or date; "failed": `reason` says why.
        reason: "" or a key of `REASONS`.
        detail: more about it, fit to be shown.
        host: "example.org", with ":8080" where the port is not the scheme's own; "" for a bad URL.
        http_status: of the last answer; 0 where there was none.
        final_url: after redirects, fit to be shown.
        path: of the image, relative to the pile; "" unless fetched.
        size_bytes, sha256: of the body; 0 and "" unless fetched.
        verdict: of the body where one was examined.
        headers: of the last answer, names in lower case; only those in `KEPT_HEADERS`.
        partial: of a failed request, the beginning that a later run may go on from.
        seconds: that the attempts took, without pauses and waiting for a turn.
        attempts: how often it was asked for; 0 where nothing was asked.
    """

    number: int
    status: Status
    reason: str = ""
    detail: str = ""
    host: str = ""
    http_status: int = 0
    final_url: str = ""
    path: str = ""
    size_bytes: int = 0
    sha256: str = ""
    verdict: Verdict | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    partial: Partial | None = None
    seconds: float = 0.0
    attempts: int = 0

    @property
    def permanent(self) -> bool:
        """Whether another attempt would only find the same."""
        return self.reason in PERMANENT


KEPT_HEADERS = (
    "etag",
    "last-modified",
    "content-type",
    "cache-control",
    "content-language",
    "x-robots-tag",
    "license",
    "link",
    "retry-after",
)
"""Headers that an outcome tells, where the server sent them."""


@dataclass(frozen=True)
class Limits:
    """What fetching may cost. Seconds and bytes, as the names say.

    Args:
        in_flight: requests at once, over all hosts; those whose body is being examined, or whose outcome nobody
            has taken yet, among them.
        per_host: requests at once to one host.
        host_rate: requests a second to one host; 0 is as fast as it answers (429 and 503 slow it down anyway).
        window: rows read ahead, so that a host that is slow, or has all the next rows, does not hold up the others.
        connect_s: name, connection and TLS.
        total_s: one attempt, from its start to the body's end.
        silence_s: without a byte.
        min_rate_bytes_s: over any `silence_s` of a body; 0 takes any rate.
        max_body_bytes: as decoded.
        max_header_bytes: of one answer.
        max_redirects: hops of one request.
        attempts: of one request, unless its reason is permanent.
        backoff_s: pause before the second attempt, doubled for each further one, drawn from ±50 %.
        max_pause_s: longest pause, `Retry-After` included; a host that asks for more is given up for this run.
    """

    in_flight: int = 64
    per_host: int = 8
    host_rate: float = 0.0
    window: int = 16384
    connect_s: float = 10.0
    total_s: float = 60.0
    silence_s: float = 15.0
    min_rate_bytes_s: float = 100.0
    max_body_bytes: int = 128 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    max_redirects: int = 10
    attempts: int = 4
    backoff_s: float = 1.0
    max_pause_s: float = 120.0


@dataclass(frozen=True)
class Policy:
    """How to behave, and what a good image is.

    Args:
        allow: "HOST:PORT" of servers that may be reached although their address is not public; exactly those.
        user_agent: said to every server, and matched in robots.txt by its first word.
        respect_robots: obey robots.txt.
        respect_robots_tag: obey `X-Robots-Tag: noai, noimageai, noindex`.
        decode: "full" decodes every image to its last byte; "headers" reads headers only.
        image: limits of one image.
        examiners: processes that look at images; 0 for one a core.
        trust_environment: use HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
    """

    limits: Limits = field(default_factory=Limits)
    allow: tuple[str, ...] = ()
    user_agent: str = f"imagemill/{__version__}"
    respect_robots: bool = True
    respect_robots_tag: bool = True
    decode: Literal["full", "headers"] = "full"
    image: ImageLimits = field(default_factory=ImageLimits)
    examiners: int = 0
    trust_environment: bool = True

    @property
    def examiner_count(self) -> int:
        return self.examiners or os.cpu_count() or 1


@dataclass
class Traffic:
    """What goes on just now; written by the downloader, read by whoever shows progress.

    Args:
        received_bytes: of bodies, so far, failed ones included.
        in_flight: requests that are being answered.
        waiting: rows read ahead that wait for their turn.
        examining: bodies that wait for a verdict.
        pausing: hosts that asked to be left alone for a while, with the seconds left when last looked.
    """

    received_bytes: int = 0
    in_flight: int = 0
    waiting: int = 0
    examining: int = 0
    pausing: dict[str, float] = field(default_factory=dict)
