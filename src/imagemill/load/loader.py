"""`imagemill.Loader`: batches of tensors, decoded on threads, in an order that can be resumed exactly."""

from __future__ import annotations

import atexit
import copy
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, get_args
from weakref import WeakSet

import numpy.typing as npt

from imagemill.config import cpu_count
from imagemill.errors import ConfigError
from imagemill.formats.store import Verify
from imagemill.load.batch import Batch, Dtype, Size, as_floats, parse_sides, require_torch
from imagemill.load.buffers import BufferPool
from imagemill.load.bulk import plan_bulk
from imagemill.load.dataset import ImageDataset, split_name
from imagemill.load.dataset import open as open_dataset
from imagemill.load.decode import field_modes
from imagemill.load.feed import Epoch, Feed, OnError
from imagemill.load.gather import can_gather
from imagemill.load.order import Last
from imagemill.load.prepare import Preparation
from imagemill.load.sampler import Sampler, Shuffle
from imagemill.load.transfer import moved
from imagemill.transforms.base import BatchTransform, Transform
from imagemill.transforms.crops import Fit
from imagemill.transforms.pipeline import Pipeline, SampleTransform
from imagemill.transforms.rng import SampleRng

if TYPE_CHECKING:
    import torch

BatchCallable: TypeAlias = BatchTransform | Callable[[Batch], Batch]

_BATCHES = 2
"""First part of a stream's key, so that samples (`feed.SAMPLES`) and batches do not share random numbers."""


_unfinished: WeakSet[Generator[tuple[int, Batch]]] = WeakSet()


@atexit.register
def _end_iterations() -> None:
    """Ends what a loop has left open, before the interpreter takes apart what its threads need to end."""
    for batches in list(_unfinished):
        with suppress(ValueError):  # under way in another thread
            batches.close()


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
    threads, and what transforms draw for a sample is one of (seed, epoch, index). Pixel memory is
    bounded by `prefetch_batches` + 2 batches. Picklable between epochs.

    Images are decoded, cropped, resized and turned in one step, straight into the batch; JPEGs that
    are much larger than what is wanted of them are decoded at a fraction of their size.

    Args:
        dataset: folder of a packed dataset, or what `imagemill.open` gave (without transforms).
        split: name of a split, or several that are read as one; None where there is only one, or where `dataset` is
            opened already.
        batch_size: samples a batch on this rank.
        size: (height, width), one side for a square, or "WIDTHxHEIGHT", that images and masks are
            brought to; None takes them as they are, and they must be of one size.
        fit: how they come to `size`: "cover" (aspect kept, centre cut), "exact", "contain".
        filter: resampling filter of images for `size`; masks take the nearest pixel.
        transforms: of single samples, from `imagemill.transforms`, after `size`: geometry first, then colour and
            erasing. Partners (image and mask, before and after) share every draw. A callable
            takes a sample's values as a dict, images uint8 (H, W, C), and returns the same entries.
        batch_transforms: of whole batches, on `device`: `Normalize`, `MixUp`, `CutMix`, or a callable
            from batch to batch.
        device: where tensors go, as in "cuda": uint8 from pinned memory, one batch ahead. None leaves them.
        shuffle, window, weights, balance: the order, see `Sampler`. A sample that weights bring several
            times an epoch is transformed otherwise each time.
        seed: of the order and the transforms; the same on all ranks.
        last, drop_last: what becomes of the rest of an epoch, see `Sampler`.
        rank, world_size: see `Sampler`.
        threads: decoding threads; None is one a core.
        prefetch_batches: batches decoded ahead of the one in use.
        dtype: "uint8", or "float32" for images divided by 255 (on the device, before batch_transforms).
        channels_last: images lie in memory as (N, H, W, C), torch's channels_last format, which saves parting the
            channels; the shape is (N, C, H, W) all the same.
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
        split: str | Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        size: Size | None = None,
        fit: str = "cover",
        filter: str = "bicubic",
        transforms: Sequence[SampleTransform] = (),
        batch_transforms: Sequence[BatchCallable] = (),
        device: str | torch.device | None = None,
        shuffle: Shuffle = True,
        window: int = 10_000,
        weights: npt.ArrayLike | None = None,
        balance: bool = False,
        seed: int = 0,
        last: Last | None = None,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        prefetch_batches: int = 2,
        dtype: Dtype = "uint8",
        channels_last: bool = False,
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
        self.channels_last = channels_last
        self.on_error: OnError = on_error
        self.skipped = 0
        modes = field_modes(self.dataset.store.manifest, mode or self.dataset.mode)
        sides = parse_sides(size)
        to_size = Fit(sides or 1, fit, filter)
        pipeline = Pipeline((to_size, *transforms) if sides else transforms)
        self._batch_transforms = checked_batch_transforms(batch_transforms)
        self.device = checked_device(device)
        self._feed = Feed(
            self.dataset,
            Preparation(self.dataset.schema, modes, pipeline),
            plan_bulk(self.dataset, modes, pipeline),
            gathers=pipeline.is_empty and can_gather(self.dataset.schema, modes),
            threads=self.threads,
            prefetch_batches=prefetch_batches,
            on_error=on_error,
            pinned=self.device is not None and self.device.type == "cuda",
            channels_last=channels_last,
        )
        self._pool = BufferPool(batch_size, prefetch_batches + 2)
        self._sampler = Sampler(
            self.dataset,
            batch_size,
            seed=seed,
            shuffle=shuffle,
            window=window,
            weights=weights,
            balance=balance,
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
        if self._step and self._step >= self._sampler.steps:
            # The last batch was taken, and nobody asked whether there is another: Lightning's Trainer counts.
            self.set_epoch(self._sampler.epoch + 1)
        order = copy.copy(self._sampler)
        self._step, self._sampler.start_step = order.start_step, 0
        with closing(Epoch(self._feed, order, self._pool, self._skip).batches()) as batches:
            _unfinished.add(batches)
            for step, batch in batches if self.device is None else moved(batches, self.device):
                batch = self._transformed(batch, order, step)
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

    def _skip(self, count: int) -> None:
        self.skipped += count

    def _transformed(self, batch: Batch, order: Sampler, step: int) -> Batch:
        """The batch after everything that happens where it is."""
        if self.dtype == "float32":
            batch = as_floats(self.dataset.schema, batch)
        rng = SampleRng(_BATCHES, order.seed, order.epoch, step, order.rank)
        for each in self._batch_transforms:
            batch = each.apply(batch, self.dataset.schema, rng) if isinstance(each, BatchTransform) else each(batch)
        return batch


def checked_batch_transforms(transforms: Sequence[BatchCallable]) -> tuple[BatchCallable, ...]:
    """The transforms, if each is one of batches.

    Raises:
        ConfigError: one is a transform of samples, or cannot be called.
    """
    for each in transforms:
        name = type(each).__name__
        if isinstance(each, Transform):
            raise ConfigError(f"{name} works on single samples: give it as transforms=[{name}(…)]")
        if not isinstance(each, BatchTransform) and not callable(each):
            raise ConfigError(f"{each!r} is neither a BatchTransform nor a callable")
    return tuple(transforms)


def checked_device(device: str | torch.device | None) -> torch.device | None:
    """The device, if this torch can use it.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    if device is None:
        return None
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device {device!r} is none that torch knows: cpu, cuda, cuda:1, mps, …") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {device!r}: torch {torch.__version__} finds no CUDA here; take device='cpu'")
    return found


def _opened(
    dataset: str | os.PathLike[str] | ImageDataset, split: str | Sequence[str] | None, verify: Verify
) -> ImageDataset:
    if not isinstance(dataset, ImageDataset):
        return open_dataset(dataset, split, verify=verify)
    if split_name(split) not in (None, dataset.split):
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
