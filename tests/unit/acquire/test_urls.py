"""URLs are taken apart as browsers do, and shown without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.acquire.urls import BadUrl, locate, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.org", "http://example.org/"),
        ("  HTTP://Example.ORG:80/a\n", "http://example.org/a"),
        ("https://example.org:443/a?b#c", "https://example.org/a?b"),
        ("http://example.org:8080?q", "http://example.org:8080/?q"),
        ("http://example.org/a b/ü.jpg?ä=%41%zz", "http://example.org/a%20b/%C3%BC.jpg?%C3%A4=%41%25zz"),
        ("http://exämple.org./x", "http://xn--exmple-cua.org/x"),
        ("http://[2606:2800:0:0::1]:81/", "http://[2606:2800::1]:81/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/"),
        ("http://user:pass@example.org/", "http://example.org/"),
        ("http://a_b.example.org/", "http://a_b.example.org/"),
        ("http://a\\b/c", "http://a/b/c"),
        ("http://cafe.be/%2e%2e/x", "http://cafe.be/%2e%2e/x"),
    ],
)
def test_where_a_url_points_to(url: str, expected: str) -> None:
    assert locate(url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "/a.jpg",
        "//example.org/a.jpg",
        "ftp://example.org/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "http://",
        "http:///a.jpg",
        "http://:80/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://example.org:x/",
        "http://[::1/",
        "http://[zz]/",
        "http://exa mple.org/",
        "http://./",
        "http://%00/",
        f"http://{'ü' * 100}.example/",
        "http://example.org/" + "a" * 20_000,
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadUrl) as caught:
        locate(url)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("b.jpg", "http://example.org:8080/a/b.jpg"),
        ("/b.jpg", "http://example.org:8080/b.jpg"),
        ("?c", "http://example.org:8080/a/x?c"),
        ("//other.example/b", "http://other.example/b"),
        ("https://other.example/b c", "https://other.example/b%20c"),
        ("../../b", "http://example.org:8080/b"),
        ("", "http://example.org:8080/a/x?y"),
    ],
)
def test_where_a_redirect_leads(reference: str, expected: str) -> None:
    assert locate("http://example.org:8080/a/x?y").join(reference).url == expected


def test_a_password_does_not_go_to_another_origin() -> None:
    start = locate("http://user:p%40ss@example.org/a")
    assert start.userinfo == ("user", "p@ss")
    assert start.join("/b").userinfo == ("user", "p@ss")
    for elsewhere in ("http://other.example/b", "https://example.org/b", "http://example.org:81/b"):
        assert start.join(elsewhere).userinfo is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://user:secret@example.org/a.jpg?id=secret&sig=secret#secret", "http://example.org/a.jpg?id=…&sig=…"),
        ("http://example.org/a.jpg?secret", "http://example.org/a.jpg?…"),
        ("http://example.org/a.jpg?x=secret=secret;y=secret", "http://example.org/a.jpg?x=…;y=…"),
        ("HTTP://secret@secret@example.org/", "HTTP://example.org/"),
        ("//user:secret@example.org/", "//example.org/"),
        ("http://example.org/a@b.jpg", "http://example.org/a@b.jpg"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, expected: str) -> None:
    assert shown(url) == expected


@given(st.text())
def test_any_text_is_a_url_or_none(text: str) -> None:
    for prefix in ("", "http://", "http://example.org/", "http://example.org/?"):
        shown(prefix + text)
        try:
            location = locate(prefix + text)
        except BadUrl:
            continue
        assert location.url.isascii()
        assert locate(location.url) == locate(location.url).join("")
        assert locate(location.url).url == location.url
