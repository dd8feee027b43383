"""Batches by the native core: what the way of single samples gives, and memory that is never taken from its owner."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

import imagemill
from imagemill import native
from imagemill.codecs import colour_map
from imagemill.core.sample import Row
from imagemill.core.schema import Field, Schema
from imagemill.errors import DigestError, ShardError
from imagemill.load.bulk import plan_bulk
from imagemill.testing.datasets import write_dataset
from imagemill.testing.images import exif_block, photo, saved, wide_gamut_profile
from imagemill.transforms import (
    CenterCrop,
    ColorJitter,
    HorizontalFlip,
    Pipeline,
    RandomCrop,
    RandomResizedCrop,
    RandomRotate90,
    Resize,
    VerticalFlip,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native core: {native.why_not()}")

IMAGE = Field("image", "image")
LABEL = Field("label", "label", "int64", (), "raw")
OTHERS = (
    LABEL,
    Field("score", "number", "float32", (), "raw"),
    Field("embedding", "vector", "float32", (3,), "raw"),
    Field("boxes", "vector", "float32", (None,), "raw"),
    Field("caption", "text", "uint8", None, "utf8"),
)
TOTAL = 26


def others(number: int) -> dict[str, bytes]:
    return {
        "label": np.int64(number % 3 - 1).tobytes(),
        "score": np.float32(number / 7).tobytes(),
        "embedding": np.arange(number, number + 3, dtype=np.float32).tobytes(),
        "boxes": np.arange(number % 4, dtype=np.float32).tobytes(),
        "caption": f"Bild {number} – grün{chr(0) if number == 5 else ''}".encode(),
    }


def image(number: int) -> bytes:
    """JPEGs of all kinds, and a few other files."""
    picture = photo(90 + number, 130 - number, number)
    if number % 9 == 4:
        return saved(picture, "PNG")
    if number % 9 == 5:
        return saved(Image.fromarray(picture).convert("L"), "JPEG")
    if number % 9 == 6:
        return saved(picture, "JPEG", quality=92, icc_profile=wide_gamut_profile())
    return saved(picture, "JPEG", quality=92, progressive=number % 2 == 1, exif=exif_block(number % 8 + 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [Row(f"käse/{number:02d}", {"image": image(number), **others(number)}) for number in range(TOTAL)]
    return write_dataset(tmp_path_factory.mktemp("files") / "d", Schema((IMAGE, *OTHERS)), {"train": rows})


@pytest.fixture(scope="module", params=[1, 3, 4])
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of 1, 3 and 4 channels."""
    field = Field("image", "image", "uint8", (40, 48, request.param), "raw")
    rng = np.random.default_rng(0)
    rows = [Row(str(number), {"image": rng.bytes(field.size_bytes or 0)}) for number in range(TOTAL)]
    path = tmp_path_factory.mktemp("raw") / "d"
    return write_dataset(path, Schema((field,)), {"train": rows}, pixels="raw")


def both(*args: Any, **options: Any) -> tuple[list[Any], list[Any]]:
    """Two epochs, by the core and sample by sample."""
    loader = imagemill.Loader(*args, seed=4, **options)
    assert loader._feed.bulk is not None
    whole = [batch for _ in range(2) for batch in loader]
    loader = imagemill.Loader(*args, seed=4, **options)
    loader._feed = replace(loader._feed, bulk=None)
    return whole, [batch for _ in range(2) for batch in loader]


def assert_alike(one: dict[str, Any], other: dict[str, Any], levels: float) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        if name == "image":
            assert value.shape == other[name].shape
            assert value.stride() == other[name].stride()
            apart = (value.int() - other[name].int()).abs().float().mean((1, 2, 3))
            assert apart.max() <= levels
        elif torch.is_tensor(value):
            assert value.dtype == other[name].dtype
            assert torch.equal(value, other[name])
        elif name == "boxes":
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(value, other[name], strict=True))
        else:
            assert value == other[name]


GEOMETRY: dict[str, list[Any]] = {
    "random": [RandomResizedCrop((40, 50)), HorizontalFlip(), VerticalFlip()],
    "evaluation": [Resize(48), CenterCrop(44)],
    "padded": [RandomCrop(140, pad_if_needed=True, fill=9), RandomRotate90(), CenterCrop(130)],
}


@pytest.mark.parametrize("options", [{}, {"channels_last": True}, {"mode": "L"}, {"threads": 3, "prefetch_batches": 0}])
@pytest.mark.parametrize("name", GEOMETRY)
def test_files(files: Path, name: str, options: Any) -> None:
    for one, other in zip(*both(files, batch_size=7, transforms=GEOMETRY[name], **options), strict=True):
        assert_alike(one, other, 1.0)


def test_a_part_in_any_order(files: Path) -> None:
    part = imagemill.open(files)[20:2:-3]
    weights = np.arange(1.0, 7.0)
    for options in ({}, {"shuffle": False}, {"weights": weights}):
        for one, other in zip(*both(part, batch_size=4, size=(30, 40), **options), strict=True):
            assert_alike(one, other, 1.0)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "transforms",
    [
        [],
        [HorizontalFlip()],
        [RandomCrop((40, 48), padding=5, fill=3), VerticalFlip()],
        [RandomCrop(32), RandomRotate90()],
        [CenterCrop((50, 46))],
    ],
)
def test_raw_pixels_that_are_not_resampled_are_exact(raw: Path, transforms: list[Any], channels_last: bool) -> None:
    for one, other in zip(*both(raw, batch_size=9, transforms=transforms, channels_last=channels_last), strict=True):
        assert_alike(one, other, 0)


def test_raw_pixels_resized(raw: Path) -> None:
    for name in ("random", "evaluation"):
        for one, other in zip(*both(raw, batch_size=9, transforms=GEOMETRY[name]), strict=True):
            assert_alike(one, other, 0.6)


def test_partners_come_to_the_same_part(tmp_path: Path) -> None:
    schema = Schema((Field("before", "image"), Field("after", "image")))
    pictures = [photo(90 + number, 120, number) for number in range(9)]
    rows = [
        Row(
            str(number),
            {"before": saved(picture, "JPEG", quality=95), "after": saved(255 - picture, "JPEG", quality=95)},
        )
        for number, picture in enumerate(pictures)
    ]
    path = write_dataset(tmp_path / "d", schema, {"train": rows})
    loader = imagemill.Loader(path, batch_size=4, size=(60, 70), transforms=[RandomResizedCrop(40), RandomRotate90()])
    assert loader._feed.bulk is not None
    for batch in loader:
        assert (batch["before"].int() - (255 - batch["after"].int())).abs().float().mean() < 2


@pytest.mark.parametrize("verify", ["first", "always", "never"])
def test_what_is_wrong_is_told_as_ever(tmp_path: Path, verify: Any) -> None:
    """A damaged value, a truncated file and one that is no image, among good ones and a PNG."""
    good = [saved(photo(50, 60, number), "JPEG") for number in range(12)]
    contents = [
        *good[:3],
        good[3][: len(good[3]) // 2],
        *good[4:7],
        b"no image",
        saved(photo(50, 60), "PNG"),
        *good[9:],
    ]
    rows = [
        Row(f"{number:02d}", {"image": content, "label": np.int64(number).tobytes()}, {"image": f"{number:02d}.jpg"})
        for number, content in enumerate(contents)
    ]
    path = write_dataset(tmp_path / "d", Schema((IMAGE, LABEL)), {"train": rows}, shard_samples=5)
    for shard in (path / "data").iterdir():
        content = bytearray(shard.read_bytes())
        found = content.find(good[10])
        if found >= 0:
            content[found + 300] ^= 255
            shard.write_bytes(content)
    options: Any = {"batch_size": 6, "transforms": [RandomResizedCrop(24)], "on_error": "skip", "shuffle": False}
    loader = imagemill.Loader(imagemill.open(path, verify=verify), **options)
    for _ in range(2):
        batches = list(loader)
        bad = {3, 7, 10} if verify != "never" else {3, 7} | ({10} - {int(n) for b in batches for n in b["label"]})
        assert [n for b in batches for n in b["label"].tolist()] == [n for n in range(12) if n not in bad]
        assert all(b["key"] == [f"{n:02d}" for n in b["index"].tolist()] for b in batches)
    if verify != "never":
        assert loader.skipped == 6
        with pytest.raises(DigestError, match="'10'"):
            list(imagemill.Loader(imagemill.open(path, verify=verify)[9:], batch_size=3, size=8))


def test_a_missing_shard_is_told_as_ever(files: Path, tmp_path: Path) -> None:
    path = shutil.copytree(files, tmp_path / "d")
    sorted((path / "data").iterdir())[1].unlink()
    with pytest.raises(ShardError, match="missing|cannot be opened"):
        list(imagemill.Loader(path, size=16))
    loader = imagemill.Loader(path, size=16, on_error="skip", batch_size=13)
    assert sum(len(batch["key"]) for batch in loader) == TOTAL - 7
    assert loader.skipped == 7


def test_profiles_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the way of single samples; from then on the core makes such pictures, of partners, too."""
    monkeypatch.setattr(colour_map, "_known", native.Profiles())
    picture = saved(photo(60, 70, 3), "JPEG", quality=92, icc_profile=wide_gamut_profile())
    rows = [Row(str(number), {"before": picture, "after": picture}) for number in range(6)]
    schema = Schema((Field("before", "image"), Field("after", "image")))
    path = write_dataset(tmp_path / "d", schema, {"train": rows})
    loader = imagemill.Loader(path, size=32, prefetch_batches=0, batch_size=2)
    redone: list[int] = []
    prepare = loader._feed.prepare
    loader._feed = replace(loader._feed, prepare=lambda rows, *rest: redone.extend(rest[0]) or prepare(rows, *rest))
    batches = list(loader)
    assert len(redone) == 2
    assert_alike({"image": batches[0]["before"]}, {"image": batches[1]["after"]}, 1.0)


def test_what_is_made_by_the_core(files: Path) -> None:
    dataset = imagemill.open(files)
    assert plan_bulk(dataset, {"image": "RGB"}, Pipeline([RandomResizedCrop(8)])) is not None
    assert plan_bulk(dataset, {"image": "RGBA"}, Pipeline([RandomResizedCrop(8)])) is None
    jitter = plan_bulk(dataset, {"image": "RGB"}, Pipeline([RandomResizedCrop(8), ColorJitter(0.1)]))
    assert jitter is not None
    assert jitter.finishes
    mine = plan_bulk(dataset, {"image": "RGB"}, Pipeline([RandomResizedCrop(8), ColorJitter(0.1), dict]))
    assert mine is not None
    assert not mine.finishes
    assert plan_bulk(dataset, {"image": "RGB"}, Pipeline([Resize(8, filter="lanczos")])) is None


def test_a_batch_stays_as_it_is_while_something_holds_it(raw: Path) -> None:
    """Tensors, views of them and arrays over them; two epochs of other pixels come after."""
    loader = imagemill.Loader(raw, batch_size=4, transforms=[HorizontalFlip()], seed=1)
    held: list[tuple[Any, Any]] = []
    for epoch in range(3):
        for number, batch in enumerate(loader):
            image = batch["image"]
            mine = [image, image[1:2], image.numpy()[::2], image.float()][(number + epoch) % 4]
            held.append((mine, mine.copy() if isinstance(mine, np.ndarray) else mine.clone()))
    for mine, copy in held:
        assert np.array_equal(np.asarray(mine), np.asarray(copy))


def test_memory_is_used_again(raw: Path) -> None:
    loader = imagemill.Loader(raw, batch_size=4, prefetch_batches=2)
    places = set()
    for _ in range(6):
        for batch in loader:
            places.add(batch["image"].data_ptr())
    del batch
    gc.collect()
    assert len(places) <= 2 + 3
    assert len(pickle.loads(pickle.dumps(loader))._pool._free) == 0


def test_shards_that_are_evicted_while_in_use(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds one shard of four: every batch evicts what the one before it reads."""
    monkeypatch.setenv("IMAGEMILL_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(str(files), "/evicted", recursive=True)
    dataset = imagemill.open("memory://evicted", cache_limit=1)
    options: Any = {"batch_size": 5, "size": 24, "seed": 3, "threads": 2}
    loader = imagemill.Loader(dataset, **options)
    assert loader._feed.bulk is not None
    for one, other in zip(loader, imagemill.Loader(files, **options), strict=True):
        assert_alike(one, other, 0)
    kept = list((tmp_path / "cache").glob("datasets/*/*/data/*"))
    assert 0 < len(kept) < 4, "nothing was evicted"
    memory.rm("/evicted", recursive=True)


def _count(path: Path, queue: Any) -> None:
    queue.put(sum(len(batch["key"]) for batch in imagemill.Loader(path, size=16, threads=2)))


def _go_on(loader: Any, queue: Any) -> None:
    queue.put([batch["index"].tolist() for batch in loader])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_other_processes(files: Path, method: str) -> None:
    """Forked off in mid-epoch, while threads of the core run; and spawned with the loader itself."""
    context: Any = multiprocessing.get_context(method)
    loader = imagemill.Loader(files, batch_size=5, size=16, threads=2)
    iterator = iter(loader)
    next(iterator)
    queue = context.Queue()
    target, argument = (_count, files) if method == "fork" else (_go_on, loader)
    process = context.Process(target=target, args=(argument, queue))
    process.start()
    answer = queue.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    assert answer == (TOTAL if method == "fork" else [batch["index"].tolist() for batch in loader])
    iterator.close()  # type: ignore[attr-defined]


def test_the_same_pixels_whatever_the_threads(files: Path) -> None:
    wanted = None
    for threads, prefetch in ((1, 0), (4, 3)):
        loader = imagemill.Loader(
            files, batch_size=8, transforms=GEOMETRY["random"], threads=threads, prefetch_batches=prefetch
        )
        found = torch.cat([batch["image"] for batch in loader])
        assert wanted is None or torch.equal(found, wanted)
        wanted = found
