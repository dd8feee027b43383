"""Recoded pixels, compact or not, through the whole product: pack, open, load, convert, export, verify, report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill import native
from imagemill.codecs.recoded import MAGIC, about, recode
from imagemill.core.manifest import Manifest
from imagemill.core.recipe import RECODED_PIXELS
from imagemill.errors import ConfigError, DamageError
from imagemill.formats import FORMATS
from imagemill.formats.store import Store
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import exif_block, photo, saved, wide_gamut_profile
from imagemill.testing.piles import tree
from imagemill.transforms import HorizontalFlip, RandomResizedCrop

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no core: {native.why_not()}")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of all that matters: JPEGs of several kinds, and files that are not recoded."""
    folder = tmp_path_factory.mktemp("pile")
    files = {
        "a/plain.jpg": saved(photo(90, 120, 0), "JPEG", quality=90),
        "a/progressive.jpg": saved(photo(64, 91, 1), "JPEG", progressive=True),
        "a/turned.jpg": saved(photo(70, 80, 2), "JPEG", exif=exif_block(6)),
        "a/profile.jpg": saved(photo(60, 60, 3), "JPEG", icc_profile=wide_gamut_profile()),
        "b/grey.jpeg": saved(photo(50, 70, 4)[:, :, 0], "JPEG"),
        "b/tail.jpg": saved(photo(50, 70, 5), "JPEG") + b"\0\0trailing",
        "b/picture.png": saved(photo(40, 50, 6), "PNG"),
        "b/inks.jpg": saved(Image.fromarray(photo(48, 40, 7)).convert("CMYK"), "JPEG"),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def original(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("original") / "dataset"
    imagemill.pack(pile, out, workers=0)
    return out


@pytest.fixture(scope="module", params=RECODED_PIXELS)
def pixels(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recoded(pile: Path, pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recoded") / "dataset"
    imagemill.pack(pile, out, pixels=pixels, workers=0)
    return out


def data_of(dataset: Path) -> dict[str, str]:
    return {name: digest for name, digest in tree(dataset).items() if name.startswith("data/")}


def test_files_that_are_not_recoded_are_counted(recoded: Path, pixels: str) -> None:
    manifest = Manifest.load(recoded)
    assert (manifest.pixels, manifest.schema["image"].codec) == (pixels, "recoded")
    notes = manifest.counts["notes"]
    assert (notes["image:not-recoded=cmyk"], notes["image:not-recoded=not-jpeg"]) == (1, 1)
    stored = [bytes(row.values["image"]) for row in Store(recoded).rows("train")]
    made = [value for value in stored if value.startswith(MAGIC)]
    assert (len(stored), len(made)) == (8, 6)
    assert {about(value).is_compact for value in made} == {pixels == "recoded-compact"}
    assert "coded anew" in (recoded / "README.md").read_text("utf-8")


def test_samples_are_the_same(original: Path, recoded: Path) -> None:
    ours, theirs = imagemill.open(recoded, "train"), imagemill.open(original, "train")
    for (picture, label), (wanted, wanted_label) in zip(ours, theirs, strict=True):
        assert (picture.tobytes(), label) == (wanted.tobytes(), wanted_label)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_batches_are_the_same_in_every_format(
    original: Path, recoded: Path, pixels: str, tmp_path: Path, format: str
) -> None:
    imagemill.convert(recoded, tmp_path / "ours", format=format, workers=0)
    imagemill.convert(original, tmp_path / "theirs", format=format, workers=0)
    assert Manifest.load(tmp_path / "ours").pixels == pixels
    transforms = [RandomResizedCrop(32), HorizontalFlip()]
    for ours, theirs in zip(
        *(
            imagemill.Loader(folder, "train", batch_size=3, transforms=transforms, seed=1)
            for folder in (tmp_path / "ours", tmp_path / "theirs")
        ),
        strict=True,
    ):
        assert ours["key"] == theirs["key"]
        assert np.array_equal(ours["image"], theirs["image"])


def test_there_and_back(original: Path, recoded: Path, pixels: str, tmp_path: Path) -> None:
    imagemill.convert(original, tmp_path / "there", pixels=pixels, workers=0)
    assert data_of(tmp_path / "there") == data_of(recoded)
    imagemill.convert(recoded, tmp_path / "back", pixels="original", workers=0)
    assert data_of(tmp_path / "back") == data_of(original)
    assert Manifest.load(tmp_path / "back").pixels == "original"


def test_from_one_coding_to_the_other(original: Path, recoded: Path, pixels: str, tmp_path: Path) -> None:
    other = next(each for each in RECODED_PIXELS if each != pixels)
    imagemill.convert(original, tmp_path / "wanted", pixels=other, workers=0)
    imagemill.convert(recoded, tmp_path / "other", pixels=other, workers=0)
    assert data_of(tmp_path / "other") == data_of(tmp_path / "wanted") != data_of(recoded)
    assert Manifest.load(tmp_path / "other").pixels == other


def test_back_without_the_core(
    original: Path, recoded: Path, pixels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_load", lambda: (None, "it was not built"))
    imagemill.convert(recoded, tmp_path / "back", pixels="original", workers=0)
    assert data_of(tmp_path / "back") == data_of(original)
    assert imagemill.open(recoded, "train")[0][0].size == (120, 90)
    with pytest.raises(ConfigError, match=f"--pixels {pixels} needs the native core"):
        imagemill.pack(tmp_path, tmp_path / "none", pixels=pixels, workers=0)


def test_other_pixels_of_a_recoded_dataset(original: Path, recoded: Path, tmp_path: Path) -> None:
    for name, dataset in (("ours", recoded), ("theirs", original)):
        imagemill.pack(dataset, tmp_path / name, pixels="resized", size=32, workers=0)
    assert data_of(tmp_path / "ours") == data_of(tmp_path / "theirs")


def test_export_gives_the_files_back(pile: Path, recoded: Path, tmp_path: Path) -> None:
    imagemill.export(recoded, tmp_path / "out")
    exported = {path.relative_to(tmp_path / "out/train"): path.read_bytes() for path in tmp_path.rglob("*/*/*.*")}
    assert exported == {path.relative_to(pile): path.read_bytes() for path in pile.rglob("*.*")}


def test_verify_gives_each_jpeg_back(recoded: Path, pixels: str, tmp_path: Path) -> None:
    assert imagemill.verify(recoded).damages == ()
    # A shard that is whole and was written wrong: its digests are right, the JPEG does not come back.
    store = Store(recoded)
    rows = list(store.rows("train"))
    compact = pixels == "recoded-compact"
    broken = bytearray(recode(saved(photo(90, 120, 0), "JPEG", quality=90), compact=compact)[0])
    broken[-40] ^= 1
    rows[0] = replace(rows[0], values={**rows[0].values, "image": bytes(broken)}, digests={})
    write_dataset(tmp_path / "broken", store.schema, {"train": rows}, pixels=pixels)
    damages = imagemill.verify(tmp_path / "broken").damages
    assert [(damage.key, damage.field) for damage in damages] == [(rows[0].key, "image")]


def test_flipped_bits_are_noticed(recoded: Path, tmp_path: Path) -> None:
    shutil.copytree(recoded, tmp_path / "hit")
    shard = next((tmp_path / "hit/data").iterdir())
    content = bytearray(shard.read_bytes())
    content[content.index(MAGIC) + 500] ^= 4
    shard.write_bytes(content)
    with pytest.raises(DamageError):
        list(imagemill.Loader(tmp_path / "hit", "train", batch_size=2, transforms=[RandomResizedCrop(32)]))


def test_pictures_without_a_file(pixels: str, tmp_path: Path) -> None:
    """They are stored as PNG, and said to be no JPEG."""
    result = imagemill.pack([(photo(30, 40, seed), 0) for seed in range(2)], tmp_path / "out", pixels=pixels, workers=0)
    assert result.notes["image:not-recoded=not-jpeg"] == 2


def test_options_that_do_nothing_are_refused(pile: Path, original: Path, pixels: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no effect on {pixels} pixels"):
        imagemill.pack(pile, tmp_path / "out", pixels=pixels, quality=80)
    with pytest.raises(ConfigError, match="size and mode cannot change them"):
        imagemill.pack(pile, tmp_path / "out", pixels=pixels, size=80)
    with pytest.raises(ConfigError, match="nothing to convert"):
        imagemill.convert(original, tmp_path / "out")
