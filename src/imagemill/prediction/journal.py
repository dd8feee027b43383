"""What has been made so far: a line a picture, written when its file is there.

A line that a kill has torn is no line, and its picture is made once more. Whoever finds a line finds the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from imagemill.core.sample import Reject


@dataclass(frozen=True)
class Made:
    """A picture that was predicted.

    Args:
        row: of the plan.
        name: path below OUT.
        shown: path or key of what it was made from.
        sides: (height, width) of what the model was shown.
        alone: whether the network saw it by itself, so that it can be left out when others are made again.
        metrics: measured against the wanted picture; empty where there is none.
        counts: of a segmentation, for the mean over all: class → [hits, pixels of either].
        notes: what the pixel policy met.
    """

    row: int
    name: str
    shown: str
    sides: tuple[int, int]
    alone: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, list[int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A picture that could not be predicted."""

    row: int
    reject: Reject


class Journal:
    """The lines of one run, read once and then added to.

    Args:
        path: of the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.made: dict[int, Made] = {}
        self.refused: dict[int, Refused] = {}
        whole = b""
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            if not line.endswith(b"\n"):
                break
            self._take(json.loads(line))
            whole += line
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115  closed by `close`
        self._file.truncate(len(whole))

    def __contains__(self, row: int) -> bool:
        return row in self.made or row in self.refused

    def add(self, outcome: Made | Refused) -> None:
        """Records what became of a picture; a kill right after forgets nothing."""
        record = asdict(outcome)
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        if "reject" in record:
            self.refused[record["row"]] = Refused(record["row"], Reject(**record["reject"]))
            return
        record["sides"], record["notes"] = tuple(record["sides"]), tuple(record["notes"])
        self.made[record["row"]] = Made(**record)

    def outcomes(self) -> Iterator[Made]:
        """Predicted pictures in the order of the plan."""
        for row in sorted(self.made):
            yield self.made[row]

    def close(self) -> None:
        """Nothing is added any more."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
