"""An image is in its place whole, once, and what it arrived in is gone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imagemill.acquire.contract import Verdict
from imagemill.acquire.look import Examination
from imagemill.acquire.pile import Pile

CONTENT = b"an image"
FOUND = Examination(Verdict(format="JPEG"), len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def arrived_in(pile: Pile, content: bytes = CONTENT) -> Path:
    pile.arriving.mkdir(parents=True, exist_ok=True)
    arrived = pile.arriving / "0.part"
    arrived.write_bytes(content)
    return arrived


def test_an_image_gets_to_its_place(tmp_path: Path) -> None:
    pile = Pile(tmp_path)
    path = pile.keep(arrived_in(pile), FOUND)
    assert path == f"images/{FOUND.sha256[:2]}/{FOUND.sha256[2:4]}/{FOUND.sha256}.jpg"
    assert (tmp_path / path).read_bytes() == CONTENT
    assert list(pile.arriving.iterdir()) == []


def test_one_that_is_there_stays_and_a_torn_one_is_replaced(tmp_path: Path) -> None:
    pile = Pile(tmp_path)
    place = tmp_path / pile.keep(arrived_in(pile), FOUND)
    before = place.stat().st_ino
    pile.keep(arrived_in(pile), FOUND)
    assert (place.stat().st_ino, list(pile.arriving.iterdir())) == (before, [])
    place.write_bytes(b"an")
    pile.keep(arrived_in(pile), FOUND)
    assert (place.read_bytes(), list(pile.arriving.iterdir())) == (CONTENT, [])
