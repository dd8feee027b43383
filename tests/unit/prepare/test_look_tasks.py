"""What a worker of `check` does to its process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import pyarrow as pa
from imagemill.prepare import look_tasks

look_tasks._spare_pandas()
pa.array([1, 2])
assert "pandas" not in sys.modules

import pandas as pd

assert pa.Table.from_pandas(pd.DataFrame({"a": [1]})).column_names == ["a"]
assert pa.table({"a": [1, 2]}).to_pandas()["a"].sum() == 3
assert pa.array(pd.Series([1, None])).null_count == 1
"""


def test_pandas_works_where_arrow_was_told_to_do_without() -> None:
    pytest.importorskip("pandas")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
