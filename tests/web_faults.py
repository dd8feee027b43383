"""What can go wrong on the web, as handlers for `fault_server`: a path each, with what must become of it."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from fault_server import Exchange, Handler

from imagemill.testing.images import nasty_images, photo, png_chunk, saved

JPEG = saved(photo(240, 320), "JPEG", quality=90)
PNG = saved(photo(60, 80), "PNG")
OLD = format_datetime(datetime.now(UTC) - timedelta(days=30), usegmt=True)
MIB = 1 << 20


@dataclass(frozen=True)
class Fault:
    """One path.

    Args:
        handler: answers it.
        reason: why it must fail; "" if the image must be kept.
        body: the bytes that must be kept.
        attempts: how often it must be asked for; 0 is as often as may be.
    """

    handler: Handler
    reason: str = ""
    body: bytes = JPEG
    attempts: int = 0


FAULTS: dict[str, Fault] = {}


def fault(path: str, reason: str = "", *, body: bytes = JPEG, attempts: int = 0) -> Callable[[Handler], Handler]:
    """Registers a handler under a path."""

    def register(handler: Handler) -> Handler:
        FAULTS[path] = Fault(handler, reason, body, attempts)
        return handler

    return register


def always(path: str, reason: str, body: bytes = b"", status: int = 200, *lines: str, attempts: int = 0) -> None:
    """Registers a path that always gives the same answer."""

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(body, status, *lines)

    FAULTS[path] = Fault(handler, reason, body, attempts)


def first(path: str, status: int, *lines: str, attempts: int = 2) -> None:
    """Registers a path that refuses once and then gives the image."""

    async def handler(exchange: Exchange) -> None:
        if exchange.visit == 1:
            await exchange.answer(b"later", status, *lines)
        else:
            await exchange.answer(JPEG)

    FAULTS[path] = Fault(handler, "", JPEG, attempts)


# Statuses: permanent ones are asked for once, the others again.
for _status, _reason in {404: "not-found", 410: "gone", 401: "forbidden", 402: "forbidden", 403: "forbidden"}.items():
    always(f"/status/{_status}", _reason, b"no", _status, attempts=1)
always("/status/451", "forbidden", b"no", 451, attempts=1)
always("/status/400", "http-4xx", b"no", 400, attempts=1)
always("/status/418", "http-4xx", b"no", 418, attempts=1)
always("/status/501", "http-5xx", b"no", 501, attempts=1)
always("/status/204", "http-other", b"", 204, attempts=1)
always("/status/500", "http-5xx", b"no", 500, attempts=3)
always("/status/503", "http-5xx", b"no", 503, attempts=3)
always("/status/206", "incomplete", JPEG, 206, "Content-Range: bytes 0-9/10", attempts=3)
always("/status/304", "http-other", b"", 304, attempts=1)
for _status in (500, 502, 503, 504, 408, 425, 429):
    first(f"/once/{_status}", _status)
first("/once/429-seconds", 429, "Retry-After: 1")
first("/once/503-seconds", 503, "Retry-After: 1")


@fault("/once/503-date", attempts=2)
async def _date(exchange: Exchange) -> None:
    now = datetime.now(UTC)
    until = format_datetime(now + timedelta(seconds=1), usegmt=True)
    if exchange.visit == 1:
        await exchange.answer(b"", 503, f"Date: {format_datetime(now, usegmt=True)}", f"Retry-After: {until}")
    else:
        await exchange.answer(JPEG)


# Bodies that do not come to their end.
@fault("/cut/always", "incomplete", attempts=3)
async def _cut_always(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    await exchange.send(JPEG[: len(JPEG) // 2])
    exchange.writer.close()


@fault("/cut/once", attempts=2)
async def _cut_once(exchange: Exchange) -> None:
    await (_cut_always(exchange) if exchange.visit == 1 else exchange.answer(JPEG))


@fault("/cut/chunked-once", attempts=2)
async def _cut_chunked(exchange: Exchange) -> None:
    await exchange.head(200, "Transfer-Encoding: chunked")
    await exchange.send(b"%x\r\n" % len(JPEG), JPEG[:5000])
    if exchange.visit == 1:
        exchange.writer.close()
    else:
        await exchange.send(JPEG[5000:], b"\r\n0\r\nX-Trailer: here\r\n\r\n")


@fault("/cut/no-length-once", attempts=2)
async def _cut_no_length(exchange: Exchange) -> None:
    await exchange.head(200, version="1.0")
    await exchange.send(JPEG[: 9000 if exchange.visit == 1 else None])
    exchange.writer.close()


async def _ranged(exchange: Exchange, body: bytes, *lines: str, most: int = 4000) -> None:
    """At most `most` bytes a request, from where the client asks, if its validator still holds."""
    validators = [line.partition(": ")[2] for line in lines]
    wanted = exchange.headers.get("range", "bytes=0-")
    start = int(wanted[6:-1]) if exchange.headers.get("if-range") in validators else 0
    if start:
        await exchange.head(
            206,
            f"Content-Length: {len(body) - start}",
            f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}",
            *lines,
        )
    else:
        await exchange.head(200, f"Content-Length: {len(body)}", "Accept-Ranges: bytes", *lines)
    end = len(body) if exchange.visit == 3 else start + most
    await exchange.send(body[start:end])
    if end < len(body):
        exchange.writer.close()


@fault("/resume/etag", attempts=3)
async def _resume_etag(exchange: Exchange) -> None:
    await _ranged(exchange, JPEG, 'ETag: "v1"')


@fault("/resume/date", attempts=3)
async def _resume_date(exchange: Exchange) -> None:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    await _ranged(exchange, JPEG, f"Last-Modified: {OLD}", f"Date: {now}")


OTHER = saved(photo(200, 300, seed=5), "JPEG", quality=90)


@fault("/resume/changed", body=OTHER, attempts=3)
async def _resume_changed(exchange: Exchange) -> None:
    first_time = exchange.visit == 1
    await _ranged(exchange, JPEG if first_time else OTHER, 'ETag: "v1"' if first_time else 'ETag: "v2"')


@fault("/resume/weak", attempts=3)
async def _resume_weak(exchange: Exchange) -> None:
    """Parts with a weak validator must not be put together."""
    if "range" in exchange.headers:
        await exchange.answer(b"you must not ask for a part", 400)
    else:
        await _ranged(exchange, JPEG, 'ETag: W/"v1"', most=4000 if exchange.visit < 3 else len(JPEG))


@fault("/resume/wrong-part", attempts=3)
async def _resume_wrong(exchange: Exchange) -> None:
    """Answers a range with another one: the body must start anew."""
    if exchange.visit == 2:
        await exchange.answer(JPEG[10:], 206, f"Content-Range: bytes 10-{len(JPEG) - 1}/{len(JPEG)}", 'ETag: "v1"')
    else:
        await _ranged(exchange, JPEG, 'ETag: "v1"')


@fault("/resume/416", attempts=3)
async def _resume_416(exchange: Exchange) -> None:
    if exchange.visit == 2:
        await exchange.answer(b"", 416)
    else:
        await _ranged(exchange, JPEG, 'ETag: "v1"')


@fault("/reset/once", attempts=2)
async def _reset_once(exchange: Exchange) -> None:
    if exchange.visit > 1:
        return await exchange.answer(JPEG)
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    await exchange.send(JPEG[:3000])
    await asyncio.sleep(0.02)
    return exchange.reset()


@fault("/reset/always", "incomplete", attempts=3)
async def _reset_always(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    await exchange.send(JPEG[:3000])
    await asyncio.sleep(0.02)
    exchange.reset()


@fault("/reset/before", "connect")
async def _reset_before(exchange: Exchange) -> None:
    exchange.reset()


# Slow ones.
@fault("/slow/no-answer", "timeout", attempts=3)
async def _no_answer(exchange: Exchange) -> None:
    await exchange.hang()


@fault("/slow/head", "timeout", attempts=3)
async def _slow_head(exchange: Exchange) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Slow: " + b"x" * 1000:
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0.05)


@fault("/slow/body-hangs", "timeout", attempts=3)
async def _body_hangs(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    await exchange.send(JPEG[:3000])
    await exchange.hang()


@fault("/slow/trickle", "too-slow", attempts=3)
async def _trickle(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    for byte in JPEG:
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0.05)


@fault("/slow/but-steady")
async def _steady(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}")
    for start in range(0, len(JPEG), len(JPEG) // 8 + 1):
        await exchange.send(JPEG[start : start + len(JPEG) // 8 + 1])
        await asyncio.sleep(0.05)


@fault("/slow/interim-forever", "timeout", attempts=3)
async def _interim_forever(exchange: Exchange) -> None:
    while True:
        await exchange.head(102)
        await asyncio.sleep(0.02)


# Too much.
@fault("/large/endless", "too-many-bytes", attempts=1)
async def _endless(exchange: Exchange) -> None:
    await exchange.head(200, "Transfer-Encoding: chunked")
    while True:
        await exchange.send(b"10000\r\n", bytes(1 << 16), b"\r\n")


@fault("/large/announced", "too-many-bytes", attempts=1)
async def _announced(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {10 * 1000**4}")
    while True:
        await exchange.send(JPEG)


_bomb = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
BOMB = b"".join(_bomb.compress(bytes(MIB)) for _ in range(64)) + _bomb.flush()
always("/large/gzip-bomb", "too-many-bytes", BOMB, 200, "Content-Encoding: gzip", attempts=1)
always("/headers/long", "headers-too-large", JPEG, 200, f"X-Long: {'x' * MIB}", attempts=1)
always("/headers/many", "headers-too-large", JPEG, 200, *(f"X-{n}: {'x' * 900}" for n in range(90)), attempts=1)


@fault("/headers/endless", "headers-too-large", attempts=1)
async def _endless_headers(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"".join(b"X-%d: 1\r\n" % number for number in range(1000)))


# Encodings.
ZIPPED = gzip.compress(JPEG)


def encoded(path: str, encoding: str, body: bytes, reason: str = "", attempts: int = 0) -> None:
    """A body as `encoding` says; what must be kept is the image."""
    always(path, reason, body, 200, f"Content-Encoding: {encoding}")
    FAULTS[path] = Fault(FAULTS[path].handler, reason, JPEG, attempts)


encoded("/encoding/gzip", "gzip", ZIPPED)
encoded("/encoding/x-gzip", "x-gzip", ZIPPED)
encoded("/encoding/two-members", "gzip", gzip.compress(JPEG[:999]) + gzip.compress(JPEG[999:]))
encoded("/encoding/deflate", "deflate", zlib.compress(JPEG))
encoded("/encoding/raw-deflate", "deflate", zlib.compress(JPEG, wbits=-15))
encoded("/encoding/not-really", "gzip", JPEG)
encoded("/encoding/identity", "identity", JPEG)
encoded("/encoding/unknown", "br", b"\x0b\x02\x80hello\x03", "bad-encoding", attempts=1)
encoded("/encoding/damaged", "gzip", ZIPPED[:500] + b"\xff" * 50 + ZIPPED[550:], "bad-encoding", attempts=3)
encoded("/encoding/cut", "gzip", ZIPPED[:-500], "incomplete", attempts=3)

# What is no image, whatever it is called; and what is one, whatever it is called.
TYPE = "Content-Type: image/jpeg"
HTML = b"<!DOCTYPE html><html><body>Sorry, this picture has moved.</body></html>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>'
always("/type/html", "html", HTML, 200, TYPE, attempts=1)
always("/type/svg", "svg", SVG, 200, TYPE, attempts=1)
always("/type/json", "not-an-image", b'{"error": "no such image"}', 200, TYPE, attempts=1)
always("/type/empty", "empty-file", b"", 200, TYPE, attempts=1)
always("/type/truncated", "truncated", JPEG[:-3000], 200, TYPE, attempts=1)
always("/type/jpeg-as-html", "", JPEG, 200, "Content-Type: text/html; charset=utf-8")
always("/type/png-as-jpeg", "", PNG, 200, TYPE)
always("/type/none", "", JPEG)
for _name, (_body, _reason) in nasty_images().items():
    always(f"/nasty/{_name}", _name if _name in ("html", "svg") else _reason.replace("ok", ""), _body, 200, TYPE)


def _huge_png() -> bytes:
    """32 KB that would be 16,000 x 16,000 pixels, every row of it there."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(2001)) for _ in range(16_000)) + packer.flush()
    size = (16_000).to_bytes(4, "big")
    head = png_chunk(b"IHDR", size + size + bytes([1, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


always("/type/png-bomb", "too-many-pixels", _huge_png(), 200, TYPE, attempts=1)


# Redirects.
def redirect(path: str, location: str, reason: str = "", status: int = 302, attempts: int = 0) -> None:
    """A path that leads elsewhere."""
    always(path, reason, b"moved", status, f"Location: {location}")
    FAULTS[path] = Fault(FAULTS[path].handler, reason, JPEG, attempts)


for _status in (301, 302, 303, 307, 308):
    redirect(f"/to/{_status}", "/good.jpg", status=_status)
always("/good.jpg", "", JPEG)
for _hop in range(5):
    redirect(f"/to/chain/{_hop}", f"{_hop + 1}" if _hop < 4 else "../../good.jpg")
for _hop in range(12):
    target = f"/to/long/{_hop + 1}" if _hop < 11 else "/good.jpg"
    redirect(f"/to/long/{_hop}", target, "redirects" if _hop < 2 else "")


@fault("/to/endless", "redirects")
async def _redirects_forever(exchange: Exchange) -> None:
    await exchange.answer(b"", 302, f"Location: /to/endless?{time.monotonic_ns()}")


redirect("/to/itself", "/to/itself", "redirects")
redirect("/to/loop/a", "/to/loop/b", "redirects")
redirect("/to/loop/b", "/to/loop/a", "redirects")
redirect("/to/file", "file:///etc/passwd", "bad-redirect", attempts=1)
redirect("/to/ftp", "ftp://127.0.0.1/x", "bad-redirect", attempts=1)
redirect("/to/data", "data:image/png;base64,AAAA", "bad-redirect", attempts=1)
redirect("/to/script", "javascript:alert(1)", "bad-redirect", attempts=1)
redirect("/to/bad-port", "http://127.0.0.1:99999/", "bad-redirect", attempts=1)
redirect("/to/metadata", "http://169.254.169.254/latest/meta-data/", "refused-address")
redirect("/to/nowhere", "http://no-such-host.invalid/x.jpg", "dns")
always("/to/without-location", "http-other", b"", 302, attempts=1)


# HTTP, more or less.
@fault("/http/1.0")
async def _http10(exchange: Exchange) -> None:
    await exchange.head(200, "Content-Type: image/jpeg", version="1.0")
    await exchange.send(JPEG)
    exchange.writer.close()


@fault("/http/early-hints")
async def _early_hints(exchange: Exchange) -> None:
    await exchange.head(103, "Link: </style.css>; rel=preload")
    await exchange.answer(JPEG)


@fault("/http/close")
async def _close(exchange: Exchange) -> None:
    await exchange.answer(JPEG, 200, "Connection: close")
    exchange.writer.close()


@fault("/http/closes-silently", attempts=1)
async def _closes_silently(exchange: Exchange) -> None:
    """Does not say that the connection ends: the next request on it must not fail for that."""
    await exchange.answer(JPEG)
    exchange.writer.close()


@fault("/http/no-http", "bad-response", attempts=3)
async def _no_http(exchange: Exchange) -> None:
    await exchange.send(JPEG)
    exchange.writer.close()


@fault("/http/bad-chunks", "bad-response", attempts=3)
async def _bad_chunks(exchange: Exchange) -> None:
    await exchange.head(200, "Transfer-Encoding: chunked")
    await exchange.send(b"zzz\r\n", JPEG)
    exchange.writer.close()


@fault("/http/two-lengths", "bad-response", attempts=3)
async def _two_lengths(exchange: Exchange) -> None:
    await exchange.head(200, f"Content-Length: {len(JPEG)}", "Content-Length: 5")
    await exchange.send(JPEG)
    exchange.writer.close()


@fault("/http/nothing", "connect", attempts=0)
async def _nothing(exchange: Exchange) -> None:
    exchange.writer.close()


# What the owner says.
def tagged(path: str, reason: str, *values: str) -> None:
    """An image with X-Robots-Tag headers."""
    always(path, reason, JPEG, 200, *(f"X-Robots-Tag: {value}" for value in values))


tagged("/tag/noai", "x-robots-tag", "noai")
tagged("/tag/noimageai", "x-robots-tag", "NoImageAI, nofollow")
tagged("/tag/noindex", "x-robots-tag", "unavailable_after: 25 Jun 2035 15:00:00 PST, noindex")
tagged("/tag/none", "x-robots-tag", "nofollow", "none")
tagged("/tag/ours", "x-robots-tag", "imagemill: noai")
tagged("/tag/other-bot", "", "otherbot: noindex, noai")
tagged("/tag/harmless", "", "noarchive, nosnippet, max-image-preview: large")
always("/private/x.jpg", "robots", JPEG)
always("/private/open/x.jpg", "", JPEG)
ROBOTS = b"User-agent: *\nDisallow: /\n\nUser-agent: imagemill\nDisallow: /private/\nAllow: /private/open/\n"
always("/robots.txt", "not-an-image", ROBOTS, 200, "Content-Type: text/plain")

# Names that files must not get.
for _name in (
    "%E2%98%83.jpg",
    "a" * 4000 + ".jpg",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "A.jpg",
    "a.jpg",
    "CON.jpg",
    "x%00y.jpg",
):
    always(f"/names/{_name}", "", JPEG)
