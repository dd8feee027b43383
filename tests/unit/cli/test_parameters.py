"""What is typed reaches a function as its signature says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner

from imagemill.cli.parameters import Argument, Option, command_of


def sample(
    source: Annotated[str, Argument("SRC", "Where from.")],
    out: Annotated[Path, Argument("OUT", "Where to.")],
    limit: Annotated[int | None, Option("--limit", "So many.", min=1)] = None,
    share: Annotated[float, Option("--share", min=0, max=1)] = 0.5,
    folder: Annotated[Path | None, Option("--folder", metavar="DIR")] = None,
    names: Annotated[list[str] | None, Option("--name", "May be repeated.")] = None,
    cache: Annotated[bool, Option("--cache/--no-cache")] = True,
    labels: Annotated[bool | None, Option("--labels/--no-labels")] = None,
    dry_run: Annotated[bool, Option("--dry-run", "Writes nothing.")] = False,
) -> None:
    """Takes one of each kind. The rest is only in its own help."""
    CALLS.append(dict(locals()))


def places(places: Annotated[list[str], Argument("[SRC] DST", "One or two.")]) -> None:
    """Takes all that is left."""
    CALLS.append(dict(locals()))


def perhaps(
    source: Annotated[str, Argument("SRC", "Where from.")], out: Annotated[Path | None, Argument("[OUT]", "")] = None
) -> None:
    """Does with one."""
    CALLS.append(dict(locals()))


@dataclass(frozen=True)
class Shared:
    """Options of several commands."""

    width: Annotated[int, Option("--width", min=1)] = 3
    deep: Annotated[bool, Option("--deep", "Further down.")] = False


def grouped(source: Annotated[str, Argument("SRC", "Where from.")], *, shared: Shared) -> None:
    """Takes options together."""
    CALLS.append(dict(locals()))


CALLS: list[dict[str, Any]] = []

DEFAULTS: dict[str, Any] = {
    "source": "here",
    "out": Path("there"),
    "limit": None,
    "share": 0.5,
    "folder": None,
    "names": None,
    "cache": True,
    "labels": None,
    "dry_run": False,
}


def called(function: Any, *words: str) -> dict[str, Any]:
    """What the function was called with."""
    CALLS.clear()
    command_of("sample", function).main(list(words), standalone_mode=False)
    return CALLS[0]


def test_what_is_not_given_is_the_default() -> None:
    assert called(sample, "here", "there") == DEFAULTS


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--limit", "3"], {"limit": 3}),
        (["--limit=3"], {"limit": 3}),
        (["--share", "1"], {"share": 1.0}),
        (["--folder", "a b"], {"folder": Path("a b")}),
        (["--name", "x", "--name", "y"], {"names": ["x", "y"]}),
        (["--no-cache"], {"cache": False}),
        (["--labels"], {"labels": True}),
        (["--no-labels"], {"labels": False}),
        (["--dry-run"], {"dry_run": True}),
    ],
)
def test_options_have_the_types_of_the_signature_wherever_they_stand(words: list[str], given: dict[str, Any]) -> None:
    for line in ([*words, "here", "there"], ["here", *words, "there"], ["here", "there", *words]):
        assert called(sample, *line) == DEFAULTS | given


def test_a_list_of_arguments_takes_all_that_is_left() -> None:
    assert called(places, "a", "b") == {"places": ["a", "b"]}
    with pytest.raises(click.MissingParameter):
        called(places)


def test_an_argument_with_a_default_may_be_left_away() -> None:
    assert called(perhaps, "here") == {"source": "here", "out": None}
    assert called(perhaps, "here", "there") == {"source": "here", "out": Path("there")}
    with pytest.raises(click.MissingParameter):
        called(perhaps)


def test_options_that_commands_share_arrive_together() -> None:
    assert called(grouped, "here") == {"source": "here", "shared": Shared()}
    assert called(grouped, "--deep", "here", "--width", "5") == {"source": "here", "shared": Shared(5, deep=True)}
    assert "--deep Further down." in " ".join(CliRunner().invoke(command_of("x", grouped), ["--help"]).output.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here"], "Missing argument 'OUT'"),
        (["here", "there", "elsewhere"], "unexpected extra argument"),
        (["here", "there", "--limit", "0"], "0 is not in the range x>=1"),
        (["here", "there", "--limit", "many"], "not a valid integer"),
        (["here", "there", "--share", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["here", "there", "--limits", "3"], "Did you mean"),
        (["here", "there", "--lim", "3"], "No such option"),
        (["here", "there", "--limit"], "requires an argument"),
    ],
)
def test_what_cannot_be_is_a_usage_error(words: list[str], said: str) -> None:
    done = CliRunner().invoke(command_of("sample", sample), words)
    assert done.exit_code == 2
    assert said in done.output


def test_the_help_explains_arguments_options_and_defaults() -> None:
    shown = CliRunner().invoke(command_of("sample", sample), ["--help"]).output
    assert "sample [OPTIONS] SRC OUT" in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "SRC Where from." in lines
    assert "--limit INTEGER RANGE So many. [x>=1]" in lines
    assert "--name TEXT May be repeated." in lines
    assert "--folder DIR" in lines
    assert "--dry-run Writes nothing." in lines
    assert "--cache / --no-cache [default: cache]" in lines
