"""Charts as inline SVG: no script, no font, no colour of their own; the page's style sheet colours the classes.

Nothing is scaled: what depends on the page's width is given in per cent of it, and text keeps its size, so a chart
reads the same at 390 pixels as at 1280. Every bar has a `<title>`, which browsers show on hover. Bars of tables are
decoration beside their numbers; histograms say what they show in an `aria-label`. Series n has the class `sN`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

SERIES = 6
"""Colours that the style sheet has; further series begin again at the first."""

BAR_HEIGHT = 14
PLOT_HEIGHT = 168
AXIS_WIDTH = 52

_TOP = 12
_TICK_ROOM = 22
_RANKS = 240


@dataclass(frozen=True)
class Bins:
    """A histogram's numbers.

    Args:
        edges: ascending, one more than counts; a bin has its lower edge and not its upper one.
        counts: values in each bin.
        clipped: values at or beyond the last edge, in no bin.
        whole: whether the values are whole numbers.
        lowest, median, highest: of all values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    clipped: int
    whole: bool
    lowest: float
    median: float
    highest: float


def bins_of(values: npt.NDArray[Any], *, about: int = 32, percentile: float = 99.0) -> Bins:
    """Bins of equal, round width up to a percentile; the few values beyond it are counted apart.

    Args:
        values: at least one finite number; integers get bins of whole numbers.
        about: bins, up to twice as many.
        percentile: where the axis ends, so that one giant does not flatten all others.
    """
    whole = values.dtype.kind in "iu"
    low, high = float(values.min()), float(np.percentile(values, percentile, method="higher"))
    step = round_step((high - low) / about) if high > low else 1.0 if whole else 0.01
    step = max(step, 1.0) if whole else step
    first = math.floor(low / step + 1e-9)
    place = np.floor(np.asarray(values, np.float64) / step + 1e-9).astype(np.int64) - first
    count = math.floor(high / step + 1e-9) - first + 1
    inside = place < count
    return Bins(
        tuple(round((first + number) * step, 9) for number in range(count + 1)),
        tuple(np.bincount(place[inside], minlength=count).tolist()),
        int(len(values) - inside.sum()),
        whole,
        low,
        float(np.median(values)),
        float(values.max()),
    )


def round_step(rough: float) -> float:
    """The next number from here on that is 1, 2 or 5 times a power of ten.

    Args:
        rough: above 0.
    """
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside [low, high]: 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        return [low]
    step = round_step((high - low) / about)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def bar(counts: Sequence[int], names: Sequence[str], most: int) -> Markup:
    """One bar for a cell of a table, of one segment a series.

    Args:
        counts: 0 or more, one a series.
        names: of the series, for the hover text; "" says the count alone.
        most: the sum that fills the cell's width.
    """
    parts = []
    left = 0.0
    for index, (count, name) in enumerate(zip(counts, names, strict=True)):
        if count:
            width = 100 * count / max(most, 1)
            hover = f"{name}: {count:,}" if name else f"{count:,}"
            parts.append(_rect(f"{_n(left)}%", 0, f"{_n(max(width, 0.3))}%", BAR_HEIGHT, hover, f"s{index % SERIES}"))
            left += width
    return Markup('<svg class="bar" height="{}" aria-hidden="true">{}</svg>').format(BAR_HEIGHT, Markup("").join(parts))


def histogram(bins: Bins, *, label: str, unit: str = "", decimals: int = 0) -> Markup:
    """Columns over a number line; what is clipped stands apart at the right.

    Args:
        bins: the numbers.
        label: what is counted, for those who do not see the columns.
        unit: what the values are, " px"; for the hover text.
        decimals: digits after the point.
    """
    columns = len(bins.counts) + (2 if bins.clipped else 0)
    width = 100 / columns
    most = max(*bins.counts, bins.clipped)
    parts = _grid(most)
    for number, count in enumerate(bins.counts):
        if count:
            low, high = bins.edges[number], bins.edges[number + 1] - bins.whole
            span = f"{low:,.{decimals}f}" + (f"–{high:,.{decimals}f}" if high > low else "")
            parts.append(_column(number * width, width, count / most, f"{span}{unit}: {count:,}", "s0"))
    if bins.clipped:
        hover = f"{bins.edges[-1]:,.{decimals}f}{unit} and more: {bins.clipped:,}"
        parts.append(_column((columns - 1) * width, width, bins.clipped / most, hover, "clipped"))
    parts.extend(_ticks_below(bins, width, decimals))
    return _plot(most, parts, _spoken(bins, label, unit, decimals), PLOT_HEIGHT + _TICK_ROOM)


def rank_curve(counts: npt.NDArray[np.int64], *, label: str) -> Markup:
    """Counts from the largest to the smallest, for hundreds or thousands of classes; neighbours share a column.

    Args:
        counts: shape (n,), n > 0, descending.
        label: what is counted, for those who do not see the columns.
    """
    columns = min(len(counts), _RANKS)
    bounds = np.linspace(0, len(counts), columns + 1).astype(np.int64)
    most = max(int(counts[0]), 1)
    parts = _grid(most)
    width = 100 / columns
    for number, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        top, bottom = int(counts[start]), int(counts[stop - 1])
        place = f"{start + 1:,}" if stop == start + 1 else f"{start + 1:,}–{stop:,}"
        hover = f"place {place}: {top:,}" + (f"–{bottom:,}" if bottom < top else "")
        parts.append(_column(number * width, width, float(counts[start:stop].mean()) / most, hover, "s0 flush"))
    for x, text, anchor in ((0.0, "1", "start"), (100.0, f"{len(counts):,}", "end")):
        parts.append(_text(f"{_n(x)}%", _TOP + PLOT_HEIGHT + 16, text, anchor))
    return _plot(most, parts, f"{label}: from {most:,} down to {int(counts[-1]):,}", PLOT_HEIGHT + _TICK_ROOM)


def shortened(text: str, letters: int = 48) -> str:
    """The text, or its beginning and end with an ellipsis between."""
    if len(text) <= letters:
        return text
    head = (letters - 1) // 3
    return f"{text[:head]}…{text[head - letters + 1 :]}"


def size_text(size_bytes: int) -> str:
    """Bytes for people: "812 B", "1.2 MB"; powers of 1000, as disks are sold."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _spoken(bins: Bins, label: str, unit: str, decimals: int) -> str:
    low, median, high = (f"{value:,.{decimals}f}" for value in (bins.lowest, bins.median, bins.highest))
    return f"{label}: from {low} to {high}{unit}, median {median}{unit}"


def _ticks_below(bins: Bins, width: float, decimals: int) -> list[Markup]:
    """Numbers under the columns; under the one that stands apart, that there is more."""
    first, last = bins.edges[0], bins.edges[-1]
    end = len(bins.counts) * width
    parts = []
    for tick in ticks(first, last):
        x = end * (tick - first) / (last - first)
        if round(tick, decimals) == round(tick, 9) and not (bins.clipped and x > 82):
            anchor = "start" if x < 3 else "end" if x > 97 else "middle"
            parts.append(_text(f"{_n(x)}%", _TOP + PLOT_HEIGHT + 16, f"{tick:,.{decimals}f}", anchor))
    if bins.clipped:
        parts.append(_text("100%", _TOP + PLOT_HEIGHT + 16, "more", "end"))
    return parts


def _grid(most: int) -> list[Markup]:
    return [
        Markup('<line class="grid" x1="0" x2="100%" y1="{}" y2="{}"/>').format(_n(y), _n(y))
        for _, y in _heights_of_ticks(most)
    ]


def _heights_of_ticks(most: int) -> list[tuple[int, float]]:
    """Whole numbers on the vertical axis, with the pixel they lie at."""
    return [(int(tick), _TOP + PLOT_HEIGHT * (1 - tick / most)) for tick in ticks(0, most, 4) if tick == int(tick)]


def _plot(most: int, parts: Sequence[Markup], label: str, height: int) -> Markup:
    axis = Markup("").join(_text(AXIS_WIDTH - 8, y + 4, f"{tick:,}", "end") for tick, y in _heights_of_ticks(most))
    return Markup(
        '<div class="plot"><svg width="{}" height="{}" aria-hidden="true">{}</svg>'
        '<svg class="area" height="{}" role="img" aria-label="{}">{}</svg></div>'
    ).format(AXIS_WIDTH, height, axis, height, label, Markup("").join(parts))


def _column(left: float, width: float, share: float, hover: str, style: str) -> Markup:
    height = max(PLOT_HEIGHT * share, 1.0)
    return _rect(f"{_n(left)}%", _TOP + PLOT_HEIGHT - height, f"{_n(width)}%", height, hover, style)


def _rect(x: str, y: float, width: str, height: float, title: str, style: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        style, x, _n(y), width, _n(height), title
    )


def _text(x: float | str, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x if isinstance(x, str) else _n(x), _n(y), anchor, text
    )


def _n(value: float) -> str:
    """A coordinate with at most two digits after the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
