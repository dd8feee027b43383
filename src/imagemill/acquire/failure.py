"""Why an attempt failed, in the words of `contract.REASONS`; never with a URL in it."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from imagemill.acquire.address_guard import NoAddress, RefusedAddress
from imagemill.acquire.contract import PERMANENT, REFUSED_ADDRESS, Limits

_NO_ANSWER = frozenset({"dns", "connect", "tls", "proxy", "timeout"})
_TOO_MANY_HEADERS = ("Got more than", "Too many headers")
"""How aiohttp begins what it says of them; only its C parser gives them a class of their own, and hides it."""
_AGAIN_4XX = (408, 425)
_FINAL_5XX = (501, 505, 510, 511)


class Failure(Exception):
    """One attempt failed.

    Args:
        reason: a key of `contract.REASONS`.
        detail: more about it, fit to be shown.
        again: whether another attempt in this run may succeed; by default as the reason says.
        asks_for_pause: the host wants fewer requests; `retry_after_s` says how long it wants none, if it does.
        began: an answer had begun to arrive.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        again: bool | None = None,
        asks_for_pause: bool = False,
        retry_after_s: float | None = None,
        began: bool = True,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.again = reason not in PERMANENT if again is None else again
        self.asks_for_pause = asks_for_pause
        self.retry_after_s = retry_after_s
        self.unanswered = reason == "robots-unreachable" or (not began and reason in _NO_ANSWER)


def failure_of(error: Exception, limits: Limits, *, began: bool) -> Failure:
    """What an exception of aiohttp or the system means; `began` once the head of an answer was there."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, RefusedAddress):
        return Failure(REFUSED_ADDRESS, str(cause), began=began)
    if isinstance(cause, NoAddress):
        return Failure("dns", str(cause), again=cause.may_pass, began=began)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure("timeout", f"no connection within {limits.connect_s:g} s", began=began)
    if isinstance(error, aiohttp.SocketTimeoutError):
        return Failure("timeout", f"nothing arrived for {limits.silence_s:g} s", began=began)
    if isinstance(error, TimeoutError):
        waited_s = limits.connect_s + limits.silence_s
        return Failure("timeout", f"no complete head of an answer within {waited_s:g} s", began=began)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        reason = getattr(error, "certificate_error", error)
        return Failure("tls", f"the certificate: {_certificate_text(reason)}", again=False, began=began)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Failure("tls", _system_text(cause), again=False, began=began)
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return Failure("proxy", _system_text(cause), began=began)
    return _http_failure(error, cause, began=began)


def _http_failure(error: Exception, cause: Exception, *, began: bool) -> Failure:
    message = str(getattr(error, "message", "") or error)
    if isinstance(error, LineTooLong) or any(words in message for words in _TOO_MANY_HEADERS):
        return Failure("headers-too-large", "a header line, or all of them", began=began)
    if began:
        return Failure("incomplete", _system_text(cause), began=True)
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return Failure("bad-response", "the answer is no valid HTTP", began=False)
    if isinstance(error, aiohttp.InvalidURL | ValueError) and not isinstance(error, OSError):
        return Failure("bad-url", "aiohttp does not take it", again=False, began=False)
    return Failure("connect", _system_text(cause), began=False)


def _system_text(error: Exception) -> str:
    """The system's own words, or the kind of error: messages of libraries may repeat the URL."""
    strerror = getattr(error, "strerror", None)
    kinds = {
        "ServerDisconnectedError": "the server closed the connection without an answer",
        "ClientPayloadError": "the body ended too early",
        "ClientConnectionResetError": "the connection was reset",
    }
    return str(strerror) if strerror else kinds.get(type(error).__name__, type(error).__name__)


def _certificate_text(error: object) -> str:
    return str(getattr(error, "verify_message", "") or "not accepted")


def status_failure(status: int, headers: dict[str, str]) -> Failure:
    """What a status without an image means.

    Args:
        headers: of the answer, names in lower case.
    """
    named = {404: "not-found", 410: "gone", 401: "forbidden", 402: "forbidden", 403: "forbidden", 451: "forbidden"}
    pause_s = retry_after_s(headers.get("retry-after", ""), headers.get("date", ""))
    if status == 429:
        return Failure("http-429", "", asks_for_pause=True, retry_after_s=pause_s)
    if status == 407:
        return Failure("proxy", "the proxy wants a user and password (HTTP 407)", again=False)
    if 400 <= status < 500:
        return Failure(named.get(status, "http-4xx"), f"HTTP {status}", again=status in _AGAIN_4XX)
    if 500 <= status < 600:
        asks = status == 503 and pause_s is not None
        again = status not in _FINAL_5XX
        return Failure("http-5xx", f"HTTP {status}", again=again, asks_for_pause=asks, retry_after_s=pause_s)
    return Failure("http-other", f"HTTP {status}")


def retry_after_s(value: str, date: str) -> float | None:
    """Seconds that `Retry-After` asks for; a date counts from the answer's own `Date`, so clocks may differ."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(date) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def http_date(value: str) -> datetime | None:
    """A date of HTTP, or None."""
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
