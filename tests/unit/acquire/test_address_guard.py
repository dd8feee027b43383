"""Which addresses are public, and that only those are handed out to connect to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import pytest

from imagemill.acquire.address_guard import AddressGuard, Lookup, NoAddress, RefusedAddress, is_public, system_lookup
from imagemill.acquire.urls import locate
from imagemill.errors import ConfigError

PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "192.169.0.1",
    "223.255.255.254",
    "2606:2800:220:1:248:1893:25c8:1946",
    "2a00:1450:4001:800::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
)
NOT_PUBLIC = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::7f00:1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:4860::5efe:127.0.0.1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:2800:220::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(address)


def test_whatever_python_calls_private_is_not_public() -> None:
    """The networks that the standard library knows by name, at both ends."""
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10", "ff00::/8", "::/8"):
        parsed = ipaddress.ip_network(network)
        assert not is_public(str(parsed[0]))
        assert not is_public(str(parsed[-1]))


def answering(*answers: Sequence[str]) -> Lookup:
    """A name server that gives one answer after the other, then the last again and again."""
    left = list(answers)

    async def lookup(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return lookup


def resolved(guard: AddressGuard, host: str = "example.org", port: int = 80) -> list[str]:
    return [str(found["host"]) for found in asyncio.run(guard.resolve(host, port))]


def test_only_public_addresses_are_handed_out() -> None:
    guard = AddressGuard(lookup=answering(["10.0.0.1", "1.1.1.1", "::1", "2606:2800::1"]))
    assert resolved(guard) == ["1.1.1.1", "2606:2800::1"]


def test_a_name_without_a_public_address_is_refused() -> None:
    with pytest.raises(RefusedAddress, match=r"10\.0\.0\.1, ::1 is no public address"):
        resolved(AddressGuard(lookup=answering(["10.0.0.1", "::1"])))


def test_every_look_is_checked_anew() -> None:
    guard = AddressGuard(lookup=answering(["1.1.1.1"], ["127.0.0.1"]))
    assert resolved(guard) == ["1.1.1.1"]
    with pytest.raises(RefusedAddress):
        resolved(guard)


def test_a_name_without_any_address() -> None:
    with pytest.raises(NoAddress):
        resolved(AddressGuard(lookup=answering([])))


def test_allow_is_for_that_host_and_port() -> None:
    guard = AddressGuard(["Inside.example:8080"], answering(["10.0.0.1"]))
    assert resolved(guard, "inside.example", 8080) == ["10.0.0.1"]
    for host, port in (("inside.example", 80), ("other.example", 8080)):
        with pytest.raises(RefusedAddress):
            resolved(guard, host, port)


def test_what_is_handed_out_is_numeric() -> None:
    """So that nobody looks the name up once more."""
    (found,) = asyncio.run(AddressGuard(lookup=answering(["2606:2800::1"])).resolve("example.org", 443))
    assert (found["family"], found["port"]) == (socket.AF_INET6, 443)
    assert found["flags"] & socket.AI_NUMERICHOST


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://2130706433/", "http://[::ffff:10.0.0.1]/", "http://0x7f.1/"]
)
def test_hosts_that_are_addresses(url: str) -> None:
    location = locate(url)
    with pytest.raises(RefusedAddress):
        AddressGuard().check_literal(location)
    AddressGuard([location.netloc + ":80"]).check_literal(location)


def test_names_and_public_addresses_pass() -> None:
    for url in ("http://example.org/", "http://1.1.1.1/", "http://[2606:2800::1]/"):
        AddressGuard().check_literal(locate(url))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "localhost:",
        ":80",
        "localhost:http",
        "a:0",
        "a:70000",
        "http://a:80",
        "a:80/x",
        "u@a:80",
        "::1:80",
    ],
)
def test_allow_wants_host_and_port(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        AddressGuard([text])


def test_the_system_knows_localhost() -> None:
    assert set(asyncio.run(system_lookup("localhost", 80))) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", ".."])
def test_a_name_that_the_system_does_not_know(host: str) -> None:
    with pytest.raises(NoAddress):
        asyncio.run(system_lookup(host, 80))
