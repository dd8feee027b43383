"""`kill -9` of `fetch` at any instant, then the same command: the same pile, and nothing is asked for in vain."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fault_server import Exchange, FaultServer, running
from PIL import Image
from unit.native.batches import needs_core

from imagemill.faults import FETCH_POINTS
from imagemill.testing.images import photo
from imagemill.testing.piles import command, imagemill, tree

IMAGES = 320
IN_FLIGHT = 8
KILLS = 20

IN_PYTHON = f"""
import sys, imagemill
imagemill.fetch(*sys.argv[1:3], allow=sys.argv[3:], in_flight={IN_FLIGHT}, per_host={IN_FLIGHT}, workers=1)
"""
"""What the command line does, half a second sooner."""


def encoded(number: int) -> bytes:
    """Every picture another one; every tenth a PNG."""
    file = io.BytesIO()
    Image.fromarray(photo(40, 50 + number % 7, number)).save(file, "PNG" if number % 10 == 3 else "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    return {f"/{number}": encoded(number) for number in range(IMAGES)}


@pytest.fixture
def server(bodies: dict[str, bytes]) -> Iterator[FaultServer]:
    async def image(exchange: Exchange) -> None:
        body = bodies.get(exchange.target.partition("?")[0])
        # In pieces, so that kills find half of them.
        if body is None:
            await exchange.answer(b"not here", 404)
            return
        await exchange.head(200, f"Content-Length: {len(body)}", "Content-Type: image/jpeg")
        await exchange.send(body[: len(body) // 2])
        await asyncio.sleep(0.004)
        await exchange.send(body[len(body) // 2 :])

    server = FaultServer(fallback=image)
    with running(server):
        yield server


def write_list(path: Path, server: FaultServer, numbers: range) -> Path:
    lines = [f"n{number} {server.url}/{number}?token=secret" for number in numbers]
    path.write_text("\n".join(["# pictures", *lines, "no URL", f"{server.url}/gone", lines[0]]) + "\n")
    return path


def arguments(urls: Path, out: Path, server: FaultServer) -> tuple[object, ...]:
    options = ("--in-flight", IN_FLIGHT, "--per-host", IN_FLIGHT, "--workers", "1", "--max-rejects", "100%")
    return ("fetch", urls, out, "--allow", server.authority, *options)


def rows(out: Path) -> list[dict[str, object]]:
    """The index without what may differ between two runs."""
    found = pq.read_table(out / "index.parquet").to_pylist()
    return [{name: value for name, value in row.items() if name not in ("time", "seconds")} for row in found]


def images(out: Path) -> dict[str, str]:
    return {path: digest for path, digest in tree(out).items() if path.startswith("images/")}


def visible_images(out: Path) -> int:
    """How many images are there; each is whole, has its content's name, and decodes."""
    found = images(out)
    for path, digest in found.items():
        assert Path(path).stem == digest, f"{path} is torn"
        with Image.open(out / path) as image:
            image.load()
    return len(found)


def test_killed_at_twenty_random_instants(server: FaultServer, bodies: dict[str, bytes], tmp_path: Path) -> None:
    urls, out = write_list(tmp_path / "urls.txt", server, range(IMAGES)), tmp_path / "pile"
    rng = random.Random(4)
    seen = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", IN_PYTHON, urls, out, server.authority],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        enough = sum(server.visits[path] for path in bodies) + rng.randrange(1, 30)
        while sum(server.visits[path] for path in bodies) < enough:
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        if out.exists():
            now = visible_images(out)
            assert now >= seen
            seen = now
    assert 0 < seen < IMAGES
    assert not (out / "index.parquet").exists()
    last = imagemill(*arguments(urls, out, server))
    assert last.returncode == 0, last.stderr
    refetched = sum(server.visits[path] - 1 for path in bodies)
    assert refetched <= KILLS * IN_FLIGHT
    assert max(server.visits[path] for path in bodies) <= 1 + KILLS
    whole = tmp_path / "whole"
    assert imagemill(*arguments(urls, whole, server)).returncode == 0
    assert images(out) == images(whole)
    assert len(images(out)) == IMAGES
    assert rows(out) == rows(whole)
    assert (out / "rejects.jsonl").read_bytes() == (whole / "rejects.jsonl").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == ["images", "index.parquet", "rejects.jsonl", "run.jsonl"]
    for file in ("rejects.jsonl", "run.jsonl"):
        assert "secret" not in (out / file).read_text()


@pytest.mark.parametrize("point", FETCH_POINTS)
def test_killed_at_every_fault_point(point: str, server: FaultServer, tmp_path: Path) -> None:
    urls, out = write_list(tmp_path / "urls.txt", server, range(5)), tmp_path / "pile"
    killed = imagemill(*arguments(urls, out, server), environment={"IMAGEMILL_FAULT": f"{point}:1"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    visible_images(out)
    asked = server.visits.copy()
    again = imagemill(*arguments(urls, out, server))
    assert again.returncode == 0, again.stderr
    assert visible_images(out) == 5
    assert [row["status"] for row in rows(out)] == ["fetched"] * 5 + ["failed", "fetched"]
    if point in ("index.rows.middle", "fetch.index.after", "fetch.cleanup.before"):
        assert server.visits == asked


def test_a_second_run_is_turned_away_and_the_first_goes_on_by_itself(
    server: FaultServer, bodies: dict[str, bytes], tmp_path: Path
) -> None:
    urls, out = write_list(tmp_path / "urls.txt", server, range(100)), tmp_path / "pile"
    first = subprocess.Popen(
        command(*arguments(urls, out, server)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while sum(server.visits[path] for path in bodies) < 5:
        assert first.poll() is None
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = imagemill(*arguments(urls, out, server))
        assert second.returncode == 3
        assert f"process {first.pid}" in second.stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait(60) == 0
    assert visible_images(out) == 100


def test_ctrl_c_ends_in_order(server: FaultServer, bodies: dict[str, bytes], tmp_path: Path) -> None:
    urls, out = write_list(tmp_path / "urls.txt", server, range(IMAGES)), tmp_path / "pile"
    process = subprocess.Popen(
        command(*arguments(urls, out, server)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while sum(server.visits[path] for path in bodies) < 20:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "interrupted: what was finished is kept; the same command goes on\n"
    assert list((out / ".imagemill" / "arriving").iterdir()) == []
    assert visible_images(out) > 0


def test_a_killed_fetch_asks_for_the_rest_of_a_large_body(tmp_path: Path) -> None:
    """The server stops in the middle; what came before the kill is not sent again, unless the picture changed."""
    whole = {name: noise_png(seed) for seed, name in enumerate(("/kept", "/changed", "/unnamed"))}
    asked: list[tuple[str, str, str]] = []
    killed = False

    async def image(exchange: Exchange) -> None:
        body = whole.get(exchange.target)
        if body is None:
            await exchange.answer(b"", 404)
            return
        changed = killed and exchange.target == "/changed"
        etag = [] if exchange.target == "/unnamed" else [f'ETag: "{"new" if changed else "old"}"']
        asked.append((exchange.target, exchange.headers.get("range", ""), exchange.headers.get("if-range", "")))
        if exchange.headers.get("if-range") == '"old"' and not changed:
            start = int(exchange.headers["range"].removeprefix("bytes=").removesuffix("-"))
            await exchange.head(206, f"Content-Length: {len(body) - start}", *etag, content_range(start, body))
            await exchange.send(body[start:])
            return
        await exchange.head(200, f"Content-Length: {len(body)}", *etag)
        await exchange.send(body if killed else body[: len(body) // 2])
        if not killed:
            await asyncio.sleep(60)

    server = FaultServer(fallback=image)
    urls, out = tmp_path / "urls.txt", tmp_path / "pile"
    with running(server):
        # A host is asked one thing at a time until it has answered once.
        urls.write_text("".join(f"{server.url}{name}\n" for name in ("/gone", *whole)))
        process = subprocess.Popen(command(*arguments(urls, out, server)), stderr=subprocess.PIPE)
        arriving = out / ".imagemill" / "arriving"
        while sum(path.stat().st_size for path in arriving.glob("*.part")) < sum(
            len(body) // 2 for body in whole.values()
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.kill()
        process.communicate()
        killed = True
        urls.write_text(f"{server.url}/new\n" + urls.read_text())  # numbers change, the list has all that it had
        last = imagemill(*arguments(urls, out, server))
    assert last.returncode == 0, last.stderr
    half = len(whole["/kept"]) // 2
    again = {name: (wanted, condition) for name, wanted, condition in asked[-3:]}
    assert again["/kept"] == (f"bytes={half}-", '"old"')
    assert again["/changed"][1] == '"old"'
    assert again["/unnamed"] == ("", "")
    digests = {hashlib.sha256(body).hexdigest() for body in whole.values()}
    assert {row["sha256"] for row in rows(out)} - {None} == digests
    assert visible_images(out) == 3


def noise_png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (400, 500, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def content_range(start: int, body: bytes) -> str:
    return f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"


DIES = """
import ctypes, hashlib, os, sys, imagemill
from imagemill.native import proofs
put = proofs.ProofQueue.put
class Nowhere(list):
    "Bytes at an address that cannot be read."
    _as_parameter_ = ctypes.c_char_p(4096)
def dies(queue, content, *options, **more):
    poisonous = hashlib.sha256(content).hexdigest() == os.environ["POISON"]
    put(queue, Nowhere(content) if poisonous else content, *options, **more)
proofs.ProofQueue.put = dies
imagemill.fetch(*sys.argv[1:3], allow=sys.argv[3:], workers=1)
"""


@needs_core
def test_a_decoder_that_ends_the_run_is_not_met_again(
    server: FaultServer, bodies: dict[str, bytes], tmp_path: Path
) -> None:
    urls, out = write_list(tmp_path / "urls.txt", server, range(8)), tmp_path / "pile"
    jpeg = next(body for body in bodies.values() if body.startswith(b"\xff\xd8"))
    environment = {**os.environ, "POISON": hashlib.sha256(jpeg).hexdigest()}
    command = [sys.executable, "-c", DIES, urls, out, server.authority]
    codes = [subprocess.run(command, env=environment).returncode for _ in range(2)]
    assert codes == [-signal.SIGSEGV, 0]
    assert visible_images(out) == 8
