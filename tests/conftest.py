"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# A machine under load is no failure of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

RunAlone: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real photographs, beside the repository on some machines only; read-only."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data here: this test wants real photographs")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test finds, or leaves, anything in the caches of whoever runs it; processes it starts do not either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEMILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


INIT = """
import fcntl, socket, struct, subprocess, sys
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
"""First process of a namespace: switches the loopback interface on, then runs the command."""


@cache
def _namespace() -> tuple[str, ...]:
    """The command that starts a process in network and process namespaces of its own.

    The namespaces, and every process in them, end with it.
    """
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: Ray is tested in a network namespace only")
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    command += [sys.executable, "-c", INIT]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=60)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace may be made here, and Ray is tested in one only: {tried.stderr.strip()}")
    return tuple(command)


@pytest.fixture(scope="session")
def run_alone() -> Iterator[RunAlone]:
    """Runs a command for Ray: in a network namespace that holds nothing else, with token authentication.

    `run_alone(["imagemill", "pack", …], NAME="value")` gives a CompletedProcess with text in stdout and stderr.
    """
    command = _namespace()
    # Sockets lie below it, and their paths may have 107 bytes at most: pytest's own folders are too deep.
    folder = tempfile.mkdtemp(prefix="ray-")

    def run(arguments: Sequence[str | Path], *, timeout_s: float = 120, **environment: str) -> object:
        settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TMPDIR": folder}
        return subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **settings, **environment},
        )

    yield run
    shutil.rmtree(folder, ignore_errors=True)
