"""Rows made under guard: a bad sample is a reject, and one that kills or stalls its reader is found."""

from __future__ import annotations

import faulthandler
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from imagemill.core.sample import Reject, Sample
from imagemill.curate.isolated import Isolated
from imagemill.curate.limits import Limits
from imagemill.engines import progress
from imagemill.errors import SampleError
from imagemill.prepare.commit import atomic_write
from imagemill.sources.base import Source

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


class Maker(Protocol[Made_co]):
    """Makes something of a sample (a `Row`, staged files) within limits; picklable."""

    @property
    def limits(self) -> Limits:
        """What one image may cost."""
        ...

    def __call__(self, sample: Sample) -> Made_co:
        """What is made; raises SampleError where the sample cannot be used."""
        ...


class GuardedRows(Generic[Made]):
    """Makes rows from listing rows, so that a bad sample is a reject and a killer of processes is found.

    While it works, a marker lies in `work_dir/decoding`. Finding the marker there at the start
    means that an earlier attempt died or hung on one of these samples; this attempt then makes
    every row in a child process with a time limit, and records what kills or stalls it.

    Args:
        source: where the samples are.
        maker: how rows are made.
        work_dir: folder for markers and verdicts; survives until the job is finished.
        name: of this part of the job, unique in it.
        watch: whether this process may be ended if a decode hangs (workers: yes, a user's own process: no).
    """

    def __init__(self, source: Source, maker: Maker[Made], work_dir: Path, name: str, *, watch: bool) -> None:
        self._made = ReadAndMake(source, maker)
        self._marker = work_dir / "decoding" / name
        self._verdicts_path = work_dir / "verdicts" / f"{name}.jsonl"
        self._max_seconds = maker.limits.max_seconds
        self._watch = watch
        self._careful = self._suspicious = False
        self._isolated: Isolated | None = None

    def __enter__(self) -> GuardedRows[Made]:
        self._careful = self._marker.exists()
        self._verdicts = load_verdicts(self._verdicts_path)
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        self._stall = Stall(self._max_seconds) if self._watch and not self._careful else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stall is not None:
            self._stall.close()
        if self._isolated is not None:
            self._isolated.close()
        if not self._suspicious:
            self._marker.unlink(missing_ok=True)

    def suspect(self) -> None:
        """One of these rows seems to hang: the marker stays, so that the next attempt is a careful one."""
        self._suspicious = True

    def make(self, listing_rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Made | Reject]]:
        """(listing row, row or reject) for each listing row, in order."""
        for listing_row in listing_rows:
            if self._made.source.remote:
                # A slow network is no slow decoder.
                if self._stall is not None:
                    self._stall.pause()
                listing_row = self._made.source.fetch(listing_row)
            if self._stall is not None:
                self._stall.next()
            try:
                yield listing_row, self._row(listing_row)
            except SampleError as error:
                yield (
                    listing_row,
                    Reject(
                        key=listing_row["key"],
                        path=error.origin or listing_row["key"],
                        reason=error.reason,
                        detail=error.detail,
                        files=listing_row["files"],
                    ),
                )
            progress.advance(1)

    def _row(self, listing_row: Mapping[str, Any]) -> Made:
        key = listing_row["key"]
        if key in self._verdicts:
            raise self._verdicts[key]
        if not self._careful:
            try:
                return self._made(listing_row)
            except SampleError as error:
                if error.reason in ("timeout", "decoder-died"):
                    raise self._settled(error, key) from None
                if error.reason != "memory":
                    raise
        return self._made_in_child(listing_row)

    def _settled(self, error: SampleError, key: str) -> SampleError:
        """The error, written down: another attempt might find something else."""
        verdict = error.of(key, error.origin or key)
        self._verdicts[key] = verdict
        save_verdicts(self._verdicts_path, self._verdicts)
        return verdict

    def _made_in_child(self, listing_row: Mapping[str, Any]) -> Made:
        """The row, made by a process that may die of it; what it died of is settled for good."""
        if self._isolated is None:
            self._isolated = Isolated(self._made, self._made.maker.limits)
        try:
            made: Made = self._isolated(dict(listing_row))
        except SampleError as error:
            if error.reason not in ("timeout", "decoder-died", "memory"):
                raise
            raise self._settled(error, listing_row["key"]) from None
        return made


@dataclass(frozen=True)
class ReadAndMake(Generic[Made]):
    """From a listing row to what is made of it, such as a row of the dataset; picklable, for a child process."""

    source: Source
    maker: Maker[Made]

    def __call__(self, listing_row: Mapping[str, Any]) -> Made:
        """Reads the sample and makes its row.

        Raises:
            SampleError: the sample cannot be used.
        """
        return self.maker(self.source.read(listing_row))


class Stall:
    """Ends this process if one sample takes much too long, even where the decoder holds the interpreter.

    The alarm is set anew at most twice a limit, not for every sample (each costs a thread), so a
    stall is noticed after half to once the limit; the careful attempt that follows measures exactly.
    """

    def __init__(self, max_seconds: float) -> None:
        self._limit_s = max_seconds
        # Closed by hand: the traceback that faulthandler insists on goes nowhere.
        self._sink = open(os.devnull, "w")  # noqa: SIM115
        self._armed_at = -max_seconds

    def next(self) -> None:
        """A new sample begins."""
        now = time.monotonic()
        if now - self._armed_at > self._limit_s / 2:
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._sink)
            self._armed_at = now

    def pause(self) -> None:
        """No alarm until the next sample begins."""
        faulthandler.cancel_dump_traceback_later()
        self._armed_at = -self._limit_s

    def close(self) -> None:
        """No alarm any more."""
        self.pause()
        self._sink.close()


def load_verdicts(path: Path) -> dict[str, SampleError]:
    """Key → what an earlier attempt found out about it."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    records = [json.loads(line) for line in lines]
    return {record["key"]: SampleError(**record) for record in records}


def save_verdicts(path: Path, verdicts: Mapping[str, SampleError]) -> None:
    """Writes verdicts so that they survive this process."""
    lines = [
        json.dumps({"reason": error.reason, "detail": error.detail, "key": key, "origin": error.origin})
        for key, error in verdicts.items()
    ]
    atomic_write(path, "".join(line + "\n" for line in lines).encode())
