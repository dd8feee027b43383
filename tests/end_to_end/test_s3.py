"""S3, against moto's server, in a process of its own: see `s3_cases.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from s3_place import REPOSITORY, s3_environment

CASES = Path(__file__).with_name("s3_cases.py")


@pytest.mark.timeout(900)
def test_everything_that_an_s3_store_is_used_for() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(command, cwd=REPOSITORY, env=s3_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed in", done.stdout), done.stdout
