"""A split scored: means over images, over all ranks, and a few pictures for a sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imagemill.training.data import Feed, Pairs
from imagemill.training.learner import Learner
from imagemill.training.metrics import Confusion, image_metrics
from imagemill.training.model_file import ModelSpec

Answer = Callable[[Pairs], torch.Tensor]
"""From oriented pairs to RGB (N, 3, H, W), or to classes (N, H, W)."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """One row of a sheet.

    Args:
        key: of the sample.
        before: uint8 (H, W, 3).
        output, after: the same, or classes, int64 (H, W).
    """

    key: str
    before: Pixels
    output: npt.NDArray[Any]
    after: npt.NDArray[Any]


@dataclass
class Score:
    """What a split came to.

    Args:
        values: metric → mean.
        images: over how many.
        shown: the first few.
    """

    values: dict[str, float] = field(default_factory=dict)
    images: int = 0
    shown: list[Shown] = field(default_factory=list)


def score(learner: Learner, feed: Feed, *, world_size: int = 1, sheets: int = 0) -> Score:
    """A learner on a split, with the weights that would be saved, and its loss."""
    losses = _Means()

    def answer(pairs: Pairs) -> torch.Tensor:
        output, terms = learner.answer(pairs)
        losses.add({"loss": learner.weighted(terms).expand(len(pairs))})
        if learner.spec.task == "segmentation":
            return output.argmax(1)
        return learner.spec.to_rgb(output, pairs.before)

    oriented = map(learner.oriented, feed.batches(0))
    with learner.evaluating(), torch.no_grad():
        found = score_answers(
            oriented,
            answer,
            learner.spec,
            ignored=learner.options.ignore_class,
            world_size=world_size,
            sheets=sheets,
            luma=learner.measures_luma,
        )
    found.values |= losses.result(world_size)
    return found


def score_answers(
    pairs: Iterator[Pairs],
    answer: Answer,
    spec: ModelSpec,
    *,
    ignored: int | None = None,
    world_size: int = 1,
    sheets: int = 0,
    luma: bool = False,
) -> Score:
    """Any way to answer, on oriented pairs."""
    means = _Means()
    shown: list[Shown] = []
    confusion = Confusion(len(spec.classes), ignored) if spec.task == "segmentation" else None
    for batch in pairs:
        made = answer(batch)
        if confusion is not None:
            confusion.add(made, batch.after)
            means.add({}, len(batch))
        else:
            means.add(image_metrics(made, batch.after, scale=spec.scale, luma=luma))
        if len(shown) < sheets:
            shown += [_shown(batch, made, number) for number in range(min(len(batch), sheets - len(shown)))]
    values = means.result(world_size)
    if confusion is not None:
        _summed(confusion.counts, world_size)
        values |= confusion.summary()
    return Score(values, means.images, shown)


class _Means:
    """Sums over images, in float64 and in the order in which they come."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self.images = 0

    def add(self, values: Mapping[str, torch.Tensor], images: int = 0) -> None:
        for name, each in values.items():
            images = len(each)
            self._sums[name] = self._sums.get(name, 0.0) + math.fsum(each.double().tolist())
        self.images += images

    def result(self, world_size: int) -> dict[str, float]:
        names = _agreed(sorted(self._sums), world_size)
        sums = torch.tensor([*(self._sums.get(name, 0.0) for name in names), self.images], dtype=torch.float64)
        _summed(sums, world_size)
        self.images = int(sums[-1])
        return {name: float(total / sums[-1]) for name, total in zip(names, sums[:-1], strict=True)}


def _agreed(names: list[str], world_size: int) -> list[str]:
    """Names that any rank has: one that had no batch has none of its own."""
    if world_size == 1:
        return names
    from torch import distributed

    every: list[list[str]] = [[] for _ in range(world_size)]
    distributed.all_gather_object(every, names)
    return sorted({name for each in every for name in each})


def _summed(tensor: torch.Tensor, world_size: int) -> None:
    """Adds up a tensor over all ranks, in place; on the CPU or, with NCCL, by way of the GPU."""
    if world_size == 1:
        return
    from torch import distributed

    if distributed.get_backend() == "nccl":
        there = tensor.cuda()
        distributed.all_reduce(there)
        tensor.copy_(there.cpu())
    else:
        distributed.all_reduce(tensor)


def _shown(batch: Pairs, made: torch.Tensor, number: int) -> Shown:
    return Shown(batch.keys[number], *(_pixels(each[number]) for each in (batch.before, made, batch.after)))


def _pixels(values: torch.Tensor) -> npt.NDArray[Any]:
    """uint8 (H, W, 3) of RGB, int64 (H, W) of classes."""
    if values.ndim == 2:
        return np.asarray(values.cpu().numpy(), np.int64)
    scaled = (values.detach().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())
