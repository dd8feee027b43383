"""Ray, as it really runs: one program in a network namespace of its own, and what it saw there."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from imagemill.engines import ENGINES
from imagemill.engines.ray import RayEngine
from imagemill.errors import MissingExtra

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

PROGRAM = '''
import json, os, signal, subprocess, sys, time
from pathlib import Path
from imagemill.engines.progress import advance
from imagemill.engines.ray import RayEngine
from imagemill.errors import EngineError, SampleError

FOLDER = Path(sys.argv[1])

def square(number):
    advance(number)
    return number * number

def die_once(number):
    marker = FOLDER / f"died.{number}"
    if number % 3 == 0 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number

def die_always(number):
    with open(FOLDER / "attempts", "a") as file:
        file.write(".")
    os.kill(os.getpid(), signal.SIGKILL)

def refuse(number):
    if number == 2:
        raise SampleError("truncated", "ends at row 7", key="a/b", origin="a/b.jpg")
    time.sleep(600)

def processes(name):
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if lines["Name"].strip() == name and "zombie" not in lines["State"]:
            found.append(int(status.parent.name))
    return sorted(found)

def listening():
    """Local addresses of all listening sockets but those of loopback; hexadecimal, as the kernel writes them."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
    addresses = {line[1].partition(":")[0] for line in lines if line[3] == "0A"}
    return sorted(addresses - {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"})

def error_of(engine, *arguments, **options):
    start = time.monotonic()
    try:
        list(engine.run(*arguments, **options))
    except Exception as error:
        return [type(error).__name__, str(error), getattr(error, "reason", ""), time.monotonic() - start]

seen = {}
options = "--head --num-cpus=2 --disable-usage-stats --include-dashboard=false --node-ip-address=127.0.0.1 --port=6399"
start = [sys.executable, "-m", "ray.scripts.scripts", "start", *options.split()]
subprocess.run(start, check=True, capture_output=True)
leftover = processes("gcs_server")

# A cluster of its own, although another one runs that every ray.init without an address would join.
import_before = "ray" in sys.modules
running = RayEngine(2).run(die_once, range(7))
first = next(running)
import ray
from ray._raylet import AuthenticationMode, get_authentication_mode
seen["imported early"] = import_before
seen["joined"] = ray.get_runtime_context().gcs_address.endswith(":6399")
seen["clusters"] = len(processes("gcs_server"))
seen["token"] = get_authentication_mode() == AuthenticationMode.TOKEN
seen["open to others"] = listening()
seen["own"] = sorted([first, *running])
seen["left"] = [processes("gcs_server") == leftover, ray.is_initialized()]

os.environ["RAY_ADDRESS"] = "127.0.0.1:6399"
engine, counts = RayEngine(2), []
seen["by address"] = sorted(engine.run(square, range(9), on_progress=counts.append))
seen["progress"] = sum(counts)
seen["left by address"] = processes("gcs_server") == leftover
seen["dying"] = error_of(engine, die_always, [7], attempts=2)
seen["attempts"] = (FOLDER / "attempts").read_text()
seen["refused"] = error_of(engine, refuse, [1, 2, 3])
seen["unreachable"] = error_of(RayEngine(address="127.0.0.1:1"), square, [1])
seen["nothing to do"] = list(RayEngine(address="127.0.0.1:1").run(square, []))
print(json.dumps(seen))
'''


@pytest.fixture(scope="module")
def seen(run_alone: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `PROGRAM` saw."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "program.py").write_text(PROGRAM)
    finished = run_alone([sys.executable, folder / "program.py", folder], timeout_s=280)
    assert finished.returncode == 0, finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    result["died"] = sorted(path.name for path in folder.glob("died.*"))
    return result


def test_a_worker_killed_in_the_middle_is_replaced(seen: dict[str, Any]) -> None:
    assert seen["died"] == ["died.0", "died.3", "died.6"]
    assert seen["own"] == [number**2 for number in range(7)]


def test_it_starts_a_cluster_of_its_own_and_ends_that_alone(seen: dict[str, Any]) -> None:
    assert not seen["joined"]
    assert seen["clusters"] == 2
    assert seen["left"] == [True, False]


def test_its_cluster_is_reached_from_this_machine_only_and_by_token(seen: dict[str, Any]) -> None:
    assert not seen["imported early"]
    assert seen["token"]
    assert seen["open to others"] == []


def test_a_cluster_given_by_address_is_used_and_left_running(seen: dict[str, Any]) -> None:
    assert seen["by address"] == [number**2 for number in range(9)]
    assert seen["left by address"]


def test_progress_adds_up(seen: dict[str, Any]) -> None:
    assert seen["progress"] == sum(range(9))


def test_workers_that_always_die_are_an_engine_error(seen: dict[str, Any]) -> None:
    kind, message, _, _ = seen["dying"]
    assert kind == "EngineError"
    assert "task 7 lost its worker 2 times" in message
    assert seen["attempts"] == ".."


def test_an_exception_arrives_as_it_was_raised_and_ends_the_rest(seen: dict[str, Any]) -> None:
    kind, message, reason, seconds = seen["refused"]
    assert (kind, reason) == ("SampleError", "truncated")
    assert message == "a/b.jpg: truncated: ends at row 7"
    assert seconds < 60


def test_a_cluster_that_is_not_there_is_an_engine_error_at_once(seen: dict[str, Any]) -> None:
    kind, message, _, seconds = seen["unreachable"]
    assert kind == "EngineError"
    assert "no Ray cluster at '127.0.0.1:1'" in message
    assert seconds < 10


def test_no_tasks_need_no_cluster(seen: dict[str, Any]) -> None:
    assert seen["nothing to do"] == []


def test_without_ray_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"imagemill\[ray\]"):
        RayEngine()


def test_it_is_an_engine() -> None:
    assert ENGINES.get("ray") is RayEngine
