"""The typer application."""

from __future__ import annotations

from typing import Annotated

import typer

from imagemill import __version__
from imagemill.cli import (
    bench,
    check,
    convert,
    dims,
    doctor,
    export,
    fetch,
    info,
    pack,
    report,
    stage,
    sync,
    tile,
    verify,
)

app = typer.Typer(
    name="imagemill",
    help="Takes a pile of images to a training-ready dataset, and feeds it to PyTorch.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.callback()(_options)
for _module in (fetch, check, stage, tile, pack, verify, info, convert, export, report, sync, dims, bench, doctor):
    app.command(name=_module.__name__.rpartition(".")[2])(_module.command)
