"""Charts: the numbers are those that went in, and the markup is XML whatever the names are."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.reports.charts import bins_of, columns, histogram, shortened, stacked_bars, ticks

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>\"&'</svg>"


def bars(chart: str) -> list[tuple[str, float, float]]:
    """(hover text, width, height) of every bar."""
    root = ElementTree.fromstring(chart)
    return [
        (rect.findtext(f"{SVG}title", ""), float(rect.get("width", 0)), float(rect.get("height", 0)))
        for rect in root.iter(f"{SVG}rect")
    ]


def test_stacked_bars_are_as_long_as_their_counts() -> None:
    found = bars(stacked_bars([("cat", [30, 10]), ("dog", [0, 20])], ["train", "val"]))
    assert [text for text, _, _ in found] == ["cat, train: 30", "cat, val: 10", "dog, val: 20"]
    widths = [width for _, width, _ in found]
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.01)
    assert widths[2] / widths[1] == pytest.approx(2, rel=0.01)


def test_columns_are_as_high_as_their_counts() -> None:
    found = bars(columns([40, 20, 10], ["a", "b", "c"]))
    assert [text for text, _, _ in found] == ["a: 40", "b: 20", "c: 10"]
    heights = [height for _, _, height in found]
    assert heights[0] == pytest.approx(2 * heights[1]) == pytest.approx(4 * heights[2])


def test_hostile_names_stay_text() -> None:
    for chart in (stacked_bars([(HOSTILE, [1])], [HOSTILE]), columns([1], [HOSTILE])):
        assert "<script" not in chart
        assert any(HOSTILE in text for text, _, _ in bars(chart))


def test_nothing_to_show() -> None:
    for chart in (stacked_bars([], []), columns([], []), stacked_bars([("a", [0])], ["train"])):
        assert bars(chart) == []


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=300))
def test_every_whole_number_is_in_one_bin(values: list[int]) -> None:
    bins = bins_of(np.array(values))
    assert bins.counts.sum() == len(values)
    assert len(bins.counts) <= 40
    assert bins.clipped <= len(values) * 0.01 + 1
    assert (np.diff(bins.edges) == bins.edges[1] - bins.edges[0]).all()
    inside = np.histogram([value for value in values if value < bins.edges[-1]], bins.edges)[0]
    inside[-1] += bins.clipped
    assert np.array_equal(inside, bins.counts)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=300))
def test_every_fraction_is_in_one_bin(values: list[float]) -> None:
    bins = bins_of(np.array(values))
    assert bins.counts.sum() == len(values)
    assert len(bins.counts) == 40
    assert bins.clipped == sum(value > bins.edges[-1] for value in values)


def test_one_giant_does_not_flatten_the_rest() -> None:
    values = np.array([100 + number % 50 for number in range(999)] + [1_000_000])
    found = bars(histogram(values, unit=" px"))
    assert len(found) > 20
    assert found[-1][0].endswith("and more px: " + found[-1][0].rpartition(" ")[2])
    assert sum(int(text.rpartition(" ")[2].replace(",", "")) for text, _, _ in found) == 1000


def test_hover_text_of_a_histogram() -> None:
    assert [text for text, _, _ in bars(histogram(np.array([5, 5, 7]), unit=" px"))] == ["5 px: 2", "7 px: 1"]
    wide = bars(histogram(np.arange(1000), unit=" px"))
    assert wide[0][0] == "0–24 px: 25"


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 8
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


def test_ticks_of_whole_numbers_do_not_repeat() -> None:
    root = ElementTree.fromstring(histogram(np.array([48, 49, 50])))
    labels = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"]
    assert labels == ["48", "49", "50", "51"]


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shortened("short") == "short"
    text = shortened("a" * 30 + "b" * 30)
    assert len(text) == 27
    assert text.startswith("a")
    assert text.endswith("b")
