"""The command line: one subcommand per function of `imagemill.api`."""

from imagemill.cli.entry import main

__all__ = ["main"]
