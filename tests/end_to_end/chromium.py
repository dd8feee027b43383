"""Headless Chromium, driven over its DevTools protocol: what a page logs, asks for and looks like."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-port=0",
)
START_S = 60.0
ANSWER_S = 60.0


def program() -> str | None:
    """Where Chromium is, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Seen:
    """What happened in a tab since it was opened.

    Args:
        errors: exceptions, console errors and warnings, violations of the page's policy.
        requests: URLs other than the page itself and data URIs.
        dialogs: messages of alert() and its kin.
    """

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


class Tab:
    """One tab; `seen` fills while it is used."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.seen = Seen()
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._page = ""
        self._reader = asyncio.create_task(self._read())

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        record = await asyncio.wait_for(answer, ANSWER_S)
        assert "error" not in record, (method, record["error"])
        return record["result"]  # type: ignore[no-any-return]

    async def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Loads a file at a width in CSS pixels, in the light or dark colour scheme."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.ask(f"{domain}.enable")
        await self.show(width=width, height=height, dark=dark)
        self._page = page.resolve().as_uri()
        self._loaded.clear()
        await self.ask("Page.navigate", url=self._page)
        await asyncio.wait_for(self._loaded.wait(), ANSWER_S)

    async def show(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Another width or colour scheme for the page that is there."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme, still])

    async def value(self, expression: str) -> Any:
        """What JavaScript makes of an expression; exceptions fail."""
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key: str, *, code: int) -> None:
        """One key stroke, `code` as Windows numbers keys."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    async def screenshot(self, path: Path, *, top: int = 0, height: int | None = None) -> None:
        """The page as PNG: all of it, or `height` pixels from `top`."""
        sides = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": top, "width": sides["width"], "height": height or sides["height"] - top, "scale": 1}
        answer = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        self._reader.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            record = json.loads(message.data)
            if "id" in record:
                self._answers.pop(record["id"]).set_result(record)
            else:
                await self._note(record["method"], record["params"])

    async def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.seen.errors.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.seen.errors.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.seen.errors.append(event["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if url != self._page and not url.startswith("data:"):
                self.seen.requests.append(url)
        elif method == "Page.javascriptDialogOpening":
            self.seen.dialogs.append(event["message"])
            await self._socket.send_json({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
            self._answers[0] = asyncio.get_running_loop().create_future()


class Chromium:
    """A running browser."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """An empty tab, closed at the end."""
        async with self._session.put(f"http://{self._address}/json/new?about:blank") as answer:
            target = await answer.json()
        socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        tab = Tab(socket)
        try:
            yield tab
        finally:
            await tab.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Chromium with a profile of its own, ended at the end."""
    found = program()
    assert found is not None
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            found, *FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            address = await asyncio.wait_for(_listening(process.stderr), START_S)
            drain = asyncio.create_task(process.stderr.read())
            async with aiohttp.ClientSession(trust_env=False) as session:
                yield Chromium(session, address)
            drain.cancel()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _listening(stderr: asyncio.StreamReader) -> str:
    """HOST:PORT, from the line in which Chromium says it."""
    lines = []
    while line := (await stderr.readline()).decode(errors="replace"):
        lines.append(line)
        if "DevTools listening on ws://" in line:
            return line.partition("ws://")[2].partition("/")[0]
    raise AssertionError("Chromium did not start: " + "".join(lines))
