"""A web that misbehaves: good images are kept, bad ones rejected for the right reason, and nobody is bothered."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fault_server import Exchange, FaultServer, Handler, running
from web_faults import FAULTS, JPEG

from imagemill.acquire.address_guard import Lookup, system_lookup
from imagemill.acquire.contract import REASONS, Limits, Outcome, Policy, Request
from imagemill.acquire.download import download

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


def fetch(
    requests: Sequence[Request], folder: Path, policy: Policy, lookup: Lookup = system_lookup
) -> dict[int, Outcome]:
    """Outcomes by number."""

    async def run() -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}
        async for outcome in download(requests, folder, policy, lookup=lookup):
            assert outcome.number not in found
            found[outcome.number] = outcome
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
        folder: where the bodies are.
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
    folder = tmp_path_factory.mktemp("bodies")
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
        assert outcome.path is not None
        content = outcome.path.read_bytes()
        assert content == fault.body
        assert outcome.sha256 == hashlib.sha256(fault.body).hexdigest()
        assert outcome.size_bytes == len(fault.body)


def test_nothing_else_is_left_in_the_folder(catalogue: Catalogue) -> None:
    outcomes = catalogue.outcomes.values()
    told = {outcome.path for outcome in outcomes} | {outcome.partial.path for outcome in outcomes if outcome.partial}
    assert set(catalogue.folder.iterdir()) == told - {None}


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
