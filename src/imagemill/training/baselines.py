"""What a network must beat to be of any use: leaving the picture as it is, and a look-up table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from imagemill.networks.lookup_table import LookupTable, fit_lookup_table
from imagemill.training.colour import enlarged
from imagemill.training.data import Feed, Pairs
from imagemill.training.evaluate import Score, score_answers
from imagemill.training.learner import Learner

FITTED_ON = 2048
"""Samples that a table is fitted on at most: its 256 entries a channel settle long before."""
PSNR_ROUNDS = 6
"""Rounds after which a table's PSNR has converged, see `fit_lookup_table`."""


KEPT_BYTES = 2**29
"""Of those samples, at most so many bytes are kept in memory: many passes are made over them."""


class Fitting:
    """The samples that tables, statistics and palettes are fitted on: batches of the first epoch, the same at any time.

    Args:
        train: the training split.
    """

    def __init__(self, train: Feed) -> None:
        self._train = train
        self._kept: list[Pairs] = []

    def batches(self) -> Iterator[Pairs]:
        """As many as are fitted on; read once where they are small."""
        if self._kept:
            yield from self._kept
            return
        seen = kept_bytes = 0
        kept = []
        for batch in self._train.batches(0):
            yield batch
            seen += len(batch)
            kept_bytes += batch.before.nbytes + batch.after.nbytes
            kept.append(batch)
            if kept_bytes > KEPT_BYTES:
                kept.clear()
            if seen >= FITTED_ON:
                break
        self._kept = kept if kept_bytes <= KEPT_BYTES else []


def baselines(learner: Learner, fitting: Fitting, val: Feed, *, world_size: int) -> dict[str, Score]:
    """Name → score on the validation split, for one direction.

    Pictures: "identity", the input (enlarged bicubically for super-resolution), and "table", the look-up table
    fitted on the training split. Masks: "majority", every pixel the most frequent class.
    """
    spec, ignored = learner.spec, learner.options.ignore_class
    answers: Mapping[str, Callable[[Pairs], torch.Tensor]]
    if spec.task == "segmentation":
        majority = most_frequent_class(map(learner.oriented, fitting.batches()), len(spec.classes), ignored)
        answers = {"majority": lambda pairs: torch.full_like(pairs.after, majority)}
    else:
        table = fitted_table(learner, fitting, in_network_space=False).to(learner.precision.device)
        answers = {
            "identity": lambda pairs: enlarged(pairs.before, spec.scale),
            "table": lambda pairs: table(enlarged(pairs.before, spec.scale)),
        }
    found = {}
    for name, answer in answers.items():
        oriented = map(learner.oriented, val.batches(0))
        found[name] = score_answers(
            oriented, answer, spec, ignored=ignored, world_size=world_size, luma=learner.measures_luma
        )
    return found


def fitted_table(learner: Learner, fitting: Fitting, *, in_network_space: bool) -> LookupTable:
    """The look-up table that explains the training split best, on the CPU.

    Args:
        in_network_space: from what the network takes to what it gives; else from RGB to RGB.
    """
    scale = learner.spec.scale

    def pairs() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        if in_network_space:
            found = fitting_pairs(learner, fitting)
        else:
            found = ((batch.before, batch.after) for batch in map(learner.oriented, fitting.batches()))
        for before, after in found:
            yield enlarged(before, scale).cpu(), after.cpu()

    with torch.no_grad():
        return fit_lookup_table(pairs, rounds=PSNR_ROUNDS)


def fitting_pairs(learner: Learner, fitting: Fitting) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Those pictures as the network takes and gives them."""
    spec = learner.spec
    for batch in map(learner.oriented, fitting.batches()):
        wanted = batch.after if spec.task == "segmentation" else spec.network_target(batch.after)
        yield spec.network_input(batch.before), wanted


def most_frequent_class(pairs: Iterable[Pairs], classes: int, ignored: int | None) -> int:
    """The class that most pixels have."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for batch in pairs:
        values = batch.after if ignored is None else batch.after[batch.after != ignored]
        counts += torch.bincount(values.flatten(), minlength=classes)[:classes].cpu()
    return int(counts.argmax())
