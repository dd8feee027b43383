"""Curves over steps as inline SVG, in the manner of `charts.py`; and the same as an SVG file that stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from imagemill.reports.charts import AXIS_WIDTH, PLOT_HEIGHT, SERIES, ticks

Points = Sequence[tuple[float, float]]

FILE_WIDTH = 720
_TOP, _BELOW = 12, 22
_FILE_COLOURS = ("#0067a8", "#cc6b00", "#4a2b3c", "#c06a9c", "#7f7a3a", "#5b2bb5")
"""As the page's style sheet has them on light ground."""
_INSIDE = 1000
"""Width of the inner coordinates, which the browser stretches to the page."""


@dataclass(frozen=True)
class Chart:
    """Curves that share their axes.

    Args:
        title: what is shown.
        curves: name → points (step, value), finite.
        levels: name → value: level lines, as of baselines.
        logarithmic: whether the vertical axis is.
        decimals: digits after the point, in texts.
    """

    title: str
    curves: Mapping[str, Points]
    levels: Mapping[str, float] = field(default_factory=dict)
    logarithmic: bool = False
    decimals: int = 2

    @property
    def is_empty(self) -> bool:
        """Whether no curve has a point."""
        return not any(self.curves.values())


@dataclass(frozen=True)
class _Scale:
    """From steps and values to coordinates."""

    first: float
    last: float
    low: float
    high: float
    logarithmic: bool

    def x(self, step: float) -> float:
        return (step - self.first) / max(self.last - self.first, 1e-12)

    def y(self, value: float) -> float:
        low, high, at = (math.log10(each) if self.logarithmic else each for each in (self.low, self.high, value))
        return _TOP + PLOT_HEIGHT * (1 - (at - low) / max(high - low, 1e-12))

    def value_ticks(self) -> list[float]:
        if not self.logarithmic:
            return ticks(self.low, self.high, 4)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        inside = [mark for mark in marks if self.low <= mark <= self.high]
        return inside if len(inside) <= 6 else inside[:: -(-len(inside) // 6)]


def line_chart(chart: Chart) -> Markup:
    """Curves for the page, as wide as it is; "" where there is nothing to show."""
    if chart.is_empty:
        return Markup("")
    scale = _scale_of(chart)
    height = _TOP + PLOT_HEIGHT + _BELOW
    axis = Markup("").join(
        _text(AXIS_WIDTH - 8, scale.y(tick) + 4, _number(tick), "end") for tick in scale.value_ticks()
    )
    return Markup(
        '<div class="plot curves"><svg width="{}" height="{}" aria-hidden="true">{}</svg>'
        '<svg class="area" height="{}" role="img" aria-label="{}">{}</svg></div>{}'
    ).format(AXIS_WIDTH, height, axis, height, _spoken(chart), _area(chart, scale), _keys(chart))


def curves_file(charts: Sequence[Chart]) -> str:
    """Charts below each other as an SVG document that needs nothing else."""
    shown = [chart for chart in charts if not chart.is_empty]
    height = _TOP + PLOT_HEIGHT + _BELOW + 30
    parts = []
    for number, chart in enumerate(shown):
        scale = _scale_of(chart)
        axis = Markup("").join(
            _text(AXIS_WIDTH - 8, scale.y(tick) + 4, _number(tick), "end") for tick in scale.value_ticks()
        )
        names = Markup("").join(
            Markup('<tspan class="k{}" dx="12">{}</tspan>').format(place % SERIES, name)
            for place, name in enumerate(_names(chart))
        )
        parts.append(
            Markup(
                '<svg x="0" y="{}" width="{}" height="{}">{}{}'
                '<svg x="{}" y="18" width="{}" height="{}">{}</svg>{}</svg>'
            ).format(
                number * height,
                FILE_WIDTH,
                height,
                _text(AXIS_WIDTH, 13, chart.title, "start"),
                Markup('<text x="{}" y="13" text-anchor="end">{}</text>').format(FILE_WIDTH - 8, names),
                AXIS_WIDTH,
                FILE_WIDTH - AXIS_WIDTH - 14,
                height - 18,
                _area(chart, scale),
                Markup('<g transform="translate(0 18)">{}</g>').format(axis),
            )
        )
    colours = "".join(
        f".s{number}{{stroke:{colour}}}.k{number}{{fill:{colour}}}" for number, colour in enumerate(_FILE_COLOURS)
    )
    style = (
        "text{font:12px system-ui,sans-serif;fill:#545e69}.grid{stroke:#d5dbe1}polyline{fill:none;stroke-width:2}"
        ".level{stroke-width:1.5;stroke-dasharray:5 4}" + colours
    )
    whole = max(1, len(shown)) * height
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {} {}"><style>{}</style>'
            '<rect width="100%" height="100%" fill="#fff"/>{}</svg>\n'
        ).format(FILE_WIDTH, whole, FILE_WIDTH, whole, Markup(style), Markup("").join(parts))
    )


def _scale_of(chart: Chart) -> _Scale:
    steps = [step for points in chart.curves.values() for step, _ in points]
    values = [value for points in chart.curves.values() for _, value in points] + list(chart.levels.values())
    low, high = min(values), max(values)
    logarithmic = chart.logarithmic and low > 0
    if high <= low:
        low, high = low * 0.9 - (not logarithmic), high * 1.1 + 1e-9
    elif not logarithmic:
        room = (high - low) * 0.05
        low, high = low - room, high + room
    return _Scale(min(steps), max(steps), low, high, logarithmic)


def _area(chart: Chart, scale: _Scale) -> Markup:
    """Grid, level lines, curves and step numbers; horizontal coordinates are shares of the width."""
    parts = [
        Markup('<line class="grid" x1="0" x2="100%" y1="{}" y2="{}"/>').format(_n(scale.y(tick)), _n(scale.y(tick)))
        for tick in scale.value_ticks()
    ]
    first_level = len(chart.curves)
    for number, (name, value) in enumerate(chart.levels.items()):
        y = _n(scale.y(value))
        hover = f"{name}: {value:.{chart.decimals}f}"
        parts.append(
            Markup('<line class="level s{}" x1="0" x2="100%" y1="{}" y2="{}"><title>{}</title></line>').format(
                (first_level + number) % SERIES, y, y, hover
            )
        )
    lines = Markup("").join(
        _curve(name, points, scale, number, chart.decimals)
        for number, (name, points) in enumerate(chart.curves.items())
        if points
    )
    bottom = _TOP + PLOT_HEIGHT
    parts.append(
        Markup(
            '<svg x="0" y="0" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
        ).format(bottom + 2, _INSIDE, bottom + 2, lines)
    )
    for step in _step_ticks(scale):
        share = scale.x(step)
        anchor = "start" if share < 0.03 else "end" if share > 0.97 else "middle"
        parts.append(_text(f"{_n(100 * share)}%", bottom + 16, f"{step:,.0f}", anchor))
    return Markup("").join(parts)


def _curve(name: str, points: Points, scale: _Scale, number: int, decimals: int) -> Markup:
    drawn = points if len(points) > 1 else [points[0], points[0]]
    places = " ".join(f"{_n(_INSIDE * scale.x(step))},{_n(scale.y(value))}" for step, value in drawn)
    hover = f"{name}: {points[-1][1]:.{decimals}f} at step {points[-1][0]:,.0f}"
    return Markup(
        '<polyline class="s{}" points="{}" fill="none" vector-effect="non-scaling-stroke" stroke-linecap="round">'
        "<title>{}</title></polyline>"
    ).format(number % SERIES, places, hover)


def _step_ticks(scale: _Scale) -> list[float]:
    return [tick for tick in ticks(scale.first, scale.last, 5) if tick == int(tick)]


def _keys(chart: Chart) -> Markup:
    spans = [
        Markup('<span class="key"><i class="s{}"></i>{}</span>').format(number % SERIES, escape(name))
        for number, name in enumerate(_names(chart))
    ]
    return Markup('<p class="quiet">{}</p>').format(Markup("").join(spans))


def _names(chart: Chart) -> list[str]:
    """Of curves and level lines, in the order of their colours."""
    return [*chart.curves, *(f"{name} {value:.{chart.decimals}f}" for name, value in chart.levels.items())]


def _spoken(chart: Chart) -> str:
    said = [
        f"{name} from {points[0][1]:.{chart.decimals}f} to {points[-1][1]:.{chart.decimals}f}"
        for name, points in chart.curves.items()
        if points
    ]
    return f"{chart.title}: {'; '.join(said)}"


def _text(x: float | str, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x if isinstance(x, str) else _n(x), _n(y), anchor, text
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
