"""The log of a run: a line of JSON an event, cut back to the checkpoint when a run resumes; TensorBoard beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imagemill.errors import MissingExtra

LOG_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]


class RunLog:
    """Events of a run, in order, each with a `kind`.

    Args:
        folder: of the run; None keeps nothing (other ranks than the first).
        start_bytes: length of the log at the checkpoint that training goes on from; what follows is done again.
        tensorboard: whether events for TensorBoard are written, too.
        on_event: is told of each.

    Raises:
        MissingExtra: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, folder: Path | None, *, start_bytes: int = 0, tensorboard: bool = False, on_event: OnEvent | None = None
    ) -> None:
        self._on_event = on_event
        self._file = None
        self._writer: Any = None
        if folder is None:
            return
        path = folder / LOG_NAME
        path.touch()
        os.truncate(path, min(start_bytes, path.stat().st_size))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        if tensorboard:
            self._writer = _tensorboard(folder)

    @property
    def size_bytes(self) -> int:
        """Length of the log so far."""
        return 0 if self._file is None else self._file.tell()

    def event(self, kind: str, **values: Any) -> None:
        """One more event; numbers of a step go to TensorBoard, too."""
        record = {"kind": kind, **values}
        if self._file is not None:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
        if self._writer is not None and "step" in values:
            for name, value in _numbers(values):
                self._writer.add_scalar(f"{kind}/{name}", value, values["step"])
        if self._on_event is not None:
            self._on_event(record)

    def close(self) -> None:
        """Lets go of the files."""
        if self._file is not None:
            self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Every event of a run; a last line that a kill cut short is left out."""
    lines = (folder / LOG_NAME).read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _numbers(values: Mapping[str, Any], start: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{start}{name}/")
        elif isinstance(value, int | float) and name != "step":
            found.append((start + name, float(value)))
    return found


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra("tensorboard", "tensorboard") from None
    return SummaryWriter(str(folder / TENSORBOARD_NAME))
