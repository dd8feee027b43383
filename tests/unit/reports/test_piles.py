"""Reports of what is no dataset: folders, pairs, archives, fetched piles; through Python and the command line."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from unit.reports.pages import IMAGE, Page

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError
from imagemill.sources.fetched_index import INDEX_MARK
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import photo, saved
from imagemill.testing.piles import class_folders, masked, pairs, save_photo
from imagemill.testing.piles import imagemill as run


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("piles") / "plates")


def test_a_folder_is_checked_and_accounted_for(pile: Path, tmp_path: Path) -> None:
    made = imagemill.report(pile, tmp_path / "page.html", workers=0)
    account = made.facts.account
    assert (account.found, account.kept, account.rejected, account.ignored) == (28, 24, 3, 1)
    assert {reason.code: reason.examples[0][0] for reason in made.facts.rejects} == {
        "empty-file": "class_1/empty.jpg",
        "not-an-image": "class_1/page.jpg",
        "truncated": "class_0/truncated.jpg",
    }
    assert made.facts.classes is not None
    assert dict(made.facts.classes.shown) == {f"class_{n}": (8,) for n in range(3)}
    assert {entry[0]: entry[3] for entry in made.facts.shapes[0].encodings} == {"JPEG": 18, "PNG": 6}
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert page.count("figure") == 24
    assert "Source of kind folder, checked in full" in page.text
    assert made.size_bytes == (tmp_path / "page.html").stat().st_size


def test_equal_folders_give_equal_pages(pile: Path, tmp_path: Path) -> None:
    for name in ("one.html", "other.html"):
        imagemill.report(pile, tmp_path / name, workers=0)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_checks_made_before_are_taken_and_stale_ones_refused(pile: Path, tmp_path: Path) -> None:
    imagemill.check(pile, tmp_path / "checks", workers=0)
    one = imagemill.report(pile, checks=tmp_path / "checks").facts
    assert one == imagemill.report(pile, workers=0).facts
    other = class_folders(tmp_path / "other", classes=2)
    with pytest.raises(ConfigError, match="the checks are not of other as it is now"):
        imagemill.report(other, checks=tmp_path / "checks")
    with pytest.raises(ConfigError, match="no table of checks"):
        imagemill.report(pile, checks=tmp_path)


class Plates:
    """A dataset in Python: (picture, class)."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(photo(30, 40, index)), index % 2


def test_a_dataset_in_python(tmp_path: Path) -> None:
    made = imagemill.report(Plates(), tmp_path / "page.html", workers=0)
    assert (made.facts.name, made.facts.account.samples, made.thumbnails) == ("torch", 4, 4)
    assert (made.facts.shapes[0].single, made.facts.duplicates and made.facts.duplicates.clusters) == ("40x30", 0)


def test_nothing_is_written_into_a_source(pile: Path) -> None:
    for out in (pile / "page.html", pile / "new" / "page.html", pile):
        with pytest.raises(ConfigError, match="inside the source"):
            imagemill.report(pile, out)
    assert not list(pile.rglob("*.html"))


def test_quick_reads_headers_only(pile: Path) -> None:
    facts = imagemill.report(pile, quick=True, workers=0).facts
    assert facts.checked == "headers"
    assert facts.account.found == 28


def test_classes_named_by_numbers_keep_their_names(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        save_photo(tmp_path / "digits" / str(number) / "a.png", 20, 20, number)
    classes = imagemill.report(tmp_path / "digits", workers=0).facts.classes
    assert classes is not None
    assert sorted(name for name, _ in classes.shown) == ["1", "10", "2"]
    imagemill.pack(tmp_path / "digits", tmp_path / "packed", workers=0)
    page = imagemill.report(tmp_path / "packed", tmp_path / "p.html", workers=0)
    assert page.facts.classes is not None
    assert sorted(name for name, _ in page.facts.classes.shown) == ["1", "10", "2"]


def test_pairs_masks_archives_and_tables(tmp_path: Path) -> None:
    pairs(tmp_path / "pairs")
    masked(tmp_path / "masked")
    class_folders(tmp_path / "plain", bad=False)
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        archive.add(tmp_path / "plain", arcname="")
    (tmp_path / "table.csv").write_text("path,label\nplain/class_0/im 000.jpg,x\nplain/class_1/im 001.jpg,y\n")
    for name, kind, samples in (
        ("pairs", "pairs", 6),
        ("masked", "masks", 6),
        ("plain.tar", "archive", 24),
        ("table.csv", "table", 2),
    ):
        made = imagemill.report(tmp_path / name, tmp_path / f"{kind}.html", workers=0)
        assert (made.facts.kind, made.facts.account.samples, made.thumbnails) == (kind, samples, samples)
        assert Page(made.path.read_text("utf-8")).pictures() if made.path else False


def test_a_packed_dataset_that_is_damaged_inside_is_told(tmp_path: Path) -> None:
    whole = saved(photo(60, 80), "JPEG")
    rows = [Row("good", {"image": whole}), Row("half", {"image": whole[: len(whole) // 2]})]
    folder = write_dataset(tmp_path / "d", Schema((IMAGE,)), {"train": rows})
    facts = imagemill.report(folder, workers=0).facts
    assert [(reason.code, reason.samples) for reason in facts.undecodable] == [("truncated", 1)]
    assert facts.findings[0].text == "1 stored sample cannot be decoded."


def test_datasets_without_images_and_with_extreme_ones(tmp_path: Path) -> None:
    thin = np.zeros((1, 20_000, 3), np.uint8)
    schemas = {
        "numbers": (Field("vector", "vector", "float32", (3,), "raw"), np.zeros(3, np.float32).tobytes()),
        "masks": (Field("mask", "mask"), saved(np.full((20, 30), 7, np.uint8), "PNG")),
        "thin": (IMAGE, saved(thin, "PNG")),
    }
    for name, (field, value) in schemas.items():
        rows = [Row(f"{number}", {field.name: value}) for number in range(3)]
        folder = write_dataset(tmp_path / name, Schema((field,)), {"train": rows, "val": []})
        made = imagemill.report(folder, tmp_path / f"{name}.html", workers=0)
        page = Page((tmp_path / f"{name}.html").read_text("utf-8"))
        assert len(page.pictures()) >= 3 * (name != "numbers")
        assert made.thumbnails == (0 if name == "numbers" else 3)
        assert (made.facts.checked == "full") == (name == "thin")


def fetched_pile(folder: Path) -> Path:
    """Two hosts, three images, one of them twice, two failures."""
    images = {}
    for number in range(3):
        save_photo(folder / "images" / f"{number}.jpg", 30, 40, number)
        images[number] = (folder / "images" / f"{number}.jpg").stat().st_size
    hosts = ["a.example", "a.example", "b.example", "b.example", None, "a.example"]
    image = [0, 1, 2, None, None, 1]
    good = [place is not None for place in image]
    text = pa.string()
    columns = {
        "number": pa.array(range(6), pa.int64()),
        "id": pa.nulls(6, text),
        "url": pa.array([f"https://{host}/{n}" for n, host in enumerate(hosts)], text),
        "caption": pa.nulls(6, text),
        "origin": pa.array([f"https://{host}/{n}" for n, host in enumerate(hosts)], text),
        "repeat_of": pa.array([None, None, None, None, None, 1], pa.int64()),
        "status": pa.array(["fetched" if there else "failed" for there in good], text),
        "reason": pa.array([None, None, None, "not-found", "bad-url", None], text),
        "host": pa.array(hosts, text),
        "path": pa.array([None if place is None else f"images/{place}.jpg" for place in image], text),
        "size_bytes": pa.array([None if place is None else images[place] for place in image], pa.int64()),
        "sha256": pa.array([None if place is None else f"{place:064d}" for place in image], text),
    }
    table = pa.table(columns).replace_schema_metadata({INDEX_MARK: json.dumps({"columns": []})})
    pq.write_table(table, folder / "index.parquet")
    return folder


def test_a_fetched_pile_has_its_hosts_and_reasons(tmp_path: Path) -> None:
    folder = fetched_pile(tmp_path / "fetched")
    sizes = [(folder / "images" / f"{number}.jpg").stat().st_size for number in range(3)]
    made = imagemill.report(folder, tmp_path / "page.html", workers=0)
    hosts = made.facts.hosts
    assert hosts is not None
    assert (hosts.urls, hosts.fetched, hosts.more_hosts) == (6, 4, 0)
    assert hosts.hosts == (
        ("a.example", 3, 0, sizes[0] + sizes[1]),
        ("b.example", 2, 1, sizes[2]),
        ("(no host)", 1, 1, 0),
    )
    assert [(code, count) for code, _, count in hosts.reasons] == [("bad-url", 1), ("not-found", 1)]
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert "4 of 6 URLs brought an image." in page.text
    assert "b.example 2 1 50.0 %" in page.text
    assert "not-found 1 HTTP 404" in page.text
    assert made.facts.duplicates is not None
    assert made.facts.duplicates.similarities == (("bytes", 1),)


def test_the_command_line(pile: Path, tmp_path: Path) -> None:
    done = run("report", pile, tmp_path / "page.html", "--thumbnails", 5, "--workers", 0)
    assert done.returncode == 0, done.stderr
    assert "11.1% of the samples were rejected." in done.stdout
    assert "5 thumbnails)" in done.stdout
    assert Page((tmp_path / "page.html").read_text("utf-8")).count("figure") == 5
    done = run("report", pile, "--json", "--workers", 0)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["name"], facts["account"]["found"], facts["kind"]) == ("plates", 28, "folder")
    assert sum(facts["shapes"][0]["shorter"]["counts"]) == 24
    done = run("report", pile)
    assert done.returncode == 2
    assert "--json for the facts alone" in done.stderr
