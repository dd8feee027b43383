"""A web that misbehaves: good images are kept, bad ones rejected for the right reason, and nobody is bothered."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import shutil
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fault_server import Exchange, FaultServer, Handler, running
from web_faults import FAULTS, JPEG

from imagemill.acquire.address_guard import Lookup, NoAddress, system_lookup
from imagemill.acquire.contract import REASONS, Limits, Outcome, Policy, Request
from imagemill.acquire.download import download
from imagemill.acquire.pile import Pile

LIMITS = Limits(
    per_host=16,
    connect_s=1.0,
    total_s=4.0,
    silence_s=0.5,
    min_rate_bytes_s=1000.0,
    max_body_bytes=8 << 20,
    attempts=3,
    backoff_s=0.05,
)
"""As ever, but in a hurry."""


def pile_in(folder: Path) -> Pile:
    pile = Pile(folder)
    pile.arriving.mkdir(parents=True, exist_ok=True)
    return pile


def fetch(
    requests: Sequence[Request], folder: Path, policy: Policy, lookup: Lookup = system_lookup
) -> dict[int, Outcome]:
    """Outcomes by number."""

    async def run() -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}
        async for ready in download(requests, pile_in(folder), policy, lookup=lookup):
            assert found.keys().isdisjoint(outcome.number for outcome in ready)
            found |= {outcome.number: outcome for outcome in ready}
        return found

    return asyncio.run(run())


def policy_for(*servers: FaultServer, limits: Limits = LIMITS, **options: object) -> Policy:
    allow = tuple(server.authority for server in servers)
    return replace(Policy(limits=limits, allow=allow, examiners=2), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def canary() -> Iterator[FaultServer]:
    """A server that nobody may reach: it is not allowed."""

    async def caught(exchange: Exchange) -> None:
        await exchange.answer(JPEG)

    server = FaultServer(fallback=caught)
    with running(server):
        yield server


@dataclass(frozen=True)
class Catalogue:
    """Everything in `web_faults`, fetched in one run; a server for each kind, so that one's pauses are not another's.

    Args:
        paths: in the order of the requests.
        outcomes: by path.
        visits: of all servers, by path.
        folder: of the pile.
        seconds: of the whole run.
    """

    paths: list[str]
    outcomes: dict[str, Outcome]
    visits: Counter[str]
    folder: Path
    seconds: float


PATHS = [path for path in FAULTS if path != "/robots.txt"]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    visits: Counter[str] = Counter()
    routes = {path: fault.handler for path, fault in FAULTS.items()}
    servers = {path.split("/")[1]: FaultServer(routes, visits=visits) for path in PATHS}
    folder = tmp_path_factory.mktemp("pile")
    with running(*servers.values()):
        requests = [Request(number, servers[path.split("/")[1]].url + path) for number, path in enumerate(PATHS)]
        begin = time.monotonic()
        found = fetch(requests, folder, policy_for(*servers.values()))
        seconds = time.monotonic() - begin
    return Catalogue(PATHS, {path: found[number] for number, path in enumerate(PATHS)}, visits, folder, seconds)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:60])
def test_every_fault_ends_as_it_must(path: str, catalogue: Catalogue) -> None:
    fault, outcome = FAULTS[path], catalogue.outcomes[path]
    assert outcome.reason == fault.reason, outcome
    assert outcome.status == ("failed" if fault.reason else "fetched")
    if fault.attempts:
        assert catalogue.visits[path] == fault.attempts
    if not fault.reason:
        assert (catalogue.folder / outcome.path).read_bytes() == fault.body
        assert outcome.sha256 == hashlib.sha256(fault.body).hexdigest()
        assert outcome.size_bytes == len(fault.body)


def test_nothing_else_is_left_in_the_folder(catalogue: Catalogue) -> None:
    outcomes = catalogue.outcomes.values()
    told = {catalogue.folder / outcome.path for outcome in outcomes if outcome.path}
    told |= {outcome.partial.path for outcome in outcomes if outcome.partial}
    assert {path for path in catalogue.folder.rglob("*") if path.is_file()} == told


def test_every_reason_is_explained(catalogue: Catalogue) -> None:
    assert {outcome.reason for outcome in catalogue.outcomes.values()} <= {"", *REASONS}


def test_no_attempt_outlives_its_deadline(catalogue: Catalogue) -> None:
    assert max(outcome.seconds for outcome in catalogue.outcomes.values()) < LIMITS.attempts * LIMITS.total_s + 1
    head_s = LIMITS.connect_s + LIMITS.silence_s
    for path in ("/slow/no-answer", "/slow/head", "/slow/interim-forever"):
        assert catalogue.outcomes[path].seconds < 3 * head_s + 1
    for path in ("/slow/body-hangs", "/slow/trickle"):
        assert catalogue.outcomes[path].seconds < 3 * LIMITS.silence_s + 1


INTERNAL = (
    "127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[2002:7f00:1::]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "127.0.0.2",
    "127.255.255.254",
    "%31%32%37.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "user:secret@127.0.0.1",
    "good.example@127.0.0.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "[2001:db8::1]",
    "[2001::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[2001:4860::5efe:127.0.0.1]",
)
"""The inside of a machine, a network or a cloud, in every spelling."""


def test_no_internal_address_is_reached_in_any_notation(canary: FaultServer, tmp_path: Path) -> None:
    server = FaultServer()
    urls = [f"http://{host}:{canary.port}/" for host in INTERNAL]
    urls += [f"http://127.0.0.1:{canary.port}\\@good.example/", f"//127.0.0.1:{canary.port}/"]
    redirects = [f"/{number}" for number in range(len(urls))]
    server.routes = {path: redirect_to(url) for path, url in zip(redirects, urls, strict=True)}
    with running(server):
        every = [*urls, *(server.url + path for path in redirects)]
        requests = [Request(number, url) for number, url in enumerate(every)]
        outcomes = fetch(requests, tmp_path, policy_for(server))
    assert canary.accepted == 0
    unexpected = {every[number]: outcome for number, outcome in outcomes.items() if outcome.status != "failed"}
    assert unexpected == {}
    assert {outcome.reason for outcome in outcomes.values()} <= {"refused-address", "bad-url", "bad-redirect", "dns"}
    assert [outcomes[number].reason for number in range(4)] == ["refused-address"] * 4


def redirect_to(url: str) -> Handler:
    async def handler(exchange: Exchange) -> None:
        text = url.encode().decode("latin-1")  # as servers send what is not ASCII
        await exchange.answer(b"", 302, f"Location: {text}")

    return handler


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["::1"], ["10.0.0.1", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_means_an_internal_address_is_refused(
    answers: list[str], canary: FaultServer, tmp_path: Path
) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return answers

    (outcome,) = fetch([Request(0, f"http://innocent.example:{canary.port}/")], tmp_path, policy_for(), lookup).values()
    assert (outcome.reason, canary.accepted) == ("refused-address", 0)


def test_a_name_server_that_changes_its_mind_gains_nothing(
    canary: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    connected: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(port)
        return ["203.0.114.1", "127.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

    async def sock_connect(self: object, connection: object, address: tuple[str, int]) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "not in a test")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    urls = [f"http://rebinding.example:{port}/{number}" for number in range(20) for port in (canary.port, 81)]
    requests = [Request(number, url) for number, url in enumerate(urls)]
    outcomes = fetch(requests, tmp_path, policy_for(), lookup).values()
    assert canary.accepted == 0
    assert set(connected) == {"203.0.114.1"}
    assert {outcome.reason for outcome in outcomes} == {"refused-address", "connect"}


def test_allow_opens_exactly_one_port(canary: FaultServer, tmp_path: Path) -> None:
    server = FaultServer({"/good.jpg": FAULTS["/good.jpg"].handler})
    with running(server):
        urls = [f"http://127.0.0.1:{port}/good.jpg" for port in (server.port, canary.port)]
        urls += [f"http://{host}:{server.port}/good.jpg" for host in ("localhost", "127.0.0.2", "[::ffff:127.0.0.1]")]
        found = fetch([Request(number, url) for number, url in enumerate(urls)], tmp_path, policy_for(server))
    assert [found[number].reason for number in range(5)] == ["", *["refused-address"] * 4]
    assert canary.accepted == 0


def test_a_host_is_allowed_by_its_name_wherever_it_is(tmp_path: Path) -> None:
    server = FaultServer({"/good.jpg": FAULTS["/good.jpg"].handler})
    with running(server):
        policy = replace(policy_for(), allow=(f"LocalHost:{server.port}",))
        (outcome,) = fetch([Request(0, f"http://localhost:{server.port}/good.jpg")], tmp_path, policy).values()
    assert outcome.status == "fetched"


def test_ipv6_loopback_when_allowed(tmp_path: Path) -> None:
    server = FaultServer({"/good.jpg": FAULTS["/good.jpg"].handler}, host="::1")
    try:
        with running(server):
            (outcome,) = fetch([Request(0, server.url + "/good.jpg")], tmp_path, policy_for(server)).values()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert (outcome.status, outcome.host) == ("fetched", f"[::1]:{server.port}")


def test_the_limited_origin_gives_everything(tmp_path: Path) -> None:
    """60 requests a second, as a leaky bucket; who asks faster gets a 429 without a hint."""
    taken: list[float] = []

    async def limited(exchange: Exchange) -> None:
        now = time.monotonic()
        taken[:] = [when for when in taken if when > now - 1]
        if len(taken) >= 60:
            await exchange.answer(b"slower", 429)
        else:
            taken.append(now)
            await exchange.answer(JPEG)

    server = FaultServer(fallback=limited)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}.jpg") for number in range(300)]
        policy = policy_for(server, limits=replace(LIMITS, backoff_s=0.5), respect_robots=False)
        outcomes = fetch(requests, tmp_path, policy).values()
    assert Counter(outcome.reason for outcome in outcomes) == {"": 300}
    assert sum(server.visits.values()) < 400


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_is_kept_for_the_whole_host(dated: bool, tmp_path: Path) -> None:
    async def busy(exchange: Exchange) -> None:
        if sum(exchange.server.visits.values()) == 10:
            until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            await exchange.answer(b"", 503 if dated else 429, f"Retry-After: {until if dated else 2}")
            complained.append(time.monotonic())
        else:
            await exchange.answer(JPEG)

    complained: list[float] = []
    server = FaultServer(fallback=busy)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}") for number in range(30)]
        policy = policy_for(server, limits=replace(LIMITS, per_host=4), respect_robots=False)
        outcomes = fetch(requests, tmp_path, policy).values()
    later = [when - complained[0] for when, _, _ in server.log if when > complained[0] + 0.1]
    assert {outcome.status for outcome in outcomes} == {"fetched"}
    assert len(later) > 10
    assert min(later) > (0.9 if dated else 1.99)  # dates have whole seconds


def test_a_host_that_asks_for_too_long_a_pause_is_given_up(tmp_path: Path) -> None:
    async def closed(exchange: Exchange) -> None:
        await exchange.answer(b"", 429, "Retry-After: 86400")

    server = FaultServer(fallback=closed)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}") for number in range(500)]
        outcomes = fetch(requests, tmp_path, policy_for(server, respect_robots=False)).values()
    assert {outcome.reason for outcome in outcomes} == {"http-429"}
    assert all("given up" in outcome.detail and not outcome.permanent for outcome in outcomes)
    assert sum(server.visits.values()) == 1


def rules(text: bytes, status: int = 200, *lines: str) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(text, status, *lines)

    return handler


async def hangs(exchange: Exchange) -> None:
    await exchange.hang()


async def image(exchange: Exchange) -> None:
    await exchange.answer(JPEG)


HASTY = replace(LIMITS, attempts=2, silence_s=0.2, connect_s=0.5, backoff_s=0.01)
NOBODY = b"User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (rules(NOBODY), "robots"),
        (rules(gzip.compress(NOBODY), 200, "Content-Encoding: gzip"), "robots"),
        (rules(b"", 301, "Location: /elsewhere"), "robots"),
        (rules(b"", 404), ""),
        (rules(b"", 403), ""),
        (rules(b"<html>not found</html>"), ""),
        (rules(b"", 500), "robots-unreachable"),
        (rules(b"", 503), "robots-unreachable"),
        (rules(b"", 301, "Location: /robots.txt"), ""),
        (hangs, "timeout"),
        (rules(b"# nothing\n" * 200_000), ""),
        (rules(b"# nothing\n" * 60_000 + NOBODY), ""),  # beyond the 500 KiB that are read
    ],
)
def test_robots_txt(robots: Handler, reason: str, tmp_path: Path) -> None:
    """Once a host, and what it means if it cannot be read (RFC 9309)."""
    server = FaultServer({"/robots.txt": robots, "/elsewhere": rules(NOBODY)}, fallback=image)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}") for number in range(20)]
        outcomes = fetch(requests, tmp_path, policy_for(server, limits=HASTY)).values()
    assert {outcome.reason for outcome in outcomes} == {reason}
    images = sum(server.visits.values()) - server.visits["/robots.txt"] - server.visits["/elsewhere"]
    assert images == (0 if reason else 20)
    if reason in ("", "robots") and server.visits["/elsewhere"] == 0 and robots is not hangs:
        assert server.visits["/robots.txt"] in (1, 6)  # six where it redirects to itself


def test_who_is_told_to_ignore_the_owner_does(tmp_path: Path) -> None:
    server = FaultServer({"/robots.txt": rules(NOBODY), "/x": FAULTS["/tag/noai"].handler})
    with running(server):
        policy = policy_for(server, respect_robots=False, respect_robots_tag=False)
        (outcome,) = fetch([Request(0, server.url + "/x")], tmp_path, policy).values()
    assert outcome.status == "fetched"
    assert outcome.headers["x-robots-tag"] == "noai"
    assert server.visits["/robots.txt"] == 0


def test_rules_of_the_host_that_a_redirect_leads_to_count(tmp_path: Path) -> None:
    closed = FaultServer({"/robots.txt": rules(NOBODY)}, fallback=image)
    with running(closed):
        opened = FaultServer({"/x": redirect_to(closed.url + "/x")})
        with running(opened):
            (outcome,) = fetch([Request(0, opened.url + "/x")], tmp_path, policy_for(closed, opened)).values()
    assert outcome.reason == "robots"
    assert closed.visits["/x"] == 0


def test_bad_hosts_do_not_hold_up_good_ones(tmp_path: Path) -> None:
    """Sixteen hosts that hang, all their rows first: the good one is done before any of them is given up."""
    bad = [FaultServer(fallback=hangs) for _ in range(16)]
    good = FaultServer(fallback=image)

    async def first_numbers() -> list[int]:
        async with aclosing(download(requests, pile_in(tmp_path), policy)) as outcomes:
            found: list[int] = []
            while len(found) < 50:
                found += [outcome.number for outcome in await anext(outcomes)]
            return found

    with running(*bad, good):
        urls = [f"{server.url}/{number}" for server in bad for number in range(100)]
        urls += [f"{good.url}/{number}" for number in range(50)]
        requests = [Request(number, url) for number, url in enumerate(urls)]
        policy = policy_for(*bad, good, limits=replace(LIMITS, in_flight=32, silence_s=20.0, total_s=30.0))
        assert sorted(asyncio.run(first_numbers())) == list(range(1600, 1650))


def test_no_host_is_asked_more_at_once_than_allowed(tmp_path: Path) -> None:
    async def takes_a_moment(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await exchange.answer(JPEG)

    servers = [FaultServer(fallback=takes_a_moment) for _ in range(3)]
    with running(*servers):
        urls = [f"{server.url}/{number}" for number in range(20) for server in servers]
        limits = replace(LIMITS, per_host=3)
        fetch([Request(number, url) for number, url in enumerate(urls)], tmp_path, policy_for(*servers, limits=limits))
    assert [server.most_at_once for server in servers] == [3, 3, 3]


def test_the_rate_of_a_host_is_kept(tmp_path: Path) -> None:
    server = FaultServer(fallback=image)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}") for number in range(30)]
        policy = policy_for(server, limits=replace(LIMITS, host_rate=20.0), respect_robots=False)
        fetch(requests, tmp_path, policy)
    times = [when for when, _, _ in server.log]
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[20:], strict=False))


def test_connections_that_were_closed_meanwhile_cost_no_attempt(tmp_path: Path) -> None:
    """However many idle ones are met in turn: each connection answers once, and ends at its second request."""
    served: set[object] = set()

    async def answers_once(exchange: Exchange) -> None:
        if exchange.writer in served:
            exchange.writer.close()
            return
        served.add(exchange.writer)
        await asyncio.sleep(0.01)  # so that several connections are open, then idle
        await exchange.answer(JPEG)

    for handler in (answers_once, FAULTS["/http/closes-silently"].handler):
        server = FaultServer(fallback=handler)
        with running(server):
            requests = [Request(number, f"{server.url}/{number}") for number in range(100)]
            policy = policy_for(server, limits=replace(LIMITS, attempts=1, per_host=8), respect_robots=False)
            outcomes = fetch(requests, tmp_path, policy).values()
        assert {outcome.reason for outcome in outcomes} == {""}


@pytest.mark.parametrize(
    "answer", [rules(JPEG), rules(b"", 404), rules(b"not here", 404), rules(b"", 302, "Location: /x")]
)
def test_connections_are_used_again(answer: Handler, tmp_path: Path) -> None:
    server = FaultServer({"/x": image}, fallback=answer)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}") for number in range(60)]
        fetch(requests, tmp_path, policy_for(server, limits=replace(LIMITS, per_host=3)))
    assert server.accepted <= 6


def test_a_server_with_a_certificate_of_its_own_is_refused(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-keyout",
    ]
    subprocess.run([*command, key, "-out", certificate], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = FaultServer(fallback=image, tls=context)
    with running(server):
        (outcome,) = fetch([Request(0, f"{server.url}/x")], tmp_path, policy_for(server)).values()
    assert (outcome.reason, outcome.attempts) == ("tls", 1)
    assert "certificate" in outcome.detail
    assert server.visits["/x"] == 0


def test_a_known_image_is_not_sent_again(tmp_path: Path) -> None:
    async def versioned(exchange: Exchange) -> None:
        if exchange.headers.get("if-none-match") == '"v2"':
            await exchange.answer(b"", 304, 'ETag: "v2"')
        else:
            await exchange.answer(JPEG, 200, 'ETag: "v2"')

    server = FaultServer(fallback=versioned)
    with running(server):
        requests = [Request(number, f"{server.url}/{number}", etag=f'"v{number}"') for number in range(1, 3)]
        outcomes = fetch(requests, tmp_path, policy_for(server))
    assert [outcomes[number].status for number in (1, 2)] == ["fetched", "unchanged"]
    assert outcomes[1].headers["etag"] == '"v2"'


def test_a_later_run_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    asked: list[str] = []

    async def breaks_off(exchange: Exchange) -> None:
        asked.append(exchange.headers.get("range", ""))
        start = int(asked[-1][6:-1] or 0) if asked[-1] else 0
        rest = JPEG[start:]
        if start:
            place = f"Content-Range: bytes {start}-{len(JPEG) - 1}/{len(JPEG)}"
            return await exchange.answer(rest, 206, 'ETag: "v1"', place)
        await exchange.head(200, f"Content-Length: {len(JPEG)}", 'ETag: "v1"')
        await exchange.send(rest[:7000])
        return exchange.writer.close()

    server = FaultServer(fallback=breaks_off)
    with running(server):
        policy = policy_for(server, limits=replace(LIMITS, attempts=1), respect_robots=False)
        (first,) = fetch([Request(0, server.url + "/x")], tmp_path, policy).values()
        assert (first.reason, first.partial is not None) == ("incomplete", True)
        (second,) = fetch([Request(0, server.url + "/x", partial=first.partial)], tmp_path, policy).values()
    assert asked == ["", "bytes=7000-"]
    assert second.sha256 == hashlib.sha256(JPEG).hexdigest()


def test_secrets_of_urls_are_not_told(tmp_path: Path) -> None:
    server = FaultServer({"/moved": redirect_to("/other?signature=hidden2"), "/other": rules(b"", 404)})
    with running(server):
        host = server.authority
        urls = [
            f"http://name:hidden@{host}/x?key=hidden&token=hidden#hidden",
            f"http://{host}/moved?key=hidden",
            "http://name:hidden@no-such-host.invalid/x?key=hidden",
            "http://name:hidden@10.0.0.1/x?key=hidden",
            "ftp://name:hidden@example.org/x?key=hidden",
            "http://name:hidden@exa mple.org/x?key=hidden",
            "http://name:hidden@example.org:99999/x?key=hidden",
        ]
        outcomes = fetch([Request(number, url) for number, url in enumerate(urls)], tmp_path, policy_for(server))
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}
    assert [str(outcome) for outcome in outcomes.values() if "hidden" in str(outcome)] == []
    assert any("authorization" in headers for _, path, headers in server.log if path == "/x")


def test_who_stops_early_leaves_nothing_behind(tmp_path: Path) -> None:
    server = FaultServer(fallback=FAULTS["/slow/but-steady"].handler)

    pile = pile_in(tmp_path)

    async def run() -> None:
        requests = (Request(number, f"{server.url}/{number}") for number in range(1_000_000))
        async with aclosing(download(requests, pile, policy_for(server, respect_robots=False))) as outcomes:
            await anext(outcomes)

    with running(server):
        asyncio.run(run())
    assert list(pile.arriving.iterdir()) == []


def test_memory_does_not_grow_with_what_servers_send(tmp_path: Path) -> None:
    """Bombs, endless bodies and announced terabytes, twenty of each, add less than 100 MB."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here to see the memory in")

    def peak_mib() -> float:
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    paths = ["/large/endless", "/large/announced", "/large/gzip-bomb", "/headers/endless", "/headers/long"]
    server = FaultServer({path: FAULTS[path].handler for path in paths})
    with running(server):
        urls = [f"{server.url}{path}?{number}" for number in range(20) for path in paths]
        fetch([Request(0, urls[0])], tmp_path, policy_for(server))
        before = peak_mib()
        outcomes = fetch([Request(number, url) for number, url in enumerate(urls)], tmp_path, policy_for(server))
    assert {outcome.reason for outcome in outcomes.values()} == {"too-many-bytes", "headers-too-large"}
    assert peak_mib() - before < 100


def test_a_proxy_of_the_environment_is_used_and_does_not_open_the_inside(
    tmp_path: Path, canary: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def proxy(exchange: Exchange) -> None:
        asked.append(exchange.target)
        await exchange.answer(JPEG)

    async def lookup(host: str, port: int) -> list[str]:
        if host == "only-the-proxy-knows.example":
            raise NoAddress("unknown")
        return {"inside.example": ["10.0.0.1"]}.get(host, ["203.0.114.1"])

    server = FaultServer(fallback=proxy)
    with running(server):
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://{server.authority}")
        for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        urls = [f"http://{host}/x" for host in ("public.example", "only-the-proxy-knows.example", "inside.example")]
        urls += [f"http://127.0.0.1:{canary.port}/x", f"{server.url}/x"]
        requests = [Request(number, url) for number, url in enumerate(urls)]
        found = fetch(requests, tmp_path, policy_for(respect_robots=False), lookup)
    assert [found[number].reason for number in range(5)] == ["", "", *["refused-address"] * 3]
    assert sorted(asked) == sorted(urls[:2])
    assert canary.accepted == 0
