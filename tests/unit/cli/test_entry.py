"""How a command ends: one line, the exit code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.cli.app import VERBS
from imagemill.config import cpu_count

LINE = "interrupted: what was finished is kept; the same command goes on\n"

SIGNAL_AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
from imagemill.cli import main
main()
"""
"""A command that gets a signal at the moment it imports a module."""


def python(*arguments: str, ignore_interrupt: bool = False) -> subprocess.CompletedProcess[str]:
    handler = signal.SIG_IGN if ignore_interrupt else signal.default_int_handler
    before = signal.signal(signal.SIGINT, handler)
    try:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("module", ["imagemill.cli.app", "imagemill.cli.report", "imagemill.reports.page"])
def test_a_signal_is_one_line_and_its_exit_code_from_the_first_import_on(number: int, code: int, module: str) -> None:
    script = SIGNAL_AT_IMPORT.format(module=module, number=int(number))
    done = python("-c", script, "report", "nowhere", "nowhere.html")
    assert (done.returncode, done.stderr, done.stdout) == (code, LINE, "")


def test_a_shell_that_lets_background_jobs_ignore_ctrl_c_is_obeyed() -> None:
    script = SIGNAL_AT_IMPORT.format(module="imagemill.api.pack", number=int(signal.SIGINT))
    assert python("-c", script, "--version", ignore_interrupt=True).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="names that are too long are told in another way there")
def test_what_the_system_refuses_is_one_line() -> None:
    done = python("-m", "imagemill", "info", "x" * 300)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "too long" in done.stderr
    assert done.stderr.count("\n") == 1


SHOWN_MODULES = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from imagemill.cli import main
main()
"""


def modules_of(*words: object) -> set[str]:
    """What a command has imported when it ends."""
    return set(python("-c", SHOWN_MODULES, *map(str, words)).stderr.split())


@pytest.mark.parametrize(("verb", "other"), [("fetch", "pack"), ("pack", "doctor"), ("info", "fetch")])
def test_a_verb_imports_no_other(verb: str, other: str) -> None:
    modules = modules_of(verb, "--help")
    assert (f"imagemill.cli.{verb}" in modules, f"imagemill.cli.{other}" in modules) == (True, False)


def test_the_help_of_all_imports_no_verb() -> None:
    assert modules_of("--help").isdisjoint(f"imagemill.cli.{verb}" for verb in VERBS)


@pytest.mark.parametrize("verb", ["fetch", "dims"])
def test_what_needs_no_terminal_imports_nothing_that_draws_on_one(verb: str) -> None:
    assert "rich" not in modules_of(verb, *(["--help"] if verb == "fetch" else ["640x960"]))


HEAVY = {"numpy", "pyarrow", "rich", "pydantic", "torch", "PIL", "cv2", "h5py", "jinja2", "fsspec"}
"""What a run that fetches a list of lines does without, until it writes the index."""

UNTIL_THE_FIRST_REQUEST = """
import sys
from imagemill.acquire import loop

def run_loop(work):
    work.close()
    print(*sys.modules)
    sys.exit()

loop.run_loop = run_loop
from imagemill.cli import main
main()
"""


def test_fetch_imports_what_reads_and_writes_tables_after_its_requests(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://a.org/1.jpg\n")
    done = python("-c", UNTIL_THE_FIRST_REQUEST, "fetch", str(tmp_path / "urls.txt"), str(tmp_path / "out"))
    modules = set(done.stdout.split())
    assert "imagemill.acquire.download" in modules
    assert modules & HEAVY == set()


def test_the_help_of_fetch_needs_none_of_it_either() -> None:
    assert modules_of("fetch", "--help") & HEAVY == set()


@pytest.mark.skipif(cpu_count() == 1, reason="where there is no core for another process, this one writes the index")
def test_fetch_leaves_the_index_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1/refused.jpg\n")
    modules = modules_of("fetch", tmp_path / "urls.txt", tmp_path / "out")
    assert (tmp_path / "out" / "index.parquet").exists()
    assert modules & HEAVY == set()
