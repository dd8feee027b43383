"""What a host allows: robots.txt (RFC 9309) and the X-Robots-Tag header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

MAX_ROBOTS_BYTES = 500 * 1024
"""What RFC 9309 asks to be read at least; the rest is ignored."""
FORBIDDING = frozenset({"noai", "noimageai", "noindex", "none"})
"""Directives of X-Robots-Tag that keep an image out of a data set; "none" is short for noindex, nofollow."""
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PLAIN = re.compile(r"[!-$&-~]*")
_PRODUCT = re.compile(r"[A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """One `Allow` or `Disallow` line; `pattern` in the form that `_normal` gives."""

    allow: bool
    pattern: str


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one host that concern us.

    Args:
        rules: of the group that names us, else of the group for all; the longest first.
        delay_s: its `Crawl-delay`, which the RFC does not know and many hosts use; 0 without one.
    """

    rules: tuple[Rule, ...] = ()
    delay_s: float = 0.0

    def allows(self, target: str) -> bool:
        """Whether a path with its query may be fetched: the longest matching rule decides, or Allow between equals."""
        if not self.rules:
            return True
        target = _normal(target)
        return next((rule.allow for rule in self.rules if matches(rule.pattern, target)), True)


def parse_robots(content: bytes, user_agent: str) -> Robots:
    """Reads robots.txt.

    Args:
        content: the file; what lies beyond `MAX_ROBOTS_BYTES` is ignored.
        user_agent: as it is sent; the product token at its beginning is what groups are matched with.
    """
    token = product_token(user_agent)
    ours: list[tuple[str, str]] = []
    everyones: list[tuple[str, str]] = []
    found = False
    for agents, lines in _groups(content[:MAX_ROBOTS_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")):
        if token in agents:
            found = True
            ours += lines
        if "*" in agents:
            everyones += lines
    lines = ours if found else everyones
    rules = [Rule(name == "allow", _normal(value)) for name, value in lines if name != "crawl-delay" and value]
    rules.sort(key=lambda rule: (-len(rule.pattern), not rule.allow))
    return Robots(tuple(rules), max((_seconds(value) for name, value in lines if name == "crawl-delay"), default=0.0))


def product_token(user_agent: str) -> str:
    """ "imagemill" of "imagemill/0.1 (+https://…)"."""
    match = _PRODUCT.match(user_agent)
    return match[0].lower() if match else user_agent.lower()


def _groups(text: str) -> Iterator[tuple[set[str], list[tuple[str, str]]]]:
    """(agents, [(directive, value)]) of each group; lines before the first one belong to nobody."""
    agents: set[str] = set()
    lines: list[tuple[str, str]] = []
    for line in re.split(r"\r\n|\r|\n", text):
        name, separator, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not separator:
            continue
        if name in ("user-agent", "useragent", "user agent"):
            if lines:
                yield agents, lines
                agents, lines = set(), []
            agents.add("*" if value == "*" else product_token(value))
        elif name in ("allow", "disallow", "crawl-delay") and agents:
            lines.append((name, value))
    if agents:
        yield agents, lines


def _seconds(value: str) -> float:
    return float(value) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value) else 0.0


def _normal(path: str) -> str:
    """Paths compare octet by octet, so all are brought to one way of percent-encoding."""
    if _PLAIN.fullmatch(path):
        return path
    text = "".join(char if char.isascii() and char > " " else quote(char.encode("utf-8", "replace")) for char in path)

    def octet(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else f"%{match[1].upper()}"

    return _ESCAPE.sub(octet, text)


def matches(pattern: str, target: str) -> bool:
    """Whether a rule's path, with `*` for any characters and `$` for the end, matches the beginning of a target.

    Takes time proportional to the two lengths, whatever a host writes into its rules.
    """
    anchored = pattern.endswith("$")
    first, *rest = (pattern[:-1] if anchored else pattern).split("*")
    if not target.startswith(first):
        return False
    place = len(first)
    for part in rest[:-1]:
        found = target.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    if not rest:
        return not anchored or place == len(target)
    if anchored:
        return target.endswith(rest[-1]) and len(target) - len(rest[-1]) >= place
    return target.find(rest[-1], place) >= 0


def forbidden_by_tag(values: Iterable[str], user_agent: str) -> str:
    """The first directive of X-Robots-Tag headers that keeps an image out, or "".

    Args:
        values: one header each; a header may begin with "somebot:", which makes it that bot's only.
        user_agent: as it is sent.
    """
    token = product_token(user_agent)
    for value in values:
        addressed = ""
        for part in value.split(","):
            name, separator, rest = part.strip().lower().partition(":")
            if separator and name != "unavailable_after":
                addressed, name = name.strip(), rest.strip()
            if name in FORBIDDING and addressed in ("", token):
                return name
    return ""
