"""`imagemill dims 960x640`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from imagemill.api.dims import dims
from imagemill.cli import options as o
from imagemill.cli.console import print_json, print_rows, say
from imagemill.cli.parameters import Argument, Option
from imagemill.reports.safe_dimensions import (
    CHANNEL_PLANS,
    LEVEL_HEADS,
    Dimensions,
    SideFacts,
    halvings,
    level_rows,
    memory_text,
    poolings_text,
    safe_table,
    shown,
)


def command(
    size: Annotated[str, Argument(metavar="WIDTHxHEIGHT", help="As 960x640; one number is a square.")],
    poolings: Annotated[
        int | None, Option("--poolings", help="How often sides are to halve; default what the model does.")
    ] = None,
    model: Annotated[str | None, Option("--model", help=f"One of {', '.join(CHANNEL_PLANS)}.")] = None,
    channels: Annotated[str | None, Option("--channels", help="Of the model's levels: 16,32,64.")] = None,
    batch: Annotated[int, Option("--batch", help="Pictures a training step.")] = 1,
    table: Annotated[bool, Option("--table", help="Print the table of safe sides, too.")] = False,
    json: o.Json = False,
) -> None:
    """How often each side halves, the nearest safe sizes, a U-Net's levels, and memory for a batch."""
    found = dims(size, poolings=poolings, model=model, channels=channels, batch=batch)
    if json:
        print_json(found)
        return
    print_rows(fact_rows(found))
    print_table([LEVEL_HEADS, *level_rows(found)])
    if table:
        say("\nside:how often it halves (fractions are no sides)")
        print_table([[_side_cell(side) for side in row] for row in safe_table()])


def fact_rows(found: Dimensions) -> list[tuple[str, str]]:
    """What there is to say about the size as a whole."""
    height, width = found.sides
    rows = [("size", shown(found.size)), ("width", _side_text(width)), ("height", _side_text(height))]
    rows.append((f"{found.poolings} poolings", poolings_text(found)))
    if found.first_mismatch is not None:
        safe = [shown((height.above, width.above))]
        safe += [shown((height.below, width.below))] if height.below and width.below else []
        rows.append(("nearest safe", " or ".join(safe)))
    if taken := memory_text(found):
        rows.append(("training", taken))
    return rows


def _side_cell(side: float) -> str:
    return f"{side:.0f}:{halvings(int(side))}" if float(side).is_integer() else f"{side:g}"


def _side_text(side: SideFacts) -> str:
    near = "" if side.safe else f"; nearest for {side.poolings}: {side.below or '-'} and {side.above}"
    return f"{side.side} = {side.odd} · 2^{side.halvings}: halves {side.halvings} times{near}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of equal length, columns aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        say(line.rstrip())
