"""The page of `report` in a real browser: nothing logged, nothing fetched, no smuggled script, and usable by all."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from end_to_end.chromium import Seen, Tab, chromium, program
from PIL import Image

import imagemill
from imagemill.testing.images import photo
from imagemill.testing.piles import masked, save_photo

if program() is None and not os.environ.get("REQUIRE_CHROMIUM"):
    pytest.skip("no Chromium here (apt-get install chromium): pages are not opened", allow_module_level=True)

SMUGGLED = '"><img src=x onerror=alert(1)><script>alert(2)<'
VIEWS = ((1280, False), (1280, True), (390, False), (390, True))

FAINT_TEXT = """
(() => {
  const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgba = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = (element) => { for (let e = element; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255]; };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, title") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const colour = rgba(element.closest("svg") ? style.fill : style.color);
    const [one, other] = [light(colour), light(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) faint.add(element.tagName + "." + element.className + " " + ratio.toFixed(2));
  }
  return [...faint];
})()
"""
OVERFLOWING = """
[...document.querySelectorAll("body *")].filter((e) => !e.closest("svg, .scroll") && e.checkVisibility() &&
  e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "." + e.className).slice(0, 5)
"""
CUT_WORDS = """
[...document.querySelectorAll(".word")].filter((e) => { const text = e.firstChild; let place = 0;
  return text.data.split(/(?<=-)/).some((part) => { const range = new Range(); range.setStart(text, place);
    range.setEnd(text, place += part.length); return range.getClientRects().length > 1; }); }).map((e) => e.textContent)
"""
FOCUSED = """
(() => { const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
  return {name: e.id || e.getAttribute("href") || e.tagName, text: e.textContent.trim(), ring: style.outlineStyle,
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight}; })()
"""


@dataclass
class Looked:
    """What one page showed at one width in one colour scheme."""

    seen: Seen
    width: int
    faint: list[str]
    overflowing: list[str]
    cut: list[str]
    broken: int
    scripts: int
    background: str


@dataclass
class Used:
    """What one page did when it was used with the keyboard."""

    roles: Mapping[str, int]
    nameless: list[str]
    stops: list[dict[str, Any]]
    cuts: list[str]
    backgrounds: list[str]
    blocked: Seen
    pwned: list[Any] = field(default_factory=list)


def hostile_pile(folder: Path) -> Path:
    """Classes, files and rejects whose names try to get a script onto the page; duplicates, dark and odd pictures."""
    for split in ("train", "val"):
        for label in (SMUGGLED.replace("/", ""), "a" * 120, "plain"):
            for number in range(4):
                seed = len(label) * 100 + number
                save_photo(folder / split / label / f"{number}{SMUGGLED[:40]}.jpg", 60 + number, 90, seed)
            (folder / split / label / f"{SMUGGLED[:30]}.jpg").write_bytes(b"<script>alert(3)</script>")
    shutil.copy(folder / "train" / "plain" / f"0{SMUGGLED[:40]}.jpg", folder / "val" / "plain" / "copy.jpg")
    Image.fromarray(photo(60, 90) // 40).save(folder / "train" / "plain" / "dark.png")
    Image.fromarray(np.full((20, 900, 3), 250, np.uint8)).save(folder / "train" / "plain" / "wide.png")
    return folder


def pair_pile(folder: Path) -> Path:
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            after = Image.fromarray(photo(96, 64, number))
            (folder / split).mkdir(parents=True, exist_ok=True)
            after.save(folder / split / f"{number}_after.jpg")
            after.convert("L").save(folder / split / f"{number}_before.jpg")
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    imagemill.pack(masked(folder / "scenes"), folder / "scenes-packed", workers=0)
    sources = {
        "hostile": hostile_pile(folder / SMUGGLED.replace("/", "")[:60]),
        "pairs": pair_pile(folder / "pairs"),
        "masks": folder / "scenes-packed",
    }
    for name, source in sources.items():
        imagemill.report(source, folder / f"{name}.html", workers=0)
    return {name: folder / f"{name}.html" for name in sources}


@pytest.fixture(scope="module")
def browsed(pages: dict[str, Path]) -> tuple[dict[tuple[str, int, bool], Looked], dict[str, Used]]:
    """Every page in every view, and every page used."""

    async def browse() -> tuple[dict[tuple[str, int, bool], Looked], dict[str, Used]]:
        async with chromium() as browser:
            looked = {}
            for name, page in pages.items():
                async with browser.tab() as tab:
                    await tab.open(page)
                    for width, dark in VIEWS:
                        looked[name, width, dark] = await look(tab, width, dark)
            used = {}
            for name, page in pages.items():
                async with browser.tab() as tab:
                    used[name] = await use(tab, page)
            return looked, used

    return asyncio.run(browse())


async def look(tab: Tab, width: int, dark: bool) -> Looked:
    await tab.show(width=width, dark=dark)
    await tab.value("[...document.images].forEach((image) => { image.loading = 'eager'; })")
    broken = "Promise.all([...document.images].map((i) => i.decode().then(() => 0, () => 1)))"
    return Looked(
        seen=tab.seen,
        width=await tab.value("document.documentElement.scrollWidth"),
        faint=await tab.value(FAINT_TEXT),
        overflowing=await tab.value(OVERFLOWING),
        cut=await tab.value(CUT_WORDS),
        broken=sum(await tab.value(broken)),
        scripts=await tab.value("document.querySelectorAll('script, iframe, object, [onerror], [onload]').length"),
        background=await tab.value("getComputedStyle(document.body).backgroundColor"),
    )


async def use(tab: Tab, page: Path) -> Used:
    await tab.open(page, width=1280, dark=False)
    nodes = (await tab.ask("Accessibility.getFullAXTree"))["nodes"]
    stops = []
    for _ in range(60):
        await tab.press("Tab", code=9)
        stops.append(await tab.value(FOCUSED))
        if stops[-1]["name"] == "BODY":
            break
    cuts = []
    if await tab.value("document.getElementById('wipe') !== null"):
        await tab.value("document.getElementById('wipe').focus()")
        for _ in range(2):
            cuts.append(await tab.value("getComputedStyle(document.querySelector('#gallery img + img')).clipPath"))
            await tab.press("ArrowRight", code=39)
    backgrounds = []
    for _ in range(3):
        backgrounds.append(await tab.value("getComputedStyle(document.body).backgroundColor"))
        await tab.value("document.getElementById('scheme').click()")
    before = Seen(list(tab.seen.errors), list(tab.seen.requests), list(tab.seen.dialogs))
    assert before == Seen()
    await tab.value(ATTACK)
    await asyncio.sleep(0.3)
    return Used(
        roles=counted(nodes),
        nameless=[node["role"]["value"] for node in nodes if is_nameless(node)],
        stops=stops,
        cuts=cuts,
        backgrounds=backgrounds,
        blocked=tab.seen,
        pwned=await tab.value("[window.pwned, document.querySelector('.attack').naturalWidth]"),
    )


ATTACK = """
document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.pwned = 1">');
document.body.append(Object.assign(document.createElement("script"), {textContent: "window.pwned = 2"}));
document.body.append(Object.assign(new Image(), {src: "https://example.org/x.png", className: "attack"}));
0
"""


def counted(nodes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for node in nodes:
        if not node.get("ignored"):
            roles[node["role"]["value"]] = roles.get(node["role"]["value"], 0) + 1
    return roles


def is_nameless(node: Mapping[str, Any]) -> bool:
    """Whether a screen reader has nothing to say of what it has to name."""
    named = ("link", "button", "image", "slider", "navigation", "region", "heading")
    if node.get("ignored") or node["role"]["value"] not in named:
        return False
    return not str(node.get("name", {}).get("value", "")).strip()


NAMES = ("hostile", "pairs", "masks")


@pytest.mark.parametrize(("width", "dark"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_pages_are_quiet_closed_and_readable(browsed: Any, name: str, width: int, dark: bool) -> None:
    looked: Looked = browsed[0][name, width, dark]
    assert looked.seen == Seen()
    assert looked.broken == 0
    assert looked.scripts == 1
    assert looked.faint == []
    assert looked.overflowing == []
    assert looked.cut == []
    assert looked.width <= width


@pytest.mark.parametrize("name", NAMES)
def test_colours_follow_the_system_and_the_button(browsed: Any, name: str) -> None:
    light, dark = (browsed[0][name, 1280, scheme].background for scheme in (False, True))
    assert light != dark
    assert browsed[1][name].backgrounds == [light, dark, light]


@pytest.mark.parametrize("name", NAMES)
def test_landmarks_and_names_for_screen_readers(browsed: Any, name: str) -> None:
    used: Used = browsed[1][name]
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert used.roles[role] == 1, role
    assert used.roles["table"] >= 3
    assert used.roles["image"] >= 6
    assert used.nameless == []


@pytest.mark.parametrize("name", NAMES)
def test_the_keyboard_reaches_everything_in_order(browsed: Any, pages: dict[str, Path], name: str) -> None:
    stops = browsed[1][name].stops
    sections = [stop["name"] for stop in stops if stop["name"].startswith("#")]
    assert [stop["name"] for stop in stops[:3]] == ["#main", "scheme", "#overview"]
    assert sections[1:3] == ["#overview", "#rejects" if name == "hostile" else "#splits"]
    assert "#made" in sections
    assert [stop for stop in stops[:-1] if not stop["seen"] or stop["ring"] != "solid"] == []
    assert stops[-1]["name"] == "BODY"
    assert ("wipe" in [stop["name"] for stop in stops]) == (name != "hostile")


@pytest.mark.parametrize("name", ["pairs", "masks"])
def test_the_wipe_moves_with_the_arrow_keys(browsed: Any, name: str) -> None:
    assert browsed[1][name].cuts == ["inset(0px 0px 0px 50%)", "inset(0px 0px 0px 51%)"]


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_would_stop_what_escaping_let_through(browsed: Any, name: str) -> None:
    """Also proves that this test sees violations at all."""
    used: Used = browsed[1][name]
    assert used.pwned == [None, 0]
    assert used.blocked.dialogs == []
    said = json.dumps(used.blocked.errors)
    assert "script-src" in said
    assert "img-src" in said
