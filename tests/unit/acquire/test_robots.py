"""robots.txt as RFC 9309 has it, and X-Robots-Tag."""

from __future__ import annotations

import time

import pytest

from imagemill.acquire.robots import forbidden_by_tag, matches, parse_robots, product_token

AGENT = "imagemill/1.0 (+https://example.org/)"


def allows(text: str, target: str) -> bool:
    return parse_robots(text.encode(), AGENT).allows(target)


@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("/", "/anything", True),
        ("/fish", "/fish.html", True),
        ("/fish", "/Fish.asp", False),
        ("/fish*", "/fishheads/yummy.html", True),
        ("/fish/", "/fish", False),
        ("/*.php", "/folder/any.php.file.html", True),
        ("/*.php$", "/filename.php", True),
        ("/*.php$", "/filename.php?parameters", False),
        ("/*.php$", "/filename.php5", False),
        ("/fish*.php", "/fishheads/catfish.php?parameters", True),
        ("/a*b*c$", "/axxbxxc", True),
        ("/a*b*c$", "/axxcxxb", False),
        ("/a*a$", "/a", False),
        ("/x$", "/x", True),
        ("/x$", "/xy", False),
        ("*", "/x", True),
        ("$", "/x", False),
    ],
)
def test_patterns(pattern: str, target: str, expected: bool) -> None:
    assert matches(pattern, target) is expected


def test_the_longest_rule_decides_and_allow_between_equals() -> None:
    text = "User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nDisallow: /same\nAllow: /same\n"
    for target, expected in {"/": True, "/a": False, "/a/b": True, "/a/b/c": False, "/same": True}.items():
        assert allows(text, target) is expected


def test_our_group_is_the_only_one_that_counts_wherever_it_is() -> None:
    text = "User-agent: *\nDisallow: /\n\nUser-agent: other\nUser-Agent: ImageMill/2.0\nDisallow: /ours\n"
    assert allows(text, "/x")
    assert not allows(text, "/ours")


def test_groups_of_one_agent_are_joined() -> None:
    text = "user-agent:imagemill\ndisallow:/a\n\nuser-agent:x\ndisallow:/c\n\nuser-agent:imagemill\ndisallow:/b"
    assert [allows(text, target) for target in ("/a", "/b", "/c")] == [False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Disallow: /",
        "User-agent: *\nDisallow:",
        "User-agent: *\nDisallow",
        "<html>\nDisallow: /</html>",
        "\0\0",
        "User-agent: images\nDisallow: /",
    ],
)
def test_what_forbids_nothing(text: str) -> None:
    assert allows(text, "/x")


@pytest.mark.parametrize(
    "text",
    [
        "User-agent: *\nDisallow: /",
        "\ufeffUser-agent: *\r\nDisallow: /\r\n",
        "User-agent: *\rDisallow: /\r",
        "  USER-AGENT :  *  # all\n  disallow :  /  # of it\n",
        "User-agent: *\nSitemap: https://example.org/map\nCrawl-delay: 1\nDisallow: /",
        "User-agent: *\n\n\nDisallow: /",
        "Allow: /\nUser-agent: *\nDisallow: /",
        "User-agent: a\nUser-agent: *\nDisallow: /\nUser-agent: b\nAllow: /",
    ],
)
def test_what_forbids_everything(text: str) -> None:
    assert not allows(text, "/x")


def test_paths_are_compared_as_octets() -> None:
    text = "User-agent: *\nDisallow: /ü\nDisallow: /a%3cd\nDisallow: /%7ejoe\nDisallow: /q?x=*y\n"
    for target in ("/%C3%BC/x", "/%c3%bc", "/a%3Cd.html", "/~joe/index.html", "/q?x=1&y"):
        assert not allows(text, target)
    assert allows(text, "/a<d")


def test_crawl_delay() -> None:
    assert parse_robots(b"User-agent: *\nCrawl-delay: 2.5\n", AGENT).delay_s == 2.5
    assert parse_robots(b"User-agent: *\nCrawl-delay: soon\n", AGENT).delay_s == 0.0


def test_a_hostile_file_costs_little_time() -> None:
    text = "User-agent: *\n" + "".join(f"Disallow: /{'*a' * 200}*{number}$\n" for number in range(1000))
    robots = parse_robots(text.encode(), AGENT)
    begin = time.process_time()
    assert robots.allows("/" + "a" * 2000)
    assert time.process_time() - begin < 2  # an engine that goes back and forth would take years


@pytest.mark.parametrize(("agent", "token"), [("imagemill/1.0 (x)", "imagemill"), ("My_Bot", "my_bot"), ("42", "42")])
def test_product_token(agent: str, token: str) -> None:
    assert product_token(agent) == token


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        (["all"], ""),
        (["noarchive, nosnippet, max-image-preview:large"], ""),
        (["noai"], "noai"),
        (["index", " NOIMAGEAI "], "noimageai"),
        (["noarchive,noindex"], "noindex"),
        (["none"], "none"),
        (["otherbot: noindex, noai"], ""),
        (["ImageMill: noindex"], "noindex"),
        (["otherbot: noai, imagemill: noai"], "noai"),
        (["unavailable_after: 25 Jun 2035 15:00:00 GMT, noindex"], "noindex"),
    ],
)
def test_robots_tag(values: list[str], expected: str) -> None:
    assert forbidden_by_tag(values, AGENT) == expected
