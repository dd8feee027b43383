"""Public addresses only: names are resolved once, every address is checked, and only checked ones are connected to.

The check is on the address that the connection is then made to, so neither odd spellings
(`http://2130706433/`, `http://[::ffff:10.0.0.1]/`) nor a name server that answers differently
the second time get by it. Special-purpose addresses are those of IANA's registries
(RFC 6890 and its successors), written out here because what `ipaddress` calls global changes
between versions of Python.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from imagemill.acquire.urls import BadUrl, Location, locate
from imagemill.errors import ConfigError

Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port → addresses as text."""

_IPV4_SPECIAL = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
_METADATA = [ipaddress.IPv4Address("168.63.129.16")]
"""Public by its number, but the inside of a cloud (Azure's platform address)."""
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_IPV6_SPECIAL = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone
        "3fff::/20",  # documentation
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddress(OSError):
    """A host that is no public address; the message names what it is, not the URL."""


class NoAddress(OSError):
    """A name that has no address; with `may_pass`, its name server did not answer, which another attempt may change."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def is_public(address: str) -> bool:
    """Whether an address, as text without a port, is one of the public Internet.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, NAT64, ISATAP) are looked at as what they reach.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip not in _METADATA and not any(ip in network for network in _IPV4_SPECIAL)
    if ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    if ip in _NAT64:
        return is_public(str(_low_ipv4(ip)))
    if ip.sixtofour is not None:
        return is_public(str(ip.sixtofour))
    if (int(ip) >> 32) & 0xFDFF_FFFF == 0x5EFE and not is_public(str(_low_ipv4(ip))):
        return False
    return ip.scope_id is None and ip in _IPV6_GLOBAL and not any(ip in network for network in _IPV6_SPECIAL)


@lru_cache(4096)
def _is_internal_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_public(host)


def _low_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)


async def system_lookup(host: str, port: int) -> list[str]:
    """Addresses by the system's resolver, in a thread of its own: a name server that hangs holds up nobody else.

    Raises:
        NoAddress: there is none, or nobody says.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
            _tell(loop, answer, list(dict.fromkeys(addresses)), None)
        except (OSError, UnicodeError) as error:
            may_pass = getattr(error, "errno", None) == socket.EAI_AGAIN
            text = getattr(error, "strerror", None) or "the name cannot be looked up"
            _tell(loop, answer, [], NoAddress(text, may_pass=may_pass))

    # A daemon, unlike an executor's threads: the end of the program does not wait for a name server.
    threading.Thread(target=look_up, name="imagemill-dns", daemon=True).start()
    return await answer


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[str]], found: list[str], error: Exception | None
) -> None:
    def settle() -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop was closed in the meantime: nobody waits any more


class AddressGuard(AbstractResolver):
    """aiohttp's resolver for connections that may only lead to public addresses.

    aiohttp does not ask a resolver about hosts that are addresses already, so these go through
    `check_literal` first; `download` does both for every hop.

    Args:
        allow: "HOST:PORT" of servers that may be reached wherever they are; exactly those.
        lookup: where names are looked up; a test gives its own.

    Raises:
        ConfigError: an `allow` without a port, or that is no host.
    """

    def __init__(self, allow: Iterable[str] = (), lookup: Lookup = system_lookup) -> None:
        self._allowed = {_host_and_port(text) for text in allow}
        self._lookup = lookup

    def is_allowed(self, host: str, port: int) -> bool:
        return (host, port) in self._allowed

    def check_literal(self, location: Location) -> None:
        """Refuses a host that is an address, and not a public one.

        Raises:
            RefusedAddress: with the address in its message.
        """
        if _is_internal_literal(location.host) and not self.is_allowed(location.host, location.port):
            raise RefusedAddress(_refusal(location.host))

    async def addresses(self, host: str, port: int) -> list[str]:
        """Addresses of a host that may be connected to.

        Raises:
            RefusedAddress: none of its addresses is public.
            NoAddress: it has none.
        """
        found = list(await self._lookup(host, port))
        if not found:
            raise NoAddress("the name has no address")
        usable = found if self.is_allowed(host, port) else [address for address in found if is_public(address)]
        if not usable:
            raise RefusedAddress(_refusal(", ".join(found[:3])))
        return usable

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """What aiohttp connects to, and nothing else."""
        return [_resolved(host, port, address, family) for address in await self.addresses(host, port)]

    async def close(self) -> None:
        """Nothing is held open."""


class OpenResolver(AddressGuard):
    """Resolves the proxy itself, which may be anywhere: the user named it."""

    def is_allowed(self, host: str, port: int) -> bool:
        return True


def _resolved(host: str, port: int, address: str, family: int) -> ResolveResult:
    version = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=version,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def _refusal(addresses: str) -> str:
    return f"{addresses} is no public address; --allow HOST:PORT opens a server that you trust"


def _host_and_port(text: str) -> tuple[str, int]:
    host, separator, port = text.strip().rpartition(":")
    try:
        location = locate(f"http://{host}:{port}/")
    except BadUrl as error:
        raise ConfigError(f"allow {text!r}: {error}; write HOST:PORT, as in localhost:8000 or [::1]:8000") from None
    if not separator or not port.isdecimal() or location.target != "/" or location.userinfo:
        raise ConfigError(f"allow {text!r} is not HOST:PORT, as in localhost:8000 or [::1]:8000")
    return location.host, location.port
