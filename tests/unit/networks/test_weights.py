"""Weights from files of every kind, and from a server."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imagemill.errors import ConfigError, DamageError, RemoteError
from imagemill.networks.weights import PUBLISHED, PublishedWeights, fetched, read_weights, state_sha256

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}


def equal(found: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(STATE) and all(torch.equal(found[name], value) for name, value in STATE.items())


def test_safetensors_and_state_dicts(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.bin")
    assert equal(read_weights(tmp_path / "a.bin"))
    torch.save(STATE, tmp_path / "b.bin")
    assert equal(read_weights(tmp_path / "b.bin"))
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "c.bin")
    assert equal(read_weights(tmp_path / "c.bin"))
    assert state_sha256(STATE) == state_sha256(dict(reversed(STATE.items())))
    assert state_sha256(STATE) != state_sha256({**STATE, "b": torch.tensor(8)})


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("malice.txt", "w")  # type: ignore[return-value]


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malice()}, tmp_path / "evil.pth")
    with pytest.raises(ConfigError, match="no plain state dict"):
        read_weights(tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(ConfigError, match="no weights that are known"):
        read_weights(tmp_path / "evil.pkl")
    assert not (tmp_path / "malice.txt").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_weights(tmp_path / "nowhere")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="holds no state dict but a list"):
        read_weights(tmp_path / "list.pth")
    save_file(STATE, tmp_path / "cut")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-3])
    with pytest.raises(DamageError, match="damaged safetensors"):
        read_weights(tmp_path / "cut")


class Server(ThreadingHTTPServer):
    """Gives `content`, at most `limit` bytes of it a request; notes what was asked for."""

    content = bytes(range(256)) * 5000
    limit: int | None = None
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.server.limit is None else body[: self.server.limit])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def published(server: Server, content: bytes | None = None) -> PublishedWeights:
    digest = hashlib.sha256(server.content if content is None else content).hexdigest()
    return PublishedWeights(f"http://127.0.0.1:{server.server_port}/w.safetensors", f"sha256:{digest}", "the weights")


def test_weights_are_fetched_once_and_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.limit = 300_000
    with pytest.raises(RemoteError, match=r"ended after 300,000 of 1,280,000 bytes.*say --weights"):
        fetched(published(server), offline_hint="say --weights FILE")
    server.limit = None
    seen: list[tuple[int, int | None]] = []
    path = fetched(published(server), offline_hint="", on_progress=lambda have, total: seen.append((have, total)))
    assert path.read_bytes() == server.content
    assert path.is_relative_to(tmp_path / "cache")
    assert server.asked == [None, "bytes=300000-"]
    assert seen[-1] == (1_280_000, 1_280_000)
    assert fetched(published(server), offline_hint="") == path
    assert len(server.asked) == 2


def test_other_bytes_than_published_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="wanted"):
        fetched(published(server, b"something else"), offline_hint="")
    assert [path.suffix for path in (tmp_path / "cache" / "weights").iterdir()] == [".lock"]


def test_offline_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path))
    away = PublishedWeights("http://127.0.0.1:9/w.tar.gz", "md5:0", "the weights")
    with pytest.raises(RemoteError, match=r"the weights could not be fetched: .*refused.*Fetch http://127.0.0.1:9/"):
        fetched(away, offline_hint="give it as --weights w.tar.gz")


def test_what_is_published_has_a_digest_and_comes_over_tls() -> None:
    for weights in PUBLISHED.values():
        algorithm, _, digest = weights.digest.partition(":")
        assert len(digest) == hashlib.new(algorithm).digest_size * 2
        assert weights.url.startswith("https://")
