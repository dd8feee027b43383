"""One contender of `load.py` in a process of its own, which `load.py` starts and asks for one run after the other.

    load_peer.py prepare NUMBER MODE PILE STORAGE
    load_peer.py serve NUMBER MODE PILE STORAGE WORKERS

`serve` answers in lines of JSON: first with the cost of the first batch, imports included but for torch's, then with
the rest of that epoch, then with one run for each line `run IMAGES` it reads. `resize FOLDER` brings the boxes
that lie there to pixels.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import Clock
from peers import PEERS, Peer
from peers.base import BATCH, Place
from photos import Pile

SETTLE_S = 0.3
"""After a run, so that what still goes on in the background is counted, too."""


def tree_clock() -> Clock:
    """CPU seconds of this process, its ended children, and all that live below it."""
    import psutil

    clock = Clock.now()
    cpu_s = clock.cpu_s
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        cpu_s += times.user + times.system + times.children_user + times.children_system
    return Clock(cpu_s, clock.wall_s)


def serve(peer: Peer, place: Place, answer: Any) -> None:
    """The first batch, the rest of its epoch, then what is asked for."""
    import psutil  # noqa: F401
    import torch  # noqa: F401

    began = tree_clock()
    epochs = peer.batches(place)
    batches = iter(epochs)
    next(batches)
    first = tree_clock().since(began)
    answer({"cpu_s": first.cpu_s, "wall_s": first.wall_s})
    answer({"images": sum(batches)})
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        answer(run(peer, epochs, int(argument)) if verb == "run" else resize(peer, Path(argument)))


def run(peer: Peer, epochs: Iterable[int], wanted: int) -> dict[str, float]:
    """Whole epochs until so many images have come."""
    start = tree_clock()
    images, ready, wall_s = 0, 0, 0.0
    while images < wanted:
        batches = iter(epochs)
        ready += sum(next(batches) for _ in range(peer.ahead))
        began = time.perf_counter()
        images += peer.ahead * BATCH + sum(batches)
        wall_s += time.perf_counter() - began
    time.sleep(SETTLE_S)
    return {"images": images, "cpu_s": tree_clock().since(start).cpu_s, "wall_s": wall_s, "timed": images - ready}


def resize(peer: Peer, folder: Path) -> dict[str, str]:
    """Writes `pixels-NUMBER.npy`, or says in words what the contender does."""
    import numpy as np

    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    found = peer.resize(files, [tuple(box) for box in json.loads((folder / "boxes.json").read_text())])
    if isinstance(found, str):
        return {"words": found}
    path = folder / f"pixels-{os.getpid()}.npy"
    np.save(path, found)
    return {"path": str(path)}


def main() -> None:
    verb, number, mode, root, storage, *rest = sys.argv[1:]
    peer = PEERS[int(number)]
    place = Place(mode, Pile.of(Path(root), ""), Path(storage), int(rest[0]) if rest else 1)
    # What libraries print goes to the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(record: dict[str, Any]) -> None:
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    if verb == "prepare":
        peer.prepare(place)
    else:
        serve(peer, place, answer)


if __name__ == "__main__":
    main()
