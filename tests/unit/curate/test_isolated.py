"""A function in a child process: what it returns, and every way in which it can fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagemill.curate.inspect import Limits
from imagemill.curate.isolated import Isolated
from imagemill.errors import EngineError, SampleError
from imagemill.testing.images import photo, png_file, saved

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # a child process gets this path, too, and imports the tasks by name

from isolated_tasks import inspect_here, run_task  # noqa: E402


@pytest.fixture(scope="module")
def run() -> Iterator[Isolated]:
    with Isolated(run_task, Limits(max_seconds=1.0, max_memory_bytes=200_000_000)) as isolated:
        yield isolated


def test_results_come_back_from_one_child(run: Isolated) -> None:
    assert run(("echo", {"a": [1, 2]})) == {"a": [1, 2]}
    first = run(("pid", None))
    assert first != os.getpid()
    assert run(("pid", None)) == first


def test_a_memoryview_arrives_as_bytes(run: Isolated) -> None:
    assert run(("echo", memoryview(b"abc"))) == b"abc"
    assert run(("type", memoryview(b"abc"))) == "bytes"


def test_exceptions_pass_through_and_leave_the_child_alone(run: Isolated) -> None:
    before = run(("pid", None))
    with pytest.raises(KeyError, match="missing"):
        run(("raise", KeyError("missing")))
    with pytest.raises(SampleError) as caught:
        run(("raise", SampleError("corrupt", "bad", key="k", origin="o")))
    assert (caught.value.reason, caught.value.detail, caught.value.key) == ("corrupt", "bad", "k")
    assert run(("pid", None)) == before


def test_a_result_that_cannot_travel_is_an_error_not_a_death(run: Isolated) -> None:
    with pytest.raises(EngineError, match="cannot travel"):
        run(("unpicklable", None))


@pytest.mark.parametrize("task", [("sleep", 60), ("hold", 60)])
def test_a_hang_is_a_timeout_in_time_and_the_next_call_works(run: Isolated, task: tuple[str, Any]) -> None:
    if task[0] == "hold" and os.name == "nt":
        pytest.skip("libc's sleep is not there on Windows")
    run(("pid", None))
    started = time.monotonic()
    with pytest.raises(SampleError) as caught:
        run(task)
    assert caught.value.reason == "timeout"
    assert 0.9 < time.monotonic() - started < 8
    assert run(("echo", 5)) == 5


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_names_its_signal_and_the_next_call_works(run: Isolated) -> None:
    with pytest.raises(SampleError) as caught:
        run(("crash", None))
    assert (caught.value.reason, caught.value.detail) == ("decoder-died", "killed by SIGSEGV")
    assert run(("echo", 6)) == 6


def test_an_exit_names_its_code(run: Isolated) -> None:
    with pytest.raises(SampleError) as caught:
        run(("exit", 7))
    assert (caught.value.reason, caught.value.detail) == ("decoder-died", "exit code 7")


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux only")
def test_memory_beyond_the_limit_is_a_reject_and_within_it_is_not(run: Isolated) -> None:
    assert run(("allocate", 100_000_000)) == 1
    with pytest.raises(SampleError) as caught:
        run(("allocate", 400_000_000))
    assert caught.value.reason == "memory"
    assert run(("allocate", 100_000_000)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux only")
def test_a_decoder_that_wants_too_much_memory_is_a_reject() -> None:
    bmp = bytearray(saved(photo(8, 8), "BMP"))
    bmp[18:26] = (20_000).to_bytes(4, "little") * 2
    limits = Limits(max_seconds=60, max_memory_bytes=60_000_000)
    with Isolated(inspect_here, limits) as run:
        assert run(saved(photo(20, 30), "PNG")).header.sides == (20, 30)
        for data in (bytes(bmp), png_file(9_000, 9_000, 8, 0, bytes(9_001 * 9_000))):
            with pytest.raises(SampleError) as caught:
                run(data)
            assert caught.value.reason == "memory"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_child_killed_between_calls_is_replaced_without_a_reject(run: Isolated) -> None:
    pid = run(("pid", None))
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    assert run(("pid", None)) != pid


def test_an_interrupted_call_does_not_answer_the_next_one(run: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    run(("echo", 0))
    assert run._child is not None

    def interrupt(timeout: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(run._child.pipe, "poll", interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt):
        run(("echo", "old"))
    assert run(("echo", "new")) == "new"


def test_an_item_that_cannot_be_pickled_costs_no_child(run: Isolated) -> None:
    before = run(("pid", None))
    with pytest.raises(Exception, match=r"pickle|local"):
        run(("echo", lambda: None))
    assert run(("pid", None)) == before


_PARENT = """
import sys, time
sys.path.insert(0, {folder!r})
from isolated_tasks import run_task
from imagemill.curate.inspect import Limits
from imagemill.curate.isolated import Isolated
if __name__ == "__main__":
    run = Isolated(run_task, Limits(max_seconds=60))
    print(run(("pid", None)), flush=True)
    {call}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("call", ["time.sleep(60)", 'run(("sleep", 60))'])
def test_no_orphan_is_left_after_the_parent_is_killed(tmp_path: Path, call: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT.format(folder=str(HERE), call=call))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
    assert _gone_within(child, 5.0)


def _gone_within(pid: int, seconds: float) -> bool:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
