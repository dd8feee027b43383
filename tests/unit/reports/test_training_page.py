"""The page about a run of training, and curves as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.reports.curves import Chart, curves_file, line_chart
from imagemill.reports.training import charts_of, write_training_page

DIRECTION = "before-to-after"
VALUES = {"psnr": 28.25, "ssim": 0.91}


def log() -> list[dict[str, Any]]:
    losses = [{DIRECTION: {"loss": loss, "l1": loss}} for loss in (0.5, 0.05)]
    trained = [
        {"kind": "train", "step": 10 * (n + 1), "epoch": n, "losses": each, "learning_rate": 1e-3, "images_per_s": 50.0}
        for n, each in enumerate(losses)
    ]
    return [
        {"kind": "remark", "text": "the <b>last</b> samples are held out"},
        {"kind": "model", "direction": DIRECTION, "network": "residual-unet", "saved_bytes": 12_000_000},
        {"kind": "baseline", "direction": DIRECTION, "name": "table", "values": {"psnr": 27.5}},
        *({**event, "waiting_share": 0.25} for event in trained),
        {"kind": "val", "step": 20, "direction": DIRECTION, "values": VALUES},
    ]


def result() -> dict[str, Any]:
    direction = {
        "direction": DIRECTION,
        "file": "best.safetensors",
        "metric": "psnr",
        "step": 20,
        "val": VALUES,
        "test": {},
        "baselines": {"table": {"psnr": 27.5}},
        "improvement": True,
        "verdict": "beats every baseline, table by 0.750",
    }
    return {"steps": 20, "epochs": 2, "stopped": "all steps done", "dataset": "0" * 64, "directions": [direction]}


def test_the_page_says_it_all(tmp_path: Path) -> None:
    (tmp_path / "sheets").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "sheets" / "step-000020.png")
    write_training_page(tmp_path, tmp_path / "report.html", log(), result(), {"psnr": "PSNR over RGB"})
    page = (tmp_path / "report.html").read_text("utf-8")
    for said in ("28.250", "Beats every baseline", "PSNR over RGB", "data:image/webp", "12.0 MB", "25.0 %", "27.500"):
        assert said in page
    assert "<b>last</b>" not in page
    assert "&lt;b&gt;last" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert (tmp_path / "curves.svg").is_file()


def test_curves_lie_where_their_values_are() -> None:
    chart = Chart("psnr", {"val": [(0, 10.0), (50, 20.0), (100, 30.0)]}, {"table": 25.0})
    svg = ET.fromstring(curves_file([chart]))
    points = next(each.attrib["points"] for each in svg.iter() if each.tag.endswith("polyline")).split()
    places = [tuple(map(float, point.split(","))) for point in points]
    assert [x for x, _ in places] == [0, 500, 1000]
    level = next(float(e.attrib["y1"]) for e in svg.iter() if e.attrib.get("class", "").startswith("level"))
    (_, low), (_, middle), (_, high) = places
    assert low > middle > level > high
    assert abs((low + high) / 2 - middle) < 0.02


def test_a_chart_without_points_is_nothing() -> None:
    assert line_chart(Chart("empty", {"val": []})) == ""
    assert [chart.title for chart in charts_of(log()) if not chart.is_empty] == [
        "training loss",
        "psnr on val",
        "ssim on val",
        "learning rate",
    ]
    assert "polyline" in line_chart(Chart("one point", {"val": [(3, 2.0)]}))
