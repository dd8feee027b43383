"""`predict`: every picture of a source through a model, into files; after a kill only what is missing is made.

Pictures are worked on in the order of the plan, `PART_ROWS` at a time. Those that are shown whole are gathered by their
sides within the part, so which ones the network sees together depends on the plan alone and not on when a run was
killed: a network may round differently for another batch. A group of which a picture is missing is predicted again as
a whole, and what is missing of it is written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.config import cpu_count
from imagemill.core.sample import Reject
from imagemill.engines.ranks import membership
from imagemill.errors import SampleError
from imagemill.faults import fault_point
from imagemill.prediction.decoded import PIXELS_AHEAD, Ahead, Decoded, SampleDecoder
from imagemill.prediction.journal import Journal, Made, Refused
from imagemill.prediction.measures import Measured, measured
from imagemill.prediction.model import Flipped, Model
from imagemill.prediction.options import PredictOptions
from imagemill.prediction.output import Output, finished, written
from imagemill.prediction.plan import OUT, RECORD_NAME, Roles, predict_job
from imagemill.prediction.play import PlaySource
from imagemill.prediction.result import PredictResult, result_of, write_record
from imagemill.prediction.tiling import Pixels, tiled
from imagemill.prepare.commit import WORK_NAME, check_own, clear_disk_errors, clear_temporary, make_output
from imagemill.prepare.folder_job import check_apart, clear_work, plan_rows
from imagemill.prepare.guard import GuardedRows
from imagemill.prepare.ownership import own
from imagemill.sources.base import Source

PART_ROWS = 64
PENDING_FILES = 16
"""Pictures that are being written and not yet recorded, at most: a kill costs no more than these."""

GRACE_S = 120.0
"""How much longer than two decodes may take (a pair's) a sample may be on its way: a child process has to start."""

Guarded = tuple[Mapping[str, Any], Decoded | Reject]
Placed = tuple[int, Mapping[str, Any], Decoded | Reject]


@dataclass
class Run:
    """One run of `predict`: what it works with."""

    source: Source
    out: Path
    model: Model
    options: PredictOptions
    journal: Journal
    roles: Roles
    device: str
    on_progress: Callable[[int], None] | None


def predict_source(
    source: Source,
    out: Path,
    model: Model,
    options: PredictOptions,
    *,
    on_total: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> PredictResult:
    """Predicts every picture of a source, or what is left of it.

    Raises:
        ConfigError: OUT is neither new, empty nor ours, or it and the source lie in each other; options that differ
            from those it was begun with.
        OutputInUse: another run is at work there.
        NoSpace: the disk is full.
    """
    started = time.monotonic()
    check_place(source, out)
    with clear_disk_errors(out):
        make_output(out)
        try:
            with own(out, membership(0, 1)):
                job = predict_job(source, out, model.facts, options)
                already = (out / RECORD_NAME).exists()
                if not already:
                    _work(source, out, model, options, job, on_total, on_progress)
                return result_of(out, started, already=already)
        finally:
            clear_work(out, RECORD_NAME)


def check_place(source: Source, out: Path) -> None:
    """OUT is new, empty or an earlier run's, and neither it nor the source lies in the other.

    Raises:
        ConfigError: it is not so.
    """
    if not (isinstance(source, PlaySource) and source.only):  # of single pictures OUT may well lie beside them
        check_apart(out, source.path)
    check_own(out, RECORD_NAME, "folder of predictions")


def _work(
    source: Source,
    out: Path,
    model: Model,
    options: PredictOptions,
    job: Mapping[str, Any],
    on_total: Callable[[int], None] | None,
    on_progress: Callable[[int], None] | None,
) -> None:
    """Predicts what the journal does not know of, then writes what describes the whole."""
    if on_total is not None:
        on_total(job["rows"])
    clear_temporary(out.rglob(".*.tmp"))
    shown = model if options.flips == "none" else Flipped(model, options.flips)
    roles = Roles(**job["roles"])
    device = str(model.facts.versions.get("device", "cpu"))
    with Journal(out / WORK_NAME / "made.jsonl") as journal:
        run = Run(source, out, shown, options, journal, roles, device, on_progress)
        with ThreadPoolExecutor(max(cpu_count(), 1), "imagemill-write") as writers:
            for start in range(0, job["rows"], PART_ROWS):
                _part(run, start, min(start + PART_ROWS, job["rows"]), writers)
        write_record(out, job, journal, model.facts)


def _part(run: Run, start: int, stop: int, writers: ThreadPoolExecutor) -> None:
    """Some rows of the plan, unless all of them are done."""
    done = sum(row in run.journal for row in range(start, stop))
    _tell(run, done)
    if done == stop - start:
        return
    planned = enumerate(plan_rows(run.out, start, stop), start)
    rows = {place: row for place, row in planned if not _left_out(run, place)}
    places = iter(rows)
    decoder = SampleDecoder(run.roles, run.model.facts.segments, run.options.limits)
    patience_s = 2 * run.options.limits.max_seconds + GRACE_S
    with GuardedRows(run.source, decoder, run.out / WORK_NAME, f"{start:012d}", watch=False) as guarded:
        ahead = Ahead(map(_weighed, guarded.make(rows.values())), PIXELS_AHEAD, patience_s)
        try:
            with ahead as decoded:
                outputs = _outputs(run, ((next(places), row, sample) for row, sample in decoded))
                for outcome in _recorded(run, outputs, writers):
                    run.journal.add(outcome)
                    fault_point("predict.record.after")
                    _tell(run, 1)
        finally:
            if ahead.hangs:
                guarded.suspect()


def _left_out(run: Run, place: int) -> bool:
    """Whether a picture need not even be decoded: it is there, and no other was predicted with it."""
    made = run.journal.made.get(place)
    return made is not None and made.alone


def _tell(run: Run, count: int) -> None:
    if run.on_progress is not None and count:
        run.on_progress(count)


def _weighed(guarded: Guarded) -> tuple[Guarded, int]:
    sample = guarded[1]
    return guarded, 0 if isinstance(sample, Reject) else sample.picture.pixels.shape[0] * sample.picture.pixels.shape[1]


@dataclass(frozen=True)
class Shown:
    """A decoded picture of the plan."""

    place: int
    name: str
    decoded: Decoded


def _outputs(run: Run, samples: Iterator[Placed]) -> Iterator[Output | Refused]:
    """What becomes of the samples of a part, in an order that depends on the plan alone."""
    waiting: dict[tuple[int, int], list[Shown]] = {}
    for place, row, sample in samples:
        if isinstance(sample, Reject):
            if place not in run.journal:
                yield Refused(place, sample)
            continue
        shown = Shown(place, row[OUT], sample)
        if not run.roles.vector and not run.options.shown_whole(*sample.sides):
            yield from _in_tiles(run, shown)
            continue
        group = waiting.setdefault(sample.sides, [])
        group.append(shown)
        if len(group) == run.options.at_a_time(sample.sides[0] * sample.sides[1], run.device):
            yield from _together(run, waiting.pop(sample.sides))
    for group in waiting.values():
        yield from _together(run, group)


def _together(run: Run, group: list[Shown]) -> Iterator[Output]:
    """Pictures of one size in one go; those that are there already are not made again."""
    if all(shown.place in run.journal for shown in group):
        return
    vectors = [shown.decoded.vector for shown in group if shown.decoded.vector is not None]
    pictures = np.stack([shown.decoded.picture.pixels for shown in group])
    values = run.model(pictures, np.stack(vectors) if vectors else None)
    for shown, value in zip(group, values, strict=True):
        if shown.place not in run.journal:
            pixels = finished(value, run.model.facts)
            yield Output(shown.place, shown.name, shown.decoded, pixels, alone=len(group) == 1)


def _in_tiles(run: Run, shown: Shown) -> Iterator[Output]:
    """A large picture, a row of tiles after the other."""
    tile, overlap = run.options.tiles
    pixels = shown.decoded.picture.pixels
    scale = run.model.facts.scale
    result: Pixels | None = None
    filled = 0
    pieces = tiled(
        pixels,
        run.model,
        tile=tile,
        overlap=overlap,
        batch=run.options.at_a_time(tile * tile, run.device),
        scale=scale,
    )
    for piece in pieces:
        part = finished(piece, run.model.facts)
        if result is None:
            result = np.empty((pixels.shape[0] * scale, *part.shape[1:]), part.dtype)
        result[filled : filled + len(part)] = part
        filled += len(part)
    assert result is not None  # a picture has at least one row of tiles
    yield Output(shown.place, shown.name, shown.decoded, result, alone=True)


def _recorded(run: Run, outputs: Iterator[Output | Refused], writers: ThreadPoolExecutor) -> Iterator[Made | Refused]:
    """Outcomes whose files are there, written while the network works on the next."""
    pending: deque[tuple[Future[Made | Refused], int]] = deque()
    weight = 0
    for output in outputs:
        if isinstance(output, Refused):
            yield output
            continue
        pending.append((writers.submit(_written, run, output), output.pixels.shape[0] * output.pixels.shape[1]))
        weight += pending[-1][1]
        while pending and _is_due(pending[0][0], len(pending), weight):
            future, pixels = pending.popleft()
            weight -= pixels
            yield future.result()
    while pending:
        yield pending.popleft()[0].result()


def _is_due(first: Future[Any], pending: int, weight: int) -> bool:
    """Whether the oldest of the files being written is to be waited for, if need be."""
    return first.done() or pending >= PENDING_FILES or weight > PIXELS_AHEAD


def _written(run: Run, output: Output) -> Made | Refused:
    """Measures a predicted picture and writes its file; runs in a thread."""
    facts, decoded = run.model.facts, output.decoded
    try:
        found = Measured() if decoded.wanted is None else measured(output.pixels, decoded, facts)
        written(run.out / output.name, output, facts, run.options)
    except SampleError as error:
        key = decoded.shown
        return Refused(output.place, Reject(key, key, error.reason, error.detail))
    fault_point("predict.write.after")
    return Made(
        row=output.place,
        name=output.name,
        shown=decoded.shown,
        sides=decoded.sides,
        alone=output.alone,
        metrics=found.metrics,
        counts=found.counts,
        notes=decoded.picture.notes,
    )
