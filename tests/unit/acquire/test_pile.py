"""An image is in its place whole, once, and what it arrived in is gone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from imagemill.acquire.contract import Verdict
from imagemill.acquire.look import Examination
from imagemill.acquire.pile import Pile

CONTENT = b"an image"
FOUND = Examination(Verdict(format="JPEG"), len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.parametrize("held", [True, False])
def test_an_image_gets_to_its_place_from_memory_or_its_file(held: bool, tmp_path: Path) -> None:
    pile = Pile(tmp_path)
    pile.arriving.mkdir(parents=True)
    arrived = pile.arriving / "0.part"
    if not held:
        arrived.write_bytes(CONTENT)
    path = pile.keep(arrived, CONTENT if held else None, FOUND)
    assert path == f"images/{FOUND.sha256[:2]}/{FOUND.sha256[2:4]}/{FOUND.sha256}.jpg"
    assert (tmp_path / path).read_bytes() == CONTENT
    assert list(pile.arriving.iterdir()) == []


@pytest.mark.parametrize("held", [True, False])
def test_one_that_is_there_stays_and_a_torn_one_is_replaced(held: bool, tmp_path: Path) -> None:
    pile = Pile(tmp_path)
    pile.arriving.mkdir(parents=True)
    arrived = pile.arriving / "0.part"
    place = tmp_path / pile.keep(arrived, CONTENT, FOUND)
    before = place.stat().st_ino
    arrived.write_bytes(b"an i" if held else CONTENT)  # "held": what an earlier attempt left
    pile.keep(arrived, CONTENT if held else None, FOUND)
    assert (place.stat().st_ino, arrived.exists()) == (before, False)
    place.write_bytes(b"an")
    arrived.write_bytes(CONTENT)
    pile.keep(arrived, CONTENT if held else None, FOUND)
    assert (place.read_bytes(), arrived.exists()) == (CONTENT, False)
