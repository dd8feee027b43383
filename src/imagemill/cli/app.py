"""The typer application, and the one place where errors become exit codes."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from imagemill import __version__
from imagemill.cli import check, convert, doctor, export, info, pack, report, verify
from imagemill.cli.console import stderr
from imagemill.errors import ImagemillError

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

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
for _module in (check, pack, verify, info, convert, export, report, doctor):
    app.command(name=_module.__name__.rpartition(".")[2])(_module.command)


def main() -> None:
    """Runs a command; whatever goes wrong on purpose is one line on stderr and an exit code.

    0 done, 1 failed, 2 usage, 3 output in use, 4 no space, 5 damage found, 6 more rejects than
    allowed, 130 interrupted, 143 terminated.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except ImagemillError as error:
        stderr.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        stderr.print("interrupted: what was finished is kept; the same command goes on", highlight=False)
        sys.exit(EXIT_INTERRUPTED)


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the run in order: workers stopped, locks dropped."""
    sys.exit(EXIT_TERMINATED)
