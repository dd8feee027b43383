"""The local engine: results, exceptions, deaths, and no orphans."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import engine_tasks as tasks

from imagemill.engines.local import LocalEngine
from imagemill.engines.ranks import membership, own_first
from imagemill.errors import ConfigError, EngineError

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HERE, prepend=os.pathsep)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_task_gives_its_result(workers: int) -> None:
    done: list[int] = []
    results = LocalEngine(workers).run(tasks.double, range(20), on_progress=done.append)
    assert sorted(results) == [2 * number for number in range(20)]
    assert sum(done) == 20


def test_no_tasks_is_no_work() -> None:
    assert list(LocalEngine(2).run(tasks.double, [])) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_arrives_as_it_was_raised(workers: int) -> None:
    with pytest.raises(LookupError, match="no 3"):
        list(LocalEngine(workers).run(tasks.fail, [3]))


def test_a_dead_worker_is_replaced_and_its_task_run_again(tmp_path: Path) -> None:
    work = [(str(tmp_path), number) for number in range(5)]
    assert sorted(LocalEngine(2).run(tasks.die_once, work)) == list(range(5))


def test_a_task_that_kills_every_worker_is_an_error_in_the_end() -> None:
    with pytest.raises(EngineError, match="lost its worker 3 times .last exit code -9."):
        list(LocalEngine(1).run(tasks.die, [1], attempts=3))


def test_workers_end_with_a_killed_driver(tmp_path: Path) -> None:
    script = (
        "import engine_tasks as tasks\n"
        "from imagemill.engines.local import LocalEngine\n"
        "if __name__ == '__main__':\n"
        f"    list(LocalEngine(2).run(tasks.write_pid_and_wait, [{str(tmp_path)!r}] * 2))\n"
    )
    path = tmp_path.parent / "driver.py"
    path.write_text(script)
    driver = subprocess.Popen([sys.executable, str(path)])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    pids = [int(entry.name) for entry in tmp_path.iterdir()]
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.02)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "import engine_tasks as tasks\n"
        "from imagemill.engines.local import LocalEngine\n"
        "list(LocalEngine(1).run(tasks.double, [1]))\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert 'below `if __name__ == "__main__":`' in done.stderr


def test_ranks_as_launchers_tell_them() -> None:
    alone = membership(environment={})
    assert (alone.rank, alone.world_size) == (0, 1)
    torchrun = membership(environment={"RANK": "2", "WORLD_SIZE": "4", "MASTER_PORT": "29500"})
    assert (torchrun.rank, torchrun.world_size) == (2, 4)
    slurm = {"SLURM_PROCID": "1", "SLURM_JOB_ID": "99"}
    assert membership(environment={**slurm, "SLURM_NTASKS": "3"}).world_size == 3
    assert membership(environment={**slurm, "SLURM_NPROCS": "5"}).world_size == 5
    assert membership(1, 2, {}).job == membership(0, 2, {}).job
    assert membership(environment={}).job != alone.job


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, None), (None, 2)])
def test_ranks_that_cannot_be(rank: int | None, world_size: int | None) -> None:
    with pytest.raises(ConfigError, match="rank"):
        membership(rank, world_size, {})


def test_ranks_begin_with_their_own_tasks_and_know_all() -> None:
    assert own_first(range(7), 1, 3) == [1, 4, 2, 5, 0, 3, 6]
