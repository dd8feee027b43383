"""The loop: batches in, steps done, validations, checkpoints. Reads from top to bottom.

Everything that decides the weights is a function of options, data and step, or stands in the checkpoint, so a run that
was killed anywhere ends with the same weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from imagemill.faults import fault_point
from imagemill.training.checkpoint import CHECKPOINT_NAME, Place, load_checkpoint, restore, save_checkpoint
from imagemill.training.data import Feed, Pairs
from imagemill.training.evaluate import Score, score
from imagemill.training.learner import Learner
from imagemill.training.model_file import BEST, DIRECTIONS, LAST, REVERSE, save_weights
from imagemill.training.optimise import rate_share
from imagemill.training.options import TrainOptions
from imagemill.training.run_log import RunLog
from imagemill.training.sheets import write_sheet
from imagemill.training.upset import UPSETS_LIMIT, Diverged, bad_terms, keep_batches

LOGGED_EVERY = 10
"""Steps a line of the log stands for."""
GRADIENT = "gradient"
"""Named beside the loss terms where the loss is a number and its gradient is not."""


@dataclass
class Run:
    """A run under way.

    Args:
        folder: where it is written.
        options: of the user.
        learners: one a direction.
        train, val: feeds; val None validates on nothing.
        dataset: sha256 of the data's manifest.
        log: of events.
        place: where it is.
        rank, world_size: of this process.
    """

    folder: Path
    options: TrainOptions
    learners: Sequence[Learner]
    train: Feed
    val: Feed | None
    dataset: str
    log: RunLog
    place: Place
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-self.train.steps // self.options.accumulation)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        rest = (self.options.epochs - self.place.epoch_offset) * self.steps_per_epoch
        total = self.place.step_offset + rest
        return total if self.options.steps is None else min(total, self.options.steps)

    def save(self) -> None:
        """Writes the checkpoint (the first rank alone)."""
        self.place.log_bytes = self.log.size_bytes
        if self.rank:
            return
        save_checkpoint(
            self.folder / CHECKPOINT_NAME,
            self.learners,
            self.place,
            options=self.options.to_json(),
            dataset=self.dataset,
            order=self.train.state(self.place.epoch, self.place.batch),
        )
        fault_point("train.checkpoint.after")


def train(run: Run) -> None:
    """From where the run is to its end; the last checkpoint says why it ended.

    The first weights are scored and kept as the best so far, so that a network which starts from a baseline never ends
    below it.
    """
    if not run.place.stopped and run.place.step == 0:
        if run.val is not None and not any(learner.progress.seen for learner in run.learners):
            _validate(run)
        run.save()
    while not run.place.stopped:
        _epoch(run)


def _epoch(run: Run) -> None:
    """What is left of an epoch, then, where one is due, a validation."""
    place, options = run.place, run.options
    meter = _Meter(run)
    with ExitStack() as stack:
        batches = run.train.batches(place.epoch, place.batch)
        stack.callback(getattr(batches, "close", lambda: None))
        while place.batch < run.train.steps and place.step < run.total_steps:
            group = meter.fetch(batches, options.accumulation)
            _step(run, group, meter)
            ended = place.batch >= run.train.steps or place.step >= run.total_steps
            if options.checkpoint_every and place.step % options.checkpoint_every == 0 and not ended:
                run.save()
            fault_point("train.step.after")
    if place.batch >= run.train.steps:
        place.epoch, place.batch = place.epoch + 1, 0
    finished = place.step >= run.total_steps
    meter.flush()
    due = place.batch == 0 and place.epoch % options.validate_every == 0
    if finished:
        place.stopped = "all steps done"
    if due or finished:
        _validate(run)
        run.save()


def _step(run: Run, group: Sequence[Pairs], meter: _Meter) -> None:
    """One step of every learner on the batches of a group, as on one large batch."""
    place = run.place
    first = place.batch
    samples = sum(run.train.samples_at(first + number) for number in range(len(group)))
    share = rate_share(place.step, run.total_steps, run.options)
    found: list[tuple[dict[str, float], float]] = []
    bad: list[str] = []
    for learner in run.learners:
        terms = _gradients(learner, group, samples, run.world_size)
        bad += [f"{learner.spec.direction} {name}" for name in bad_terms(terms)]
        found.append((terms, 0.0))
    bad = _agreed(bad, run.world_size)
    if not bad:
        for number, learner in enumerate(run.learners):
            norm = learner.step(share)
            found[number] = (found[number][0], norm)
            if norm != norm or norm == float("inf"):
                bad += [] if learner.scaler.is_enabled() else [f"{learner.spec.direction} {GRADIENT}"]
    place.batch = first + len(group)
    place.step += 1
    if bad:
        _go_back(run, group, bad)
    else:
        meter.add(found, samples, share)


def _gradients(learner: Learner, group: Sequence[Pairs], samples: int, world_size: int) -> dict[str, float]:
    """Adds up the gradients of a group's batches, each weighed by its share of the samples; its mean loss terms.

    Ranks average gradients, so a rank's share is counted world_size times.
    """
    sums: dict[str, torch.Tensor] = {}
    for number, pairs in enumerate(group):
        terms = learner.terms(pairs)
        weight = len(pairs) / samples
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.detach() * weight * world_size
        last = number == len(group) - 1
        waits = isinstance(learner.module, DistributedDataParallel) and not last
        # Gradients are exchanged with the last batch of a group alone.
        with learner.module.no_sync() if waits else nullcontext():
            learner.backward(learner.weighted(terms) * (weight * world_size))
    values = torch.stack(list(sums.values())).tolist()
    return dict(zip(sums, values, strict=True))


def _agreed(bad: list[str], world_size: int) -> list[str]:
    """What any rank found wrong: all go back together."""
    if world_size == 1:
        return bad
    from torch import distributed

    every: list[list[str]] = [[] for _ in range(world_size)]
    distributed.all_gather_object(every, bad)
    return [name for names in every for name in names]


def _go_back(run: Run, group: Sequence[Pairs], bad: Sequence[str]) -> None:
    """To the weights of the last checkpoint, with half the rate; the order goes on after this group.

    Raises:
        Diverged: it happened too often.
    """
    run.place.upsets += 1
    kept = keep_batches(run.folder, run.place.step, group, ", ".join(bad)) if not run.rank else None
    saved = load_checkpoint(run.folder / CHECKPOINT_NAME)
    factors = [learner.rate_factor for learner in run.learners]
    restore(run.learners, saved, random=False)
    for learner, factor in zip(run.learners, factors, strict=True):
        learner.rate_factor = factor / 2
    run.log.event(
        "upset",
        step=run.place.step,
        terms=list(bad),
        batch=str(kept),
        keys=[key for pairs in group for key in pairs.keys],
        back_to=saved.place.step,
        rate_factor=run.learners[0].rate_factor,
    )
    if run.place.upsets >= UPSETS_LIMIT:
        raise Diverged(
            f"training came to values that are no numbers {run.place.upsets} times, the last time in "
            f"{', '.join(bad)} at step {run.place.step}; the batches are in {run.folder / 'upsets'}. "
            "Take a lower --learning-rate, or --clip 0.1"
        )


def _validate(run: Run) -> None:
    """Scores the weights that would be saved, keeps the best, and says whether to go on."""
    improved = []
    for learner in run.learners:
        name = LAST + _suffix(run, learner)
        if run.val is None:
            improved.append(True)
            _save_model(run, learner, name, {})
            _save_model(run, learner, BEST + _suffix(run, learner), {})
            continue
        found = score(learner, run.val, world_size=run.world_size, sheets=0 if run.rank else run.options.sheets)
        value = found.values[learner.metric]
        better = learner.progress.see(value, run.place.step, less=learner.less_is_better)
        improved.append(better)
        run.log.event(
            "val",
            step=run.place.step,
            epoch=run.place.epoch,
            direction=learner.spec.direction,
            best=better,
            images=found.images,
            values=found.values,
        )
        halved = run.options.schedule == "plateau" and learner.plateau.see(better)
        if halved:
            run.log.event(
                "rate", step=run.place.step, factor=learner.plateau.factor, why="the metric stopped to improve"
            )
        measured = {f"val {name}": number for name, number in found.values.items()}
        _save_model(run, learner, name, measured)
        if better:
            _save_model(run, learner, BEST + _suffix(run, learner), measured)
        _write_sheet(run, learner, found)
    patience = run.options.patience
    if patience and not run.place.stopped and all(each.progress.waited >= patience for each in run.learners):
        run.place.stopped = f"no improvement in {patience} validations"
        run.log.event("stop", step=run.place.step, why=run.place.stopped)


def _save_model(run: Run, learner: Learner, name: str, measured: Mapping[str, float]) -> None:
    if run.rank:
        return
    spec = learner.spec
    weights = learner.saved_weights()
    save_weights(run.folder / f"{name}.safetensors", weights, spec, steps=run.place.step, metrics=measured)


def _write_sheet(run: Run, learner: Learner, found: Score) -> None:
    if found.shown:
        name = f"step-{run.place.step:06d}{_suffix(run, learner)}.png"
        write_sheet(run.folder / "sheets" / name, found.shown, classes=len(learner.spec.classes))


def _suffix(run: Run, learner: Learner) -> str:
    both = len(run.learners) > 1
    return REVERSE if both and learner.spec.direction == DIRECTIONS[1] else ""


class _Meter:
    """Adds up what the log says of some steps: mean terms, images a second, the share of time spent waiting."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._terms: list[dict[str, float]] = [{} for _ in self._run.learners]
        self._steps = self._samples = 0
        self._norms = [0.0 for _ in self._run.learners]
        self._waited = 0.0
        self._share = 0.0
        self._started = time.perf_counter()

    def fetch(self, batches: Iterator[Pairs], count: int) -> list[Pairs]:
        """The batches of the next step; how long they were waited for counts."""
        started = time.perf_counter()
        group = list(islice(batches, count))
        self._waited += time.perf_counter() - started
        return group

    def add(self, found: Sequence[tuple[dict[str, float], float]], samples: int, share: float) -> None:
        """A step that went well."""
        self._steps += 1
        self._samples += samples
        self._share = share
        for number, (terms, norm) in enumerate(found):
            self._norms[number] += norm
            for name, value in terms.items():
                self._terms[number][name] = self._terms[number].get(name, 0.0) + value
        if self._steps >= LOGGED_EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes a line of the log, if there is something to say."""
        if not self._steps:
            return
        run, seconds = self._run, max(time.perf_counter() - self._started, 1e-9)
        losses: dict[str, Any] = {}
        for number, learner in enumerate(run.learners):
            terms = {name: value / self._steps for name, value in self._terms[number].items()}
            total = sum(terms[name] * weight for name, weight in learner.loss.items())
            losses[learner.spec.direction] = {
                "loss": total,
                **terms,
                "gradient_norm": self._norms[number] / self._steps,
            }
        run.log.event(
            "train",
            step=run.place.step,
            epoch=run.place.epoch,
            losses=losses,
            learning_rate=run.learners[0].optimizer.param_groups[0]["lr"],
            images_per_s=self._samples / seconds,
            waiting_share=min(self._waited / seconds, 1.0),
        )
        self._begin()
