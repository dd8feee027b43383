"""Frameworks that prepare DataLoaders do not share out a second time what our sampler has shared among the ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagemill.load.order import permute

pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("share_samples.py")
TOTAL, BATCH = 22, 4


@pytest.mark.parametrize(("framework", "module"), [("fabric", "lightning_fabric"), ("accelerate", "accelerate")])
def test_two_ranks_take_the_global_order(framework: str, module: str, tmp_path: Path) -> None:
    pytest.importorskip(module)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, framework, str(tmp_path)], capture_output=True, text=True, timeout=200, env=environment
    )
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    for epoch in range(2 if framework == "fabric" else 1):
        order = permute(np.arange(TOTAL), TOTAL, seed=3, epoch=epoch).tolist()
        taken = [
            sample for step in zip(*(rank[epoch] for rank in ranks), strict=True) for part in step for sample in part
        ]
        whole = TOTAL // (2 * BATCH) * 2 * BATCH
        assert taken[:whole] == order[:whole]
        assert set(taken) == set(order), "the rest, filled up by either"
