"""Charts: the numbers are those that went in, and the markup is XML whatever the names are."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.reports.charts import bar, bins_of, histogram, rank_curve, round_step, shortened, ticks

HOSTILE = "<script>\"&'</svg>"


def bars(chart: str) -> list[tuple[str, float, float]]:
    """(hover text, width in per cent, height) of every bar."""
    root = ElementTree.fromstring(chart)
    return [
        (rect.findtext("title", ""), float(rect.get("width", "").removesuffix("%")), float(rect.get("height", 0)))
        for rect in root.iter("rect")
    ]


def labels(chart: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(chart).iter("text")]


def test_segments_of_a_bar_are_as_long_as_their_counts() -> None:
    found = bars(bar([30, 0, 10], ["train", "val", "test"], 80))
    assert [text for text, _, _ in found] == ["train: 30", "test: 10"]
    assert [width for _, width, _ in found] == [37.5, 12.5]


def test_a_bar_of_nothing_is_empty_and_a_tiny_one_is_seen() -> None:
    assert bars(bar([0], [""], 0)) == []
    assert bars(bar([1], [""], 1_000_000))[0][1] >= 0.3


def test_hostile_names_stay_text() -> None:
    chart = bar([1], [HOSTILE], 1)
    assert "<script" not in chart
    assert bars(chart)[0][0] == f"{HOSTILE}: 1"
    assert "<script" not in histogram(bins_of(np.array([1, 2])), label=HOSTILE)


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=300))
def test_every_whole_number_is_in_one_bin_or_clipped(values: list[int]) -> None:
    bins = bins_of(np.array(values))
    assert sum(bins.counts) + bins.clipped == len(values)
    assert len(bins.counts) <= 82
    assert bins.clipped <= len(values) * 0.01
    steps = np.diff(bins.edges)
    assert np.allclose(steps, steps[0])
    assert all(edge == int(edge) for edge in bins.edges)
    assert (np.histogram([v for v in values if v < bins.edges[-1]], bins.edges)[0] == bins.counts).all()
    assert bins.clipped == sum(value >= bins.edges[-1] for value in values)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=300))
def test_every_fraction_is_in_one_bin_or_clipped(values: list[float]) -> None:
    bins = bins_of(np.array(values))
    assert sum(bins.counts) + bins.clipped == len(values)
    assert bins.clipped <= len(values) * 0.01
    assert min(values) >= bins.edges[0] - 1e-6
    assert bins.counts[-1] > 0


def test_one_giant_does_not_flatten_the_rest() -> None:
    bins = bins_of(np.array([100 + number % 50 for number in range(999)] + [1_000_000]))
    assert len(bins.counts) > 20
    assert bins.edges[-1] <= 160
    assert (bins.clipped, bins.lowest, bins.highest) == (1, 100, 1_000_000)
    found = bars(histogram(bins, label="Sides", unit=" px"))
    assert found[-1][0] == "150 px and more: 1"
    assert sum(int(text.rpartition(" ")[2]) for text, _, _ in found) == 1000


def test_columns_are_as_high_as_their_counts_and_say_their_range() -> None:
    found = bars(histogram(bins_of(np.array([5, 5, 7])), label="Sides", unit=" px"))
    assert [text for text, _, _ in found] == ["5 px: 2", "7 px: 1"]
    assert found[0][2] == pytest.approx(2 * found[1][2])
    wide = bars(histogram(bins_of(np.arange(1000)), label="Sides", unit=" px"))
    assert wide[0][0] == "0–49 px: 50"


def test_a_histogram_says_in_words_what_it_shows() -> None:
    root = ElementTree.fromstring(histogram(bins_of(np.array([1, 2, 9])), label="Sides", unit=" px"))
    spoken = [svg.get("aria-label") for svg in root.iter("svg") if svg.get("role") == "img"]
    assert spoken == ["Sides: from 1 to 9 px, median 2 px"]


def test_the_curve_of_many_classes_has_few_columns() -> None:
    counts = np.arange(10_000, 0, -1, dtype=np.int64)
    found = bars(rank_curve(counts, label="Classes"))
    assert len(found) == 240
    assert found[0][0].startswith("place 1–41: 10,000–")
    heights = [height for _, _, height in found]
    assert heights == sorted(heights, reverse=True)
    assert [text for text, _, _ in bars(rank_curve(np.array([5, 2]), label="Classes"))] == ["place 1: 5", "place 2: 2"]


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 8
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


@given(st.floats(1e-6, 1e9))
def test_steps_are_the_next_round_number(rough: float) -> None:
    step = round_step(rough)
    assert rough * 0.999 <= step <= 2.51 * rough
    assert float(f"{step:.1e}"[0]) in (1, 2, 5)


def test_ticks_of_whole_numbers_do_not_repeat() -> None:
    shown = labels(histogram(bins_of(np.array([48, 49, 50])), label="Sides"))
    assert [text for text in shown if text.startswith(("4", "5"))] == ["48", "49", "50", "51"]


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shortened("short") == "short"
    text = shortened("a" * 30 + "b" * 30, 27)
    assert len(text) == 27
    assert text.startswith("a")
    assert text.endswith("b")
