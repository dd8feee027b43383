"""Looking at some samples of a source: what a worker of `check` loads and runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa

from imagemill.curate.picture import Picture, remembered
from imagemill.engines.local import is_disposable
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.job import LISTING_NAME, take
from imagemill.prepare.looking import Looked, Looker, PartWriter
from imagemill.sources.base import Source, open_listing


@dataclass(frozen=True)
class LookTask:
    """Some rows of a listing to look at; picklable."""

    source: Source
    looker: Looker
    work: Path
    start: int
    stop: int

    def __str__(self) -> str:
        return f"samples {self.start}–{self.stop}"


@dataclass(frozen=True)
class Part:
    """What a task made: its file, how many pictures it decoded, how many it remembered from earlier."""

    start: int
    path: Path
    decoded: int
    remembered: int


def look_at_rows(task: LookTask) -> Part:
    """Looks at some samples and writes their rows."""
    if is_disposable() and type(task.source).__module__.startswith("imagemill."):
        _spare_pandas()
    with _on_one_core():
        return _looked_at(task)


def _looked_at(task: LookTask) -> Part:
    listing = open_listing(task.work / LISTING_NAME)
    rows = take(listing, np.arange(task.start, task.stop)).to_pylist()
    name = f"{task.start:012d}"
    part = task.work / "parts" / f"{name}.arrow"
    part.parent.mkdir(exist_ok=True)
    writer = PartWriter(part, task.looker.schema)
    pictures: list[Picture] = []
    with GuardedRows(task.source, task.looker, task.work, name, watch=is_disposable()) as guarded:
        for row, result in guarded.make(rows):
            writer.add(row, result)
            if isinstance(result, Looked):
                pictures.extend(result.pictures.values())
    writer.write()
    fresh = [(picture.content, remembered(picture)) for picture in pictures if picture.fresh]
    if task.looker.cache is not None:
        task.looker.cache.add(fresh)
        task.looker.cache.close()
    return Part(task.start, part, len(fresh), sum(picture.known for picture in pictures))


@contextmanager
def _on_one_core() -> Iterator[None]:
    """OpenCV without threads of its own: pictures are too small for them, they would cost a fifth more CPU."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _spare_pandas() -> None:
    """Has Arrow do without pandas in this process: its first array imports pandas where that is installed.

    That takes as long as looking at a hundred pictures, and no look needs it. Arrow tries once, and afterwards takes
    a Series for any other sequence (NaN is no null) until a table is converted from or to pandas; so this is not for
    workers that run a source of the user's own.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas, and leaves every other module to other finders."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """None for all but pandas.

        Raises:
            ModuleNotFoundError: it is pandas.
        """
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not loaded here", name=fullname)
