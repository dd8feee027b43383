"""The report: what it says, and that it is one closed file whatever a dataset holds."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, DamageError, DigestError
from imagemill.reports.page import size_text, write_report
from imagemill.reports.thumbnails import colours
from imagemill.testing.datasets import write_dataset
from imagemill.testing.piles import class_folders, masked, pairs

HOSTILE = '"><script>alert(1)</script>&'
IMAGE = Field("image", "image")


class Page(HTMLParser):
    """A page taken apart: its tags, its text without the style sheet, its pictures."""

    VOID = ("meta", "img", "br", "link", "line", "rect")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.content = content
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID or tag == "rect":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += f"{data} "

    def pictures(self) -> list[Image.Image]:
        uris = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]
        return [Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) for uri in uris]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def report(folder: Path) -> Page:
    out = write_report(folder, folder.parent / "report.html")
    return Page(out.read_text("utf-8"))


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    imagemill.pack(class_folders(folder / "pile"), folder / "plates & co", split="80/20", workers=0)
    return folder / "plates & co"


def test_it_says_what_was_found(labelled: Path) -> None:
    page = report(labelled)
    assert "plates & co · imagemill report" in page.text
    for words in ("28 found", "24 kept", "3 rejected", "1 ignored", "Ignored: 1 .txt", "train 20 83.3 %"):
        assert words in page.text
    for words in ("class_0/truncated.jpg", "empty-file", "looks like HTML page", "11.1% of the samples were rejected"):
        assert words in page.text
    assert "1 of 3 classes have no sample in 'val': class_0." in page.text
    assert '"train": "4/5"' in page.text
    assert f"imagemill {imagemill.__version__}" in page.text
    assert page.count("figure") == 24
    assert page.count("svg") == 4


def test_it_is_one_closed_file(labelled: Path) -> None:
    page = report(labelled)
    policy = next(
        attributes["content"] or ""
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", page.content, re.DOTALL)
    assert style is not None
    style_hash = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{style_hash}'"]
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        for name, value in attributes.items():
            assert name != "style"
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/jpeg;base64,")
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_equal_datasets_give_equal_pages(labelled: Path, tmp_path: Path) -> None:
    one = write_report(labelled, tmp_path / "new" / "one.html")
    other = write_report(labelled, tmp_path / "other.html")
    assert one.read_bytes() == other.read_bytes()


def test_the_verb_can_be_called_again_and_again(labelled: Path, tmp_path: Path) -> None:
    for name in ("one.html", "other.html"):
        assert imagemill.report(str(labelled), tmp_path / name) == tmp_path / name


def test_whatever_a_dataset_holds_stays_text(tmp_path: Path) -> None:
    label = Field("label", "label", "int64", (), "raw", class_names=(HOSTILE, "b"))
    text = Field("text", "text", codec="utf8")
    row = Row(HOSTILE, {"image": png(np.zeros((8, 9, 3), np.uint8)), "label": bytes(8), "text": HOSTILE.encode()})
    counts: dict[str, Any] = {
        "classes": {"train": {HOSTILE: 1}},
        "notes": {f"image:{HOSTILE}": 1},
        "ignored_kinds": {HOSTILE: 1},
        "rejected_samples": 1,
        "reasons": {HOSTILE: 1},
    }
    folder = write_dataset(
        tmp_path / HOSTILE.replace("/", ""),
        Schema((IMAGE, label, text)),
        {"train": [row]},
        counts=counts,
        recipe={HOSTILE: HOSTILE},
    )
    reject = {"key": HOSTILE, "path": HOSTILE, "reason": HOSTILE, "detail": HOSTILE, "files": 1}
    (folder / "rejects.jsonl").write_text(json.dumps(reject) + "\n", "utf-8")
    page = report(folder)
    assert page.count("script") == 0
    assert "<script" not in page.content
    assert page.text.count(HOSTILE) >= 10


def test_before_and_after(tmp_path: Path) -> None:
    imagemill.pack(pairs(tmp_path / "pile"), tmp_path / "out", workers=0)
    page = report(tmp_path / "out")
    assert page.count("figure") == 6
    pictures = page.pictures()
    assert len(pictures) == 12
    grey, colour = (np.asarray(picture, np.int16) for picture in pictures[:2])
    assert np.abs(grey[..., 0] - grey[..., 1]).max() <= 2
    assert np.abs(colour[..., 0] - colour[..., 1]).max() > 20


def test_masks_are_laid_over_their_images(tmp_path: Path) -> None:
    ids = np.zeros((60, 80), np.uint8)
    ids[:, 40:] = 5
    row = Row("a", {"image": png(np.full((60, 80, 3), 100, np.uint8)), "mask": png(ids)})
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, Field("mask", "mask"))), {"train": [row]})
    image, overlay = (np.asarray(picture, np.int16) for picture in report(folder).pictures())
    assert np.abs(image - 100).max() <= 3
    for place, number in ((20, 0), (60, 5)):
        expected = (100 + colours(np.array([[number]]))[0, 0].astype(np.int16)) // 2
        assert np.abs(overlay[30, place] - expected).max() <= 12
    imagemill.pack(masked(tmp_path / "pile"), tmp_path / "packed", workers=0)
    page = report(tmp_path / "packed")
    assert len(page.pictures()) == 12
    assert "mask:grey" not in page.text


def test_class_colours_differ() -> None:
    seen = colours(np.arange(32)[None]).reshape(-1, 3)
    assert len(np.unique(seen, axis=0)) == 32


def test_pages_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fields = tuple(Field(name, "image", "uint8", (160, 160, 3), "raw") for name in ("a", "b", "c"))
    rows = [
        Row(f"{n}", {field.name: rng.integers(0, 256, (160, 160, 3), np.uint8).tobytes() for field in fields})
        for n in range(70)
    ]
    folder = write_dataset(tmp_path / "noise", Schema(fields), {"train": rows}, shard_samples=100)
    page = report(folder)
    assert len(page.content) < 2_000_000
    assert 10 <= page.count("figure") < 60


def test_many_classes_get_columns(tmp_path: Path) -> None:
    label = Field("label", "label", "int64", (), "raw", class_names=tuple(f"c{n:03d}" for n in range(100)))
    rows = [Row("a", {"label": bytes(8)})]
    classes = {"train": {f"c{n:03d}": 10 * n for n in range(100)}}
    folder = write_dataset(tmp_path / "d", Schema((label,)), {"train": rows}, counts={"classes": classes})
    page = report(folder)
    assert "c042: 420" in page.text
    assert page.text.count("c042") == 1
    assert "1 of 100 classes have no sample in 'train': c000." in page.text
    assert page.count("figure") == 0


@pytest.mark.parametrize(("names", "without"), [(("ant", "bee"), "(no label)"), (None, "-1")])
def test_samples_without_a_label_are_no_class(names: tuple[str, ...] | None, without: str, tmp_path: Path) -> None:
    label = Field("label", "label", "int64", (), "raw", class_names=names)
    first, second = names or ("0", "1")
    classes = {"train": {without: 3, first: 2, second: 1}, "val": {first: 1, second: 1}}
    rows = {split: [Row(split, {"label": bytes(8)})] for split in classes}
    folder = write_dataset(tmp_path / "d", Schema((label,)), rows, counts={"classes": classes})
    page = report(folder)
    assert f"2 classes; the largest, {first}, has 3 samples, the smallest, {second}, 2." in page.text
    assert "3 samples have no label (-1)." in page.text
    assert "have no sample in" not in page.text


def test_the_first_rejects_and_the_number_of_all(tmp_path: Path) -> None:
    row = Row("a", {"image": png(np.zeros((4, 4, 3), np.uint8))})
    counts = {"rejected_samples": 250, "reasons": {"truncated": 250}}
    folder = write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": [row]}, counts=counts)
    with pytest.raises(DamageError, match=r"rejects\.jsonl"):
        report(folder)
    lines = [
        {"key": f"{n}", "path": f"{n:03d}.jpg", "reason": "truncated", "detail": "", "files": 1} for n in range(250)
    ]
    (folder / "rejects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    page = report(folder)
    assert "The first 200 of 250; all are in rejects.jsonl" in page.text
    assert "199.jpg" in page.text
    assert "200.jpg" not in page.text


def test_a_picture_that_cannot_be_decoded_is_said(tmp_path: Path) -> None:
    row = Row("a", {"image": b"\xff\xd8\xff nothing"})
    page = report(write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": [row]}))
    assert "cannot be decoded" in page.text
    assert page.pictures() == []


def test_damage_is_an_error_and_leaves_no_page(tmp_path: Path) -> None:
    content = png(np.zeros((4, 4, 3), np.uint8))
    folder = write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": [Row("a", {"image": content})]})
    shard = next((folder / "data").iterdir())
    stored = bytearray(shard.read_bytes())
    stored[stored.index(content) + 42] ^= 1
    shard.write_bytes(stored)
    with pytest.raises(DigestError, match="'a'"):
        write_report(folder, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_places_that_cannot_be_written(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder: name the page"):
        write_report(labelled, tmp_path)
    with pytest.raises(ConfigError, match="not a dataset"):
        write_report(tmp_path, tmp_path / "out.html")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (999_600, "1.0 MB"), (5 * 10**12, "5.0 TB")],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text
