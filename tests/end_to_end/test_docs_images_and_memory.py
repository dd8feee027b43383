"""The code blocks of docs/images-and-memory.md run in order, and print the numbers that stand below them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "images-and-memory.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def outputs() -> list[str]:
    """What each block prints, all run in one interpreter as a reader would."""
    cut = "\x1e"
    script = f"\nprint({cut!r})\n".join(code for code, _ in BLOCKS)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [part.strip() for part in done.stdout.split(cut)]


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def test_every_block_prints_what_stands_below_it() -> None:
    assert PAGE.read_text("utf-8").count("```python") == len(BLOCKS) == 6
    for (_, stated), printed in zip(BLOCKS, outputs(), strict=True):
        assert NUMBER.sub("#", stated.strip()) == NUMBER.sub("#", printed), printed
        # Encoders of other versions give files a little larger or smaller.
        assert numbers(printed) == pytest.approx(numbers(stated), rel=0.05)


def test_the_numbers_in_the_text_follow_from_the_functions() -> None:
    import imagemill

    text = PAGE.read_text("utf-8")
    assert f"{256 * 384 * 3 / 1000:.0f} kB" in text
    assert f"{256 * 384 * 3 * 1_000_000 / 1e9:.0f} GB" in text
    levels = imagemill.dims("640x960", model="color-reverser").levels
    assert levels[6].floor is not None
    assert levels[7].floor is not None
    assert (levels[6].floor[0], levels[7].floor[0], levels[7].ceil[0]) == (15, 7, 8)
