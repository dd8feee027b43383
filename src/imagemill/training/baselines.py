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


def baselines(learner: Learner, train: Feed, val: Feed, *, world_size: int) -> dict[str, Score]:
    """Name → score on the validation split, for one direction.

    Pictures: "identity", the input (enlarged bicubically for super-resolution), and "table", the look-up table
    fitted on the training split. Masks: "majority", every pixel the most frequent class.
    """
    spec, ignored = learner.spec, learner.options.ignore_class
    answers: Mapping[str, Callable[[Pairs], torch.Tensor]]
    if spec.task == "segmentation":
        majority = most_frequent_class(map(learner.oriented, fitting_batches(train)), len(spec.classes), ignored)
        answers = {"majority": lambda pairs: torch.full_like(pairs.after, majority)}
    else:
        table = fitted_table(learner, train, in_network_space=False).to(learner.precision.device)
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


def fitted_table(learner: Learner, train: Feed, *, in_network_space: bool) -> LookupTable:
    """The look-up table that explains the training split best, on the CPU.

    Args:
        in_network_space: from what the network takes to what it gives; else from RGB to RGB.
    """
    spec = learner.spec

    def pairs() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        for batch in map(learner.oriented, fitting_batches(train)):
            before = enlarged(batch.before, spec.scale)
            if in_network_space:
                yield spec.network_input(before).cpu(), spec.network_target(batch.after).cpu()
            else:
                yield before.cpu(), batch.after.cpu()

    with torch.no_grad():
        return fit_lookup_table(pairs, rounds=PSNR_ROUNDS)


def fitting_batches(train: Feed) -> Iterator[Pairs]:
    """Batches of the first epoch, as many as a table is fitted on; the same on every call."""
    seen = 0
    for batch in train.batches(0):
        yield batch
        seen += len(batch)
        if seen >= FITTED_ON:
            return


def most_frequent_class(pairs: Iterable[Pairs], classes: int, ignored: int | None) -> int:
    """The class that most pixels have."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for batch in pairs:
        values = batch.after if ignored is None else batch.after[batch.after != ignored]
        counts += torch.bincount(values.flatten(), minlength=classes)[:classes].cpu()
    return int(counts.argmax())
