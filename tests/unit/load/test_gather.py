"""Raw arrays gathered from the map: what the way through rows gives, digests included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imagemill
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import DigestError
from imagemill.load.gather import can_gather
from imagemill.testing.datasets import write_dataset

torch = pytest.importorskip("torch")

SCHEMA = Schema(
    (
        Field("image", "image", "uint8", (6, 5, 3), "raw"),
        Field("grey", "image", "uint8", (4, 4, 1), "raw"),
        Field("mask", "mask", "uint16", (6, 5, 2), "raw"),
        Field("label", "label", "int64", (), "raw"),
        Field("embedding", "vector", "float32", (3,), "raw"),
    )
)
TOTAL = 23


def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    return [
        Row(f"{number:03d}", {field.name: rng.bytes(field.size_bytes or 0) for field in SCHEMA})
        for number in range(TOTAL)
    ]


@pytest.fixture(scope="module", params=["arrow", "memmap", "hdf5", "parquet"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gather") / "dataset"
    return write_dataset(path, SCHEMA, {"train": rows()}, format=request.param, pixels="raw")


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if torch.is_tensor(value):
            assert value.dtype == other[name].dtype
            assert np.array_equal(value.numpy(), other[name].numpy(), equal_nan=value.is_floating_point()), name
        else:
            assert value == other[name]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("whole", [True, False])
def test_the_same_batches_as_through_rows(folder: Path, channels_last: bool, whole: bool) -> None:
    """By the native core, by Python's gather, and row by row."""
    for dataset in (imagemill.open(folder), imagemill.open(folder)[3:20]):
        loader = imagemill.Loader(dataset, batch_size=9, seed=2, channels_last=channels_last)
        if not whole:
            loader._feed = replace(loader._feed, bulk=None)
        gathered = list(loader)
        loader = imagemill.Loader(dataset, batch_size=9, seed=2)
        loader._feed = replace(loader._feed, bulk=None, gathers=False)
        slow = list(loader)
        for one, other in zip(gathered, slow, strict=True):
            assert_equal(one, other)
            assert one["image"].is_contiguous(
                memory_format=torch.channels_last if channels_last else torch.contiguous_format
            )


def test_no_row_is_made_where_the_layout_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dataset(tmp_path / "d", SCHEMA, {"train": rows()}, format="memmap", pixels="raw")
    dataset = imagemill.open(path)
    monkeypatch.setattr(dataset, "rows", None)
    assert sum(len(batch["key"]) for batch in imagemill.Loader(dataset)) == TOTAL


def test_damage_is_found(tmp_path: Path) -> None:
    written = rows()
    path = write_dataset(tmp_path / "d", SCHEMA, {"train": written}, format="memmap", pixels="raw")
    for shard in (path / "data").iterdir():
        content = bytearray(shard.read_bytes())
        found = content.find(written[9].values["image"])
        if found >= 0:
            content[found + 40] ^= 1
            shard.write_bytes(content)
    with pytest.raises(DigestError, match="'009'"):
        list(imagemill.Loader(path, batch_size=5))
    loader = imagemill.Loader(path, batch_size=5, on_error="skip", shuffle=False)
    assert [index for batch in loader for index in batch["index"].tolist()] == [*range(9), *range(10, TOTAL)]
    assert sum(len(batch["key"]) for batch in imagemill.Loader(path, verify="never")) == TOTAL


def test_what_is_gathered() -> None:
    modes = {"image": "RGB", "grey": "L"}
    assert can_gather(SCHEMA, modes)
    assert not can_gather(SCHEMA, {**modes, "image": "L"})
    assert not can_gather(Schema((Field("image", "image"),)), {"image": "RGB"})
    assert not can_gather(Schema((*SCHEMA, Field("text", "text", "uint8", None, "utf8"))), modes)
