"""`imagemill export DATASET OUT`, `imagemill export MODEL OUT.onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from imagemill.api.export import export, export_model, exports_model
from imagemill.api.info import info
from imagemill.cli import options as o
from imagemill.cli.console import human_bytes, print_json, print_rows, progress_bar, say
from imagemill.cli.parameters import Argument, Option
from imagemill.errors import ConfigError


def command(
    dataset: Annotated[
        str, Argument(metavar="DATASET|MODEL", help="Finished dataset; or a model file or run, with OUT.onnx.")
    ],
    out: Annotated[Path, Argument(metavar="OUT", help="New or empty folder; NAME.onnx for a model.")],
    layout: Annotated[
        str, Option("--layout", help="folders; lab: TFRecords as the colour pipeline reads them.")
    ] = "folders",
    records: Annotated[int, Option("--records", help="Records a file, with --layout lab.", min=1)] = 500,
    compression: Annotated[str, Option("--compression", help="none, gzip or zlib, with --layout lab.")] = "none",
    direction: Annotated[str | None, Option("--direction", help="Of a run that trained both ways.")] = None,
    which: Annotated[str, Option("--which", help="Of a run: best or last.")] = "best",
    json: o.Json = False,
) -> None:
    """Write a dataset back as plain folders, original files byte for byte; or a model as an ONNX file."""
    if exports_model(out):
        _model(dataset, out, direction, which, json=json)
        return
    if compression not in ("none", "gzip", "zlib"):
        raise ConfigError(f"--compression {compression!r} is none of none, gzip, zlib")
    with progress_bar("export", quiet=json) as bar:
        bar.total(info(dataset)["counts"]["samples"])
        count = export(
            dataset,
            out,
            layout=layout,
            records_per_file=records,
            compression="" if compression == "none" else compression,  # type: ignore[arg-type]
            direction=direction,
            which=which,
            on_progress=bar.advance,
        )
    if json:
        print_json({"path": out, "samples": count})
    else:
        say(f"{count:,} samples written to {out}")


def _model(model: str, out: Path, direction: str | None, which: str, *, json: bool) -> None:
    result = export_model(model, out, direction=direction, which=which)
    if json:
        print_json(result)
        return
    rows = [("file", f"{result.path}, {human_bytes(result.size_bytes)}, ONNX opset {result.opset}")]
    rows += [(name, result.metadata[name]) for name in ("input", "output", "task")]
    rows.append(("compared", f"with torch at three sizes, odd ones too: largest difference {result.difference:.1e}"))
    print_rows(rows)
