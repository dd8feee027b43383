"""Memory a row, by the benchmark that does the same with ten million."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCALE = Path(__file__).parents[2] / "benchmarks" / "scale.py"
FEW, MANY = 200_000, 1_000_000
MAPPED_BYTES = 64
"""What a row may take in mapped files beside its own text."""

PLANNING_BYTES = 100
"""What a row may take of resident memory while it is planned: about 65.

A Python string of its key would take as much again."""


def run(*arguments: object) -> dict[str, dict[str, float]]:
    command = [sys.executable, str(SCALE), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=200)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    return run("--rows", FEW, "--scratch", tmp_path_factory.mktemp("scale"), "--json")


def test_what_is_mapped_while_a_job_runs_has_its_limit(stages: dict[str, dict[str, float]]) -> None:
    plan = stages["plan"]
    assert 16 < plan["listing_bytes"] + plan["order_bytes"] + plan["groups_bytes"] <= MAPPED_BYTES


def test_what_is_mapped_of_a_dataset_has_its_limit(stages: dict[str, dict[str, float]]) -> None:
    assert 16 < stages["open"]["index_bytes"] <= MAPPED_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory can be set back on Linux only")
def test_planning_keeps_no_text(stages: dict[str, dict[str, float]], tmp_path: Path) -> None:
    many = run("--stage", "plan", "--rows", MANY, "--scratch", tmp_path)
    grown_bytes = (many["peak_mib"] - stages["plan"]["peak_mib"]) * 2**20
    assert grown_bytes / (MANY - FEW) <= PLANNING_BYTES
