"""The command line: one subcommand per function of `imagemill.api`."""

from imagemill.cli.app import main

__all__ = ["main"]
