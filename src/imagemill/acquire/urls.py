"""URLs: taken apart, put together after a redirect, and shown without their secrets."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

MAX_URL_LENGTH = 16_384
PORTS = {"http": 80, "https": 443}
_BLANKS = "".join(map(chr, range(33)))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NOT_ALLOWED = re.compile(r"[\x00-\x20\x7f-\U0010ffff\"<>\\^`{|}]|%(?![0-9A-Fa-f]{2})")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*")
_SECRET_VALUE = re.compile(r"=[^&;]*")
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*:)?//[^/?#\s]*@", re.IGNORECASE)


class BadUrl(ValueError):
    """Text that is no http or https URL with a host; the message says why, and never repeats the URL."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a URL points to.

    Args:
        scheme: "http" or "https".
        host: in lower case, international names as IDNA ("xn--…"), IPv6 without brackets.
        port: the scheme's own where the URL has none.
        target: path and query as they go over the wire, percent-encoded, beginning with "/".
        userinfo: (user, password) of the URL, or None.
    """

    scheme: str
    host: str
    port: int
    target: str
    userinfo: tuple[str, str] | None = None

    @property
    def netloc(self) -> str:
        """`host:port`, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What robots.txt is valid for: "https://example.org"."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        """As it is asked for: without userinfo and fragment."""
        return self.origin + self.target

    @property
    def shown(self) -> str:
        """`url` with every value of its query masked."""
        return shown(self.url)

    def join(self, reference: str) -> Location:
        """Where a redirect from here leads; userinfo is kept within the origin only.

        Raises:
            BadUrl: it leads to no http or https URL.
        """
        there = locate(urljoin(self.url, _tidied(reference)))
        if there.userinfo is None and self.userinfo is not None and there.origin == self.origin:
            return Location(there.scheme, there.host, there.port, there.target, self.userinfo)
        return there


def locate(url: str) -> Location:
    """Takes a URL apart, as browsers do where it is not spelt properly: spaces and Unicode are percent-encoded.

    Raises:
        BadUrl: no scheme http or https, no host, a port out of range, or too long.
    """
    url = _tidied(url)
    if len(url) > MAX_URL_LENGTH:
        raise BadUrl(f"{len(url):,} characters, the limit is {MAX_URL_LENGTH:,}")
    scheme = url.partition(":")[0].lower() if _SCHEME.match(url) else ""
    if scheme not in PORTS:
        raise BadUrl(
            f"the scheme is {scheme!r}, only http and https are fetched" if scheme else "no http:// or https://"
        )
    try:
        parts = urlsplit(url.replace("\\", "/"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadUrl("host or port cannot be read") from None
    if port == 0:
        raise BadUrl("port 0")
    path = parts.path or "/"
    target = _encoded(path if path.startswith("/") else f"/{path}") + (
        f"?{_encoded(parts.query)}" if parts.query else ""
    )
    return Location(scheme, _host(host), port or PORTS[scheme], target, _userinfo(parts.netloc))


def shown(url: str) -> str:
    """A URL fit for logs and reports: without userinfo and fragment, values of the query masked as "…"."""
    text = _USERINFO.sub(lambda match: f"{match[1] or ''}//", url.partition("#")[0])
    before, mark, query = text.partition("?")
    if not mark:
        return before
    masked = _SECRET_VALUE.sub("=…", query) if "=" in query else "…"
    return f"{before}?{masked}"


def _tidied(url: str) -> str:
    """Without what browsers drop: blanks around it, tabs and line ends within."""
    return url.strip(_BLANKS).replace("\t", "").replace("\r", "").replace("\n", "")


def _encoded(text: str) -> str:
    return _NOT_ALLOWED.sub(lambda match: quote(match[0].encode("utf-8", "surrogatepass"), safe=""), text)


def _userinfo(netloc: str) -> tuple[str, str] | None:
    before, mark, _ = netloc.rpartition("@")
    if not mark:
        return None
    user, _, password = before.partition(":")
    return unquote_to_bytes(user).decode("utf-8", "replace"), unquote_to_bytes(password).decode("utf-8", "replace")


def _host(host: str) -> str:
    if not host:
        raise BadUrl("no host")
    host = unquote_to_bytes(host).decode("utf-8", "replace").lower().rstrip(".")
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise BadUrl("the host is no IPv6 address") from None
    try:
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        raise BadUrl("the host's name cannot be written as IDNA") from None
    if re.search(r"[^a-z0-9._~!$&'()*+,;=-]", host) or not host:
        raise BadUrl("the host's name has characters that no name has")
    return _dotted(host)


def _dotted(host: str) -> str:
    """IPv4 addresses in their usual form, however they are spelt ("2130706433", "0x7f.1"); names as they are."""
    if not _NUMERIC.fullmatch(host):
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return host
