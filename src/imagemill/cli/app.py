"""The typer application."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from imagemill import __version__

VERBS = (
    "fetch",
    "check",
    "stage",
    "tile",
    "pack",
    "embed",
    "verify",
    "info",
    "convert",
    "export",
    "predict",
    "report",
    "sync",
    "dims",
    "bench",
    "train",
    "run",
    "doctor",
)
"""Subcommands in the order of the help, each the `command` of the module of its name."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"imagemill {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Takes a pile of images to a training-ready dataset, and feeds it to PyTorch."""


def application(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The command line with these subcommands; all of them import half a second more than one does."""
    app = typer.Typer(
        name="imagemill",
        help="Takes a pile of images to a training-ready dataset, and feeds it to PyTorch.",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in verbs:
        app.command(name=verb)(import_module(f"imagemill.cli.{verb}").command)
    return app
