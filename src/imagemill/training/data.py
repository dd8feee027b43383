"""Batches of training data, whatever they come from, in an order that can be resumed at any batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch

from imagemill.config import cpu_count
from imagemill.datasets.base import TrainingDataset
from imagemill.errors import ConfigError
from imagemill.load.dataset import ImageDataset
from imagemill.load.loader import Loader
from imagemill.load.sampler import Sampler
from imagemill.training.colour import from_space
from imagemill.training.degrade import Degradation, degraded
from imagemill.transforms.crops import CenterCrop, HorizontalFlip, RandomCrop, RandomRotate90, VerticalFlip
from imagemill.transforms.pipeline import SampleTransform

AHEAD = 2
"""Batches whose inputs are made while the one before them is in use."""


@dataclass(frozen=True)
class Pairs:
    """A batch of what training takes.

    Args:
        before: float32 (N, 3, h, w), RGB in 0–1: half of a pair, the input that was made, or the image of a mask.
        after: float32 (N, 3, H, W), RGB in 0–1; of a segmentation int64 (N, H, W), classes.
        keys: of the samples.
        indices: their positions in the split.
        embedding: float32 (N, n) where the network takes one.
    """

    before: torch.Tensor
    after: torch.Tensor
    keys: list[str]
    indices: list[int]
    embedding: torch.Tensor | None = None

    def to(self, device: torch.device) -> Pairs:
        """The same on a device."""
        moved = None if self.embedding is None else self.embedding.to(device, non_blocking=True)
        before, after = (each.to(device, non_blocking=True) for each in (self.before, self.after))
        return replace(self, before=before, after=after, embedding=moved)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Fields:
    """Which fields of a dataset are what.

    Args:
        before, after: image fields; equal where the input is made from the picture.
        mask: of a segmentation; None elsewhere.
        lightness, chroma: fields of a LAB dataset, instead of images.
        embedding: vector field that goes with every picture.
    """

    before: str = ""
    after: str = ""
    mask: str | None = None
    lightness: str | None = None
    chroma: str | None = None
    embedding: str | None = None


@dataclass(frozen=True)
class Feeding:
    """How batches are read.

    Args:
        batch_size: of this rank.
        size, fit, crop, flips: as in `TrainOptions`; flips are "none" for validation.
        degradation: makes inputs; None where they are there.
        shuffle: whether this is training: the order changes by epoch, and crops lie anywhere, not in the centre.
        seed: of order and transforms.
        workers: threads.
        device: where batches go.
    """

    batch_size: int
    size: tuple[int, int] | None
    fit: str
    crop: tuple[int, int] | None
    flips: str
    degradation: Degradation | None
    shuffle: bool
    seed: int
    workers: int | None
    device: torch.device

    @property
    def threads(self) -> int:
        """Reading threads, at least one."""
        return cpu_count() if self.workers is None else max(1, self.workers)

    @property
    def ahead(self) -> int:
        """Batches made before they are asked for: none where the loop reads by itself."""
        return 0 if self.workers == 0 else AHEAD


class Feed(ABC):
    """Batches of one split, for this rank.

    Attributes:
        sampler: the order; `feed.sampler.steps` is the number of batches of an epoch.
    """

    sampler: Sampler

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.sampler.steps

    def samples_at(self, step: int) -> int:
        """Samples that all ranks together take in a step."""
        if self.sampler.last == "keep":
            return min(self.sampler.global_batch, self.sampler.total - step * self.sampler.global_batch)
        return self.sampler.global_batch

    def state(self, epoch: int, step: int) -> dict[str, int]:
        """The place after `step` batches of an epoch, as a few integers."""
        finished = step >= self.steps
        return {**self.sampler.state_dict(0), "epoch": epoch + finished, "step": 0 if finished else step}

    def check(self, state: Mapping[str, Any]) -> None:
        """Refuses a state that belongs to another order; raises ConfigError."""
        copy(self.sampler).load_state_dict(state)

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Pairs]:
        """Batches of an epoch from the step `start` on."""


class PackedFeed(Feed):
    """Batches of a split of a packed dataset, by `imagemill.Loader`.

    Args:
        dataset: the split, opened.
        fields: which of its fields are what.
        feeding: how they are read.
        rank, world_size: of this process.
    """

    def __init__(self, dataset: ImageDataset, fields: Fields, feeding: Feeding, rank: int, world_size: int) -> None:
        self.fields = fields
        self._feeding = feeding
        self._scale = 1 if feeding.degradation is None else feeding.degradation.scale
        order = _order(feeding, rank, world_size)
        self.sampler = Sampler(dataset, feeding.batch_size, **order)
        self._loader = Loader(
            dataset,
            batch_size=feeding.batch_size,
            size=feeding.size,
            fit=feeding.fit,
            transforms=_transforms(feeding),
            # Inputs are made from pixels in memory; the batch goes to the device after that.
            device=feeding.device if feeding.degradation is None and feeding.device.type != "cpu" else None,
            threads=feeding.threads,
            prefetch_batches=feeding.ahead,
            **order,
        )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Pairs]:
        """See `Feed.batches`."""
        self._loader.load_state_dict({**self.sampler.state_dict(0), "epoch": epoch, "step": start})
        degradation = self._feeding.degradation
        batches = iter(self._loader)
        if degradation is None:
            made: Iterator[Pairs] = (self._pairs(batch) for batch in batches)
        else:
            drawn_as = epoch if self._feeding.shuffle else 0
            made = _ahead(batches, lambda batch: self._made(batch, degradation, drawn_as), self._feeding)
        for pairs in made:
            yield pairs.to(self._feeding.device)

    def _pairs(self, batch: Mapping[str, Any]) -> Pairs:
        fields = self.fields
        named = {"keys": batch["key"], "indices": batch["index"].tolist()}
        embedding = None if fields.embedding is None else batch[fields.embedding].float()
        if fields.lightness is not None and fields.chroma is not None:
            light, chroma = (batch[name].movedim(-1, 1) for name in (fields.lightness, fields.chroma))
            after = from_space(torch.cat([light, chroma], 1), "lab")
            return Pairs(from_space(light, "lab"), after, embedding=embedding, **named)
        before = as_rgb(batch[fields.before])
        if fields.mask is not None:
            classes = batch[fields.mask]
            return Pairs(before, (classes if classes.ndim == 3 else classes[:, 0]).long(), embedding=embedding, **named)
        after = as_rgb(batch[fields.after])
        check_pair(before, after, self._scale, batch["key"][0])
        return Pairs(before, after, embedding=embedding, **named)

    def _made(self, batch: Mapping[str, Any], degradation: Degradation, epoch: int) -> Pairs:
        indices = batch["index"].tolist()
        inputs = torch.from_numpy(degraded(degradation, batch[self.fields.before].numpy(), epoch, indices))
        if self.fields.before != self.fields.after:
            return self._pairs({**batch, self.fields.before: inputs})
        before, after = as_rgb(inputs), as_rgb(batch[self.fields.after])
        check_pair(before, after, degradation.scale, batch["key"][0])
        return Pairs(before, after, batch["key"], indices)


class DictFeed(Feed):
    """Batches of one of the training data sets of `imagemill.datasets`: `lq` is the input, `hq` what is predicted.

    Args:
        dataset: whose items have these two.
        feeding: how they are read; sizes and flips are the data set's own.
        rank, world_size: of this process.
    """

    def __init__(self, dataset: TrainingDataset, feeding: Feeding, rank: int, world_size: int) -> None:
        self._dataset = dataset
        self._feeding = feeding
        self.sampler = Sampler(len(dataset), feeding.batch_size, **_order(feeding, rank, world_size))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Pairs]:
        """See `Feed.batches`."""
        self._dataset.set_epoch(epoch if self._feeding.shuffle else 0)
        self.sampler.set_epoch(epoch)
        shares = [self.sampler.ids(step).tolist() for step in range(start, self.steps)]
        loader = torch.utils.data.DataLoader(
            self._dataset,
            batch_sampler=[share for share in shares if share],
            num_workers=self._feeding.workers or 0,
            collate_fn=_collated,
        )
        for (before, after, names), share in zip(loader, shares, strict=False):
            yield Pairs(before, after, names, share).to(self._feeding.device)


def _collated(items: Sequence[Mapping[str, Any]]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    for name in ("lq", "hq"):
        if name not in items[0]:
            raise ConfigError(f"items of this data set have no {name!r}, but {', '.join(items[0])}: it has no pairs")
    before, after = (torch.stack([as_rgb(item[name]) for item in items]) for name in ("lq", "hq"))
    return before, after, [str(item.get("GT_path", number)) for number, item in enumerate(items)]


def check_pair(before: torch.Tensor, after: torch.Tensor, scale: int, key: str) -> None:
    """Refuses pairs whose sizes do not belong together.

    Args:
        before, after: of a batch, (N, C, H, W).
        key: of its first sample.

    Raises:
        ConfigError: says what to do.
    """
    (low, narrow), (high, wide) = before.shape[-2:], after.shape[-2:]
    if (low * scale, narrow * scale) == (high, wide):
        return
    if scale > 1:
        fitting = " or ".join(f"{side // scale * scale}" for side in (wide, high))
        raise ConfigError(
            f"pictures of {wide}x{high} cannot be made {scale} times smaller in whole pixels: give --crop or "
            f"--size with multiples of {scale} (up to {fitting})"
        )
    raise ConfigError(
        f"before of {key!r} is {narrow}x{low} and after {wide}x{high}: give --size for both to have; for "
        "super-resolution give --scale, which makes the small picture of the large one"
    )


def check_classes(masks: torch.Tensor, classes: int, ignored: int | None, key: str) -> None:
    """Refuses masks with a class that the model does not have.

    Args:
        masks: int64 (N, H, W).
        classes: that it has.
        key: of the first sample of the batch.

    Raises:
        ConfigError: says what to do.
    """
    highest = highest_class(masks, ignored)
    if highest >= classes:
        raise ConfigError(
            f"a mask (that of {key!r}, or of its batch) has class {highest}, which none of those had that were looked "
            f"at first to count them: name all {highest + 1} by --classes a,b,…, or give --ignore-class {highest} "
            "where it is none"
        )


def highest_class(masks: torch.Tensor, ignored: int | None) -> int:
    """Of int64 (N, H, W); 0 where all of it is ignored."""
    values = masks if ignored is None else masks[masks != ignored]
    return int(values.max()) if values.numel() else 0


def as_rgb(images: torch.Tensor) -> torch.Tensor:
    """uint8 (…, C, H, W), or floats in 0–1, as float32 (…, 3, H, W); of grey ones the channel is repeated."""
    values = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
    if values.shape[-3] == 1:
        return values.expand(*values.shape[:-3], 3, *values.shape[-2:])
    return values[..., :3, :, :]


def _order(feeding: Feeding, rank: int, world_size: int) -> dict[str, Any]:
    """What decides the order; validation takes every sample once, in training ranks stay in step."""
    last = None if feeding.shuffle else "keep"
    return {
        "seed": feeding.seed,
        "shuffle": feeding.shuffle,
        "last": last,
        "rank": rank,
        "world_size": world_size,
    }


def _transforms(feeding: Feeding) -> list[SampleTransform]:
    """Geometry of a sample, in which partners share every draw."""
    found: list[SampleTransform] = []
    if feeding.crop is not None:
        found.append(RandomCrop(feeding.crop, pad_if_needed=True) if feeding.shuffle else CenterCrop(feeding.crop))
    if feeding.flips != "none":
        found.append(HorizontalFlip())
    if feeding.flips in ("both", "all"):
        found.append(VerticalFlip())
    if feeding.flips == "all":
        found.append(RandomRotate90())
    return found


def _ahead(
    batches: Iterator[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Pairs], feeding: Feeding
) -> Iterator[Pairs]:
    """Batches made on threads, a few ahead of the one in use, in order."""
    if not feeding.ahead:
        yield from map(make, batches)
        return
    with ThreadPoolExecutor(feeding.threads, thread_name_prefix="imagemill-inputs") as pool:
        pending: deque[Future[Pairs]] = deque()
        try:
            for batch in batches:
                pending.append(pool.submit(make, batch))
                if len(pending) > feeding.ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
