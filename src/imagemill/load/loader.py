"""`imagemill.Loader`: batches of tensors, decoded on threads, in an order that can be resumed exactly."""

from __future__ import annotations

import copy
import logging
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Literal, TypeAlias, get_args

from imagemill.config import cpu_count
from imagemill.errors import ConfigError, DamageError, SampleError
from imagemill.formats.store import Verify
from imagemill.load.batch import Batch, Dtype, Loaded, Preparation, Size, parse_sides, require_torch, stack
from imagemill.load.dataset import ImageDataset
from imagemill.load.dataset import open as open_dataset
from imagemill.load.decode import field_modes
from imagemill.load.order import IntArray, Last
from imagemill.load.sampler import Sampler

OnError: TypeAlias = Literal["raise", "skip"]
Result: TypeAlias = Loaded | DamageError | SampleError

CHUNK = 8
"""Samples a thread takes at a time: few enough to keep all threads busy to the end of a batch of 64."""

_log = logging.getLogger(__name__)


class Loader:
    """Iterates over a split in batches; each iteration is one epoch.

    A batch is a dict with an entry a field, and two more:

    ==========  =======================================================================
    image       uint8 (N, C, H, W), upright; with dtype="float32" in [0, 1]
    mask        class ids exactly as packed, (N, H, W) or (N, C, H, W), in their own type
                (uint16 as int32, uint32 as int64: torch has no arithmetic for these)
    label       int64 (N,); -1 is no label
    number      int64 (N,), or their own floating type
    vector      float32 or int64 (N, n); a list of N tensors where lengths vary
    text        list of N str
    "key"       list of N stable keys
    "index"     int64 (N,), positions in the dataset
    ==========  =======================================================================

    The order is a pure function of seed and epoch, the same for any number of ranks and
    threads. Pixel memory is bounded by `prefetch_batches` + 2 batches. Picklable between epochs.

    Args:
        dataset: folder of a packed dataset, or what `imagemill.open` gave (without transforms).
        split: name of a split; None where there is only one, or where `dataset` is opened already.
        batch_size: samples a batch on this rank.
        size: (height, width), one side for a square, or "WIDTHxHEIGHT", that images and masks are
            brought to; None takes them as they are, and they must be of one size.
        fit: how they come to `size`: "cover" (aspect kept, centre cut), "exact", "contain".
        filter: resampling filter of images; masks take the nearest pixel.
        shuffle: False takes samples as they are stored.
        seed: of the order; the same on all ranks.
        last, drop_last: what becomes of the rest of an epoch, see `Sampler`.
        rank, world_size: see `Sampler`.
        threads: decoding threads; None is one a core.
        prefetch_batches: batches decoded ahead of the one in use.
        dtype: "uint8", or "float32" for images divided by 255.
        mode: Pillow mode of images, see `imagemill.open`.
        verify: check digests at the first read of a value in this process, always, or never.
        on_error: "raise", or "skip": samples that are damaged or cannot be decoded are left out of
            their batch, logged, and counted in `skipped`. A batch of nothing else is an error still.

    Raises:
        ConfigError: options that cannot work; at iteration, images of unequal size.
        MissingExtra: torch is not installed.
        DamageError: at iteration, stored bytes that are not what was written; names the sample.
        SampleError: at iteration, an image that cannot be decoded; names the sample.

    Example::

        loader = Loader("data/dataset", "train", batch_size=64, size=224, seed=1)
        for epoch in range(loader.epoch, 90):
            for batch in loader:
                train(batch["image"], batch["label"])
                checkpoint["loader"] = loader.state_dict()
    """

    def __init__(
        self,
        dataset: str | os.PathLike[str] | ImageDataset,
        split: str | None = None,
        batch_size: int = 32,
        *,
        size: Size | None = None,
        fit: str = "cover",
        filter: str = "bicubic",
        shuffle: bool = True,
        seed: int = 0,
        last: Last = "keep",
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        prefetch_batches: int = 2,
        dtype: Dtype = "uint8",
        mode: str | None = None,
        verify: Verify = "first",
        on_error: OnError = "raise",
    ) -> None:
        require_torch()
        _check_one_of("dtype", dtype, get_args(Dtype))
        _check_one_of("on_error", on_error, get_args(OnError))
        self.threads = cpu_count() if threads is None else threads
        self.prefetch_batches = prefetch_batches
        if self.threads < 1 or prefetch_batches < 0:
            raise ConfigError(
                f"threads {self.threads} must be 1 or more, prefetch_batches {prefetch_batches} 0 or more"
            )
        self.dataset = _opened(dataset, split, verify)
        if "index" in self.dataset.schema.names:
            raise ConfigError(
                "a field of this dataset is named 'index', which is where Loader puts the position: "
                "give imagemill.open(...) to torch.utils.data.DataLoader instead"
            )
        self.dtype: Dtype = dtype
        self.on_error: OnError = on_error
        self.skipped = 0
        modes = field_modes(self.dataset.store.manifest, mode or self.dataset.mode)
        self._prepare = Preparation(self.dataset.schema, modes, parse_sides(size), fit, filter)
        self._sampler = Sampler(
            self.dataset,
            batch_size,
            seed=seed,
            shuffle=shuffle,
            last=last,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        self._step = 0

    @property
    def epoch(self) -> int:
        """The epoch under way, or the next one."""
        return self._sampler.epoch

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        return -(-len(self._sampler) // self._sampler.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of one epoch: from its beginning, or from where a loaded state stands in it."""
        order = copy.copy(self._sampler)
        self._step, self._sampler.start_step = order.start_step, 0
        with closing(self._batches(order)) as batches:
            for step, batch in batches:
                # A loop that has already asked for another epoch must not get this one's step in its state.
                if self._sampler.epoch == order.epoch:
                    self._step = step + 1
                yield batch
        if self._sampler.epoch == order.epoch:
            self._sampler.epoch, self._step = order.epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """The next iteration takes this epoch; without it, each takes the one after the last finished."""
        self._sampler.set_epoch(epoch)
        self._step = self._sampler.start_step

    def state_dict(self) -> dict[str, int]:
        """Where training stands, after the batch that was yielded last: a few integers, the same on all ranks."""
        return self._sampler.state_dict(self._step)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration goes on exactly after the batch at which the state was saved.

        The number of ranks may be another, if batch_size times world_size is the same.

        Raises:
            ConfigError: the state belongs to another dataset, split or global batch.
        """
        self._sampler.load_state_dict(state)
        self._step = self._sampler.start_step

    def _batches(self, order: Sampler) -> Generator[tuple[int, Batch]]:
        """(step, batch) from the order's first step on, decoded ahead by a pool that ends with the iteration."""
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="imagemill-loader")
        try:
            pending: deque[tuple[int, list[Future[list[Result]]]]] = deque()
            for step in range(order.start_step, order.steps):
                pending.append((step, self._submit(pool, order.ids(step))))
                if len(pending) > self.prefetch_batches:
                    yield from self._finished(*pending.popleft())
            while pending:
                yield from self._finished(*pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, ids: IntArray) -> list[Future[list[Result]]]:
        chunks = [ids[start : start + CHUNK].tolist() for start in range(0, len(ids), CHUNK)]
        return [pool.submit(self._load, chunk) for chunk in chunks]

    def _finished(self, step: int, parts: list[Future[list[Result]]]) -> Iterator[tuple[int, Batch]]:
        """The batch of a step; nothing where a rank has no share of the last step."""
        results = [result for part in parts for result in part.result()]
        samples = [result for result in results if isinstance(result, Loaded)]
        errors = [result for result in results if isinstance(result, Exception)]
        for error in errors:
            _log.warning("left out: %s", error)
        self.skipped += len(errors)
        if errors and not samples:
            raise errors[0]
        if samples:
            yield step, stack(self.dataset.schema, samples, self.dtype)

    def _load(self, ids: list[int]) -> list[Result]:
        """Reads and decodes; runs in the pool's threads."""
        try:
            return [self._prepare(row, index) for row, index in zip(self.dataset.rows(ids), ids, strict=True)]
        except (DamageError, SampleError):
            if self.on_error == "raise":
                raise
        return [self._load_or_error(index) for index in ids]

    def _load_or_error(self, index: int) -> Result:
        try:
            return self._prepare(self.dataset.rows([index])[0], index)
        except (DamageError, SampleError) as error:
            return error


def _opened(dataset: str | os.PathLike[str] | ImageDataset, split: str | None, verify: Verify) -> ImageDataset:
    if not isinstance(dataset, ImageDataset):
        return open_dataset(dataset, split, verify=verify)
    if split not in (None, dataset.split):
        raise ConfigError(f"the dataset is open at split {dataset.split!r}, not {split!r}: leave split out")
    if dataset.transform or dataset.target_transform:
        raise ConfigError(
            "Loader decodes by itself and would pass over the dataset's transforms: open the dataset without them, "
            "or give it to torch.utils.data.DataLoader"
        )
    return dataset


def _check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} {value!r} is none of {', '.join(allowed)}")
