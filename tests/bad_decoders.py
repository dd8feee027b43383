"""Stands in for decoders that hang or crash; importable by the processes that are to suffer it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from imagemill.acquire.look import Examination, examine_file
from imagemill.curate.limits import Limits


def examine_files(paths: list[Path], *, limits: Limits, full: bool) -> list[Examination]:
    """As the real one, but that files that begin with "hang" or "die" do so."""
    found = []
    for path in paths:
        start = path.read_bytes()[:4]
        if start == b"hang":
            time.sleep(60)
        if start == b"die!":
            os._exit(7)
        found.append(examine_file(path, limits=limits, full=full))
    return found
