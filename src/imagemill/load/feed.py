"""Batches of an epoch in their order, made ahead by threads that end with it.

Where the native core can make whole batches (`bulk.py`) a few threads each see to one of them, and its own threads
share all the work; else every batch is cut into pieces for a pool of threads (`prepare.py`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from imagemill.core.schema import Field
from imagemill.errors import DamageError, SampleError
from imagemill.load.ahead import Ahead
from imagemill.load.batch import Batch, assemble, stack
from imagemill.load.buffers import BufferPool
from imagemill.load.bulk import Bulk, Made
from imagemill.load.dataset import ImageDataset
from imagemill.load.gather import gather, reserve
from imagemill.load.prepare import Loaded, Preparation
from imagemill.load.sampler import Sampler
from imagemill.load.slots import Slots
from imagemill.native.samples import Team
from imagemill.transforms.rng import SampleRng, stream_state

IntArray: TypeAlias = npt.NDArray[np.int64]
OnError: TypeAlias = Literal["raise", "skip"]
Result: TypeAlias = Loaded | DamageError | SampleError
_Begun: TypeAlias = tuple[Bulk, Made, Slots]

SAMPLES = 1
"""First part of the key of a sample's random stream."""

CHUNK = 8
"""Samples a thread takes at a time: few enough to keep all threads busy to the end of a batch of 64."""

MAKERS = 3
"""Batches that the core works on at a time: one to hand out, one whose first samples fill the threads meanwhile, one
for which Python does what it has to."""

THREADS = "imagemill-loader"
"""Name of all of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Feed:
    """How batches of a dataset are made.

    Args:
        dataset: what samples come from.
        prepare: what becomes of single samples.
        bulk: how whole batches are made; None where they cannot be.
        gathers: whether single samples are mere copies.
        threads: working threads.
        prefetch_batches: batches made ahead.
        on_error: whether a sample that cannot be had is an error or left out.
        pinned: whether image memory is page-locked.
        channels_last: how images lie in memory.
    """

    dataset: ImageDataset
    prepare: Preparation
    bulk: Bulk | None
    gathers: bool
    threads: int
    prefetch_batches: int
    on_error: OnError
    pinned: bool
    channels_last: bool


class _Outcome(NamedTuple):
    """What became of a step: its batch, None where no sample is in it, and why others are not."""

    batch: Batch | None
    errors: Sequence[Exception]


class Epoch:
    """The batches of one epoch.

    Args:
        feed: how they are made.
        order: which samples a step takes.
        pool: memory for them.
        on_skip: called with the number of samples that were left out of a batch.
    """

    def __init__(self, feed: Feed, order: Sampler, pool: BufferPool, on_skip: Callable[[int], None]) -> None:
        self._feed = feed
        self._order = order
        self._pool = pool
        self._on_skip = on_skip
        self._state = stream_state(SAMPLES, order.seed, order.epoch)
        self._bulk = feed.bulk

    def batches(self) -> Generator[tuple[int, Batch]]:
        """(step, batch) from the order's first step on; nothing for a step in which this rank has no share."""
        feed = self._feed
        with ExitStack() as threads:
            self._workers = _pool(threads, feed.threads)
            if feed.bulk is not None:
                self._team = Team(feed.threads)
                threads.callback(self._team.close)
                makers = Ahead(min(feed.prefetch_batches + 1, MAKERS), THREADS)
                threads.callback(makers.close)
            pending: deque[tuple[int, Callable[[], _Outcome]]] = deque()
            for step, ids, places in self._order.shares():
                names = places if self._order.repeats else ids
                is_whole = self._bulk is not None and len(ids) > 0
                begun = makers.submit(self._make, ids, names).result if is_whole else self._begin(ids, names)
                pending.append((step, begun))
                if len(pending) > feed.prefetch_batches:
                    yield from self._finished(*pending.popleft())
            while pending:
                yield from self._finished(*pending.popleft())

    def _finished(self, step: int, begun: Callable[[], _Outcome]) -> Iterator[tuple[int, Batch]]:
        batch, errors = begun()
        for error in errors:
            _log.warning("left out: %s", error)
        self._on_skip(len(errors))
        if batch is not None:
            yield step, batch
        elif errors:
            raise errors[0]

    def _slots(self, count: int) -> Slots:
        return Slots(count, pinned=self._feed.pinned, pool=self._pool, channels_last=self._feed.channels_last)

    def _make(self, ids: IntArray, names: IntArray) -> _Outcome:
        """A whole batch by the core, and by others what it left."""
        slots, bulk = self._slots(len(ids)), self._bulk
        # What is changed in Python yet lies aside, each pixel's channels together.
        images = slots if bulk is None or bulk.finishes else Slots(len(ids), pool=self._pool, channels_last=True)
        made = None if bulk is None else bulk(self._team, ids, names, self._state, images)
        if bulk is None or made is None:
            self._bulk = None  # sizes or shards that do not suit once will hardly do so in the rest of this epoch
            return self._begin(ids, names)()
        if not bulk.finishes:
            places = range(len(ids))
            return self._stacked(slots, self._one_by_one(places, ids, names, slots, (bulk, made, images)))
        results = [result for part in self._one_by_one(made.left, ids, names, slots) for result in part.result()]
        return self._completed(made, dict(zip(made.left, results, strict=True)), ids, names, slots)

    def _completed(
        self, made: Made, results: dict[int, Result], ids: IntArray, names: IntArray, slots: Slots
    ) -> _Outcome:
        """What the core has made, with the other samples at their places."""
        schema = self._feed.dataset.schema
        errors = {place: result for place, result in results.items() if isinstance(result, Exception)}
        columns = {field.name: _as_batch(field, made.columns[field.name]) for field in schema if field.kind != "image"}
        for place, result in results.items():
            if isinstance(result, Exception):
                continue
            made.keys[place] = result.key
            for name, column in columns.items():
                value = result.values[name]
                if schema[name].kind == "mask" and (column.dtype, column.shape[1:]) != (value.dtype, value.shape):
                    self._bulk = None  # masks of another kind than the core's
                    return self._begin(ids, names)()
                column[place] = value
        if not errors:
            return _Outcome(assemble(schema, columns, made.keys, ids, slots.tensors), [])
        kept = [place for place in range(len(ids)) if place not in errors]
        columns = {
            name: column[kept] if isinstance(column, np.ndarray) else [column[place] for place in kept]
            for name, column in columns.items()
        }
        images = {name: tensor[kept] for name, tensor in slots.tensors.items()}
        keys = [made.keys[place] for place in kept]
        return _Outcome(assemble(schema, columns, keys, ids[kept], images) if kept else None, [*errors.values()])

    def _one_by_one(
        self, places: Sequence[int], ids: IntArray, names: IntArray, slots: Slots, begun: _Begun | None = None
    ) -> list[Future[list[Result]]]:
        """Samples at some places of a batch, in the pool's threads; what is wrong with one is raised if so asked.

        Args:
            begun: what the core has made of them, if anything.
        """

        def load(part: Sequence[int]) -> list[Result]:
            results = [
                self._load_one(ids, names, place, slots)
                if begun is None or place in begun[1].left
                else self._finish(begun, int(ids[place]), place, slots)
                for place in part
            ]
            if self._feed.on_error == "raise":
                _raise_first(results)
            return results

        return [self._workers.submit(load, places[start : start + CHUNK]) for start in range(0, len(places), CHUNK)]

    def _finish(self, begun: _Begun, index: int, place: int, slots: Slots) -> Loaded:
        """A sample that the core has made, through the transforms that are left."""
        bulk, made, images = begun
        values, draws = bulk.values(made, place, images)
        return self._feed.prepare.finished(made.keys[place], index, values, draws, slots, place)

    def _begin(self, ids: IntArray, names: IntArray) -> Callable[[], _Outcome]:
        """Has the pool's threads load samples one by one; call what comes back to wait for the batch."""
        feed = self._feed
        slots = self._slots(len(ids))
        if feed.gathers:
            reserve(feed.dataset.schema, slots)
        chunk = max(CHUNK, -(-len(ids) // feed.threads)) if feed.gathers else CHUNK
        starts = range(0, len(ids), chunk)
        futures = [
            self._workers.submit(self._load, ids[start : start + chunk], names[start : start + chunk], slots, start)
            for start in starts
        ]
        return lambda: self._stacked(slots, futures)

    def _stacked(self, slots: Slots, futures: Sequence[Future[list[Result]]]) -> _Outcome:
        results = [result for future in futures for result in future.result()]
        samples = [result for result in results if isinstance(result, Loaded)]
        errors = [result for result in results if isinstance(result, Exception)]
        if not samples:
            return _Outcome(None, errors)
        kept = [place for place, result in enumerate(results) if isinstance(result, Loaded)]
        images = slots.tensors if not errors else {name: each[kept] for name, each in slots.tensors.items()}
        return _Outcome(stack(self._feed.dataset.schema, samples, images), errors)

    def _load(self, ids: IntArray, names: IntArray, slots: Slots, start: int) -> list[Result]:
        """Reads and decodes samples that follow each other; runs in the pool's threads."""
        feed, positions = self._feed, ids.tolist()
        try:
            gathered = gather(feed.dataset, positions, slots, start) if feed.gathers else None
            if gathered is not None:
                return [*gathered]
            rows, rngs = feed.dataset.rows(positions), [self._rng(name) for name in names.tolist()]
            results: list[Result] = [*feed.prepare(rows, positions, rngs, slots, start)]
        except DamageError:
            if feed.on_error == "raise":
                raise
            # One damaged value fails the whole read: each sample by itself says which.
            return [self._load_one(ids, names, number, slots, start) for number in range(len(ids))]
        if feed.on_error == "raise":
            _raise_first(results)
        return results

    def _load_one(self, ids: IntArray, names: IntArray, number: int, slots: Slots, start: int = 0) -> Result:
        """The sample `number` of these, into place `start + number`."""
        index = int(ids[number])
        try:
            rows, rngs = self._feed.dataset.rows([index]), [self._rng(int(names[number]))]
            return self._feed.prepare(rows, [index], rngs, slots, start + number)[0]
        except DamageError as error:
            return error

    def _rng(self, name: int) -> SampleRng:
        return SampleRng(SAMPLES, self._order.seed, self._order.epoch, name)


def _as_batch(field: Field, column: Any) -> Any:
    """Masks of several channels with these in front."""
    return column.transpose(0, 3, 1, 2) if field.kind == "mask" and column.ndim == 4 else column


def _raise_first(results: Sequence[Result]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result


def _pool(threads: ExitStack, count: int) -> ThreadPoolExecutor:
    """A pool that ends with the stack, without beginning what waits in it."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=THREADS)
    threads.callback(pool.shutdown, cancel_futures=True)
    return pool
