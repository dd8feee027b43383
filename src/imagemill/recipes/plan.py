"""From a recipe's tables to steps with all their paths, each with what is to be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imagemill.errors import ConfigError
from imagemill.recipes.state import Record, State, digest_of, plain
from imagemill.recipes.table import NAME, OUT, SKIP, RecipeFile, Table

PILE, MODEL, PICTURES = "pile", "model", "pictures"
"""What flows from step to step: the pile of images as it is by now, the model trained last; pictures to try it on."""

ORIGINAL = "original"
"""Folder in the recipe's data that the first step takes where nothing else is said."""

FIRST = "{source}"
"""In the place of an input: what the first step takes."""


@dataclass(frozen=True)
class Flow:
    """What a verb takes and makes in a recipe.

    Args:
        inputs: parameter → `PILE`, `MODEL`, `PICTURES`, or "" where it must be said.
        out: of its result where nothing is said: a path with {data}, {runs}, {name}.
        makes: `PILE`, `MODEL`, or "".
        takes_changes: whether it goes on by itself where options or inputs have changed since it ended.
        starts_anew: whether what a kill left of it is of no use and is removed.
    """

    inputs: Mapping[str, str]
    out: str
    makes: str = ""
    takes_changes: bool = False
    starts_anew: bool = False


@dataclass(frozen=True)
class Step:
    """A step of a recipe.

    Args:
        table: as the file has it.
        flow: of its verb.
        inputs: parameter → path or URL.
        out: of its result.
        options: everything else that its verb is called with, as the file has it.
        paths: those of its options that are paths and are there, which count as inputs.
    """

    table: Table
    flow: Flow
    inputs: Mapping[str, str]
    out: str
    options: Mapping[str, Any]
    paths: Mapping[str, str]

    @property
    def name(self) -> str:
        """Unique in the recipe."""
        return self.table.name


def plan_steps(
    recipe: RecipeFile, flows: Mapping[str, Flow], *, source: str | None = None, extra: Mapping[str, Any] | None = None
) -> list[Step]:
    """The steps of a recipe, in its order.

    Args:
        source: what the first step takes, instead of what the recipe says.
        extra: option → value, for every step whose verb has it; of a limit, the lower one holds.

    Raises:
        ConfigError: a step whose input nothing says, or two steps with the same result.
    """
    current = {
        PILE: f"{recipe.data}/{ORIGINAL}",
        MODEL: "",
        PICTURES: f"{recipe.data}/play",
    }
    steps: list[Step] = []
    for number, table in enumerate(recipe.tables):
        flow = flows[table.verb.name]
        given = dict(table.values)
        if number == 0 and source is not None:
            given[next(iter(flow.inputs))] = source
        step = _step(recipe, table, flow, given, current, extra or {})
        for other in steps:
            if _same(other.out, step.out):
                raise ConfigError(
                    f"{other.table.where} and {table.where} both write {step.out}: give one another out = …"
                )
        steps.append(step)
        current.setdefault(FIRST, next(iter(step.inputs.values())))
        if flow.makes:
            current[flow.makes] = step.out
    return steps


def _step(
    recipe: RecipeFile,
    table: Table,
    flow: Flow,
    given: Mapping[str, Any],
    current: Mapping[str, str],
    extra: Mapping[str, Any],
) -> Step:
    inputs = {}
    for name, kind in flow.inputs.items():
        said = str(given.get(name) or current.get(kind, ""))
        inputs[name] = current[FIRST] if said == FIRST and FIRST in current else said
        if not inputs[name]:
            what = "no step before it trains a model" if kind == MODEL else "nothing says what it takes"
            raise ConfigError(f"{table.where}: {what}: add {name} = …")
    out = str(
        given.get(OUT) or flow.out.format(data=recipe.data, runs=recipe.runs, name=table.name, recipe=recipe.name)
    )
    left = {NAME, SKIP, OUT, *flow.inputs}
    options = {name: value for name, value in given.items() if name not in left}
    for name, value in extra.items():
        if name in table.verb.options and value is not None:
            options[name] = min(value, options.get(name, value)) if name == "limit" else value
    paths = {name: str(options[name]) for name in sorted(table.verb.paths) if options.get(name)}
    return Step(table, flow, inputs, out, options, paths)


def _same(first: str, second: str) -> bool:
    return PurePosixPath(first) == PurePosixPath(second)


@dataclass(frozen=True)
class Status:
    """What is to be done about a step.

    Args:
        todo: "done", "run", "go on" (an earlier run was stopped), or "changed" (done, but of other options or input).
        why: in words, of "changed".
        record: what it would be made from now.
    """

    todo: str
    why: str
    record: Record


def status_of(step: Step, state: State, root: Path, *, redone: frozenset[str] = frozenset()) -> Status:
    """What is to be done about a step, by what lies on disk.

    Args:
        redone: results that are made anew before it.
    """
    inputs = {**step.inputs, **step.paths}
    digests = {name: place if "://" in place else digest_of(root / place) for name, place in inputs.items()}
    record = Record(plain(step.options), inputs, digests, step.out)
    known = state.records.get(step.name)
    if known is None or not known.result:
        return Status("go on" if known is not None else "run", "", record)
    there = digest_of(root / step.out)
    if not there:
        return Status("run", "", record)
    first = next((place for place in inputs.values() if place in redone), None)
    why = f"{first} is made again" if first else known.difference(record)
    if not why and there != known.result:
        why = f"what lies in {step.out} is not what this step made"
    return Status("changed" if why else "done", why, record)
