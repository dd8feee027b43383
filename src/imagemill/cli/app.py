"""The command line as a whole: which subcommands there are. Each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from imagemill import __version__
from imagemill.cli.parameters import command_of

VERBS = {
    "fetch": "Download the images of a URL list, politely and safely.",
    "check": "Look at every image of a pile and say what is in it; nothing is changed.",
    "stage": "Make a folder of pictures fit for training, in a new folder: size, orientation, names, splits.",
    "tile": "Cut images into tiles with a reference image and centres.",
    "pack": "Pack a source into a verified dataset.",
    "embed": "Add a vector to every sample of a dataset.",
    "verify": "Check every byte of a dataset; name the samples that are damaged.",
    "info": "Print fields, splits, classes, sizes, recipe and versions of a dataset; or what a model takes and gives.",
    "convert": "Rewrite a dataset in another format, or with its JPEGs recoded; splits, keys and order stay.",
    "export": "Write a dataset back as plain folders, original files byte for byte; or a model as an ONNX file.",
    "predict": "Show pictures to a trained model and keep what it makes of them.",
    "report": "Write one offline page about a pile: totals, rejects, classes, sizes, quality, duplicates, leakage.",
    "sync": "Bring a folder up to date by digest; what was changed in it by hand is told, and left.",
    "dims": "How often each side halves, the nearest safe sizes, a U-Net's levels, and memory for a batch.",
    "bench": "Measure samples a second of a dataset on this machine, and say what bounds them.",
    "train": "Train a network: after of before, before of after, clean of corrupted, large of small, mask of image.",
    "run": "Take every step of a recipe that is not done yet.",
    "doctor": "Say what this machine has: versions, extras, cores, decoders, and whether they work.",
}
"""Subcommand → what it is for, the first sentence of its help; each is the `command` of the module of its name."""


class _Verbs(click.Group):
    """The subcommands, imported one by one: all of them take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The one of that name."""
        if cmd_name not in VERBS:
            return None
        return command_of(cmd_name, import_module(f"imagemill.cli.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is typed, or which one may be meant."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what each is for, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="imagemill %(version)s", help="Print the version.")
def application() -> None:
    """Takes a pile of images to a training-ready dataset, and feeds it to PyTorch."""
