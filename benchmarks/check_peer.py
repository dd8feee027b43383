"""One measurement of `check.py`, in a process of its own: `check_peer.py NAME IMAGES SCRATCH RESULT`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from machine import Clock, children_peak_mib, peak_mib, reset_peak

WARM_UP = 8


def imagemill(images: Path, scratch: Path, *, workers: int, decode: str = "full", twice: bool = False) -> Clock:
    """A check, its table written; `twice` measures the second one, which finds the first one's results."""
    import imagemill

    def check(out: str, cache: bool) -> None:
        imagemill.check(images, scratch / out, workers=workers, decode=decode, cache=cache)

    if twice:
        check("first", True)
    start = Clock.now()
    check("out", twice)
    return Clock.now().since(start)


def cleanvision(images: Path, scratch: Path, *, jobs: int) -> Clock:
    """All of its issues: light, dark, blurry, grey, odd size and aspect, low information, exact and near duplicates."""
    from cleanvision import Imagelab

    start = Clock.now()
    lab = Imagelab(data_path=str(images))
    lab.find_issues(n_jobs=jobs, verbose=False)
    lab.issues.to_csv(scratch / "issues.csv")
    return Clock.now().since(start)


def fastdup(images: Path, scratch: Path, *, threads: int) -> Clock:
    """Embeddings by its own model, nearest neighbours, clusters, and statistics of every image."""
    import fastdup

    start = Clock.now()
    run = fastdup.create(work_dir=str(scratch / "fastdup"), input_dir=str(images))
    run.run(num_threads=threads, overwrite=True, verbose=False, print_summary=False)
    return Clock.now().since(start)


CONTENDERS: dict[str, Callable[[Path, Path], Clock]] = {
    "imagemill, in this process": partial(imagemill, workers=0),
    "imagemill, 2 workers": partial(imagemill, workers=2),
    "imagemill, second run": partial(imagemill, workers=0, twice=True),
    "imagemill --decode headers": partial(imagemill, workers=0, decode="headers"),
    "cleanvision, 1 job": partial(cleanvision, jobs=1),
    "cleanvision, 2 jobs": partial(cleanvision, jobs=2),
    "fastdup, 1 thread": partial(fastdup, threads=1),
}
"""Name → a run over a folder of images, which says what it cost without imports."""


def main() -> None:
    name, images, scratch, result = sys.argv[1], *map(Path, sys.argv[2:])
    os.environ |= {"IMAGEMILL_CACHE": str(scratch / "cache"), "SENTRY_OPT_OUT": "1", "HOME": str(scratch)}
    few = scratch / "few"
    for path in sorted(path for path in images.rglob("*") if path.is_file())[:WARM_UP]:
        target = few / path.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    run = CONTENDERS[name]
    (scratch / "warm").mkdir()
    (scratch / "run").mkdir()
    if "imagemill" in name or "cleanvision" in name:
        run(few, scratch / "warm")
        shutil.rmtree(scratch / "cache", ignore_errors=True)
    reset_peak()
    cost = run(images, scratch / "run")
    numbers = {"cpu_s": cost.cpu_s, "wall_s": cost.wall_s, "peak_mib": peak_mib(), "child_mib": children_peak_mib()}
    result.write_text(json.dumps(numbers))


if __name__ == "__main__":
    main()
