"""An object store on this machine: moto's server, which speaks S3; its packages lie in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = REPOSITORY / ".venv-s3"
WANTED = ("moto", "flask", "flask_cors", "s3fs")
START_S = 60.0


def s3_environment() -> dict[str, str]:
    """Variables of a process that has these packages; without them the test is skipped."""
    paths = [path for path in [os.environ.get("PYTHONPATH", "")] if path]
    if (PACKAGES / ".stamp").exists():
        paths.insert(0, str(PACKAGES))
    elif any(find_spec(name) is None for name in WANTED):
        pytest.skip("no S3 server: its packages are not in .venv-s3 of the repository; make .venv-s3/.stamp")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def serve_s3() -> Iterator[str]:
    """URL of a store without buckets, while the block runs; its port is one that the system had free."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        watchdog = threading.Timer(START_S, server.kill)
        watchdog.start()
        drain = threading.Thread(target=_read_on, args=(server,))
        try:
            url = _announced(server)
            watchdog.cancel()
            drain.start()
            yield url
        finally:
            watchdog.cancel()
            server.terminate()
            if drain.ident is not None:
                drain.join()


def _announced(server: subprocess.Popen[str]) -> str:
    """The URL that the server says it runs at."""
    said = ""
    assert server.stderr is not None
    for line in server.stderr:
        said += line
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
            return found[1]
    raise RuntimeError(f"moto's server did not start in {START_S:.0f} s: {said}")


def _read_on(server: subprocess.Popen[str]) -> None:
    """Takes the requests that the server tells of, which else would wait in a full pipe."""
    assert server.stderr is not None
    for _ in server.stderr:
        pass
