"""How `load.py` talks to its contenders: processes in their environments, and the memory they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import load_peer
import psutil
from peers import PEERS

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 240
VERSIONS = """\
import json
from importlib.metadata import distributions
print(json.dumps({found.metadata["Name"]: found.version for found in distributions()}))
"""


class Failed(Exception):
    """A contender that cannot run; the last line of what it said."""


def interpreter(venv: str) -> str:
    """The Python of an environment beside the benchmarks; the running one for its own."""
    path = ROOT / venv / "bin" / "python"
    return sys.executable if venv == ".venv-bench" or not path.exists() else str(path)


def versions(venvs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Environment → distribution → version; nothing of an environment that is not there."""
    return {
        venv: json.loads(subprocess.check_output([interpreter(venv), "-c", VERSIONS], text=True))
        for venv in sorted(venvs)
    }


def prepare(number: int, mode: str, pile: Path, storage: Path) -> None:
    """Has a contender write its own storage.

    Raises:
        Failed: it could not.
    """
    done = subprocess.run(
        _command("prepare", number, mode, pile, storage),
        env=_environment(storage),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise Failed(_last_line(done.stderr, done.returncode))


class Contender:
    """A running `load_peer.py serve`.

    Attributes:
        first: CPU and wall seconds to its first batch.
        peak_mib: memory of it and its children during the first epoch.

    Raises:
        Failed: it ended before the first epoch had.
    """

    def __init__(self, number: int, mode: str, pile: Path, storage: Path, workers: int) -> None:
        peer = PEERS[number]
        self.name, self.unit, self.checks, self.workers = peer.name, peer.unit, peer.checks, workers
        self._errors = storage / f"errors-{workers}.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*_command("serve", number, mode, pile, storage), str(workers)],
                env=_environment(storage),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.first = self._answer()
        with Peak(self._process.pid) as peak:
            self._answer()
        self.peak_mib = peak.mib

    def ask(self, line: str) -> dict[str, Any]:
        """The answer to a line.

        Raises:
            Failed: the process has ended.
        """
        if self._process.stdin is None or self._process.poll() is not None:
            raise Failed("it had ended")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Lets the process end by itself, and helps where it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            children = psutil.Process(self._process.pid).children(recursive=True)
            for process in (*children, self._process):
                process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        timer = threading.Timer(TIMEOUT_S, self._process.kill)
        timer.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        timer.cancel()
        if not line:
            self._process.wait()
            raise Failed(_last_line(self._errors.read_text(), self._process.returncode))
        answer: dict[str, Any] = json.loads(line)
        return answer


class Peak:
    """The largest sum of proportional set sizes of a process tree, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        over = False
        while not over:
            over = self._over.wait(0.1)  # and once more at the end: the epoch may have been shorter
            try:
                processes = [self._root, *self._root.children(recursive=True)]
            except psutil.Error:
                return
            self.mib = max(self.mib, sum(map(_pss_mib, processes)))


def _pss_mib(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        try:
            return float(process.memory_info().rss) / 2**20
        except psutil.Error:
            return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _command(verb: str, number: int, mode: str, pile: Path, storage: Path) -> list[str]:
    python = interpreter(PEERS[number].venv)
    return [python, load_peer.__file__, verb, str(number), mode, str(pile), str(storage)]


def _environment(storage: Path) -> dict[str, str]:
    """Caches and temporary files lie beside the storage, nothing is asked of the network."""
    places = {
        "TMPDIR": storage / "tmp",
        "HF_HOME": storage / "hub",
        "DATA_OPTIMIZER_CACHE_FOLDER": storage / "optimizer",
        "DATA_OPTIMIZER_DATA_CACHE_FOLDER": storage / "inputs",
    }
    places["TMPDIR"].mkdir(exist_ok=True)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return os.environ | offline | {name: str(path) for name, path in places.items()}


def _last_line(text: str, code: int) -> str:
    lines = text.strip().splitlines() or [f"exit code {code}"]
    return lines[-1][:200]
