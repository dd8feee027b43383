"""Fault points: named places where a test can end the process, as a power cut would.

`IMAGEMILL_FAULT=shard.rename.after:3` kills the process with SIGKILL (exit code 137
where there are no signals) the third time it passes that place. In every other run a
fault point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "plan.write.before",
    "plan.write.after",
    "shard.start",
    "shard.write.before",
    "shard.write.middle",
    "shard.write.after",
    "shard.fsync.after",
    "shard.rename.before",
    "shard.rename.middle",
    "shard.rename.after",
    "shard.commit.before",
    "shard.commit.after",
    "finish.before",
    "finish.rejects.after",
    "finish.card.after",
    "manifest.write.before",
    "manifest.write.after",
    "finish.cleanup.middle",
)
"""Fault points of a run, in the order in which it passes them."""

SMALL_FILE_POINTS = ("small.write.before", "small.rename.before", "small.rename.after")
"""Passed by every small file that is written whole or not at all: owner, commit records, manifest, …"""

TILE_POINTS = (
    "tile.rename.before",
    "tile.record.before",
    "tile.number.after",
    "tile.place.before",
    "tile.manifest.before",
)
"""Fault points of `tile`, beside those of small files."""

FETCH_POINTS = (
    "image.rename.before",
    "image.rename.after",
    "journal.put.after",
    "index.rows.middle",
    "fetch.index.after",
    "fetch.cleanup.before",
)
"""Fault points of `fetch`, in the order in which it passes them."""

PREDICT_POINTS = ("predict.write.after", "predict.record.after")
"""Fault points of `predict`, beside those of small files: a picture is there, it is recorded."""

TRAIN_POINTS = ("train.step.after", "train.checkpoint.after")
"""Fault points of `train`, beside those of small files."""

_armed: dict[str, int] = {}
if "IMAGEMILL_FAULT" in os.environ:
    _name, _, _count = os.environ["IMAGEMILL_FAULT"].partition(":")
    _armed[_name] = int(_count or 1)


def fault_point(name: str) -> None:
    """Ends the process here if a test asked for it; `name` is one of those above."""
    if name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)
