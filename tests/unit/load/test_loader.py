"""Loader: what a batch holds, in which order, and where it goes on."""

from __future__ import annotations

import io
import logging
import pickle
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill import native
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import ConfigError, DigestError, MissingExtra, SampleError
from imagemill.load.order import permute
from imagemill.testing.datasets import write_dataset
from imagemill.testing.rows import SCHEMAS, make_rows

torch = pytest.importorskip("torch")

IMAGE = Field("image", "image")
LABEL = Field("label", "label", "int64", (), "raw")
RAW = Field("image", "image", "uint8", (4, 6, 3), "raw")
TOTAL = 45


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def raw_row(number: int) -> Row:
    pixels = np.full((4, 6, 3), number, np.uint8)
    return Row(f"{number:03d}", {"image": pixels.tobytes(), "label": np.int64(number).tobytes()})


def file_row(number: int, image: bytes) -> Row:
    return Row(f"{number:03d}", {"image": image, "label": np.int64(number).tobytes()}, {"image": f"{number:03d}.png"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 samples in 7 shards; every pixel and the label of sample n are n."""
    path = tmp_path_factory.mktemp("loader") / "dataset"
    return write_dataset(path, Schema((RAW, LABEL)), {"train": [raw_row(n) for n in range(TOTAL)]})


def taken(loader: Any) -> list[int]:
    """Indices of an epoch, checked against what else the batches hold."""
    indices = []
    for batch in loader:
        index = batch["index"]
        assert torch.equal(batch["label"], index)
        assert torch.equal(batch["image"], index.to(torch.uint8)[:, None, None, None].expand(-1, 3, 4, 6))
        assert batch["key"] == [f"{n:03d}" for n in index.tolist()]
        indices.extend(index.tolist())
    return indices


def order(epoch: int, seed: int = 0) -> list[int]:
    return permute(np.arange(TOTAL), TOTAL, seed=seed, epoch=epoch).tolist()


def test_a_batch(folder: Path) -> None:
    loader = imagemill.Loader(folder, "train", 8)
    batch = next(iter(loader))
    assert list(batch) == ["image", "label", "key", "index"]
    assert (batch["image"].dtype, batch["image"].shape) == (torch.uint8, (8, 3, 4, 6))
    assert batch["image"].is_contiguous()
    assert (batch["label"].dtype, batch["label"].shape) == (torch.int64, (8,))
    assert batch["index"].tolist() == order(0)[:8]
    assert len(loader) == 6
    assert [len(batch["key"]) for batch in loader] == [8, 8, 8, 8, 8, 5]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch_batches", [0, 1, 9])
def test_threads_do_not_change_the_order(folder: Path, threads: int, prefetch_batches: int) -> None:
    loader = imagemill.Loader(folder, batch_size=11, seed=2, threads=threads, prefetch_batches=prefetch_batches)
    assert [taken(loader) for _ in range(2)] == [order(epoch, seed=2) for epoch in range(2)]


def test_without_shuffle(folder: Path) -> None:
    assert taken(imagemill.Loader(folder, batch_size=4, shuffle=False)) == list(range(TOTAL))


@pytest.mark.parametrize(("last", "batches"), [("keep", 6), ("drop", 5), ("wrap", 6)])
def test_the_ranks_together_take_the_epoch(folder: Path, last: Any, batches: int) -> None:
    expected = {"keep": order(3), "drop": order(3)[:40], "wrap": order(3) + order(3)[:3]}[last]
    for world_size in (1, 2, 4):
        steps: list[list[int]] = [[] for _ in range(batches)]
        for rank in range(world_size):
            loader = imagemill.Loader(
                folder, batch_size=8 // world_size, rank=rank, world_size=world_size, last=last, threads=2
            )
            loader.set_epoch(3)
            assert len(loader) == batches
            for step, batch in enumerate(loader):
                steps[step].extend(batch["index"].tolist())
        assert [index for step in steps for index in step] == expected


def test_a_rank_without_a_share_of_the_last_step(folder: Path) -> None:
    # 45 = 2 * 22 + 1: the last step has one sample for two ranks.
    loaders = [imagemill.Loader(folder, batch_size=11, rank=rank, world_size=2, last="keep") for rank in range(2)]
    batches = [list(loader) for loader in loaders]
    assert [len(loader) for loader in loaders] == [len(part) for part in batches] == [2, 3]
    assert loaders[0].state_dict() == loaders[1].state_dict()


def test_ranks_take_equally_many_steps_unless_asked_otherwise(folder: Path) -> None:
    loaders = [imagemill.Loader(folder, batch_size=11, rank=rank, world_size=2) for rank in range(2)]
    assert [len(batch["key"]) for loader in loaders for batch in loader] == [11] * 6


@pytest.mark.parametrize("step", range(7))
def test_resumed_anywhere_equals_uninterrupted(folder: Path, step: int) -> None:
    whole = imagemill.Loader(folder, batch_size=8, seed=5)
    whole.set_epoch(1)
    expected = [batch["index"].tolist() for _ in range(2) for batch in whole]
    first = imagemill.Loader(folder, batch_size=8, seed=5)
    first.set_epoch(1)
    for _ in islice(first, step):
        pass
    state = pickle.loads(pickle.dumps(first.state_dict()))
    assert all(type(value) is int for value in state.values())
    second = imagemill.Loader(folder, batch_size=8)
    second.load_state_dict(state)
    assert second.state_dict() == state
    rest = [batch["index"].tolist() for epoch in range(second.epoch, 3) for batch in epoch_of(second, epoch)]
    assert rest == expected[step:]


def epoch_of(loader: imagemill.Loader, epoch: int) -> imagemill.Loader:
    loader.set_epoch(epoch)
    return loader


def test_resumed_on_other_ranks(folder: Path) -> None:
    alone = imagemill.Loader(folder, batch_size=12, seed=5)
    for _ in islice(alone, 2):
        pass
    state = alone.state_dict()
    rest = []
    for rank in range(3):
        loader = imagemill.Loader(folder, batch_size=4, rank=rank, world_size=3, last="keep")
        loader.load_state_dict(state)
        rest.extend(taken(loader))
    assert sorted(rest) == sorted(order(0, seed=5)[24:])


def test_a_state_of_another_dataset_or_batch_is_refused(folder: Path, tmp_path: Path) -> None:
    state = imagemill.Loader(folder, batch_size=8).state_dict()
    with pytest.raises(ConfigError, match="take batch_size=8"):
        imagemill.Loader(folder, batch_size=9).load_state_dict(state)
    rows = [raw_row(n) for n in range(1, TOTAL + 1)]
    other = write_dataset(tmp_path / "other", Schema((RAW, LABEL)), {"train": rows})
    with pytest.raises(ConfigError, match="another dataset"):
        imagemill.Loader(other, batch_size=8).load_state_dict(state)


def test_a_new_iteration_begins_the_epoch_anew(folder: Path) -> None:
    loader = imagemill.Loader(folder, batch_size=8)
    next(iter(loader))
    assert loader.state_dict()["step"] == 1
    assert taken(loader) == order(0)
    assert (loader.epoch, loader.state_dict()["step"]) == (1, 0)
    assert taken(loader) == order(1)


def test_set_epoch_in_the_middle_does_not_disturb(folder: Path) -> None:
    loader = imagemill.Loader(folder, batch_size=8, prefetch_batches=0)
    indices = []
    for batch in loader:
        loader.set_epoch(6)
        indices.extend(batch["index"].tolist())
        assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (6, 0)
    assert indices == order(0)
    assert loader.epoch == 6
    assert taken(loader) == order(6)


@pytest.mark.parametrize("whole", [True, False])
def test_batches_in_flight_are_bounded(folder: Path, whole: bool) -> None:
    loader = imagemill.Loader(folder, batch_size=3, threads=2, prefetch_batches=2)
    feed = loader._feed
    prepared: list[int] = []
    if whole and feed.bulk is None:
        pytest.skip(f"no native core: {native.why_not()}")

    def prepare(rows: Any, ids: list[int], *rest: Any) -> Any:
        prepared.extend(ids)
        return feed.prepare(rows, ids, *rest)

    def bulk(team: Any, ids: Any, *rest: Any) -> Any:
        prepared.extend(ids.tolist())
        assert feed.bulk is not None
        return feed.bulk(team, ids, *rest)

    bulk.finishes = True  # type: ignore[attr-defined]
    changes: Any = {"bulk": bulk} if whole else {"bulk": None, "gathers": False, "prepare": prepare}
    loader._feed = replace(feed, **changes)
    for step, _ in enumerate(loader):
        assert len(prepared) <= (step + 1 + 2) * 3
    assert sorted(prepared) == list(range(TOTAL))


def test_threads_end_with_the_iteration(folder: Path) -> None:
    iterator = iter(imagemill.Loader(folder, batch_size=3, threads=2))
    next(iterator)
    assert any(thread.name.startswith("imagemill-loader") for thread in threading.enumerate())
    iterator.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("imagemill-loader") for thread in threading.enumerate())


def test_every_kind_of_field(tmp_path: Path) -> None:
    schema = SCHEMAS["everything"]
    rows = make_rows(schema, 6)
    path = write_dataset(tmp_path / "dataset", schema, {"train": rows})
    batch = next(iter(imagemill.Loader(path, batch_size=6, size=(16, 24), shuffle=False)))
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in batch.items() if torch.is_tensor(value)}
    assert shapes == {
        "image": ((6, 3, 16, 24), torch.uint8),
        "pixels": ((6, 3, 16, 24), torch.uint8),
        "mask": ((6, 16, 24), torch.uint8),
        "classes": ((6, 16, 24), torch.uint8),
        "flow": ((6, 2, 16, 24), torch.float32),
        "label": ((6,), torch.int64),
        "score": ((6,), torch.float64),
        "ratio": ((6,), torch.float32),
        "count": ((6,), torch.int64),
        "embedding": ((6, 16), torch.float32),
        "index": ((6,), torch.int64),
    }
    for name, dtype in (("boxes", np.float32), ("ids", np.int64)):
        for tensor, row in zip(batch[name], rows, strict=True):
            assert np.array_equal(tensor.numpy(), np.frombuffer(row.values[name], dtype))
    assert batch["text"] == [bytes(row.values["text"]).decode() for row in rows]
    assert batch["key"] == [row.key for row in rows]


def test_wide_masks_come_in_types_that_torch_has(tmp_path: Path) -> None:
    fields = {"uint16": torch.int32, "uint32": torch.int64, "int16": torch.int16, "uint8": torch.uint8}
    schema = Schema(tuple(Field(name, "mask", name, (2, 3), "raw") for name in fields))
    values = {name: np.arange(250, 256).astype(name).tobytes() for name in fields}
    path = write_dataset(tmp_path / "dataset", schema, {"train": [Row("a", values)]})
    batch = next(iter(imagemill.Loader(path)))
    assert {name: batch[name].dtype for name in fields} == fields
    assert all(batch[name].tolist() == [[[250, 251, 252], [253, 254, 255]]] for name in fields)


def test_float_images(folder: Path) -> None:
    batch = next(iter(imagemill.Loader(folder, batch_size=8, dtype="float32")))
    assert batch["image"].dtype == torch.float32
    assert torch.equal(batch["image"][:, 0, 0, 0], batch["index"].to(torch.float32) / 255)


def test_unequal_sizes_want_a_size(tmp_path: Path) -> None:
    images = [png(np.zeros(shape, np.uint8)) for shape in ((10, 20, 3), (12, 20, 3))]
    rows = [file_row(number, image) for number, image in enumerate(images)]
    path = write_dataset(tmp_path / "dataset", Schema((IMAGE, LABEL)), {"train": rows})
    with pytest.raises(ConfigError, match=r"'image' of '000' is 20x10x3 and that of '001' is 20x12x3: say a size "):
        next(iter(imagemill.Loader(path, batch_size=2, shuffle=False)))
    assert len(list(imagemill.Loader(path, batch_size=1))) == 2
    for size in (8, (8, 8), "8x8"):
        assert next(iter(imagemill.Loader(path, batch_size=2, size=size)))["image"].shape == (2, 3, 8, 8)
    assert next(iter(imagemill.Loader(path, size="16x8")))["image"].shape == (2, 3, 8, 16)


def test_image_and_mask_are_cut_alike(tmp_path: Path) -> None:
    ids = np.zeros((10, 20), np.uint8)
    ids[:, 10:] = 7
    grey = np.repeat(ids[:, :, None], 3, axis=2)
    row = Row("a", {"image": png(grey), "mask": png(ids)})
    path = write_dataset(tmp_path / "d", Schema((IMAGE, Field("mask", "mask"))), {"train": [row]})
    for fit in ("cover", "exact"):
        batch = next(iter(imagemill.Loader(path, size=(10, 10), fit=fit, filter="nearest")))
        assert torch.equal(batch["image"][0, 0], batch["mask"][0])
        assert batch["mask"].unique().tolist() == [0, 7]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Nine files; the digest of sample 4 does not hold, sample 7 cannot be decoded."""
    files = [png(np.full((4, 6, 3), number, np.uint8)) for number in range(9)]
    rows = [file_row(number, file if number != 7 else file[:45]) for number, file in enumerate(files)]
    path = write_dataset(tmp_path / "damaged", Schema((IMAGE, LABEL)), {"train": rows}, shard_samples=9)
    shard = next((path / "data").iterdir())
    content = bytearray(shard.read_bytes())
    content[content.index(files[4]) + 44] ^= 1
    shard.write_bytes(content)
    return path


def test_damage_is_raised_at_its_batch(damaged: Path) -> None:
    iterator = iter(imagemill.Loader(damaged, batch_size=3, shuffle=False))
    assert next(iterator)["index"].tolist() == [0, 1, 2]
    with pytest.raises(DigestError, match="'004'"):
        next(iterator)
    with pytest.raises(SampleError, match=r"007\.png"):
        list(imagemill.Loader(imagemill.open(damaged)[6:], batch_size=3, shuffle=False))


def test_damage_is_skipped_and_counted_when_asked(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    loader = imagemill.Loader(damaged, batch_size=3, shuffle=False, on_error="skip")
    with caplog.at_level(logging.WARNING):
        assert [batch["index"].tolist() for batch in loader] == [[0, 1, 2], [3, 5], [6, 8]]
    assert loader.skipped == 2
    assert "'004'" in caplog.text
    assert "007.png" in caplog.text
    with pytest.raises(DigestError):
        list(imagemill.Loader(damaged, batch_size=1, shuffle=False, on_error="skip"))


def test_an_open_dataset_or_a_part_of_it(folder: Path) -> None:
    part = imagemill.open(folder)[10:20]
    loader = imagemill.Loader(part, batch_size=4, shuffle=False)
    assert [batch["label"].tolist() for batch in loader] == [[10, 11, 12, 13], [14, 15, 16, 17], [18, 19]]
    with pytest.raises(ConfigError, match="open at split 'train'"):
        imagemill.Loader(part, "val")
    with pytest.raises(ConfigError, match="transforms"):
        imagemill.Loader(imagemill.open(folder, transform=str))


def test_a_loader_can_be_pickled(folder: Path) -> None:
    loader = imagemill.Loader(folder, batch_size=8, seed=3)
    next(iter(loader))
    again = pickle.loads(pickle.dumps(loader))
    assert again.state_dict() == loader.state_dict()
    assert taken(again) == order(0, seed=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "float16"}, "uint8, float32"),
        ({"on_error": "ignore"}, "raise, skip"),
        ({"threads": 0}, "threads"),
        ({"prefetch_batches": -1}, "prefetch_batches"),
        ({"size": (0, 4)}, "size"),
        ({"size": (1, 2, 3)}, "size"),
        ({"fit": "crop"}, "cover"),
        ({"filter": "sharp"}, "bicubic"),
        ({"mode": "BGR"}, "RGB"),
        ({"batch_size": 0}, "batch"),
        ({"last": "pad"}, "keep, drop, wrap"),
        ({"rank": 3, "world_size": 2}, "rank 3"),
        ({"split": "test"}, "no split 'test'"),
    ],
)
def test_options_that_cannot_work(folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        imagemill.Loader(folder, **options)


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"imagemill\[torch\]"):
        imagemill.Loader(folder)
    assert len(imagemill.open(folder)) == TOTAL


def test_a_field_named_index_is_refused(tmp_path: Path) -> None:
    schema = Schema((Field("index", "number", "int64", (), "raw"),))
    path = write_dataset(tmp_path / "d", schema, {"train": [Row("a", {"index": bytes(8)})]})
    with pytest.raises(ConfigError, match="'index'"):
        imagemill.Loader(path)
