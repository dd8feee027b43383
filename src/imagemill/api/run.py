"""`run`: a recipe, the whole way from a pile to predicted pictures; what is done is skipped."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import filelock

from imagemill.api.given import PathLike
from imagemill.api.recipe_verbs import FLOWS, call_verb, verb_of
from imagemill.core.remote import local_path
from imagemill.errors import ConfigError, OutputInUse
from imagemill.prepare.commit import clear_temporary
from imagemill.recipes.plan import Status, Step, plan_steps, status_of
from imagemill.recipes.state import State, digest_of
from imagemill.recipes.table import RecipeFile, read_recipe


@dataclass(frozen=True)
class StepResult:
    """What became of a step.

    Args:
        name, verb: of the step.
        inputs: parameter → path.
        out: of its result.
        todo: what was to be done about it, as `imagemill.recipes.plan.Status` has it.
        why: in words, where it had changed.
        summary: of its result; empty in a dry run.
        seconds: that it took now; 0 where it was done before.
        reject_share: of the samples it looked at.
    """

    name: str
    verb: str
    inputs: Mapping[str, str]
    out: str
    todo: str
    why: str = ""
    summary: str = ""
    seconds: float = 0.0
    reject_share: float = 0.0


@dataclass(frozen=True)
class RunResult:
    """What `run` did.

    Args:
        recipe: its name.
        root: folder that its paths begin at.
        steps: in order.
        finished: False after a dry run.
    """

    recipe: str
    root: Path
    steps: tuple[StepResult, ...]
    finished: bool


class Observer(Protocol):
    """Who is told how a run goes on."""

    def step(self, step: Step, status: Status) -> AbstractContextManager[Mapping[str, Callable[..., None]]]:
        """A step begins; gives callbacks of its verb by name, of which those that it has are passed on."""
        ...

    def done(self, result: StepResult) -> None:
        """A step has ended, or had before."""
        ...


class Silent:
    """Tells nobody."""

    def step(self, step: Step, status: Status) -> AbstractContextManager[Mapping[str, Callable[..., None]]]:
        """See `Observer`."""
        return nullcontext({})

    def done(self, result: StepResult) -> None:
        """See `Observer`."""


def run(
    recipe: PathLike,
    source: PathLike | None = None,
    *,
    root: PathLike = ".",
    settings: Iterable[str] = (),
    limit: int | None = None,
    workers: int | None = None,
    redo: bool = False,
    dry_run: bool = False,
    observer: Observer | None = None,
) -> RunResult:
    """Takes every step of a recipe that is not done; the same call again finishes what a kill left undone.

    A step is done where its result lies there and neither its options nor its input have changed since.

    Args:
        recipe: TOML file with a table a step, named like its verb: `[fetch]`, `[check]`, `[stage]`, `[tile]`, `[pack]`,
            `[embed]`, `[convert]`, `[train]`, `[predict]`, `[export]`, `[report]`; several of a verb as `[[predict]]`.
            Steps are taken in the order of the file; each takes what the one before it made, unless it says otherwise.
        source: what the first step takes, instead of what the recipe says.
        root: folder that relative paths of the recipe begin at; what it makes lies in `data/` and `runs/` there.
        settings: "train.epochs=3": in place of what the recipe says.
        limit: `limit` of every step that has it.
        workers: `workers` of every step that has it.
        redo: makes results again that are of other options or inputs; without it such a recipe is refused.
        dry_run: says what is to be done, and does nothing.
        observer: is told what happens.

    Raises:
        ConfigError: a recipe that cannot work; a step that has changed, without `redo`.
        OutputInUse: another run of this recipe is at work there.
        ImagemillError: whatever a step raises.
    """
    place, base = local_path(recipe), local_path(root)
    table = read_recipe(place, FLOWS, verb_of, settings)
    first = None if source is None else os.fspath(source)
    steps = plan_steps(table, FLOWS, source=first, extra={"limit": limit, "workers": workers})
    told = observer or Silent()
    if dry_run:
        return RunResult(table.name, base, tuple(_looked_at(table, steps, base)), False)
    with _alone(base / table.runs, table.name) as state:
        _refuse_changed(steps, state, base, place, redo=redo)
        results = []
        for step in steps:
            results.append(_taken(step, state, base, told, redo=redo))
            told.done(results[-1])
    return RunResult(table.name, base, tuple(results), True)


@contextmanager
def _alone(runs: Path, name: str) -> Iterator[State]:
    """The state of a recipe, while nobody else runs it."""
    runs.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(runs / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OutputInUse(f"recipe {name} is being run in {runs} by another process: wait until it is done") from None
    try:
        clear_temporary(runs.iterdir())
        yield State(runs / f"{name}.steps.json")
    finally:
        lock.release()


def _looked_at(table: RecipeFile, steps: list[Step], root: Path) -> Iterator[StepResult]:
    """What would be done, step by step; a step after one that is to be done has to be done, too."""
    state = State(root / table.runs / f"{table.name}.steps.json")
    redone: set[str] = set()
    for step in steps:
        status = status_of(step, state, root, redone=frozenset(redone))
        if status.todo != "done":
            redone.add(step.out)
        known = state.records.get(step.name)
        summary = known.summary if known and status.todo == "done" else ""
        yield StepResult(step.name, step.table.verb.name, step.inputs, step.out, status.todo, status.why, summary)


def _refuse_changed(steps: list[Step], state: State, root: Path, recipe: Path, *, redo: bool) -> None:
    """Refuses, before anything is done, to make again what is there, unless that is asked for.

    Raises:
        ConfigError: a step that ended has other options or another input now.
    """
    if redo:
        return
    for step in steps:
        status = status_of(step, state, root)
        if status.todo == "changed" and not step.flow.takes_changes:
            raise ConfigError(
                f"step {step.name}: {status.why}. Its result {step.out} is of before: `imagemill run {recipe} --redo` "
                f"removes it and makes it again, and what follows from it; or give the step another out = …"
            )


def _taken(step: Step, state: State, root: Path, told: Observer, *, redo: bool) -> StepResult:
    """A step that is done now, or was before."""
    status = status_of(step, state, root)
    verb = step.table.verb.name
    result = StepResult(step.name, verb, step.inputs, step.out, status.todo, status.why)
    if status.todo == "done":
        return replace(result, summary=state.records[step.name].summary)
    if status.todo == "changed" and not step.flow.takes_changes:
        if not redo:
            raise ConfigError(f"step {step.name}: {status.why}: add --redo to make {step.out} again")
        _removed(root / step.out)
    if status.todo == "go on" and step.flow.starts_anew:
        _removed(root / step.out)
    state.put(step.name, status.record)
    started = time.monotonic()
    with told.step(step, status) as callbacks:
        made = call_verb(step, root, callbacks)
    seconds = time.monotonic() - started
    summary = summary_of(made)
    record = replace(status.record, result=digest_of(root / step.out), summary=summary, seconds=round(seconds, 1))
    state.put(step.name, record)
    share = float(getattr(made, "reject_share", 0.0))
    return replace(result, summary=summary, seconds=seconds, reject_share=share)


def _removed(result: Path) -> None:
    """Takes away a result of this recipe: only ever what one of its records says that it made."""
    if result.is_dir():
        shutil.rmtree(result)
    else:
        result.unlink(missing_ok=True)


def summary_of(result: Any) -> str:
    """What a verb made, in a few words."""
    parts = []
    for name, word in (("fetched", "fetched"), ("samples", "samples"), ("pictures", "pictures"), ("tiles", "tiles")):
        count = getattr(result, name, None)
        if isinstance(count, int):
            parts.append(f"{count:,} {word}")
    splits = getattr(result, "splits", None)
    if splits:
        parts.append(", ".join(f"{name} {count:,}" for name, count in splits.items()))
    metrics = getattr(result, "metrics", None)
    if metrics:
        parts.append(", ".join(f"{name} {value:.3f}" for name, value in list(metrics.items())[:3]))
    parts += [f"{one.direction}: {one.verdict}" for one in getattr(result, "directions", ())]
    if getattr(result, "rejected", 0):
        parts.append(f"{result.rejected:,} rejected")
    return "; ".join(parts)
