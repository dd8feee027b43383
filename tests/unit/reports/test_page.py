"""The report: what it says, and that it is one closed file whatever a dataset holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.reports.pages import HOSTILE, IMAGE, WEBP, Page, checks_of, facts_of, png, report, small_dataset, write

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, DamageError, DigestError
from imagemill.reports.charts import size_text
from imagemill.reports.page import PAGE_BYTES, path_markup, share_text
from imagemill.reports.pictures import colours
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo
from imagemill.testing.piles import class_folders, masked, pairs


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    imagemill.pack(class_folders(folder / "pile"), folder / "plates & co", split="80/20", workers=0)
    return folder / "plates & co"


def test_it_says_what_was_found(labelled: Path) -> None:
    page = report(labelled)
    assert "plates & co · imagemill report" in page.text
    for words in ("28 files found: 24 kept, 3 rejected, 1 ignored", "(1 .txt", "train 20 83.3 %", "3 classes"):
        assert words in page.text
    for words in ("class_0/truncated.jpg", "empty-file", "looks like HTML page", "11.1% of the samples were rejected"):
        assert words in page.text
    assert "1 of 3 classes have no sample in 'val': class_0." in page.text
    assert '"train": "4/5"' in page.text
    assert f"imagemill {imagemill.__version__}" in page.text
    assert "nothing is said on quality and duplicates" in page.text
    assert page.count("figure") == 24
    assert [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"] == [
        "Shorter side, pixels of image: from 40 to 47 px, median 44 px",
        "Longer side, pixels of image: from 48 to 50 px, median 49 px",
        "Aspect, width / height of image: from 1.02 to 1.25, median 1.13",
    ]


def test_it_is_one_closed_file(labelled: Path) -> None:
    page = report(labelled)
    policy = next(
        meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = {}
    for tag in ("style", "script"):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page.content, re.DOTALL)
        assert len(found) == page.count(tag) == 1
        hashes[tag] = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert not re.search(r"url\(|@import|fetch|XMLHttp|https?:", found[0])
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{hashes['style']}'",
        f"script-src 'sha256-{hashes['script']}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name, value in attributes.items():
            assert name != "style"
            assert not name.startswith("on")
            assert name != "src" or (value or "").startswith(WEBP)
            assert name != "href" or (value or "").startswith("#")


def test_every_link_leads_somewhere_and_every_heading_has_its_place(labelled: Path) -> None:
    page = report(labelled)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    for tag, attributes in page.tags:
        for name in ("aria-labelledby", "for", "data-area"):
            assert name not in attributes or attributes[name] in ids, (tag, attributes)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert page.count(landmark) == 1
    assert all(picture["alt"] for picture in page.all("img"))
    assert all(picture["loading"] == "lazy" for picture in page.all("img"))
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))


def test_equal_datasets_give_equal_pages(labelled: Path, tmp_path: Path) -> None:
    write(labelled, tmp_path / "new" / "one.html")
    write(labelled, tmp_path / "other.html")
    assert (tmp_path / "new" / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_the_facts_are_json_and_need_no_page(labelled: Path) -> None:
    facts = facts_of(labelled)
    assert facts["account"]["found"] == 28
    assert [split["samples"] for split in facts["splits"]] == [20, 4]
    assert {reason["code"]: reason["samples"] for reason in facts["rejects"]} == {
        "empty-file": 1,
        "not-an-image": 1,
        "truncated": 1,
    }
    assert sum(facts["shapes"][0]["shorter"]["counts"]) == 24
    assert facts["space"]["sampled"] == 24


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
    checks = checks_of([{"key": HOSTILE, "split": "train", "label": "0", "flags": ["dark"], "notes": HOSTILE}])
    page = report(folder, checks=checks)
    assert page.count("script") == 1
    assert "<script>alert" not in page.content
    assert page.text.count(HOSTILE) >= 10


def test_what_a_check_found_is_shown(tmp_path: Path) -> None:
    folder = small_dataset(tmp_path / "d", {"train": ["a", "b", "c", "d"], "val": ["e", "f"]})
    checks = checks_of(
        [
            {"key": "a", "split": "train", "cluster": 0},
            {"key": "b", "split": "train", "flags": ["dark"], "brightness.image": 0.011},
            {"key": "c", "split": "train", "flags": ["dark"], "brightness.image": 0.004},
            {"key": "d", "split": "train", "reason": "truncated", "detail": "half of it", "path": "d.jpg"},
            {
                "key": "e",
                "split": "val",
                "cluster": 0,
                "duplicate_of": "a",
                "similarity": "near",
                "flags": ["near-duplicate"],
            },
            {"key": "f", "split": "val"},
        ]
    )
    page = report(folder, checks=checks)
    for words in (
        "1 picture is in more than one split, which flatters any model.",
        "1 stored sample cannot be decoded.",
        "40.0% of the samples (2) are flagged dark: nearly all of it is black.",
        "train val 1 1",
        "2 samples in train and val kept train a nearly the same val e",
        "dark: all 2 brightness 0.00 c brightness 0.01 b",
        "1 of them repeat one that is kept: 1 nearly the same.",
        "d.jpg half of it",
    ):
        assert words in page.text, words
    assert page.count("figure") == 5 + 2 + 2 + 2


def test_before_and_after_lie_on_each_other(tmp_path: Path) -> None:
    imagemill.pack(pairs(tmp_path / "pile"), tmp_path / "out", workers=0)
    page = report(tmp_path / "out")
    assert page.count("figure") == 6
    pictures = page.pictures()
    assert len(pictures) == 12
    grey, colour = (np.asarray(picture, np.int16) for picture in pictures[:2])
    assert np.abs(grey[..., 0] - grey[..., 1]).max() <= 12
    assert np.abs(colour[..., 0] - colour[..., 1]).max() > 20
    assert sum("compared" in (div.get("class") or "") for div in page.all("div")) == 6
    assert [slider["id"] for slider in page.all("input")] == ["wipe"]
    assert "Wipe: after over before" in page.text


def test_masks_are_laid_over_their_images(tmp_path: Path) -> None:
    ids = np.zeros((60, 80), np.uint8)
    ids[:, 40:] = 5
    row = Row("a", {"image": png(np.full((60, 80, 3), 100, np.uint8)), "mask": png(ids)})
    folder = write_dataset(tmp_path / "d", Schema((IMAGE, Field("mask", "mask"))), {"train": [row]})
    page = report(folder)
    image, overlay = (np.asarray(picture, np.int16) for picture in page.pictures())
    assert np.abs(image - 100).max() <= 4
    for place, number in ((20, 0), (60, 5)):
        expected = (2 * 100 + 3 * colours(np.array([[number]]))[0, 0].astype(np.int16)) // 5
        assert np.abs(overlay[30, place] - expected).max() <= 12
        swatch = "#" + "".join(f"{part:02x}" for part in colours(np.array([number]))[0])
        assert any(rect.get("fill") == swatch for rect in page.all("rect"))
    assert "0 50.0 % 5 50.0 %" in page.text


def test_masks_of_a_pile_have_no_notes_on_colour(tmp_path: Path) -> None:
    imagemill.pack(masked(tmp_path / "pile"), tmp_path / "packed", workers=0)
    page = report(tmp_path / "packed")
    assert len(page.pictures()) == 12
    assert "stored without colour channels" not in page.text


def test_a_thousand_thumbnails_of_noise_fit_into_five_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    field = Field("image", "image", "uint8", (64, 64, 3), "raw")
    rows = [Row(f"{n:04d}", {"image": rng.integers(0, 256, (64, 64, 3), np.uint8).tobytes()}) for n in range(1000)]
    folder = write_dataset(tmp_path / "noise", Schema((field,)), {"train": rows}, shard_samples=1000)
    page = report(folder, thumbnails=1000)
    assert page.count("figure") == 1000
    assert 2_000_000 < len(page.content) < PAGE_BYTES


def test_more_thumbnails_are_smaller_ones(tmp_path: Path) -> None:
    field = Field("image", "image", "uint8", (400, 400, 3), "raw")
    rows = [Row(f"{n}", {"image": photo(400, 400, n).tobytes()}) for n in range(4)]
    folder = write_dataset(tmp_path / "few", Schema((field,)), {"train": rows * 1})
    assert max(report(folder).pictures()[0].size) > 200
    assert report(folder, thumbnails=0).count("img") == 0


def test_many_classes_are_shown_from_both_ends(tmp_path: Path) -> None:
    label = Field("label", "label", "int64", (), "raw", class_names=tuple(f"c{n:03d}" for n in range(100)))
    rows = [Row("a", {"label": bytes(8)})]
    classes = {"train": {f"c{n:03d}": 10 * n for n in range(100)}}
    folder = write_dataset(tmp_path / "d", Schema((label,)), {"train": rows}, counts={"classes": classes})
    page = report(folder)
    assert "100 classes: from 990 samples down to 0, 495 in the median." in page.text
    assert "… 70 classes between, with 31,150 samples …" in page.text
    assert "c099 train: 990 990" in page.text
    assert "c042" not in page.text
    assert "c004 train: 40 40" in page.text
    assert page.count("figure") == 0


@pytest.mark.parametrize(("names", "without"), [(("ant", "bee"), "(no label)"), (None, "-1")])
def test_samples_without_a_label_are_no_class(names: tuple[str, ...] | None, without: str, tmp_path: Path) -> None:
    label = Field("label", "label", "int64", (), "raw", class_names=names)
    first, second = names or ("0", "1")
    classes = {"train": {without: 3, first: 2, second: 1}, "val": {first: 1, second: 1}}
    rows = {split: [Row(split, {"label": bytes(8)})] for split in classes}
    folder = write_dataset(tmp_path / "d", Schema((label,)), rows, counts={"classes": classes})
    page = report(folder)
    assert "2 classes: from 3 samples down to 2" in page.text
    assert "3 samples have no class." in page.text
    assert "have no sample in" not in page.text


def test_the_first_rejects_and_the_number_of_all(tmp_path: Path) -> None:
    counts = {"rejected_samples": 250, "reasons": {"truncated": 249, "corrupt": 1}}
    folder = small_dataset(tmp_path / "d", {"train": ["a"]}, counts=counts)
    with pytest.raises(DamageError, match=r"rejects\.jsonl"):
        report(folder)
    lines = [
        {"key": f"{n}", "path": f"{n:03d}.jpg", "reason": "truncated", "detail": "", "files": 1} for n in range(249)
    ]
    lines.append({"key": "last", "path": "last.jpg", "reason": "corrupt", "detail": "x", "files": 1})
    (folder / "rejects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    page = report(folder)
    assert "truncated: the first 6 of 249" in page.text
    assert "corrupt: 1 File Found last.jpg x" in page.text
    assert "005.jpg" in page.text
    assert "006.jpg" not in page.text


def test_a_picture_that_cannot_be_decoded_is_said(tmp_path: Path) -> None:
    row = Row("a", {"image": b"\xff\xd8\xff nothing"})
    page = report(write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": [row]}))
    assert "no picture: " in page.text
    assert page.pictures() == []


def test_damage_is_an_error_and_leaves_no_page(tmp_path: Path) -> None:
    content = png(np.zeros((4, 4, 3), np.uint8))
    folder = write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": [Row("a", {"image": content})]})
    shard = next((folder / "data").iterdir())
    stored = bytearray(shard.read_bytes())
    stored[stored.index(content) + 42] ^= 1
    shard.write_bytes(stored)
    with pytest.raises(DigestError, match="'a'"):
        write(folder, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_places_that_cannot_be_written(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder: name the page"):
        write(labelled, tmp_path)
    with pytest.raises(ConfigError, match="not a dataset"):
        write(tmp_path, tmp_path / "out.html")


def test_checks_of_another_pile_are_refused(tmp_path: Path) -> None:
    folder = small_dataset(tmp_path / "d", {"train": ["a", "b"]})
    with pytest.raises(ConfigError, match="has 2 samples, the checks have 1, 0 of them are not in it"):
        report(folder, checks=checks_of([{"key": "a"}]))
    with pytest.raises(ConfigError, match="1 of them are not in it; run `imagemill check` again"):
        report(folder, checks=checks_of([{"key": "a"}, {"key": "x"}]))


def test_an_empty_dataset_has_a_page(tmp_path: Path) -> None:
    page = report(small_dataset(tmp_path / "d", {"train": []}), checks=checks_of([]))
    assert "0 files found" in page.text
    assert isinstance(page, Page)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (999_600, "1.0 MB"), (5 * 10**12, "5.0 TB")],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_shares_for_people() -> None:
    assert [share_text(share) for share in (0, 0.00001, 0.1234, 1)] == ["0.0 %", "< 0.1 %", "12.3 %", "100.0 %"]


def test_paths_break_after_slashes_and_stay_text() -> None:
    assert path_markup("a/<b>/c.png") == "a/<wbr>&lt;b&gt;/<wbr>c.png"
