"""A web server on this machine that serves a folder, with faults on order."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FaultyServer(ThreadingHTTPServer):
    """Serves a folder; `faults[path]` are taken one a request, from the front; "always X" stays.

    Faults: a status ("500"), "truncated" (fewer bytes than announced), "short" (fewer bytes, no length given),
    "hang" (nothing after half of the body), "drop" (no answer), "damaged" (a bit flipped), "endless", "slow".
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.requests: list[str] = []
        self.hanging = threading.Event()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or are killed, are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:  # the name that http.server calls
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        queue = self.server.faults[path]
        fault = queue[0].removeprefix("always ") if queue else ""
        if queue and not queue[0].startswith("always "):
            queue.pop(0)
        file = self.server.folder / path.lstrip("/")
        status = int(fault) if fault.isdigit() else 200 if file.is_file() else 404
        if status != 200:
            self.send_error(status)
        elif fault != "drop":
            self._send(file.read_bytes(), fault)

    def _send(self, content: bytes, fault: str) -> None:
        self.send_response(200)
        if fault not in ("short", "endless"):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        if fault == "damaged":
            content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        if fault == "slow":
            time.sleep(2)
        self.wfile.write(content[:half] if fault in ("truncated", "short", "hang") else content)
        self.wfile.flush()
        if fault == "hang":
            self.server.hanging.set()
            self.server.closing.wait(30)
        while fault == "endless" and not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 16))


@contextmanager
def serve(folder: Path) -> Iterator[FaultyServer]:
    """Serves a folder while the block runs."""
    with FaultyServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
