"""Charts as inline SVG: no script, no font, no colour of their own; the page's style sheet colours the classes.

Every bar has a `<title>`, which browsers show on hover and screen readers read. Series
n has the class `sN`, so light and dark themes are the style sheet's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

SERIES = 6
"""Colours that the style sheet has; further series begin again at the first."""

_WIDTH = 900
_ROW = 22
_LABEL = 190
_VALUE = 70
_PLOT_HEIGHT = 150
_LABEL_LETTERS = 27


def stacked_bars(rows: Sequence[tuple[str, Sequence[int]]], series: Sequence[str]) -> Markup:
    """One horizontal bar a row, of one segment a series, with the sum at its end.

    Args:
        rows: (name, one count of 0 or more for each series), from top to bottom.
        series: names of the segments, for the hover text.
    """
    most = max((sum(counts) for _, counts in rows), default=0) or 1
    scale = (_WIDTH - _LABEL - _VALUE) / most
    parts = []
    for number, (name, counts) in enumerate(rows):
        top = number * _ROW
        parts.append(_text(_LABEL - 8, top + 15, shortened(name), anchor="end", title=name))
        left = float(_LABEL)
        for index, (series_name, count) in enumerate(zip(series, counts, strict=True)):
            if count:
                hover = f"{name}, {series_name}: {count:,}" if series_name else f"{name}: {count:,}"
                parts.append(_bar(left, top + 3, count * scale, _ROW - 6, hover, index))
            left += count * scale
        parts.append(_text(left + 6, top + 15, f"{sum(counts):,}"))
    return _svg(len(rows) * _ROW + 4, parts)


def columns(counts: Sequence[int], names: Sequence[str]) -> Markup:
    """One thin column a name, for hundreds of them: too many to label, so names show on hover."""
    most = max(counts, default=0) or 1
    left, width = 50, (_WIDTH - 60) / max(len(counts), 1)
    parts = _vertical_axis(most, left)
    for number, (count, name) in enumerate(zip(counts, names, strict=True)):
        height = _PLOT_HEIGHT * count / most
        parts.append(
            _bar(left + number * width, 10 + _PLOT_HEIGHT - height, _gapped(width), height, f"{name}: {count:,}")
        )
    return _svg(_PLOT_HEIGHT + 16, parts)


@dataclass(frozen=True)
class Bins:
    """A histogram's numbers.

    Args:
        edges: shape (n + 1,), ascending; a bin has its lower edge and not its upper one.
        counts: shape (n,).
        clipped: values beyond the last edge, counted in the last bin.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    clipped: int


def bins_of(values: npt.NDArray[Any], *, most: int = 40, percentile: float = 99.0) -> Bins:
    """Bins of equal width up to a percentile; the few values beyond it count in the last bin.

    Args:
        values: at least one number; integers get bins of whole numbers.
        most: bins at most.
        percentile: where the axis ends, so that one giant does not flatten all others.
    """
    low, high = float(values.min()), float(np.percentile(values, percentile, method="higher"))
    if values.dtype.kind in "iu":
        step = float(math.ceil((math.floor(high) + 1 - low) / most))
        count = math.ceil((math.floor(high) + 1 - low) / step)
    else:
        step = max(high - low, 1e-9) / most
        count = most
    edges = np.asarray(low + step * np.arange(count + 1), np.float64)
    place = ((values - low) / step).astype(np.int64)
    clipped = int((values > edges[-1]).sum() if values.dtype.kind == "f" else (place >= count).sum())
    return Bins(edges, np.bincount(np.minimum(place, count - 1), minlength=count), clipped)


def histogram(values: npt.NDArray[Any], *, unit: str = "", decimals: int = 0) -> Markup:
    """Columns over a number line, clipped at the 99th percentile.

    Args:
        values: at least one number.
        unit: what they are, " px"; for the hover text.
        decimals: digits after the point.
    """
    bins = bins_of(values)
    left, plot_width = 50, _WIDTH - 70
    most = int(bins.counts.max())
    span = float(bins.edges[-1] - bins.edges[0])
    parts = _vertical_axis(most, left)
    width = plot_width / len(bins.counts)
    for number, count in enumerate(bins.counts.tolist()):
        if not count:
            continue
        height = _PLOT_HEIGHT * count / most
        low, high = float(bins.edges[number]), float(bins.edges[number + 1]) - (values.dtype.kind in "iu")
        end = f"–{high:,.{decimals}f}" if high > low else ""
        if number == len(bins.counts) - 1 and bins.clipped:
            end = " and more"
        hover = f"{low:,.{decimals}f}{end}{unit}: {count:,}"
        parts.append(_bar(left + number * width, 10 + _PLOT_HEIGHT - height, _gapped(width), height, hover))
    for tick in ticks(float(bins.edges[0]), float(bins.edges[-1])):
        if round(tick, decimals) != round(tick, 9):
            continue
        x = left + plot_width * (tick - float(bins.edges[0])) / span
        parts.append(_text(x, _PLOT_HEIGHT + 26, f"{tick:,.{decimals}f}", anchor="middle"))
    return _svg(_PLOT_HEIGHT + 32, parts)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers inside [low, high]: 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def shortened(text: str, letters: int = _LABEL_LETTERS) -> str:
    """The text, or its beginning and end with an ellipsis between."""
    if len(text) <= letters:
        return text
    head = (letters - 1) * 2 // 3
    return f"{text[:head]}…{text[head - letters + 1 :]}"


def _vertical_axis(most: int, left: float) -> list[Markup]:
    parts = []
    for tick in ticks(0, most, 4):
        if tick != int(tick):
            continue
        y = 10 + _PLOT_HEIGHT * (1 - tick / most)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, _WIDTH - 10, _n(y), _n(y))
        )
        parts.append(_text(left - 6, y + 4, f"{tick:,.0f}", anchor="end"))
    return parts


def _gapped(width: float) -> float:
    return width - 1 if width > 3 else width


def _bar(x: float, y: float, width: float, height: float, title: str, series: int = 0) -> Markup:
    return Markup('<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        series % SERIES, _n(x), _n(y), _n(max(width, 0.5)), _n(max(height, 0.5)), title
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", title: str = "") -> Markup:
    hover = Markup("<title>{}</title>").format(title) if title and title != text else Markup()
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}{}</text>').format(_n(x), _n(y), anchor, text, hover)


def _n(value: float) -> str:
    """A coordinate with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")


def _svg(height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" xmlns="http://www.w3.org/2000/svg">{}</svg>').format(
        _WIDTH, _n(height), Markup("").join(escape(part) for part in parts)
    )
