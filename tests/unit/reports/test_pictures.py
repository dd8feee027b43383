"""Small pictures: what they show, and that they keep to their budget."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from importlib import resources
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from unit.reports.pages import IMAGE, WEBP, png

from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import SampleError
from imagemill.reports.pictures import album, colours, side_for, small_image
from imagemill.testing.images import exif_block, photo, saved, stored
from imagemill.transforms.lab import rgb_to_lab

SCHEMA = Schema((IMAGE,))

# Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB.
SEEN_BY = {
    "normal": np.eye(3),
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranope": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: np.ndarray) -> np.ndarray:
    share = np.asarray(colour, float) / 255
    return np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)


def distances(rgb: np.ndarray, eyes: str) -> list[float]:
    """CIELAB distance of every two colours as someone sees them."""
    seen = np.clip(linear(rgb) @ np.array(SEEN_BY[eyes]).T, 0, 1)
    encoded = np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)
    lab = rgb_to_lab(encoded.astype(np.float32))
    return [float(np.linalg.norm(one - other)) for one, other in combinations(lab, 2)]


def style_colours() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name → its light and its dark colour."""
    style = resources.files("imagemill.reports").joinpath("templates", "style.css").read_text("utf-8")
    found = re.findall(r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\)", style)
    return {name: tuple(np.frombuffer(bytes.fromhex(text), np.uint8) for text in pair) for name, *pair in found}  # type: ignore[misc]


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2.2's contrast ratio."""
    bright, dark = sorted((float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_bars_stand_out(scheme: int) -> None:
    shades = {name: pair[scheme] for name, pair in style_colours().items()}
    for text in ("text", "quiet", "link"):
        for ground in ("page", "panel", "well"):
            assert contrast(shades[text], shades[ground]) >= 4.5, (text, ground)
    assert contrast(shades["warn"], shades["warn-panel"]) >= 4.5
    assert contrast(shades["good"], shades["good-panel"]) >= 4.5
    for name in ("focus", *(f"s{number}" for number in range(6))):
        assert contrast(shades[name], shades["page"]) >= 3, name


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("scheme", [0, 1])
def test_series_differ_for_all_eyes(scheme: int, eyes: str) -> None:
    shades = style_colours()
    series = np.stack([shades[f"s{number}"][scheme] for number in range(6)])
    assert min(distances(series, eyes)) >= 12
    assert min(distances(series[:3], eyes)) >= 28


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_class_ids_differ_for_all_eyes(eyes: str) -> None:
    assert min(distances(colours(np.arange(12)), eyes)) >= 18
    assert min(distances(colours(np.arange(32)), eyes)) >= 10
    assert (colours(np.array([[0, 32]]))[0, 0] == colours(np.array([[0, 32]]))[0, 1]).all()


@given(st.floats(1, 100_000))
def test_sides_follow_the_budget(size_bytes: float) -> None:
    assert 64 <= side_for(size_bytes) <= 256
    assert side_for(size_bytes) <= side_for(size_bytes * 2)


def test_pictures_are_small_upright_and_never_enlarged() -> None:
    pixels = photo(300, 200)
    turned = saved(stored(pixels, 6), "JPEG", exif=exif_block(6), quality=95)
    small = small_image(IMAGE, turned, 96)
    assert small.shape == (96, 64, 3)
    exact = np.asarray(Image.fromarray(pixels).resize((64, 96), Image.Resampling.BOX), np.int16)
    assert np.abs(small - exact).mean() < 4
    assert small_image(IMAGE, png(pixels[:5, :7]), 96).shape == (5, 7, 3)
    assert small_image(IMAGE, png(pixels[:1]), 96).shape == (1, 96, 3)
    raw = Field("image", "image", "uint8", (300, 200, 3), "raw")
    assert small_image(raw, pixels.tobytes(), 96).shape == (96, 64, 3)


@pytest.mark.parametrize("budget", [10_000, 30_000, 300_000])
def test_data_uris_keep_to_the_budget(budget: int) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{n}", Row(f"{n}", {"image": png(rng.integers(0, 256, (90, 90, 3), np.uint8))})) for n in range(20)]
    uses = Counter({key: 1 + (key == "7") * 3 for key, _ in rows})
    shown = album(SCHEMA, rows, uses, budget)
    total = sum(len(picture.uri) * uses[key] for key, sample in shown.samples.items() for picture in sample.pictures)
    assert 0.2 * min(budget, 100_000) < total <= budget
    again = album(SCHEMA, rows, uses, budget)
    assert again == shown


def test_a_picture_can_be_opened_and_is_that_of_its_sample() -> None:
    rows = [(f"{n}", Row(f"{n}", {"image": png(np.full((20, 30, 3), 40 * n, np.uint8))})) for n in range(6)]
    shown = album(SCHEMA, rows, Counter(key for key, _ in rows), 100_000)
    for number in range(6):
        (picture,) = shown.samples[f"{number}"].pictures
        content = base64.b64decode(picture.uri.removeprefix(WEBP))
        assert np.abs(np.asarray(Image.open(io.BytesIO(content)), np.int16) - 40 * number).max() <= 6


def test_samples_that_cannot_be_had_say_why() -> None:
    rows = [("a", SampleError("missing-file", "gone")), ("b", Row("b", {"image": b"GIF89a"}))]
    shown = album(SCHEMA, rows, Counter("ab"), 10_000)
    assert [shown.samples[key].error for key in "ab"] == ["missing-file", "truncated"]
    assert not shown.samples["a"].compared
