"""Damage of every kind is found and named; no read ever gives wrong pixels or loses a sample."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import imagemill
from imagemill.core.sample import digest
from imagemill.errors import DamageError, DigestError, ShardError
from imagemill.formats import FORMATS
from imagemill.formats.store import Store
from imagemill.testing.piles import class_folders
from imagemill.testing.piles import imagemill as cli

FLIPS = 200
BUILTIN = ["arrow", "hdf5", "memmap", "parquet", "tar", "tfrecord", "tfrecord-gzip", "tfrecord-zlib"]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("damage")
    pile = class_folders(folder / "source", classes=3, per_class=40, bad=False)
    result = {}
    for name in BUILTIN:
        result[name] = folder / name
        imagemill.pack(pile, result[name], format=name, workers=0)
    return result


def flip(path: Path, position: int, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def read_everything(folder: Path, truth: list[dict[str, int]]) -> str:
    """Reads every sample of a shard: "right", or the kind of error; anything else fails."""
    store = Store(folder)
    count = store.count("train")
    assert count == len(truth)
    outcome = "right"
    for position in range(count):
        try:
            row = store.read("train", [position])[0]
        except DigestError as error:
            assert error.key
            outcome = "sample"
        except ShardError:
            return "shard"
        else:
            assert {name: digest(value) for name, value in row.values.items()} == truth[position]
    return outcome


@pytest.mark.parametrize("format", BUILTIN)
def test_two_hundred_flipped_bits(format: str, datasets: dict[str, Path], tmp_path: Path) -> None:
    assert set(BUILTIN) <= set(FORMATS)
    folder = datasets[format]
    truth = [dict(row.digests) for row in Store(folder).rows("train")]
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    files = sorted([*(damaged / "data").iterdir(), *(damaged / "index").iterdir()])
    sizes = [path.stat().st_size for path in files]
    rng = random.Random(format)
    found = 0
    outcomes = []
    for _ in range(FLIPS):
        path = rng.choices(files, weights=sizes)[0]
        position, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
        flip(path, position, bit)
        damages = imagemill.verify(damaged).damages
        found += bool(damages)
        outcome = read_everything(damaged, truth)
        outcomes.append(outcome)
        if outcome == "sample":
            assert any(damage.key for damage in damages), "reading named the sample, verify did not"
        flip(path, position, bit)
    assert found == FLIPS
    assert "sample" in outcomes or format.startswith("tfrecord-")


@pytest.fixture
def copy(datasets: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(datasets["arrow"], tmp_path / "copy")
    return tmp_path / "copy"


def shard_file(folder: Path) -> Path:
    return next((folder / "data").iterdir())


def test_a_missing_shard(copy: Path) -> None:
    shard_file(copy).unlink()
    assert next(damage.shard for damage in imagemill.verify(copy).damages).startswith("train-00000")
    with pytest.raises(ShardError, match="cannot be opened"):
        Store(copy).read("train", [0])


def test_a_truncated_shard(copy: Path) -> None:
    path = shard_file(copy)
    path.write_bytes(path.read_bytes()[:-10])
    assert "bytes" in str(imagemill.verify(copy).damages[0])
    with pytest.raises(ShardError, match="bytes, the manifest says"):
        Store(copy).read("train", [0])


def test_swapped_shards(tmp_path: Path) -> None:
    pile = class_folders(tmp_path / "source", bad=False)
    imagemill.pack(pile, tmp_path / "out", shard_size=12, workers=0)
    first, second = sorted((tmp_path / "out" / "data").iterdir())
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert len({damage.shard for damage in imagemill.verify(tmp_path / "out").damages}) == 2
    with pytest.raises(DamageError):
        list(Store(tmp_path / "out").rows("train"))


def test_a_shard_left_over_from_something_else(copy: Path) -> None:
    shutil.copy(shard_file(copy), copy / "data" / "train-00007-of-00009.arrow")
    damages = imagemill.verify(copy).damages
    assert [str(damage) for damage in damages] == [
        "data/train-00007-of-00009.arrow is not in the manifest: left over, no reader uses it"
    ]
    assert len(list(Store(copy).rows("train"))) == 120


def test_a_changed_manifest(copy: Path) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace("class_2", "class_9"))
    with pytest.raises(DamageError, match="not as it was written"):
        Store(copy)


def test_the_command_line_says_what_is_damaged_and_exits_5(copy: Path) -> None:
    flip(shard_file(copy), shard_file(copy).stat().st_size // 2, 3)
    done = cli("verify", copy)
    assert done.returncode == 5
    assert "damaged: train-00000-of-00001: sample 'class_" in done.stderr
    assert cli("verify", copy, "--json").returncode == 5
