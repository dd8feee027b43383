"""Web servers on this machine that misbehave on order, down to single bytes.

A `FaultServer` answers each path by a coroutine of its own that may write whatever it likes, or
nothing. All servers of a test run in one thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass
class Exchange:
    """One request, and the connection to answer it on.

    Args:
        headers: names in lower case.
        visit: which request for this path it is, from 1.
    """

    server: FaultServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    target: str
    headers: dict[str, str]
    visit: int

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def head(self, status: int = 200, *lines: str, version: str = "1.1") -> None:
        """Status and header lines; nothing is added."""
        text = "\r\n".join([f"HTTP/{version} {status} X", *lines, "", ""])
        await self.send(text.encode("latin-1"))

    async def answer(self, body: bytes = b"", status: int = 200, *lines: str) -> None:
        """A proper answer."""
        await self.head(status, f"Content-Length: {len(body)}", *lines)
        if self.method != "HEAD":
            await self.send(body)

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Nothing more, until the server ends or the client goes."""
        await self.reader.read()


Handler: TypeAlias = Callable[[Exchange], Awaitable[object]]


@dataclass(eq=False)
class FaultServer:
    """A server on a free port of 127.0.0.1 (or `host`).

    Args:
        routes: path (without query) → handler; others get a 404.
        fallback: handles what is not in `routes`.
        tls: makes it an https server.
        visits: requests by path; `log` has (time, path, headers) of each; `accepted` counts connections.
        most_at_once: requests that were being answered at the same time.
    """

    routes: Mapping[str, Handler] = field(default_factory=dict)
    fallback: Handler | None = None
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    visits: Counter[str] = field(default_factory=Counter)
    log: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    accepted: int = 0
    at_once: int = 0
    most_at_once: int = 0

    @property
    def authority(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def times(self, path: str) -> list[float]:
        """When a path was asked for, in seconds of `time.monotonic`."""
        return [when for when, asked, _ in self.log if asked == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for as many requests as come on it."""
        self.accepted += 1
        try:
            while exchange := await self._next(reader, writer):
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    path = exchange.target.partition("?")[0]
                    await self.routes.get(path, self.fallback or _not_found)(exchange)
                finally:
                    self.at_once -= 1
                if writer.is_closing():
                    return
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # clients that hang up are what this server is for, and so is its own end
        finally:
            writer.close()

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        path = target.partition("?")[0]
        self.visits[path] += 1
        self.log.append((time.monotonic(), path, headers))
        return Exchange(self, reader, writer, method, target, headers, self.visits[path])


async def _not_found(exchange: Exchange) -> None:
    await exchange.answer(b"not here", 404)


@contextlib.contextmanager
def running(*servers: FaultServer) -> Iterator[None]:
    """Runs the servers while the block does, in a thread of their own."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    failed: list[BaseException] = []
    stop = asyncio.Event()

    async def run() -> None:
        listening = []
        try:
            for server in servers:
                one = await asyncio.start_server(server.serve, server.host, server.port, ssl=server.tls, limit=1 << 20)
                server.port = one.sockets[0].getsockname()[1]
                listening.append(one)
        except OSError as error:
            failed.append(error)
            return
        finally:
            ready.set()
        await stop.wait()
        for one in listening:
            one.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        if failed:
            raise failed[0]
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
