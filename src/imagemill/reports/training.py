"""A page about a run of `train`: verdict, curves, scores, pictures. Made of its log and sheets alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill import __version__
from imagemill.core.files import atomic_write
from imagemill.reports.charts import SERIES
from imagemill.reports.curves import Chart, Points, curves_file, line_chart
from imagemill.reports.page import page_environment, page_parts

CURVES_NAME = "curves.svg"
SHEET_QUALITY = 82
CHART_METRICS = ("psnr", "ssim", "ciede2000", "colourfulness", "miou", "accuracy")
POINTS = 600
"""Of a curve at most: a screen is not wider."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A sheet of pictures as the page holds it."""

    caption: str
    uri: str
    width: int
    height: int


def write_training_page(
    folder: Path, out: Path, events: Sequence[Event], result: Mapping[str, Any], protocols: Mapping[str, str]
) -> None:
    """Writes the page, and the curves as a file of their own beside it.

    Args:
        folder: of the run, where its sheets are.
        out: HTML file to write.
        events: of its log.
        result: as its result.json has it.
        protocols: metric → how it is measured.
    """
    charts = charts_of(events)
    atomic_write(folder / CURVES_NAME, curves_file(charts).encode("utf-8"))
    models = [event for event in events if event["kind"] == "model"]
    parts = page_parts()
    content = (
        page_environment()
        .get_template("training.html.jinja")
        .render(
            name=folder.name or str(folder),
            result=result,
            models=models,
            charts=[(chart.title, line_chart(chart)) for chart in charts if not chart.is_empty],
            sheets=_sheets(folder),
            scores=[_scores(each) for each in result["directions"]],
            protocols=protocols,
            remarks=[event["text"] for event in events if event["kind"] in ("remark", "resumed")],
            upsets=[event for event in events if event["kind"] == "upset"],
            rate=_rate(events),
            series=SERIES,
            own_version=__version__,
            **parts,
        )
    )
    atomic_write(out, content.encode("utf-8"))


def charts_of(events: Sequence[Event]) -> list[Chart]:
    """Loss, metrics with the baselines as level lines, and the learning rate, over the steps."""
    steps = [event for event in events if event["kind"] == "train"]
    directions = list(steps[0]["losses"]) if steps else []
    losses = {
        name: _thinned([(event["step"], event["losses"][name]["loss"]) for event in steps]) for name in directions
    }
    charts = [Chart("training loss", losses, logarithmic=True, decimals=5)]
    charts += [
        _metric_chart(events, metric, name, f"{metric} on val" + (f", {name}" if len(directions) > 1 else ""))
        for metric in CHART_METRICS
        for name in directions
    ]
    rates = _thinned([(event["step"], event["learning_rate"]) for event in steps])
    charts.append(Chart("learning rate", {"rate": rates}, logarithmic=True, decimals=6))
    return charts


def _metric_chart(events: Sequence[Event], metric: str, direction: str, title: str) -> Chart:
    """A metric of one direction; a baseline's colourfulness says nothing of how well it does."""
    there = [event for event in events if event.get("direction") == direction and metric in event.get("values", {})]
    points = [(event["step"], event["values"][metric]) for event in there if event["kind"] == "val"]
    levels = {event["name"]: event["values"][metric] for event in there if event["kind"] == "baseline"}
    return Chart(title, {"val": points}, {} if metric == "colourfulness" else levels, decimals=3)


def _thinned(points: list[tuple[float, float]]) -> Points:
    step = max(1, -(-len(points) // POINTS))
    return [*points[:-1:step], points[-1]] if points else []


def _scores(direction: Mapping[str, Any]) -> dict[str, Any]:
    """A table of scores: a row a metric; columns val and test of the best model, and each baseline on val."""
    names = [name for name in direction["val"] if name != "loss"]
    columns = {
        "best on val": direction["val"],
        **{f"{name} on val": each for name, each in direction["baselines"].items()},
    }
    if direction["test"]:
        columns["best on test"] = direction["test"]
    rows = [(name, [columns[column].get(name) for column in columns]) for name in names]
    return {"direction": direction, "columns": list(columns), "rows": rows}


def _rate(events: Sequence[Event]) -> dict[str, float] | None:
    """Median images a second and share of the time spent waiting, of all lines but the first, which warms up."""
    steps = [event for event in events if event["kind"] == "train"][1:]
    if not steps:
        return None
    ordered = {name: sorted(event[name] for event in steps) for name in ("images_per_s", "waiting_share")}
    return {name: values[len(values) // 2] for name, values in ordered.items()}


def _sheets(folder: Path) -> list[Sheet]:
    """The first and the last sheet of each direction."""
    found = []
    for ending, said in (("", ""), ("-reverse", ", after to before")):
        names = sorted(
            path
            for path in (folder / "sheets").glob(f"step-*{ending}.png")
            if path.stem.endswith("-reverse") == bool(ending)
        )
        for path in dict.fromkeys([*names[-1:], *names[:1]]):
            step = int(path.stem.split("-")[1])
            found.append(_sheet(path, f"step {step:,}{said}"))
    return found


def _sheet(path: Path, caption: str) -> Sheet:
    with Image.open(path) as image:
        content = io.BytesIO()
        image.convert("RGB").save(content, "WEBP", quality=SHEET_QUALITY)
        uri = "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")
        return Sheet(caption, uri, image.width, image.height)
