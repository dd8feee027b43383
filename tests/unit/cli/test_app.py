"""The subcommands: all there, named, told in a sentence, and imported only when asked for."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

import imagemill
from imagemill.cli.app import VERBS, application


def test_every_verb_of_python_is_a_subcommand() -> None:
    public = {name for name in imagemill.__all__ if name.islower() and not name.startswith("_")} - {"open"}
    assert set(VERBS) == public


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_subcommands_says_what_their_help_begins_with(verb: str) -> None:
    docstring = inspect.getdoc(import_module(f"imagemill.cli.{verb}").command) or ""
    assert re.split(r"(?<=\.)\s", docstring)[0].replace("\n", " ") == VERBS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_every_subcommand_has_a_help(verb: str) -> None:
    done = CliRunner().invoke(application, [verb, "-h"])
    assert (done.exit_code, done.output.partition("\n")[0].split()[:3]) == (0, ["Usage:", "application", verb])


def test_a_subcommand_that_is_none_is_told_with_what_may_be_meant() -> None:
    done = CliRunner().invoke(application, ["fetsh"])
    assert done.exit_code == 2
    assert "No such command 'fetsh'. Did you mean 'fetch'?" in done.output


def test_without_a_subcommand_there_is_help() -> None:
    done = CliRunner().invoke(application, [])
    assert done.exit_code == 2
    assert "Commands:" in done.output


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(application, ["--version"]).output == f"imagemill {imagemill.__version__}\n"


def test_a_shell_can_complete_subcommands_and_options() -> None:
    context = click.Context(application, info_name="imagemill")
    assert [each.value for each in application.shell_complete(context, "fe")] == ["fetch"]
    fetch = application.get_command(context, "fetch")
    assert fetch is not None
    found = fetch.shell_complete(click.Context(fetch, parent=context), "--per-")
    assert [each.value for each in found] == ["--per-host"]
