"""TensorFlow lives in an environment of its own; tests run scripts in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def tensorflow_python() -> str:
    """The Python that has TensorFlow; without one the test is skipped."""
    for python in (os.environ.get("IMAGEMILL_TF_PYTHON"), str(REPOSITORY / ".venv-tf" / "bin" / "python")):
        if python and Path(python).exists():
            return python
    pytest.skip("no TensorFlow: neither IMAGEMILL_TF_PYTHON nor .venv-tf/bin/python in the repository")


def run_with_tensorflow(script: Path, *arguments: Path) -> None:
    """Runs a script there; what goes wrong fails the test."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [tensorflow_python(), str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
