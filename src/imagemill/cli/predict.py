"""`imagemill predict MODEL SRC OUT`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from imagemill.api.predict import predict
from imagemill.cli import options as o
from imagemill.cli.console import (
    account_rows,
    finish,
    human_seconds,
    note,
    parse_max_rejects,
    print_rejects,
    print_rows,
    progress_bar,
    say,
)
from imagemill.cli.parameters import Argument, Option
from imagemill.core.files import REJECTS_NAME
from imagemill.prediction.options import OVERLAP, TILE, PredictOptions
from imagemill.prediction.result import TABLE_NAME, PredictResult


def command(
    model: Annotated[
        str, Argument(metavar="MODEL", help="A .safetensors, .pth or .onnx file, or the folder of a run.")
    ],
    source: Annotated[
        str,
        Argument(metavar="SRC", help="Picture, folder of pictures or pairs, dataset. Never written to."),
    ],
    out: o.Out,
    direction: Annotated[
        str | None,
        Option("--direction", help="Of a run that trained both ways: before-to-after or after-to-before."),
    ] = None,
    which: Annotated[str, Option("--which", help="Of a run: best or last.")] = "best",
    device: Annotated[str | None, Option("--device", help="cpu, cuda, …; default a GPU if there is one.")] = None,
    tile: Annotated[
        int | None,
        Option("--tile", help=f"Side of tiles; default {TILE} for pictures above 2 MP; 0: never.", min=0),
    ] = None,
    overlap: Annotated[
        int | None, Option("--overlap", help=f"Pixels that tiles share; default {OVERLAP}.", min=0)
    ] = None,
    batch_size: Annotated[
        int, Option("--batch-size", help="Pictures of one size, or tiles, at a time at most.", min=1)
    ] = PredictOptions.batch_size,
    flips: Annotated[
        str, Option("--flips", help="none, horizontal or all (8 positions): the mean of what is said of each.")
    ] = "none",
    vividness: Annotated[
        float,
        Option(
            "--vividness",
            help="Of a model that guesses colours: 0 the mean of what may be, 1 the likeliest.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    to: Annotated[str | None, Option("--to", help="jpg, png, webp, tif or bmp; default as they are.")] = None,
    quality: Annotated[int, Option("--quality", help="Of JPEG and WebP, 1–100.")] = PredictOptions.quality,
    keep_grey: Annotated[bool, Option("--keep-grey", help="What is made of a grey picture is grey.")] = False,
    palette: Annotated[bool, Option("--palette", help="Masks with a colour a class, to look at.")] = False,
    split: Annotated[str | None, Option("--split", help="Only this split of a dataset.")] = None,
    limit: o.Limit = None,
    kind: o.Kind = None,
    max_rejects: o.MaxRejects = "1%",
    *,
    limits: o.LimitOptions,
    folders: o.FolderOptions,
    json: o.Json = False,
) -> None:
    """Show pictures to a trained model and keep what it makes of them. The same command again goes on after a kill."""
    allowed = parse_max_rejects(max_rejects)
    with progress_bar("predict", quiet=json) as bar:
        result = predict(
            model,
            source,
            out,
            direction=direction,
            which=which,
            device=device,
            tile=tile,
            overlap=overlap,
            batch_size=batch_size,
            flips=flips,
            vividness=vividness,
            to=to,
            quality=quality,
            keep_grey=keep_grey,
            palette=palette,
            split=split,
            limit=limit,
            kind=kind,
            on_total=bar.total,
            on_progress=bar.advance,
            **limits.given(),
            **o.source_options(folders),
        )
    finish(result, show, json=json, allowed=allowed)


def show(result: PredictResult) -> None:
    """What was measured, the closing table, and where everything lies."""
    for remark in result.remarks:
        note(remark)
    print_rejects(result.rejects, f"all rejects: {result.path / REJECTS_NAME}")
    if result.measured:
        print_measured(result.rows, result.metrics, more=result.pictures - len(result.rows))
        say(result.protocol)
    rows = account_rows(vars(result))
    rows.append(("pictures", f"{result.pictures:,} in {result.path}, listed in {TABLE_NAME}"))
    rows.append(("time", human_seconds(result.seconds)))
    print_rows(rows)
    if result.already:
        say("already finished: nothing to do")


def print_measured(rows: Sequence[Mapping[str, Any]], means: Mapping[str, float], *, more: int) -> None:
    """A row a picture, and the mean of all."""
    # Imported here, as few runs measure.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("picture", overflow="fold")
    for name in means:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(Text(str(row["file_name"])), *(_short(row.get(name)) for name in means))
    if more > 0:
        table.add_row(f"… and {more:,} more")
    table.add_row("mean", *(_short(value) for value in means.values()), style="bold")
    Console(highlight=False).print(table)


def _short(value: Any) -> str:
    return f"{float(value):.3f}" if value not in (None, "") else ""
