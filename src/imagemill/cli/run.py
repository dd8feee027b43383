"""`imagemill run RECIPE [SRC]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from imagemill.api.run import RunResult, StepResult, run
from imagemill.cli import options as o
from imagemill.cli.console import (
    exit_on_rejects,
    human_seconds,
    note,
    parse_max_rejects,
    print_heading,
    print_json,
    progress_bar,
    say,
)
from imagemill.cli.parameters import Argument, Option
from imagemill.recipes.plan import Status, Step

WORDS = {"done": "done before", "run": "to do", "go on": "to be gone on with", "changed": "changed"}


def command(
    recipe: Annotated[Path, Argument(metavar="RECIPE", help="TOML file with a table a step.")],
    source: Annotated[
        str | None, Argument(metavar="[SRC]", help="What the first step takes, instead of what RECIPE says.")
    ] = None,
    root: Annotated[
        Path, Option("--root", help="Folder that the recipe's paths begin at: data/ and runs/ lie there.")
    ] = Path("."),
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="In place of what RECIPE says: train.epochs=3; repeat."),
    ] = None,
    limit: Annotated[int | None, Option("--limit", help="--limit of every step that has it.", min=1)] = None,
    workers: Annotated[int | None, Option("--workers", help="--workers of every step.", min=0)] = None,
    redo: Annotated[
        bool, Option("--redo", help="Make again what is of other options or inputs; its old result is removed.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what is done and what is to do; do nothing.")] = False,
    max_rejects: o.MaxRejects = "1%",
    json: o.Json = False,
) -> None:
    """Take every step of a recipe that is not done yet. The same command again goes on where it was stopped."""
    allowed = parse_max_rejects(max_rejects)
    result = run(
        recipe,
        source,
        root=root,
        settings=settings or (),
        limit=limit,
        workers=workers,
        redo=redo,
        dry_run=dry_run,
        observer=Screen(quiet=json),
    )
    if json:
        print_json(result)
    elif dry_run:
        show_plan(result)
    exit_on_rejects(max((step.reject_share for step in result.steps), default=0.0), allowed)


class Screen:
    """Says on the terminal how a run goes on; see `imagemill.api.run.Observer`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    @contextmanager
    def step(self, step: Step, status: Status) -> Iterator[Mapping[str, Callable[..., None]]]:
        """A heading, and a bar while it lasts."""
        if not self._quiet:
            again = {"go on": ", going on where it was stopped", "changed": f", again: {status.why}"}.get(
                status.todo, ""
            )
            shown = f"{step.name}: {' + '.join(step.inputs.values())} → {step.out}{again}"
            print_heading(shown)
        if step.table.verb.name == "train":
            from imagemill.cli.train_display import live_events

            with live_events(quiet=self._quiet) as show:
                yield {"on_event": show}
            return
        with progress_bar(step.name, quiet=self._quiet) as bar:
            yield {
                "on_total": bar.total,
                "on_progress": bar.advance,
                "on_check": bar.advance,
                "on_plan": lambda job: bar.total(sum(job.plan.count(name) for name in job.plan.splits)),
            }

    def done(self, result: StepResult) -> None:
        """What came of it."""
        if self._quiet:
            return
        if result.todo == "done":
            line = f"{result.name}: skipped, done before: {result.out}"
            say(f"{line} ({result.summary})" if result.summary else line)
            return
        say(f"  {result.summary or 'done'}, {human_seconds(result.seconds)}")


def show_plan(result: RunResult) -> None:
    """What is done and what is to do, a line a step."""
    width = max(len(step.name) for step in result.steps)
    for step in result.steps:
        why = f": {step.why}" if step.why else ""
        way = f"{' + '.join(step.inputs.values())} → {step.out}"
        say(f"{step.name:<{width}}  {way}  ({WORDS[step.todo]}{why})")
    if any(step.todo == "changed" for step in result.steps):
        note("steps that have changed are made again with --redo")
