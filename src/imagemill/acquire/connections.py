"""Connections to servers: where they may lead, through which proxy, and what they may cost."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from imagemill.acquire.address_guard import AddressGuard, Lookup, NoAddress, OpenResolver, system_lookup
from imagemill.acquire.contract import Limits, Policy
from imagemill.acquire.failure import failure_of
from imagemill.acquire.urls import Location, shown
from imagemill.errors import ConfigError

DNS_CACHE_S = 300
READ_BUFFER_BYTES = 1 << 18


class Connections:
    """All connections of a run; reused where servers allow it.

    With a proxy the connection goes to the proxy, and it is the proxy that looks the name up. What can be
    checked from here is checked: hosts that are addresses, and names that have an address here. A name
    that only the proxy knows is left to it.

    Args:
        policy: who we are, what may be reached, limits.
        lookup: where names are looked up; a test gives its own.
    """

    def __init__(self, policy: Policy, lookup: Lookup = system_lookup) -> None:
        self._limits = policy.limits
        self._guard = AddressGuard(policy.allow, lookup)
        self._proxies = _proxies() if policy.trust_environment else {}
        headers = {"User-Agent": policy.user_agent, "Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity"}
        self._direct = _session(self._guard, policy.limits, headers)
        self._proxied = _session(OpenResolver(), policy.limits, headers) if self._proxies else self._direct

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._direct.close()
        await self._proxied.close()

    @asynccontextmanager
    async def get(self, location: Location, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, answered with its head; redirects are the caller's. The body must be read in the block.

        Raises:
            Failure: no answer, or none that is HTTP; or in the block, the connection breaks.
        """
        try:
            response = await self._head(location, headers)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            raise failure_of(error, self._limits, began=False) from None
        try:
            yield response
        except (aiohttp.ClientError, HttpProcessingError, ConnectionError, TimeoutError, ssl.SSLError) as error:
            raise failure_of(error, self._limits, began=True) from None
        finally:
            response.close()  # without effect on the connection where the body was read to its end

    async def _head(self, location: Location, headers: dict[str, str]) -> aiohttp.ClientResponse:
        self._guard.check_literal(location)
        proxy = self._proxy_of(location)
        if proxy is not None:
            await self._check_proxied(location)
        session = self._direct if proxy is None else self._proxied
        if location.userinfo:
            credentials = base64.b64encode(":".join(location.userinfo).encode()).decode("ascii")
            headers = {**headers, "Authorization": f"Basic {credentials}"}
        url = URL(location.url, encoded=True)
        async with asyncio.timeout(self._limits.connect_s + self._limits.silence_s):
            while True:
                used = _Used()
                _USED.set(used)
                try:
                    return await session.get(url, headers=headers, proxy=proxy, allow_redirects=False)
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                    if not used.again:
                        raise

    def _proxy_of(self, location: Location) -> str | None:
        if not self._proxies or proxy_bypass(location.host):
            return None
        return self._proxies.get(location.scheme) or self._proxies.get("all")

    async def _check_proxied(self, location: Location) -> None:
        try:
            await self._guard.addresses(location.host, location.port)
        except NoAddress:
            return


@dataclass(slots=True)
class _Used:
    """The connection that a request went over last: used `again`, or made for it."""

    again: bool = False


_USED: ContextVar[_Used] = ContextVar("_USED")
"""Of the request that the current task sends."""


class _Connector(aiohttp.TCPConnector):
    """Tells a request's `_Used`.

    A server may close an idle connection at any moment, so a request on one may fail through nobody's fault
    (RFC 9112, 9.3.1). aiohttp tries again once, which with several idle connections may meet the next closed one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: WeakSet[object] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        used = _USED.get()
        used.again = False
        connection = await super().connect(req, traces, timeout)
        used.again = connection.protocol in self._known
        self._known.add(connection.protocol)
        return connection


def _session(resolver: AddressGuard, limits: Limits, headers: dict[str, str]) -> aiohttp.ClientSession:
    connector = _Connector(
        resolver=resolver,
        limit=0,  # the schedule says how many
        ttl_dns_cache=DNS_CACHE_S,
        keepalive_timeout=30,
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
        max_line_size=limits.max_header_bytes,
        max_field_size=limits.max_header_bytes,
        timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s, sock_read=limits.silence_s),
    )


def _proxies() -> dict[str, str]:
    """Scheme → proxy, of the environment (or the system's settings on macOS and Windows).

    Raises:
        ConfigError: a proxy that is no HTTP proxy.
    """
    found = {scheme: url for scheme, url in getproxies().items() if scheme in ("http", "https", "all") and url}
    for scheme, url in found.items():
        if "://" not in url:
            found[scheme] = f"http://{url}"
        elif not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"the {scheme} proxy {shown(url)} of the environment is no HTTP proxy; set an http:// one, or none"
            )
    return found
